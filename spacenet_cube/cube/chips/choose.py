"""Choosing: which windows of a cube become chips, with few bytes read.

One overview of ``source_index`` is read whole; blocks of the level itself only where windows
remain that it neither drops nor is asked to leave uncounted.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.stored import OpenLevel, stored_index
from spacenet_cube.cube.chips.chips import Chips
from spacenet_cube.cube.chips.read import tiles_of
from spacenet_cube.cube.chips.samples import Opener
from spacenet_cube.cube.chips.splits import Splits, assigned
from spacenet_cube.cube.chips.windows import (
    Numbers,
    Windows,
    coarse_number,
    covered,
    least_pixels,
    undecided,
    windows,
)
from spacenet_cube.errors import RecipeError
from spacenet_cube.format.levels import levels
from spacenet_cube.format.subset import Part, locate_part
from spacenet_cube.raster.grid import Block


def chips(
    cube: xr.Dataset,
    opener: Opener | None,
    *,
    size: int,
    stride: int | None,
    valid: float,
    splitting: Splits | None,
) -> Chips:
    """Choose chips of a cube, as ``cube.spacenet.chips`` says.

    Parameters
    ----------
    cube
        A cube or a part of one.
    opener
        Opens its levels, for the options it was opened with; None where it is not known.
    size, stride, valid
        As the accessor has them.
    splitting
        How ground is shared out; None not to.

    Returns
    -------
    Chips
        Row by row from the north, each from the west.

    Raises
    ------
    RecipeError
        If the dataset is no part of a cube, or what is asked for cannot stand.
    """
    part = locate_part(cube.attrs, str(cube.rio.crs), cube["y"].values, cube["x"].values)
    laid = windows(part.block, size, stride or size)
    least = least_pixels(valid, size)
    owner = np.zeros(laid.shape_yx, np.int8)
    if splitting is not None:
        owner = assigned(laid, splitting, part.grid.shape_yx)
    stored = stored_index(cube)
    overviews = None if stored is None else stored.opener
    counts = valid_pixels(
        cube, overviews, part, laid, least=least if valid else 0, wanted=owner >= 0
    )
    down, along = np.nonzero((owner >= 0) & (counts >= least))
    return Chips(
        cube,
        part,
        size,
        laid.rows[down],
        laid.cols[along],
        counts[down, along],
        owner[down, along],
        splitting,
        opener=opener,
    )


def valid_pixels(
    cube: xr.Dataset,
    overviews: OpenLevel | None,
    part: Part,
    chips: Windows,
    *,
    least: int,
    wanted: NDArray[np.bool_],
) -> Numbers:
    """Count the valid pixels of windows, exactly where it matters.

    Parameters
    ----------
    cube
        A cube or a part of one.
    overviews
        Opens levels whose native pixels are those of the cube; None to count all in the cube.
    part
        Where the cube's pixels lie.
    chips
        The windows.
    least
        Valid pixels below which a window is dropped; 0 to count in the overview alone.
    wanted
        Shape ``chips.shape_yx``: windows that matter.

    Returns
    -------
    array of int64
        Exact where it is ``least`` or more, and 0 where it is less; with ``least`` 0, an upper
        bound, which is 0 only where nothing is valid.

    Raises
    ------
    RecipeError
        If the dataset has lost ``source_index``.
    """
    if "source_index" not in cube.variables:
        raise RecipeError(
            "the dataset has no variable 'source_index', which says what is valid; keep it when "
            "you select variables of a cube"
        )
    if not math.prod(chips.shape_yx):
        return np.zeros(chips.shape_yx, np.int64)
    number = coarse_number(chips.size_px, part.level, len(levels(cube.attrs)))
    coarse = None
    if overviews is not None and number != part.level:
        coarse = _coarse(overviews, number, part)
    bound = np.full(chips.shape_yx, chips.size_px**2) if coarse is None else coarse.most(chips)
    if coarse is not None and not least:
        return bound
    candidates = wanted & (bound >= max(least, 1))
    counts = _counted(cube["source_index"], part, chips, candidates, coarse)
    return np.where(candidates, counts, 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Coarse:
    """What an overview tells of a part."""

    valid: NDArray[np.bool_]
    """Shape (y, x): where any of the pixels under one of its own is valid."""

    row: int
    """First row, counted in its own pixels from the cube's corner."""

    col: int
    """First column."""

    factor: int
    """Pixels of the part along the edge of one."""

    def most(self, chips: Windows) -> Numbers:
        """How many pixels of each window may be valid."""
        return covered(
            self.valid, (self.row * self.factor, self.col * self.factor), self.factor, chips
        )

    def is_empty(self, block: Block) -> bool:
        """Whether no pixel of a block is valid; False is no proof that one is."""
        rows, cols = _under(block, self.factor).relative_to(Block(self.row, self.col, 0, 0)).yx
        return not self.valid[rows, cols].any()


def _coarse(opener: OpenLevel, number: int, part: Part) -> _Coarse:
    """Read the overview of a part."""
    factor = part.factor(number)
    under = _under(part.block, factor)
    rows, cols = under.yx
    index = opener(number)["source_index"].isel(y=rows, x=cols)
    return _Coarse(index.values > 0, under.row, under.col, factor)


def _under(block: Block, factor: int) -> Block:
    """The coarser pixels that a block has a share of."""
    top, left = block.row // factor, block.col // factor
    bottom, right = (
        -(-(block.row + block.height) // factor),
        -(-(block.col + block.width) // factor),
    )
    return Block(top, left, bottom - top, right - left)


def _counted(
    index: xr.DataArray,
    part: Part,
    chips: Windows,
    candidates: NDArray[np.bool_],
    coarse: _Coarse | None,
) -> Numbers:
    """Count valid pixels block by block, in tasks that give back a few numbers each."""
    counts = np.zeros(chips.shape_yx, np.int64)
    tasks = []
    for tile in tiles_of(index, part).blocks:
        box = undecided(candidates, chips, tile)
        if box is None or (coarse is not None and coarse.is_empty(box)):
            continue
        rows, cols = box.relative_to(part.block).yx
        lazy, near = index.isel(y=rows, x=cols), chips.touching(box)
        some = Windows(chips.rows[near[0]], chips.cols[near[1]], chips.size_px)
        if lazy.chunks is None:
            counts[near] += _count(lazy.values, box, some)
        else:
            tasks.append((near, delayed(_count, pure=False)(lazy.data, box, some)))
    for near, found in zip(*_computed(tasks), strict=True):
        counts[near] += found
    return counts


def _computed(tasks: list[Any]) -> tuple[list[Any], list[Any]]:
    (found,) = compute([task for _, task in tasks])  # type: ignore[no-untyped-call]
    return [near for near, _ in tasks], found


def _count(index: NDArray[Any], box: Block, chips: Windows) -> Numbers:
    return covered(index > 0, (box.row, box.col), 1, chips)
