"""The desk: where tasks of a versioned build put what they wrote, and who saves it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.records import Record
from spacenet_cube.builds.unit.task import Recording, both, record_of
from spacenet_cube.builds.versioned.draft import Draft
from spacenet_cube.errors import CubeExistsError, StoreError
from spacenet_cube.storage.base.entries import Stored
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.icechunk.repository import MovedError
from spacenet_cube.storage.location import Location

_SHARE, _DEAR_S = 10, 1.0

UNFINISHED = "an unfinished build"
"""Message of what is saved before it is published."""


@contextmanager
def in_words(cube: Location, what: str) -> Iterator[None]:
    """Tell a fault in words.

    Parameters
    ----------
    cube
        Where it is met.
    what
        What cannot be done to the cube then.

    Raises
    ------
    CubeExistsError
        If another version was published meanwhile.
    StoreError
        If the store refuses or fails.
    """
    try:
        yield
    except MovedError as error:
        raise CubeExistsError(
            f"another version of {cube.url} was published meanwhile, so this one is not; run the "
            "same command again to build on top of that one"
        ) from error
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} cannot be {what}: {cube.told(error)}; mend the store, then run the same "
            "command again"
        ) from error


class Desk:
    """Where finished tasks are put, and saved, each with its record.

    Saving writes a few small objects however many tasks it saves, so those that finish while
    another is saved are saved together.  The repository's tables grow with the cube: where
    saving takes over a second, it is done so seldom that it takes a tenth of the time.

    Parameters
    ----------
    draft
        What tasks write to.
    ledger
        Where their records go.
    """

    def __init__(self, draft: Draft, ledger: Ledger) -> None:
        self._draft, self._ledger = draft, ledger
        self._waiting: list[Record] = []
        self._saving, self._next_s = threading.Lock(), 0.0

    @contextmanager
    def recorded(
        self,
        cube: Location,
        name: str,
        inputs: str,
        check: Callable[[], None] = lambda: None,
        held: tuple[Stored, ...] = (),
    ) -> Iterator[Recording]:
        """Take what is written in a block into the draft; its record is stored once it is saved.

        Parameters
        ----------
        cube
            Where the cube is, for messages.
        name
            Name of the task.
        inputs
            Digest of what it is made from.
        check
            Called before each object is written; what it raises ends the task.
        held
            Objects that are there already, which the record tells of too.

        Yields
        ------
        Recording
            To write through; its ``record`` is there afterwards.

        Raises
        ------
        StoreError
            If the target refuses or fails.
        """
        with in_words(cube, "written"):
            fork = self._draft.fork()
        store = Recording(fork.store, both(check, self._draft.cube.check))
        yield store
        store.record = record_of(name, inputs, store.written, held)
        with in_words(cube, "written"):
            self._draft.merge(fork)
        self._waiting.append(store.record)
        if time.monotonic() >= self._next_s:
            self.save()

    def save(self) -> None:
        """Save what is finished.

        Raises
        ------
        StoreError
            If the target refuses or fails.
        """
        with self._saving:
            start_s = time.monotonic()
            ready, self._waiting = self._waiting, []
            if not ready:
                return
            with in_words(self._draft.cube, "written"):
                self._draft.save(UNFINISHED)
            for record in ready:
                self._ledger.record(record)
            end_s = time.monotonic()
            took_s = end_s - start_s
            self._next_s = end_s + (_SHARE * took_s if took_s > _DEAR_S else 0)
