"""Trust: which workers of a cluster are given tasks, after some tasks failed there.

Pure.  A worker that does not see the sources, or whose disk is full, fails at once and is free
again at once, so it would take most tasks.  While a task that failed on it is tried elsewhere it
gets nothing; and it gets nothing more after tasks succeeded elsewhere that failed on it.
"""

from collections import Counter
from collections.abc import Hashable, Iterable

STRIKES = 2
"""Tasks that failed on a worker and succeeded elsewhere, after which it gets no more."""


class Trust:
    """What is known of workers from tasks that failed.

    Examples
    --------
    >>> trust = Trust()
    >>> trust.failed("unit-1", "a")
    >>> trust.among(["a", "b"]), trust.among(["a"])
    (['b'], ['a'])
    >>> trust.succeeded("unit-1")
    >>> trust.among(["a", "b"])
    ['a', 'b']
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, set[str]] = {}
        self._strikes = Counter[str]()

    def failed(self, task: Hashable, worker: str) -> None:
        """Note that a task failed on a worker, and is tried elsewhere."""
        self._open.setdefault(task, set()).add(worker)

    def succeeded(self, task: Hashable) -> None:
        """Note that a task is done: where it failed before, the worker was at fault."""
        self._strikes.update(self._open.pop(task, ()))

    def among(self, workers: Iterable[str]) -> list[str]:
        """Those of some workers that are given tasks; all where none is without a fault."""
        listed = list(workers)
        doubted = set[str]().union(*self._open.values())
        good = [w for w in listed if w not in doubted and self._strikes[w] < STRIKES]
        return good or listed
