"""Chipping: windows cut from a cube, and how much of each is valid.

Pure.  Windows lie at whole strides from a corner of the whole cube, so those of a part of it
are those of the whole that lie in the part.  Counts are whole numbers, summed from
blocks in any order.

An overview's pixel is valid where any of the pixels under it is.  So a pixel of it that is
empty proves that all of those are; one that is valid proves nothing more than one of them.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.grid import Block

Numbers = NDArray[np.int64]

_COARSE_PER_CHIP = 4


@dataclass(frozen=True, slots=True)
class Chip:
    """One square window of a cube."""

    row: int
    """First row, counted from the north of the whole cube (of the level it is cut from)."""

    col: int
    """First column, counted from the west of the whole cube."""

    size_px: int
    """Rows, and columns."""

    split: str | None
    """Such as ``train``; None where nothing was split."""

    share_valid: float
    """Share of its pixels that come from a scene: exact, or an upper bound for ``valid=0``."""

    bounds: tuple[float, float, float, float]
    """West, south, east and north of its outer edges, in CRS units."""

    crs: str
    """Coordinate reference system of the bounds."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Square windows in a part of a cube, told by the rows and columns they begin at."""

    rows: Numbers
    """First rows, ascending."""

    cols: Numbers
    """First columns, ascending; every row is combined with every column."""

    size_px: int
    """Edge of a window."""

    @property
    def shape_yx(self) -> tuple[int, int]:
        """How many windows lie beneath and beside one another."""
        return len(self.rows), len(self.cols)

    def touching(self, block: Block) -> tuple[slice, slice]:
        """Which windows have pixels in a block, along rows and along columns."""
        return (
            _between(self.rows, block.row - self.size_px + 1, block.row + block.height),
            _between(self.cols, block.col - self.size_px + 1, block.col + block.width),
        )


def windows(
    part: Block, size_px: int, stride_px: int, origin_yx: tuple[int, int] = (0, 0)
) -> Windows:
    """Lay windows over a part of a cube.

    Parameters
    ----------
    part
        Pixels they must lie in, counted from the cube's corner.
    size_px, stride_px
        Edge of a window, and the distance from one to the next.
    origin_yx
        Row and column of the cube at which a window begins.

    Returns
    -------
    Windows
        None where the part is smaller than a window.

    Raises
    ------
    RecipeError
        If size or stride are below 1.

    Examples
    --------
    >>> windows(Block(1, 0, 9, 4), size_px=4, stride_px=3).rows
    array([3, 6])
    """
    if min(size_px, stride_px) < 1:
        raise RecipeError(
            f"chips of {size_px} pixels every {stride_px} hold or cover nothing; "
            "set size and stride to at least 1 (512 suits most cubes)"
        )
    row, col = origin_yx
    return Windows(
        _starts(part.row, part.height, size_px, stride_px, row),
        _starts(part.col, part.width, size_px, stride_px, col),
        size_px,
    )


def _starts(first: int, length: int, size: int, stride: int, origin: int) -> Numbers:
    start = first + (origin - first) % stride
    return np.arange(start, first + length - size + 1, stride, dtype=np.int64)


def coarse_number(size_px: int, finest: int, count: int) -> int:
    """Choose the overview that is looked at first.

    Parameters
    ----------
    size_px
        Edge of a window, in pixels of the level it is cut from.
    finest
        Number of that level.
    count
        How many levels the cube has.

    Returns
    -------
    int
        Number of the coarsest level of which a window's edge still spans four pixels.

    Examples
    --------
    >>> coarse_number(512, finest=0, count=9)
    7
    """
    steps = max(0, math.floor(math.log2(size_px / _COARSE_PER_CHIP)))
    return min(finest + steps, count - 1)


def covered(
    valid: NDArray[np.bool_], corner_yx: tuple[int, int], factor: int, chips: Windows
) -> Numbers:
    """Count the pixels of windows that lie under valid pixels of a coarser level.

    Parameters
    ----------
    valid
        Shape (y, x), pixels of a level that are ``factor`` times as large.
    corner_yx
        Row and column of its first pixel, counted in the windows' own pixels.
    factor
        Pixels of the windows along the edge of one of these; 1 for their own level.
    chips
        Windows; what of them lies outside the array counts as not valid.

    Returns
    -------
    array of int64
        Shape ``chips.shape_yx``.

    Examples
    --------
    >>> chips = windows(Block(0, 0, 4, 4), size_px=3, stride_px=1)
    >>> covered(np.array([[True, False], [False, False]]), (0, 0), 2, chips)
    array([[4, 2],
           [2, 1]])
    """
    row, col = corner_yx
    tall = _sums(valid.astype(np.int64), chips.rows - row, chips.size_px, factor)
    wide: Numbers = _sums(tall.T, chips.cols - col, chips.size_px, factor)
    return wide.T


def _sums(plane: Numbers, starts: Numbers, size: int, factor: int) -> Numbers:
    """Sum stretches along the first axis, each entry being ``factor`` long."""
    total = np.zeros((len(plane) + 1, plane.shape[1]), np.int64)
    np.cumsum(plane, axis=0, out=total[1:])
    padded = np.concatenate([plane, np.zeros((1, plane.shape[1]), np.int64)])

    def until(edges: Numbers) -> Numbers:
        whole, rest = np.divmod(np.clip(edges, 0, factor * len(plane)), factor)
        found: Numbers = factor * total[whole] + rest[:, None] * padded[whole]
        return found

    return until(starts + size) - until(starts)


def least_pixels(valid: float, size_px: int) -> int:
    """How many pixels of a chip have to be valid.

    Parameters
    ----------
    valid
        The share that is asked for.
    size_px
        Edge of a chip.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    RecipeError
        If the share is not within 0 to 1.

    Examples
    --------
    >>> least_pixels(0.5, 3), least_pixels(0, 512)
    (5, 1)
    """
    if not 0 <= valid <= 1:
        raise RecipeError(
            f"valid={valid} is no share of a chip's pixels; give one from 0 (any) to 1 (all)"
        )
    # 0.07 * 100 is a trifle above 7.
    return max(1, math.ceil(valid * size_px**2 - 1e-6))


def undecided(candidates: NDArray[np.bool_], chips: Windows, block: Block) -> Block | None:
    """The pixels of a block that windows still to be counted have in it.

    Parameters
    ----------
    candidates
        Shape ``chips.shape_yx``: windows to be counted.
    chips
        All windows.
    block
        Pixels that are read together.

    Returns
    -------
    Block or None
        The smallest rectangle that holds them.
    """
    near = chips.touching(block)
    rows, cols = (np.flatnonzero(candidates[near].any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    top, left = chips.rows[near[0]][rows[[0, -1]]], chips.cols[near[1]][cols[[0, -1]]]
    (first_row, last_row), (first_col, last_col) = top.tolist(), left.tolist()
    size = chips.size_px
    return block.intersection(
        Block(first_row, first_col, last_row - first_row + size, last_col - first_col + size)
    )


@dataclass(frozen=True, slots=True)
class Tiling:
    """The rectangles that an array is read in: every row of them with every column."""

    rows: tuple[int, ...]
    """First rows, and the row after the last, counted from the cube's corner."""

    cols: tuple[int, ...]
    """First columns, and the column after the last."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All of them, north to south, then west to east."""
        return self._between((0, len(self.rows) - 1), (0, len(self.cols) - 1))

    def touching(self, block: Block) -> tuple[Block, ...]:
        """Those that have pixels of a block.

        Examples
        --------
        >>> tiling((2, 2), (3,), Block(10, 20, 4, 3)).touching(Block(11, 20, 1, 1))
        (Block(row=10, col=20, height=2, width=3),)
        """
        return self._between(
            _places(self.rows, block.row, block.height), _places(self.cols, block.col, block.width)
        )

    def _between(self, rows: tuple[int, int], cols: tuple[int, int]) -> tuple[Block, ...]:
        return tuple(
            Block(self.rows[i], self.cols[j], *self._size_yx(i, j))
            for i in range(*rows)
            for j in range(*cols)
        )

    def _size_yx(self, i: int, j: int) -> tuple[int, int]:
        return self.rows[i + 1] - self.rows[i], self.cols[j + 1] - self.cols[j]


def tiling(heights: Iterable[int], widths: Iterable[int], part: Block) -> Tiling:
    """A tiling from the sizes of an array's chunks.

    Parameters
    ----------
    heights, widths
        Sizes of the chunks along y and x.
    part
        Where the array lies in the cube.

    Returns
    -------
    Tiling
        Without chunks that hold nothing.
    """
    rows, cols = (
        tuple(accumulate((size for size in sizes if size), initial=first))
        for sizes, first in ((heights, part.row), (widths, part.col))
    )
    return Tiling(rows, cols)


def stored_sizes(first: int, length: int, edge_px: int) -> tuple[int, ...]:
    """Sizes of the pieces that shards cut a stretch of pixels into.

    Examples
    --------
    >>> stored_sizes(3, 6, 4)
    (1, 4, 1)
    """
    ends = [*range(first - first % edge_px + edge_px, first + length, edge_px), first + length]
    return tuple(end - start for start, end in pairwise([first, *ends]) if end > start)


def boxes(chips: Iterable[Block], tiles: Tiling) -> dict[Block, Block]:
    """What has to be read of each tile for some chips.

    Parameters
    ----------
    chips
        Pixels, counted from the cube's corner.
    tiles
        How the array is read.

    Returns
    -------
    dict
        The tile, and the smallest rectangle in it that holds what the chips want of it.
    """
    found: dict[Block, Block] = {}
    for chip in chips:
        for tile in tiles.touching(chip):
            shared = tile.intersection(chip)
            if shared is not None:
                found[tile] = _around(found.get(tile, shared), shared)
    return found


def _around(one: Block, other: Block) -> Block:
    top, left = min(one.row, other.row), min(one.col, other.col)
    bottom = max(one.row + one.height, other.row + other.height)
    right = max(one.col + one.width, other.col + other.width)
    return Block(top, left, bottom - top, right - left)


def _places(edges: tuple[int, ...], first: int, length: int) -> tuple[int, int]:
    """The tiles from one that holds the first pixel to one past that which holds the last."""
    return (
        max(bisect_right(edges, first) - 1, 0),
        min(bisect_left(edges, first + length), len(edges) - 1),
    )


def _between(starts: Numbers, low: int, high: int) -> slice:
    first, last = np.searchsorted(starts, (low, high)).tolist()
    return slice(first, last)
