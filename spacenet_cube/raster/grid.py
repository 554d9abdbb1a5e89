"""Grids: where pixels lie, and the rectangles they are handled in.

Pure.  Row 0 is the northern edge and column 0 the western one.  Coordinates are made
from one affine transform and whole numbers, never summed, so they cannot drift.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

FloatArray = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in CRS units."""

    west: float
    """Least x."""

    south: float
    """Least y."""

    east: float
    """Greatest x."""

    north: float
    """Greatest y."""


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """A rectangle of pixels on a grid."""

    row: int
    """First row, counted from the north."""

    col: int
    """First column, counted from the west."""

    height: int
    """Rows."""

    width: int
    """Columns."""

    @property
    def yx(self) -> tuple[slice, slice]:
        """Where the block lies in an array shaped ``(..., y, x)``."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.height * self.width

    def strips(self, height: int) -> tuple["Block", ...]:
        """The block cut across its height, north to south; the last has what is left.

        Examples
        --------
        >>> Block(0, 0, 5, 9).strips(4)
        (Block(row=0, col=0, height=4, width=9), Block(row=4, col=0, height=1, width=9))
        """
        return tuple(
            Block(self.row + row, self.col, min(height, self.height - row), self.width)
            for row in range(0, self.height, height)
        )

    def intersection(self, other: "Block") -> "Block | None":
        """The pixels both have, or None where they share none.

        Examples
        --------
        >>> Block(0, 0, 4, 4).intersection(Block(2, 3, 4, 4))
        Block(row=2, col=3, height=2, width=1)
        """
        top, left = max(self.row, other.row), max(self.col, other.col)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.col + self.width, other.col + other.width)
        if top >= bottom or left >= right:
            return None
        return Block(top, left, bottom - top, right - left)

    def relative_to(self, origin: "Block") -> "Block":
        """The same pixels, counted from the corner of another block.

        Examples
        --------
        >>> Block(5, 7, 2, 2).relative_to(Block(4, 4, 8, 8))
        Block(row=1, col=3, height=2, width=2)
        """
        return Block(self.row - origin.row, self.col - origin.col, self.height, self.width)


@dataclass(frozen=True, slots=True)
class Grid:
    """A raster of square-cornered pixels on the ground."""

    shape_yx: tuple[int, int]
    """Rows and columns, pixels."""

    transform: Affine
    """Pixel corner (column, row) to CRS (x, y)."""

    crs: str
    """``EPSG:...`` where the CRS has a code, else WKT 2."""

    @property
    def geobox(self) -> GeoBox:
        """The same grid as an odc-geo value, for everything geographic."""
        return GeoBox(self.shape_yx, self.transform, self.crs)

    @property
    def box(self) -> Box:
        """Outer edges of the pixels, CRS units."""
        rows, cols = self.shape_yx
        west, north = self.transform @ (0, 0)
        east, south = self.transform @ (cols, rows)
        return Box(min(west, east), min(south, north), max(west, east), max(south, north))

    @property
    def resolution_xy(self) -> tuple[float, float]:
        """Pixel width and height in CRS units, both positive."""
        return abs(self.transform.a), abs(self.transform.e)

    @property
    def x(self) -> FloatArray:
        """Pixel centres from west to east, CRS units, float64."""
        steps: FloatArray = np.arange(self.shape_yx[1], dtype=np.float64) + 0.5
        return self.transform.c + steps * self.transform.a

    @property
    def y(self) -> FloatArray:
        """Pixel centres from north to south, CRS units, float64."""
        steps: FloatArray = np.arange(self.shape_yx[0], dtype=np.float64) + 0.5
        return self.transform.f + steps * self.transform.e

    @property
    def halved(self) -> "Grid":
        """The next overview: pixels twice as wide and high from the same corner.

        Odd sizes are rounded up.  A level that trimmed them would have to stretch, and
        would then lie half a pixel off.
        """
        rows, cols = self.shape_yx
        return Grid(((rows + 1) // 2, (cols + 1) // 2), self.transform @ Affine.scale(2), self.crs)


def levels(native: Grid, smallest_px: int) -> tuple[Grid, ...]:
    """The native grid and its overviews, until one fits into ``smallest_px`` squared.

    Parameters
    ----------
    native
        The grid of level 0.
    smallest_px
        Edge in pixels that the last level does not exceed; the edge of a chunk.

    Returns
    -------
    tuple of Grid
        Level n has pixels 2**n times as large as level 0.

    Examples
    --------
    >>> grid = Grid((5, 9), Affine.scale(1, -1), "EPSG:32611")
    >>> [level.shape_yx for level in levels(grid, 2)]
    [(5, 9), (3, 5), (2, 3), (1, 2)]
    """
    grids = [native]
    while max(grids[-1].shape_yx) > smallest_px:
        grids.append(grids[-1].halved)
    return tuple(grids)


def blocks(shape_yx: tuple[int, int], edge_px: int) -> Iterator[Block]:
    """Cut a grid into squares, north to south, then west to east.

    The last row and column of blocks are as high and wide as what is left.

    Examples
    --------
    >>> for block in blocks((3, 2), 2):
    ...     print(block)
    Block(row=0, col=0, height=2, width=2)
    Block(row=2, col=0, height=1, width=2)
    """
    rows, cols = shape_yx
    for row, col in product(range(0, rows, edge_px), range(0, cols, edge_px)):
        yield Block(row, col, min(edge_px, rows - row), min(edge_px, cols - col))
