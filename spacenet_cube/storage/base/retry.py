"""Retrying: a request is made again until it is answered, or it is plain that it will not be.

The waits double and are drawn at random, so that workers which failed together do not come
back together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
Each try ends by a timeout of its client, so the number of tries bounds the time.
"""

import random
import time
from collections.abc import Callable, Sequence

from spacenet_cube.storage.base.faults import FAULTS, is_expired, is_final

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 5.0

Renew = Callable[[], bool]
"""Asks for credentials anew; whether others than before were found."""


def persist[T](once: Callable[[], T], retries: int, what: str, renew: Renew | None = None) -> T:
    """Try until it works.

    Parameters
    ----------
    once
        One try; any of `FAULTS` is its failure.
    retries
        Tries after the first.
    what
        Name of the object, for the message of the last failure.
    renew
        Called where credentials have expired.  If it finds others the request is tried
        again; if it finds the same, once more, since a server may be wrong once.

    Returns
    -------
    T
        What the first try that worked gave.

    Raises
    ------
    FAULTS
        The last failure, which carries ``what``, tries and time as a note; or the first that
        no further try would mend.

    Examples
    --------
    >>> answers = iter([OSError("reset"), b"content"])
    >>> def once():
    ...     answer = next(answers)
    ...     if isinstance(answer, OSError):
    ...         raise answer
    ...     return answer
    >>> persist(once, 1, "an object")
    b'content'
    """
    begun, excused, turn = time.monotonic(), False, 0
    while True:
        try:
            return once()
        except FAULTS as error:
            if is_expired(error) and renew is not None:
                found = renew()
                if excused and not found:
                    raise
                excused = not found
            elif is_final(error):
                raise
            if turn == retries:
                error.add_note(f"{what}, {turn + 1} tries in {time.monotonic() - begun:.1f} s")
                raise
        time.sleep(_wait_s(turn))
        turn += 1


def _wait_s(turn: int) -> float:
    """Half of a wait that doubles is certain, half is drawn."""
    longest = min(_FIRST_WAIT_S * 2.0**turn, _LONGEST_WAIT_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret hangs on it


type Agree[T] = Callable[[Sequence[T]], T | None]
"""What readings come to, in the order they were made; None where another is needed."""


def seen_before[T](readings: Sequence[T]) -> T | None:
    """The last reading, where an earlier one is equal."""
    return readings[-1] if readings[-1] in readings[:-1] else None


def settle[T](
    read: Callable[[], tuple[T, bool]], retries: int, what: str, agree: Agree[T] = seen_before
) -> T:
    """Read until a reading is proven right, or readings agree.

    Parameters
    ----------
    read
        Gives a reading, and whether it is proven, by a digest or by the way it came.
    retries
        Readings after the two that are always allowed.
    what
        Name of the object.
    agree
        What the readings so far come to; two that are equal by default.

    Returns
    -------
    T
        The reading, or what some come to.

    Raises
    ------
    OSError
        If they come to nothing.

    Examples
    --------
    >>> readings = iter([b"abc", b"abd", b"abc"])
    >>> settle(lambda: (next(readings), False), 5, "an object")
    b'abc'
    """
    seen: list[T] = []
    for turn in range(retries + 2):
        found, proven = read()
        seen.append(found)
        common = found if proven else agree(seen)
        if common is not None:
            return common
        if turn:
            # Workers of a build that was cut off may still write there for some seconds.
            time.sleep(_wait_s(turn))
    raise OSError(
        f"no two of {len(seen)} readings of {what} agree, so its bytes are changed on the way, or "
        "somebody writes there; wait a moment, mend the network, or use https"
    )
