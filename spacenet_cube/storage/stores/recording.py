"""Recording: a Zarr store that remembers what passes through it to be stored."""

import hashlib
import threading
from collections.abc import Callable

from zarr.abc.buffer import Buffer
from zarr.abc.store import Store
from zarr.storage import WrapperStore

from spacenet_cube.storage.base.entries import Written
from spacenet_cube.storage.stores.uploads import Behind


def _go_on() -> None:
    """Nothing is against it."""


class RecordingStore(WrapperStore[Store]):
    """A store that digests each object as it is written, before it leaves.

    It reads and writes synchronously where the store that it wraps does, so that zarr encodes
    shards the same way, byte for byte.

    Parameters
    ----------
    store
        Where objects go.
    check
        Called before each is written; what it raises ends the writing.
    behind
        Stores them while the caller goes on, who waits for it before counting on them.
    """

    def __init__(
        self, store: Store, check: Callable[[], None] = _go_on, behind: Behind | None = None
    ) -> None:
        super().__init__(store)
        self._check, self._behind = check, behind
        self._written: dict[str, tuple[int, str]] = {}
        self._lock = threading.Lock()

    @property
    def written(self) -> tuple[Written, ...]:
        """Every object written so far, by key; the last writing counts."""
        tags = getattr(self._store, "tags", {})
        with self._lock:
            held = sorted(self._written.items())
        return tuple(Written(key, size, digest, tags.get(key)) for key, (size, digest) in held)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        noted = _described(value)
        self._check()
        await super().set(key, value)
        self._note(key, noted)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write an object, or have it written."""
        self._check()
        if self._behind is None:
            self._store_now(key, value)
        else:
            self._behind.do(lambda: self._store_now(key, value))

    def _store_now(self, key: str, value: Buffer) -> None:
        noted = _described(value)
        # It may have waited for its turn since it was handed in.
        self._check()
        super().set_sync(key, value)
        self._note(key, noted)

    def _note(self, key: str, noted: tuple[int, str]) -> None:
        with self._lock:
            self._written[key] = noted


def _described(value: Buffer) -> tuple[int, str]:
    content = memoryview(value.as_buffer_like())
    return content.nbytes, hashlib.sha256(content).hexdigest()
