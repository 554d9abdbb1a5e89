"""Pace: how fast objects go up, learnt from those that did.

A stalled PUT is told from a slow one by what the bucket did before: AWS advises to track the
throughput that is achieved and to try the slowest requests again
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-guidelines.html).
"""

import threading
from collections import deque

SLOWEST_BYTES_S = 256 << 10
"""Under this a connection counts as stalled, whatever is known of it."""

_GUESS_BYTES_S = 16 << 20
_KEPT, _ENOUGH = 32, 4
_MARGIN = 2


class Pace:
    """The slowest of the last uploads; threads may share one.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.bytes_s
    16777216
    >>> for _ in range(4):
    ...     pace.note(64 << 20, seconds=1.0)
    >>> pace.bytes_s
    33554432
    """

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def note(self, size_bytes: int, seconds: float) -> None:
        """Remember an upload that was answered."""
        with self._lock:
            self._rates.append(size_bytes / max(seconds, 1e-6))

    @property
    def bytes_s(self) -> int:
        """Bytes a second that any upload is good for: half of the slowest of the last ones.

        Until enough were seen it is a guess; where that is wrong, no more is lost than a few
        tries of each of these few.
        """
        with self._lock:
            if len(self._rates) < _ENOUGH:
                return _GUESS_BYTES_S
            slowest = min(self._rates)
        return max(SLOWEST_BYTES_S, int(slowest / _MARGIN))


class Easing:
    """Pace that the tries of one object are held to: half of it after each that ran out of time.

    Parameters
    ----------
    pace
        Of all objects.

    Examples
    --------
    >>> easing = Easing(Pace())
    >>> for _ in range(6):
    ...     easing.ran_out()
    >>> easing.bytes_s == SLOWEST_BYTES_S
    True
    """

    def __init__(self, pace: Pace) -> None:
        self._pace, self._halvings = pace, 0

    @property
    def bytes_s(self) -> int:
        """Bytes a second that the next try is good for."""
        return max(SLOWEST_BYTES_S, self._pace.bytes_s >> self._halvings)

    def ran_out(self) -> None:
        """Note that a try was given up for want of time."""
        self._halvings += 1
