"""Parts: where a dataset lies in the cube it was taken from.

Pure.  A part is known by the centres of its pixels alone, so it may come from a selection,
a clip or an overview.  What is then counted from the cube's own corner does not change when
the part does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from spacenet_cube.errors import RecipeError
from spacenet_cube.format.levels import Level, levels, told
from spacenet_cube.raster.grid import Block, Grid

TOLERANCE_PX = 0.01
"""How far a centre may lie from the level's own, in pixels: coordinates are rounded numbers."""


@dataclass(frozen=True, slots=True)
class Part:
    """Pixels of one level of a cube."""

    level: int
    """Number of the level; 0 is native."""

    grid: Grid
    """The whole level."""

    block: Block
    """The part's pixels, counted from the level's corner."""

    def factor(self, coarse: int) -> int:
        """How many of its pixels lie along the edge of a pixel of a coarser level."""
        return 1 << (coarse - self.level)


def locate_part(
    attributes: Mapping[str, Any],
    crs: str,
    y: NDArray[Any],
    x: NDArray[Any],
    number: int | None = None,
) -> Part:
    """Find the level and the pixels that coordinates stand for.

    Parameters
    ----------
    attributes
        Attributes of a cube's root, which hold ``multiscales``.
    crs
        Coordinate reference system of the cube.
    y, x
        Pixel centres along the edges, in CRS units, north to south and west to east.
    number
        The only level to compare with; by default every one, finest first.

    Returns
    -------
    Part
        Empty where either edge is.

    Raises
    ------
    RecipeError
        If the attributes tell of no levels, or the centres are those of no level: every
        n-th pixel, another order, another grid.

    Examples
    --------
    >>> entry = {"asset": ".", "spatial:shape": [5, 7]}
    >>> entry["spatial:transform"] = [1.0, 0.0, 0.0, 0.0, -1.0, 5.0]
    >>> told = {"multiscales": {"layout": [entry]}}
    >>> locate_part(told, "EPSG:32611", np.array([3.5, 2.5]), np.array([2.5])).block
    Block(row=1, col=2, height=2, width=1)
    """
    layout = told(attributes, "multiscales")["layout"]
    for level in levels(attributes):
        if number not in {None, level.number}:
            continue
        transform = Affine(*layout[level.number]["spatial:transform"][:6])
        rows = _first(y, transform.f, transform.e, level.shape_yx[0])
        cols = _first(x, transform.c, transform.a, level.shape_yx[1])
        if rows is not None and cols is not None:
            block = Block(rows, cols, len(y), len(x))
            return Part(level.number, Grid(level.shape_yx, transform, crs), block)
    raise RecipeError(
        f"the dataset's {len(y)} x {len(x)} pixels (y, x) are no unbroken rectangle of a level of "
        f"its cube ({_told(levels(attributes))}); take slices without steps from open_cube"
    )


def _first(centres: NDArray[Any], edge: float, step: float, count: int) -> int | None:
    """The first pixel's number, or None where the centres are not the level's."""
    if not len(centres):
        return 0
    places = (np.asarray(centres, float) - edge) / step - 0.5
    first = round(float(places[0]))
    off = np.abs(places - first - np.arange(len(places))).max()
    return first if off <= TOLERANCE_PX and 0 <= first <= count - len(places) else None


def _told(there: tuple[Level, ...]) -> str:
    return ", ".join(f"{rows} x {cols}" for rows, cols in (each.shape_yx for each in there))
