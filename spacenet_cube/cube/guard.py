"""Guarding: arrays of a cube that say what to do when a chunk of them is missing or damaged.

Zarr raises in either case, in the words of its codecs.  Those who read a cube through dask
need to know which cube it was, and what finds the rest of the damage.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import xarray as xr
from xarray.backends import ZarrStore
from zarr.errors import BaseZarrError

from spacenet_cube.compat import LazilyIndexedArray, ZarrArrayWrapper
from spacenet_cube.errors import StoreError

_DAMAGE = (BaseZarrError, ValueError, RuntimeError, BufferError)


class GuardedStore(ZarrStore):
    """A Zarr group whose arrays raise `StoreError` where a chunk is missing or damaged."""

    def open_store_variable(self, name: str) -> xr.Variable:
        """Open one of the arrays."""
        found = super().open_store_variable(name)  # type: ignore[no-untyped-call]
        guarded = LazilyIndexedArray(GuardedArray(self.members[name]))
        return xr.Variable(found.dims, guarded, found.attrs, found.encoding, fastpath=True)


class GuardedArray(ZarrArrayWrapper):
    """A Zarr array that says what to do when a chunk of it is missing or damaged."""

    __slots__ = ("origin",)

    def __init__(self, zarr_array: Any) -> None:  # noqa: ANN401 - a zarr array
        super().__init__(zarr_array)  # type: ignore[no-untyped-call]
        self.origin: Any = None

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - any indexer of xarray
        """Read pixels."""
        with _told(self._array):
            return super().__getitem__(key)  # type: ignore[no-untyped-call]

    async def async_getitem(self, key: Any) -> Any:  # noqa: ANN401 - as above
        """Read pixels, without waiting."""
        with _told(self._array):
            return await super().async_getitem(key)  # type: ignore[no-untyped-call]


@contextmanager
def _told(array: Any) -> Iterator[None]:  # noqa: ANN401 - a zarr array
    try:
        yield
    except _DAMAGE as error:
        where = str(array.store_path)
        cube = where.removesuffix(array.path).rstrip("/").removeprefix("file://")
        said = " ".join(str(error).split())[:300]
        raise StoreError(
            f"a chunk of {array.path} of {cube} is missing or damaged ({type(error).__name__}: "
            f"{said}); run 'spacenet-cube verify {cube}', which names every fault, and then "
            "'spacenet-cube repair'"
        ) from error
