"""Drafts: the next version of a cube, on a branch that no reader looks at.

Each task writes to a fork of its own, which is merged when the task is done; so what a task
that failed has written is nowhere.  What is merged is saved from time to time by amending the
branch's one commit, and `main` is moved there at the end.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from zarr.abc.store import Store

from spacenet_cube.compat import sync
from spacenet_cube.storage.base.entries import Entry
from spacenet_cube.storage.durable import entries, settle
from spacenet_cube.storage.icechunk.files import DraftStore, VersionStore, put, sizes
from spacenet_cube.storage.icechunk.repository import (
    Repository,
    RepositoryError,
    faults_told,
    library,
)
from spacenet_cube.storage.icechunk.version import MAIN
from spacenet_cube.storage.location import Location


class Fork:
    """What one task writes.

    Parameters
    ----------
    session
        A fork of icechunk's.
    reads
        What it reads.
    """

    def __init__(self, session: Any, reads: Store) -> None:  # noqa: ANN401 - icechunk is an extra
        self.session, self.store = session, DraftStore(session.store, reads)


class Draft:
    """A version that is being made.

    Parameters
    ----------
    cube
        A versioned cube.
    repository
        Its repository.
    branch
        The branch it is made on; it is there.

    Raises
    ------
    RepositoryError
        If the store fails.
    """

    def __init__(self, cube: Location, repository: Repository, branch: str) -> None:
        self.cube, self.branch, self._repository = cube, branch, repository
        self._lock, self._settled = threading.Lock(), set[str]()
        with faults_told():
            # Forks carry nothing but what their task writes.
            self._clean = repository.inner.writable_session(branch)
            self._live = repository.inner.writable_session(branch)
            self.base = repository.inner.lookup_branch(MAIN)

    def fork(self) -> Fork:
        """What a task writes to; it reads what is merged by now."""
        with faults_told(), self._lock:
            return Fork(self._clean.fork(), VersionStore(self._live.store))

    def merge(self, fork: Fork) -> None:
        """Take in what a task has written.

        Raises
        ------
        RepositoryError
            If it cannot be.
        """
        with faults_told(), self._lock:
            self._live.merge(fork.session)

    def entries(self) -> dict[str, Entry]:
        """Every object of the draft as it is now."""
        with self._lock:
            return {key: Entry(size) for key, size in sizes(self._live.store).items()}

    def put(self, documents: Mapping[str, bytes]) -> None:
        """Write documents, those of groups before those below them."""
        with self._lock:
            for key in sorted(documents, key=lambda key: key.count("/")):
                put(self._live.store, key, documents[key])

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects."""
        with faults_told(), self._lock:
            for key in keys:
                sync(self._live.store.delete(key))

    def clear(self) -> None:
        """Begin with nothing, and not with the version before."""
        with faults_told(), self._lock:
            self._live.store.sync_clear()

    def begin(self, message: str) -> None:
        """Make the branch's one commit, which is amended from now on.

        Raises
        ------
        RepositoryError
            If the store refuses or fails.
        """
        with faults_told(), self._lock:
            self.cube.check()
            self._live.commit(message, allow_empty=True)
            self._open_again()

    def save(self, message: str, facts: Mapping[str, Any] | None = None) -> str:
        """Make what is merged durable.

        Returns
        -------
        str
            The snapshot that holds it.

        Raises
        ------
        RepositoryError
            If the store refuses or fails, or another works on the branch too.
        """
        with faults_told(), self._lock:
            self.cube.check()
            try:
                held = self._live.amend(message, metadata=dict(facts or {}), allow_empty=True)
            except library().RefNotFoundError as error:
                raise RepositoryError(
                    "another builder has taken over, and removed the branch of this one"
                ) from error
            self._open_again()
        self._settle()
        return held

    def _open_again(self) -> None:
        self._live = self._repository.inner.writable_session(self.branch)
        self._clean = self._repository.inner.writable_session(self.branch)

    def _settle(self) -> None:
        """Put what is new of a local repository on the disk."""
        place = self.cube.plain
        if not place.is_local:
            return
        # A name with # is that of a file which another task is writing; it gets its own later.
        new = {key for key in entries(place) if "#" not in key and key not in self._settled}
        settle(place, sorted(new))
        self._settled |= new - {"repo"}

    def publish(self, snapshot: str) -> None:
        """Let readers see a snapshot of the draft, if none was published meanwhile.

        Raises
        ------
        MovedError
            If one was.
        RepositoryError
            If the store fails.
        """
        self.cube.check()
        self._repository.move(snapshot, self.base)
        self._settle()
