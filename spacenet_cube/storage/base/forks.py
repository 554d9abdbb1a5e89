"""Forks: what a forked process inherits from its parent and cannot use.

A fork copies memory, and of the threads only the one that called it.  Clients whose requests
run in other threads (obstore, icechunk, the asynchronous filesystems of fsspec) would wait for
ever, so they are refused by name.  Local files need no such thread.
"""

import os
from typing import NoReturn

from spacenet_cube.errors import StoreError

_IS_FORKED = [False]


class ForkGuard:
    """Refuses a library in a process that was forked from one that had used the library."""

    def __init__(self) -> None:
        self._used = False
        self._inherited = False
        os.register_at_fork(after_in_child=self._note_fork)

    def use(self, url: str) -> None:
        """Note that this process uses the library.

        Parameters
        ----------
        url
            What is reached, for the message.

        Raises
        ------
        StoreError
            If the process inherited the library's threads by a fork.
        """
        self.check(url)
        self._used = True

    def check(self, url: str) -> None:
        """Refuse what was opened before the fork.

        Raises
        ------
        StoreError
            If the process inherited the library's threads by a fork.
        """
        if self._inherited:
            refuse_inherited(url)

    def _note_fork(self) -> None:
        self._inherited = self._used


def refuse_inherited(url: str) -> NoReturn:
    """Refuse to use a connection that a parent process opened.

    Parameters
    ----------
    url
        What is reached, for the message.

    Raises
    ------
    StoreError
        Always.
    """
    raise StoreError(
        f"{url} cannot be used in this process, which was forked from one that had it or its like "
        "open: connections do not survive a fork, so it would wait for ever; start processes by "
        "'spawn' or 'forkserver', such as DataLoader(..., multiprocessing_context='spawn'), or "
        "use threads"
    )


def is_forked() -> bool:
    """Whether this process was forked after the package was imported.

    Such a process has one thread; a Dask client or a pool that its parent had does not answer.
    """
    return _IS_FORKED[0]


def _note_fork() -> None:
    _IS_FORKED[0] = True


os.register_at_fork(after_in_child=_note_fork)
