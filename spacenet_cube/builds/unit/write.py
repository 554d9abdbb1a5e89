"""Writing: blocks of pixels into the arrays of a cube, whole shards at a time.

The arrays are made from the plan's documents, which are not stored yet.  So a cube that
is being written has no metadata at all, and nothing can open it by mistake.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import StorePath

from spacenet_cube.errors import StoreError
from spacenet_cube.format.levels import level_name
from spacenet_cube.plans.documents import ArraySpec, coordinate_arrays, pixel_arrays
from spacenet_cube.plans.plan import Plan
from spacenet_cube.raster.grid import Block, blocks
from spacenet_cube.raster.pixels import Pixels
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.stores.settings import array_settings
from spacenet_cube.storage.stores.unread import UnreadStore

Numbers = npt.NDArray[Any]
"""Pixels or scene numbers."""

_WRITERS = 8


@dataclass(frozen=True, slots=True, eq=False)
class LevelArrays:
    """The two large arrays of a level, ready to be read and written."""

    image: zarr.Array[Any]
    """Shape (band, y, x)."""

    source_index: zarr.Array[Any]
    """Shape (y, x)."""

    shard_px: int
    """Edge of a shard, pixels."""

    cube: Location
    """The cube they are of."""

    def write(self, block: Block, pixels: Pixels) -> None:
        """Write a block, shard by shard, so that one encoded shard is held at a time.

        Parameters
        ----------
        block
            Pixels of the level; it starts on a shard and ends on one or at the edge.
        pixels
            Of that block: image (band, y, x) and source_index (y, x).

        Raises
        ------
        StoreError
            If the store refuses or fails.
        """
        try:
            for part in blocks((block.height, block.width), self.shard_px):
                rows, cols = part.yx
                there = Block(block.row + part.row, block.col + part.col, part.height, part.width)
                self.image[:, *there.yx] = pixels.image[:, rows, cols]
                self.source_index[there.yx] = pixels.source_index[rows, cols]
        except FAULTS as error:
            raise StoreError(
                f"writing rows {block.row}+{block.height}, columns {block.col}+{block.width} of "
                f"{self.cube.url} failed: {self.cube.told(error)}; free space or mend the store, "
                "then run the same command again"
            ) from error

    def renumber(self, block: Block, numbers: Sequence[int]) -> None:
        """Give the scenes of a block other numbers, shard by shard.

        Parameters
        ----------
        block
            Pixels of the level; it starts on a shard and ends on one or at the edge.
        numbers
            New number by old one, from 0, which stays 0.

        Raises
        ------
        StoreError
            If the store refuses or fails, or a chunk is missing or damaged.
        """
        table = np.array(numbers, self.source_index.dtype)
        for part in blocks((block.height, block.width), self.shard_px):
            there = Block(block.row + part.row, block.col + part.col, part.height, part.width)
            try:
                old = np.empty((there.height, there.width), self.source_index.dtype)
                self._decode(self.source_index, there.yx, old)
                self.source_index[there.yx] = table[old]
            except (*FAULTS, ValueError, RuntimeError, zarr.errors.BaseZarrError) as error:
                raise StoreError(
                    f"renumbering {there} of {self.source_index.store_path} failed: {error}; "
                    "run the same command again"
                ) from error

    def read(self, block: Block, out: Pixels) -> None:
        """Read a block back.

        Parameters
        ----------
        block
            Pixels of the level.
        out
            Where to put them, of the block's size: image (band, y, x) and source_index (y, x).

        Raises
        ------
        StoreError
            If a chunk is missing or damaged.
        """
        try:
            self._decode(self.image, (slice(None), *block.yx), out.image)
            self._decode(self.source_index, block.yx, out.source_index)
        except (*FAULTS, ValueError, RuntimeError, zarr.errors.BaseZarrError) as error:
            raise StoreError(
                f"reading {block} of {self.image.path} back from {self.cube.url} failed: "
                f"{self.cube.told(error)}; run the same command again"
            ) from error

    def _decode(self, array: zarr.Array[Any], place: tuple[slice, ...], out: Numbers) -> None:
        """Read, and again where a chunk's check sum fails, which the way here may have caused."""
        buffer = default_buffer_prototype().nd_buffer.from_ndarray_like(out)
        for _ in range(0 if self.cube.is_local else self.cube.options.retries):
            with suppress(ValueError, RuntimeError):
                array.get_basic_selection(place, out=buffer)
                return
        array.get_basic_selection(place, out=buffer)


def _array(store: Store, path: str, spec: ArraySpec) -> zarr.Array[Any]:
    """An array on a store that does not hold its metadata."""
    with array_settings():
        return zarr.Array.from_dict(StorePath(store, path), spec.document())


def level_arrays(
    plan: Plan, level: int, cube: Location, store: Store | None = None, *, anew: bool = False
) -> LevelArrays:
    """Open the large arrays of a level for reading and writing.

    Parameters
    ----------
    plan
        Its documents say what the arrays are.
    level
        0 for the native level, n for the n-th overview.
    cube
        Where the cube is.
    store
        What is written through, where what is written is to be recorded.
    anew
        Whether whole blocks are written, and nothing is read: what lies there does not matter.

    Returns
    -------
    LevelArrays
        No metadata is read or written.
    """
    through = cube.store() if store is None else store
    through = UnreadStore(through) if anew else through
    opened = {
        name: _array(through, _path(level, name), spec)
        for name, spec in pixel_arrays(plan, level).items()
    }
    return LevelArrays(shard_px=plan.product.encoding.shard, cube=cube, **opened)


def write_coordinates(plan: Plan, cube: Location, store: Store) -> None:
    """Write the small arrays of every level: band, y, x, spatial_ref, wavelength, fwhm.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    store
        What is written through.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    arrays = [
        (_array(store, _path(level, name), spec), values)
        for level in range(len(plan.levels))
        for name, (spec, values) in coordinate_arrays(plan, level).items()
    ]

    def fill(array: zarr.Array[Any], values: Numbers) -> None:
        array[...] = values

    try:
        with ThreadPoolExecutor(_WRITERS, "coordinates") as pool:
            deque(pool.map(fill, *zip(*arrays, strict=True)), maxlen=0)
    except FAULTS as error:
        raise StoreError(
            f"writing the coordinates of {cube.url} failed: {cube.told(error)}; free space or mend "
            "the store, then build again"
        ) from error


def _path(level: int, name: str) -> str:
    return f"{level_name(level)}/{name}".lstrip("/")
