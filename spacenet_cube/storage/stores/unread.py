"""Unread: a Zarr store to write whole shards through, whatever lies there."""

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.storage import WrapperStore


class UnreadStore(WrapperStore[Store]):
    """A store in which nothing is found, so that what is written never hangs on what was there.

    zarr reads a shard at the edge of an array before it writes all of it that lies within: a
    request more, and an error where a build that was cut off left half of one.
    """

    async def get(
        self,
        key: str,  # noqa: ARG002 - zarr's
        prototype: BufferPrototype | None = None,  # noqa: ARG002 - zarr's
        byte_range: ByteRequest | None = None,  # noqa: ARG002 - zarr's
    ) -> Buffer | None:
        """Find nothing."""
        return None

    def get_sync(
        self,
        key: str,  # noqa: ARG002 - zarr's
        *,
        prototype: BufferPrototype | None = None,  # noqa: ARG002 - zarr's
        byte_range: ByteRequest | None = None,  # noqa: ARG002 - zarr's
    ) -> Buffer | None:
        """Find nothing."""
        return None
