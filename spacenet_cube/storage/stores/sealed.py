"""Reading: a Zarr store over fsspec that pickles without a secret.

It may end in a dask graph, which goes to a scheduler, workers and their logs.
"""

import os
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest
from zarr.storage import FsspecStore

from spacenet_cube.storage.base.forks import refuse_inherited
from spacenet_cube.storage.base.secrets import sealed, unsealed

_COPIED = "memory:"
"""A fork copies objects in memory, and needs no connection for them."""


class SealedStore(FsspecStore):
    """A store to read from; its pickle holds the address, and no credentials.

    Unpickled in the process that made it, it is as it was.  Elsewhere its credentials are
    resolved by the usual AWS chain: environment, profile, role.
    """

    origin: tuple[str, dict[str, Any]] | None = None
    """URL and all arguments of the filesystem; set by `sealed_store`."""

    process: int
    """The process that opened it."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what describes the store."""
        assert self.origin is not None
        url, arguments = self.origin
        return _reopened, (url, *sealed(arguments))

    def with_read_only(self, read_only: bool = False) -> "SealedStore":  # noqa: FBT001, FBT002 - zarr's
        """The same store, writable or not."""
        assert self.origin is not None
        return sealed_store(*self.origin, read_only=read_only)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object or a part of it; None where there is none.

        Raises
        ------
        StoreError
            If the store was opened before this process was forked.
        """
        if self.process != os.getpid() and self.origin and not self.origin[0].startswith(_COPIED):
            refuse_inherited(self.origin[0])
        return await super().get(key, prototype, byte_range)


def sealed_store(url: str, arguments: dict[str, Any], *, read_only: bool = True) -> SealedStore:
    """Make such a store.

    Parameters
    ----------
    url
        Where it is.
    arguments
        Keyword arguments of the fsspec filesystem, secrets included.
    read_only
        Whether it may be written to.

    Returns
    -------
    SealedStore
        Nothing is opened yet.
    """
    made = SealedStore.from_url(url, storage_options=arguments, read_only=read_only)
    assert isinstance(made, SealedStore)
    made.origin, made.process = (url, arguments), os.getpid()
    return made


def _reopened(url: str, options: dict[str, Any], ticket: tuple[int, int]) -> SealedStore:
    found = unsealed(options, ticket)
    return sealed_store(url, dict(found or {}) if found is not None else {})
