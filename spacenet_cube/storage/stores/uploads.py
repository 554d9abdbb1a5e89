"""Behind: objects go up while the task that made them goes on with the next ones."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self


class Behind:
    """Work that goes on behind a task, until that waits for it.

    Parameters
    ----------
    at_once
        How much of it is under way at most; who asks for more waits.

    Examples
    --------
    >>> done = []
    >>> with Behind(2) as behind:
    ...     for key in ("c/0/0", "c/0/1"):
    ...         behind.do(lambda key=key: done.append(key))
    ...     behind.wait()
    >>> sorted(done)
    ['c/0/0', 'c/0/1']
    """

    def __init__(self, at_once: int) -> None:
        self._at_once, self._under_way = at_once, deque[Future[None]]()
        self._pool = ThreadPoolExecutor(at_once, "behind")

    def do(self, work: Callable[[], None]) -> None:
        """Begin some work, as soon as there is room for it.

        Parameters
        ----------
        work
            What to do.

        Raises
        ------
        Exception
            What earlier work raised.
        """
        while len(self._under_way) >= self._at_once:
            self._under_way.popleft().result()
        self._under_way.append(self._pool.submit(work))

    def wait(self) -> None:
        """Wait until all of it is done.

        Raises
        ------
        Exception
            The first that some of it raised.
        """
        while self._under_way:
            self._under_way.popleft().result()

    def __enter__(self) -> Self:
        """Begin nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is under way."""
        self._pool.shutdown()
