"""Objects as a Zarr store: what zarr reads and writes goes through `S3Bucket` and its checks."""

import asyncio
from collections.abc import Iterable
from typing import Any, Self

from obstore.exceptions import NotFoundError
from obstore.store import S3Store
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import ObjectStore

from spacenet_cube.core.access import StorageOptions
from spacenet_cube.storage.clients import client, patience
from spacenet_cube.storage.indexes import Indexes
from spacenet_cube.storage.s3 import S3Bucket


class WholeObjectStore(ObjectStore[S3Store]):
    """A Zarr store that writes a shard in one request, where obstore alone would make seven.

    It reads and writes synchronously too, as zarr's local store does, so that zarr encodes a
    shard the same way, byte for byte, wherever it goes.  Its pickle holds no secret.  One that
    only reads keeps the indexes of shards.

    Parameters
    ----------
    bucket
        The bucket.
    prefix
        Key that the store's own begin below.
    read_only
        Whether writing is refused.
    """

    def __init__(self, bucket: S3Bucket, prefix: str, *, read_only: bool = False) -> None:
        options = bucket.options
        lists = client(
            bucket.name,
            options,
            patience(options.timeout_s, 0),
            inner_retries=options.retries,
            prefix=prefix,
        )
        super().__init__(lists, read_only=read_only)
        self._bucket, self._prefix = bucket, prefix
        # Only who never writes may go by what was read before.
        self._indexes = Indexes() if read_only else None
        self.tags: dict[str, str | None] = {}
        """Tags that the server answered with, by key."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what describes the store, never an open connection with its credentials."""
        return _of, (self._bucket.name, self._bucket.options, self._prefix, self.read_only)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same place, reached in the same way."""
        return isinstance(other, WholeObjectStore) and self.__reduce__() == other.__reduce__()

    __hash__ = None  # type: ignore[assignment]

    def with_read_only(self, read_only: bool = False) -> Self:  # noqa: FBT001, FBT002 - zarr's
        """The same store, to read or to write."""
        return type(self)(self._bucket, self._prefix, read_only=read_only)

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        await asyncio.to_thread(self.set_sync, key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write an object."""
        self._check_writable()
        self.tags[key] = self._bucket.write(self._key(key), value.as_buffer_like())

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read an object or a part of it; None where there is none."""
        return await asyncio.to_thread(
            self.get_sync, key, prototype=prototype, byte_range=byte_range
        )

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read an object or a part of it; None where there is none."""

        def read() -> Any:  # noqa: ANN401 - obstore's bytes
            return self._bucket.read(self._key(key), _asked(byte_range))

        try:
            if self._indexes is not None and isinstance(byte_range, SuffixByteRequest):
                content = self._indexes.get(key, byte_range.suffix, read)
            else:
                content = read()
        except (FileNotFoundError, NotFoundError):
            return None
        return (prototype or default_buffer_prototype()).buffer.from_bytes(memoryview(content))

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Read parts of objects."""
        wanted = (self.get(key, prototype, byte_range) for key, byte_range in key_ranges)
        return list(await asyncio.gather(*wanted))

    async def exists(self, key: str) -> bool:
        """Whether an object is there."""
        return await self.get(key, byte_range=RangeByteRequest(0, 1)) is not None

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        await asyncio.to_thread(self.delete_sync, key)

    def delete_sync(self, key: str) -> None:
        """Remove an object, if it is there."""
        self._check_writable()
        self._bucket.delete([self._key(key)])


def _of(name: str, options: StorageOptions, prefix: str, read_only: bool) -> WholeObjectStore:  # noqa: FBT001 - a pickle's
    return WholeObjectStore(S3Bucket(name, options), prefix, read_only=read_only)


def _asked(byte_range: ByteRequest | None) -> Any:  # noqa: ANN401 - obstore has a form for each
    """A range as obstore takes it; None for the whole."""
    match byte_range:
        case RangeByteRequest():
            return (byte_range.start, byte_range.end)
        case OffsetByteRequest():
            return {"offset": byte_range.offset}
        case SuffixByteRequest():
            return {"suffix": byte_range.suffix}
    return None
