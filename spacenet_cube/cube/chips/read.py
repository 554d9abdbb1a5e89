"""Cutting: reading the pixels of chips, one alone or many from the shards they share."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from dask.base import compute
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.stored import stored_array
from spacenet_cube.cube.chips.windows import Tiling, boxes, stored_sizes, tiling
from spacenet_cube.errors import RecipeError
from spacenet_cube.format.subset import Part
from spacenet_cube.raster.grid import Block
from spacenet_cube.storage.base.forks import is_forked

_PIECE_PX = 2048


def without_dask(image: xr.DataArray) -> xr.DataArray:
    """Pixels to be read without a graph, which takes longer to make than one chip to read.

    Parameters
    ----------
    image
        What is asked for.

    Returns
    -------
    xarray.DataArray
        The stored array itself, where the graph of ``image`` only selects from it; else
        ``image``, as after any computation on it, or where it is persisted.
    """
    direct = stored_array(image)
    return image if direct is None else direct


def pool(
    chips: Sequence[Block], arrays: Sequence[xr.DataArray], part: Part
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Read chips together: of each shard the smallest rectangle that holds what they want of it.

    Parameters
    ----------
    chips
        Pixels, counted from the cube's corner.
    arrays
        What to cut them from; the first one's chunks are the shards.
    part
        Where those lie in the cube.

    Yields
    ------
    tuple of arrays
        What each array has at each chip, in order.
    """
    wanted = tuple(boxes(chips, tiles_of(arrays[0], part)).values())
    lazy = [[_box(array, box.relative_to(part.block)) for box in wanted] for array in arrays]
    (held,) = computed(lazy)
    for chip in chips:
        yield tuple(_assembled(chip, wanted, each) for each in held)


def computed(*lazy: Any) -> tuple[Any, ...]:  # noqa: ANN401 - whatever dask computes
    """Compute with dask; in a forked process in its one thread.

    Parameters
    ----------
    lazy
        Dask's collections, xarray's objects, or lists of them.

    Returns
    -------
    tuple
        The same with arrays in memory.
    """
    how = {"scheduler": "synchronous"} if is_forked() else {}
    found: tuple[Any, ...] = compute(*lazy, **how)  # type: ignore[no-untyped-call]
    return found


def on_pixels_of(cube: xr.Dataset, target: xr.DataArray) -> xr.DataArray:
    """An array, y and x last, if its pixels are those of a dataset.

    Parameters
    ----------
    cube
        The dataset.
    target
        The array.

    Returns
    -------
    xarray.DataArray
        The array.

    Raises
    ------
    RecipeError
        If they are others.
    """
    alike = (dim in target.coords and np.array_equal(target[dim], cube[dim]) for dim in ("y", "x"))
    if not all(alike):
        raise RecipeError(
            f"the target is shaped {dict(target.sizes)} and does not lie on the "
            f"{cube.sizes['y']} x {cube.sizes['x']} pixels (y, x) that the chips are cut from; "
            "make it of the same dataset, such as cube.spacenet.rasterize(...)"
        )
    return target.transpose(..., "y", "x")


def tiles_of(array: xr.DataArray, part: Part) -> Tiling:
    """The rectangles in which an array is read.

    Parameters
    ----------
    array
        With dimensions y and x.
    part
        Where its pixels lie in the cube.

    Returns
    -------
    Tiling
        Dask's chunks; without dask, the shards, else squares of 2048 pixels.
    """
    block = part.block
    if array.chunks is not None:
        return tiling(array.chunksizes["y"], array.chunksizes["x"], block)
    edges = (array.encoding.get("shards") or (_PIECE_PX, _PIECE_PX))[-2:]
    return tiling(
        stored_sizes(block.row, block.height, edges[0]),
        stored_sizes(block.col, block.width, edges[1]),
        block,
    )


def _box(array: xr.DataArray, inside: Block) -> Any:  # noqa: ANN401 - dask's array or numpy's
    rows, cols = inside.yx
    part = array.isel(y=rows, x=cols)
    return part.values if part.chunks is None else part.data


def _assembled(chip: Block, wanted: Sequence[Block], held: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put a chip together from the rectangles that were read."""
    out = np.empty((*held[0].shape[:-2], chip.height, chip.width), held[0].dtype)
    for box, pixels in zip(wanted, held, strict=True):
        shared = box.intersection(chip)
        if shared is not None:
            out[(..., *shared.relative_to(chip).yx)] = pixels[(..., *shared.relative_to(box).yx)]
    return out
