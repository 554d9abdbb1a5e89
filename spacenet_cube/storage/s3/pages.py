"""Pages: what a bucket's listing says, where its bytes may change on the way.

Pure.  Two equal readings of a page are believed.  Where somebody writes there meanwhile, no two
may ever be equal: then what two of the last three readings say is believed, row by row.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Found = dict[str, tuple[int, str | None]]
"""Size in bytes and tag, by key."""

_VOTERS, _ENOUGH = 3, 2


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a LIST."""

    objects: Found
    """By key."""

    folders: tuple[str, ...]
    """Prefixes of what lies deeper, where it was asked for by folder."""

    following: Mapping[str, str] | None
    """What to ask for the next page with; None where this is the last."""


def agreed(readings: Sequence[Page]) -> Page | None:
    """What readings of one page come to.

    Parameters
    ----------
    readings
        In the order they were made.

    Returns
    -------
    Page or None
        None where another reading is needed.  A row that only one of three readings has was
        changed on its way, or has just been written; of a row that is written again and
        again, the newest is taken.

    Examples
    --------
    >>> first, second = {"a": (1, None)}, {"a": (1, None), "b": (2, None)}
    >>> third = second | {"c": (3, None)}
    >>> agreed([Page(rows, (), None) for rows in (first, second, third)]).objects
    {'a': (1, None), 'b': (2, None)}
    """
    if readings[-1] in readings[:-1]:
        return readings[-1]
    last = readings[-_VOTERS:]
    if len(last) < _VOTERS:
        return None
    objects = {
        key: _usual([page.objects[key] for page in last if key in page.objects])
        for key in _usual_ones(key for page in last for key in page.objects)
    }
    folders = _usual_ones(each for page in last for each in page.folders)
    if sum(page.following is None for page in last) >= _ENOUGH:
        return Page(objects, tuple(folders), None)
    if not objects or folders:
        return None
    # Pages end elsewhere once a row is new, so that a token may not fit these rows.
    return Page(objects, (), {"StartAfter": max(objects)})


def _usual_ones[T: Hashable](said: Iterable[T]) -> list[T]:
    return [one for one, times in Counter(said).items() if times >= _ENOUGH]


def _usual(said: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever they are
    """What is said most often; the newest among equals."""
    return max(reversed(said), key=said.count)
