"""Objects as a Zarr store: what zarr reads and writes goes through `S3Bucket` and its checks."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from obstore.exceptions import NotFoundError
from obstore.store import S3Store
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.buffer import default_buffer_prototype
from zarr.storage import ObjectStore

from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.s3.bucket import S3Bucket
from spacenet_cube.storage.s3.clients import client, patience
from spacenet_cube.storage.stores.shard_indexes import Indexes

_AT_ONCE = 8

_Span = tuple[int, int, int]
"""Start and end in bytes, and the number of who asked."""


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

    def get_ranges_sync(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        max_gap_bytes: int = 1 << 20,
        max_coalesced_bytes: int = 16 << 20,
    ) -> Sequence[tuple[int, Buffer | None]]:
        """Read many parts of an object, all at once; zarr's own way is one after the other.

        Parameters
        ----------
        key
            Of the object.
        byte_ranges
            The parts.
        prototype
            Kind of the buffers.
        max_gap_bytes
            Parts which are no farther apart are read as one.
        max_coalesced_bytes
            Most bytes that are read as one.

        Returns
        -------
        sequence of tuple of int and Buffer or None
            Number of the part in ``byte_ranges``, and its bytes.

        Raises
        ------
        ExceptionGroup
            Of FileNotFoundError, where there is no such object, as zarr's own way raises it.
        FAULTS
            If it cannot be read.
        """
        merged = _merged(byte_ranges, max_gap_bytes, max_coalesced_bytes)
        others = [k for k, one in enumerate(byte_ranges) if not isinstance(one, RangeByteRequest)]
        asked = [RangeByteRequest(start, stop) for start, stop, _ in merged]

        def get(one: ByteRequest | None) -> Buffer:
            found = self.get_sync(key, prototype=prototype, byte_range=one)
            if found is None:
                raise FileNotFoundError(key)
            return found

        try:
            found = _all_at_once(get, [*asked, *(byte_ranges[k] for k in others)])
        except FileNotFoundError as error:
            raise ExceptionGroup("no such object", [error]) from error
        parts = dict(zip(others, found[len(merged) :], strict=True))
        for (first, _, spans), whole in zip(merged, found[: len(merged)], strict=True):
            parts |= {k: whole[start - first : stop - first] for start, stop, k in spans}
        return list(parts.items())

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


def _merged(
    byte_ranges: Sequence[ByteRequest | None], max_gap_bytes: int, max_coalesced_bytes: int
) -> list[tuple[int, int, list[_Span]]]:
    """Start, end and spans of what is read as one."""
    found: list[tuple[int, int, list[_Span]]] = []
    for start, stop, number in sorted(
        (one.start, one.end, number)
        for number, one in enumerate(byte_ranges)
        if isinstance(one, RangeByteRequest)
    ):
        span = (start, stop, number)
        if found:
            first, last, spans = found[-1]
            end = max(last, stop)
            if start - last <= max_gap_bytes and end - first <= max_coalesced_bytes:
                found[-1] = first, end, [*spans, span]
                continue
        found.append((start, stop, [span]))
    return found


def _all_at_once[A, B](work: Callable[[A], B], what: Sequence[A]) -> list[B]:
    """The results in their order, by threads where there are several."""
    if len(what) <= 1:
        return [work(one) for one in what]
    with ThreadPoolExecutor(min(len(what), _AT_ONCE), "ranges") as pool:
        return list(pool.map(work, what))


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
