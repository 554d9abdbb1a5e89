"""Patterns: which keys a recipe's pattern names, in a time that grows with their lengths alone.

Pure.  ``*``, ``?`` and ``[...]`` stay within a folder, ``**`` between slashes is any number of
folders.  A pattern is matched part by part: as one regular expression, a dozen stars against
a long name of one letter would take for ever.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

_ANY = "**"


def matches(key: str, pattern: str) -> bool:
    """Whether a pattern names a key.

    Parameters
    ----------
    key
        Path relative to the source.
    pattern
        As the recipe has it.

    Returns
    -------
    bool
        True where the whole key is named.

    Examples
    --------
    >>> [matches(key, "a/**/*.tif") for key in ("a/b.tif", "a/b/c/d.tif", "b.tif")]
    [True, True, False]
    """
    parts = _parts(pattern)
    open_at = _past_any(parts, {0})
    for part in key.split("/"):
        open_at = _past_any(parts, _after(parts, open_at, part))
        if not open_at:
            return False
    return len(parts) in open_at


@lru_cache(maxsize=256)
def _parts(pattern: str) -> tuple[str, ...]:
    found = tuple(pattern.split("/"))
    # At the end it stands for whatever lies in the folder, never for the folder's own name.
    return (*found, "*") if found[-1] == _ANY else found


def _after(parts: Sequence[str], open_at: set[int], part: str) -> set[int]:
    """Places in the pattern after one part of the key, from those before it."""
    found = set()
    for at in open_at:
        if at == len(parts):
            continue
        if parts[at] == _ANY:
            found.add(at)
        elif fnmatchcase(part, parts[at]):
            found.add(at + 1)
    return found


def _past_any(parts: Sequence[str], open_at: set[int]) -> set[int]:
    """The same places, and those after a ``**`` that stands for no folder."""
    found = set(open_at)
    for at in open_at:
        past = at
        while past < len(parts) and parts[past] == _ANY:
            past += 1
            found.add(past)
    return found
