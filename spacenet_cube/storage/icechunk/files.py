"""One version of a cube, as a Zarr store and as files.

A version is a snapshot, which never changes; so whoever has one open goes on reading it while
another is published.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from fsspec import AbstractFileSystem
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.buffer import cpu, default_buffer_prototype
from zarr.storage import WrapperStore

from spacenet_cube.compat import SynchronousStore, sync
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.icechunk.repository import (
    GUARD,
    Repository,
    RepositoryError,
    faults_told,
)

_DOCUMENT = "zarr.json"


class LostError(RepositoryError, FileNotFoundError, ValueError):
    """An object that a version has is gone from its repository."""


@contextmanager
def _losses_told(key: str) -> Iterator[None]:
    """Tell a chunk that is lost from faults of the store.

    Raises
    ------
    LostError
        If it is lost.
    RepositoryError
        If the store fails.
    """
    try:
        with faults_told():
            yield
    except RepositoryError as error:
        lost = getattr(error.__cause__, "kind", None) == "object-not-found"
        if not lost or key.endswith(_DOCUMENT):
            raise
        raise LostError(f"{key} is gone from the repository") from error


class VersionStore(WrapperStore[Store]):
    """A Zarr store of icechunk's whose faults are among the faults of storage.

    In a forked process it refuses to read or write: icechunk would wait for ever.

    Parameters
    ----------
    store
        Of icechunk.
    name
        What it is called in messages.
    """

    def __init__(self, store: Store, name: str = "a version") -> None:
        super().__init__(store)
        self._name = name

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._name)

    def __str__(self) -> str:
        """Its address."""
        return self._name

    def __repr__(self) -> str:
        """Its address."""
        return f"<{type(self).__name__} of {self._name}>"

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object or a part of it; None where there is none."""
        GUARD.check(self._name)
        with _losses_told(key):
            return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        GUARD.check(self._name)
        with faults_told():
            await super().set(key, value)

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        GUARD.check(self._name)
        with faults_told():
            await super().delete(key)


class DraftStore(SynchronousStore, VersionStore):
    """What a task writes through: it reads one state of a cube, and writes to another.

    It reads and writes synchronously too, as zarr's local store does, so that zarr encodes a
    shard the same way, byte for byte, wherever it goes.

    Parameters
    ----------
    store
        Where objects go.
    reads
        Where they are read from; by default where they go.
    """

    def __init__(self, store: Store, reads: Store | None = None) -> None:
        super().__init__(store)
        self._reads = reads

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object or a part of it; None where there is none."""
        if self._reads is None:
            return await super().get(key, prototype, byte_range)
        return await self._reads.get(key, prototype, byte_range)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read an object or a part of it; None where there is none."""
        return sync(self.get(key, prototype or default_buffer_prototype(), byte_range))

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write an object."""
        sync(self.set(key, value))

    def delete_sync(self, key: str) -> None:
        """Remove an object, if it is there."""
        sync(self.delete(key))


def sizes(store: Store) -> dict[str, int]:
    """Every object of a version by key, and its size in bytes.

    Parameters
    ----------
    store
        Of icechunk.

    Returns
    -------
    dict of str to int
        Sizes come from the repository's own tables; no object is asked for.

    Raises
    ------
    RepositoryError
        If the store fails.
    """
    with faults_told():
        return sync(_sizes(store))


async def _sizes(store: Any) -> dict[str, int]:  # noqa: ANN401 - icechunk is an extra
    found: dict[str, int] = {}
    async for key in store.list():
        if key.rpartition("/")[2] == _DOCUMENT:
            found[key] = await store.getsize(key)
    for key in [key for key in found if b'"array"' in await _content(store, key)]:
        path = key.removesuffix(_DOCUMENT).strip("/")
        async for chunk, size in _chunks(store, path):
            found["/".join((path, "c", *chunk))] = size
    return found


async def _content(store: Store, key: str) -> bytes:
    held = await store.get(key, default_buffer_prototype())
    return b"" if held is None else held.to_bytes()


async def _chunks(store: Any, path: str) -> AsyncIterator[tuple[tuple[str, ...], int]]:  # noqa: ANN401
    async for places, _kinds, _paths, _offsets, lengths, _inlined in store.array_chunk_iterator(
        path
    ):
        for place, length in zip(places.tolist(), lengths.tolist(), strict=True):
            yield tuple(map(str, place)), int(length)


def put(store: Store, key: str, content: bytes) -> None:
    """Write an object.

    Raises
    ------
    RepositoryError
        If the store refuses or fails.
    """
    with faults_told():
        sync(store.set(key, cpu.Buffer.from_bytes(content)))


class VersionFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """The objects of one version as files, to be read and listed and no more.

    Parameters
    ----------
    place
        Absolute path or URL of the repository.
    options
        How it is reached.
    version
        Tag, branch, snapshot or time; None for the newest.

    Raises
    ------
    FileNotFoundError
        If there is no repository.
    RepositoryError
        If the store fails.
    StoreError
        If there is no such version.
    """

    cachable = False
    root_marker = "/"

    def __init__(self, place: str, options: StorageOptions, version: str | None) -> None:
        super().__init__()
        repository = Repository(place, options)
        self.snapshot = repository.snapshot(version)
        with faults_told():
            self.store = repository.inner.readonly_session(snapshot_id=self.snapshot).store

    def _sizes(self) -> Mapping[str, int]:
        if not hasattr(self, "_held"):
            self._held = sizes(self.store)
        return self._held

    def find(self, path: str, **asked: Any) -> Any:  # noqa: ANN401 - as fsspec has it
        """Every object below a path, with its size where that is asked for."""
        base = path.rstrip("/") + "/"
        found = {
            f"/{key}": {"name": f"/{key}", "size": size, "type": "file"}
            for key, size in sorted(self._sizes().items())
            if f"/{key}".startswith(base) or f"/{key}" == path
        }
        return found if asked.get("detail") else list(found)

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:  # noqa: ANN401, FBT001, FBT002
        """Objects and folders right below a path."""
        base, found = path.rstrip("/") + "/", {}
        for name, info in self.find(path, detail=True).items():
            head, below, _rest = name.removeprefix(base).partition("/")
            folder = {"name": f"{base}{head}", "size": 0, "type": "directory"}
            found[f"{base}{head}"] = folder if below else info
        return list(found.values()) if detail else list(found)

    def info(self, path: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        """Size and kind of an object or folder."""
        size = self._sizes().get(path.strip("/"))
        if size is not None:
            return {"name": path, "size": size, "type": "file"}
        if self.find(path):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of an object, or of a part of it."""
        part = None if start is None or end is None else RangeByteRequest(start, end)
        with _losses_told(path):
            held = sync(self.store.get(path.strip("/"), default_buffer_prototype(), part))
        if held is None:
            raise FileNotFoundError(path)
        return held.to_bytes()
