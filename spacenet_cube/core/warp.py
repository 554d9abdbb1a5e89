"""Warps: the exact map between the pixels of a scene and those of a grid.

Pure.  A warp is one PROJ pipeline from scene pixels to the pixels of the grid's lattice,
counted in whole numbers from the lattice's anchor.  GDAL's warper is given that pipeline
and integer offsets, so a pixel's place in the scene is the same number, to the last bit,
whichever block of the grid it is computed in.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, hypot

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from spacenet_cube.core.grid import Block
from spacenet_cube.errors import RecipeError

SHIFT_PX = 16
"""Added to all pixel coordinates of a pipeline, so that no block starts at zero, where
rasterio would take its transform for a missing one."""

KERNEL_RADIUS_PX = {
    "nearest": 0,
    "bilinear": 1,
    "cubic": 2,
    "cubic_spline": 2,
    "lanczos": 3,
}
"""Reach of each kernel in source pixels; the others take in what a target pixel covers."""

_STEP_PX = 64
_SPARE_PX = 3
_CLOSE = 1e-6
_LEAST_SCALE = 1e-4

Coordinates = NDArray[np.float64]
"""Columns or rows, pixels."""


@dataclass(frozen=True, slots=True)
class Warp:
    """How one scene comes onto the grid."""

    pipeline: str
    """PROJ pipeline: scene (column, row) to lattice (column, row), both plus `SHIFT_PX`."""

    corner_xy: tuple[int, int]
    """Column and row of the lattice that the grid's first pixel is."""

    scale_xy: tuple[float, float]
    """Grid pixels per scene pixel along the scene's columns and rows, at most 1."""

    resampling: str
    """Name of GDAL's method."""

    def to_scene(self, cols: Coordinates, rows: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Scene coordinates (columns, rows) of grid coordinates; infinite where there are none."""
        x, y = self.corner_xy
        found = _transformer(self.pipeline).transform(
            cols + (x + SHIFT_PX), rows + (y + SHIFT_PX), direction="INVERSE"
        )
        return found[0] - SHIFT_PX, found[1] - SHIFT_PX

    def to_grid(self, cols: Coordinates, rows: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Grid coordinates (columns, rows) of scene coordinates; infinite where there are none."""
        x, y = self.corner_xy
        found = _transformer(self.pipeline).transform(cols + SHIFT_PX, rows + SHIFT_PX)
        return found[0] - (x + SHIFT_PX), found[1] - (y + SHIFT_PX)

    @property
    def margin_px(self) -> int:
        """Source pixels beyond a target's own that its kernel may need, with some to spare."""
        radius = KERNEL_RADIUS_PX.get(self.resampling, 1)
        return ceil(radius / min(self.scale_xy)) + _SPARE_PX


@lru_cache(maxsize=1024)
def _transformer(pipeline: str) -> Transformer:
    return Transformer.from_pipeline(pipeline)


def operation(source_crs: str, target_crs: str) -> str:
    """The coordinate operation between two CRSs, as steps of a PROJ pipeline.

    It depends on the CRSs alone, never on where scenes lie, so that one scene more does
    not move another.

    Parameters
    ----------
    source_crs, target_crs
        Codes or WKT.

    Returns
    -------
    str
        ``+step ...``; empty for one CRS.

    Raises
    ------
    RecipeError
        If PROJ knows none.

    Examples
    --------
    >>> operation("EPSG:4326", "EPSG:32723")
    '+step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=utm +zone=23 +south +ellps=WGS84'
    """
    if source_crs == target_crs:
        return ""
    try:
        found = TransformerGroup(source_crs, target_crs, always_xy=True).transformers
        words = found[0].definition.split()
    except (ProjError, IndexError) as error:
        raise RecipeError(
            f"there is no way from CRS {source_crs[:60]} to {target_crs[:60]}: {error}; name a "
            "grid with another CRS"
        ) from error
    if words[0] == "proj=pipeline":
        words = words[1:]
    elif words[0] == "proj=noop":
        return ""
    else:
        words = ["step", *words]
    return " ".join(f"+{word}" for word in words)


def _affine_step(transform: Affine, *, inverse: bool = False) -> str:
    a, b, c, d, e, f = tuple(transform @ Affine.translation(-SHIFT_PX, -SHIFT_PX))[:6]
    head = "+step +inv" if inverse else "+step"
    return (
        f"{head} +proj=affine +xoff={c!r} +s11={a!r} +s12={b!r} +yoff={f!r} +s21={d!r} +s22={e!r}"
    )


@dataclass(frozen=True, slots=True)
class Lattice:
    """A grid without an edge: where pixel corners lie."""

    transform: Affine
    """Lattice (column, row) to CRS (x, y); north-up."""

    crs: str
    """``EPSG:...`` where the CRS has a code, else WKT 2."""

    corner_xy: tuple[int, int] = (0, 0)
    """Column and row of the first pixel of the grid at hand."""


def warp_of(
    scene_transform: Affine,
    scene_crs: str,
    shape_yx: tuple[int, int],
    lattice: Lattice,
    resampling: str,
) -> Warp:
    """Find how a scene comes onto a lattice.

    Parameters
    ----------
    scene_transform
        Scene pixel corner (column, row) to CRS (x, y).
    scene_crs
        The scene's CRS.
    shape_yx
        Its rows and columns.
    lattice
        Where it shall go.
    resampling
        Name of GDAL's method.

    Returns
    -------
    Warp
        Its scale is that at the scene's centre, and the same for the whole scene: GDAL's
        own would vary with the block.

    Raises
    ------
    RecipeError
        If PROJ knows no way between the CRSs.
    """
    steps = operation(scene_crs, lattice.crs)
    pipeline = " ".join(
        part
        for part in (
            "+proj=pipeline",
            _affine_step(scene_transform),
            steps,
            _affine_step(lattice.transform, inverse=True),
        )
        if part
    )
    flat = Warp(pipeline, lattice.corner_xy, (1.0, 1.0), resampling)
    return Warp(pipeline, lattice.corner_xy, _scale(flat, shape_yx), resampling)


def _scale(warp: Warp, shape_yx: tuple[int, int]) -> tuple[float, float]:
    """Grid pixels per scene pixel along the scene's axes, at the scene's centre."""
    rows, cols = shape_yx
    x, y = warp.to_grid(np.array([cols / 2]), np.array([rows / 2]))
    near = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    left, top = warp.to_scene(x + near[0], y + near[1])
    along_x = hypot(left[1] - left[0], left[2] - left[0])
    along_y = hypot(top[1] - top[0], top[2] - top[0])
    return _at_most_one(along_x), _at_most_one(along_y)


def _at_most_one(source_px: float) -> float:
    """One over the source pixels of a target pixel; whole numbers lose their rounding noise."""
    if not _LEAST_SCALE < source_px < 1 / _LEAST_SCALE:
        raise RecipeError(
            f"a pixel of the grid is {source_px:.3g} pixels of the source wide, which cannot be "
            "meant; correct the grid's resolution (it is in units of its CRS)"
        )
    whole = round(source_px)
    if whole and abs(source_px - whole) < _CLOSE * whole:
        source_px = float(whole)
    return min(1.0, 1.0 / source_px)


def perimeter(block: Block) -> tuple[Coordinates, Coordinates]:
    """Points (columns, rows) along the outer edge of a block, at most 64 pixels apart."""
    down = np.linspace(0, block.height, max(2, ceil(block.height / _STEP_PX) + 1)) + block.row
    right = np.linspace(0, block.width, max(2, ceil(block.width / _STEP_PX) + 1)) + block.col
    top, left = np.full(right.size, down[0]), np.full(down.size, right[0])
    bottom, east = np.full(right.size, down[-1]), np.full(down.size, right[-1])
    return np.concatenate([right, right, left, east]), np.concatenate([top, bottom, down, down])


def _around(cols: Coordinates, rows: Coordinates, margin_px: int) -> Block | None:
    """The smallest block around points, grown by a margin; None where a point is nowhere."""
    if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
        return None
    top, left = floor(rows.min()) - margin_px, floor(cols.min()) - margin_px
    bottom, right = ceil(rows.max()) + margin_px, ceil(cols.max()) + margin_px
    return Block(top, left, bottom - top, right - left)


def scene_window(warp: Warp, shape_yx: tuple[int, int], block: Block) -> Block | None:
    """The source pixels that a block of the grid needs, with the margin of the kernel.

    Parameters
    ----------
    warp
        How the scene comes onto the grid.
    shape_yx
        Rows and columns of the scene.
    block
        Pixels of the grid.

    Returns
    -------
    Block or None
        Pixels of the scene; None where the block needs none of it.
    """
    whole = Block(0, 0, *shape_yx)
    needed = _around(*warp.to_scene(*perimeter(block)), warp.margin_px)
    return whole if needed is None else needed.intersection(whole)


def is_wholly_inside(warp: Warp, shape_yx: tuple[int, int], block: Block) -> bool:
    """Whether no kernel of a block reaches over the scene's edge."""
    needed = _around(*warp.to_scene(*perimeter(block)), warp.margin_px)
    return needed is not None and needed.intersection(Block(0, 0, *shape_yx)) == needed


def landing(warp: Warp, shape_yx: tuple[int, int]) -> Block:
    """The pixels of the grid that a scene may fill; some lie beyond the grid's edge.

    Parameters
    ----------
    warp
        How the scene comes onto the grid.
    shape_yx
        Rows and columns of the scene.

    Returns
    -------
    Block
        A pixel larger than the scene on every side.

    Raises
    ------
    RecipeError
        If a part of the scene has no place in the grid's CRS.
    """
    found = _around(*warp.to_grid(*perimeter(Block(0, 0, *shape_yx))), 1)
    if found is None:
        raise RecipeError(
            "a part of it has no place in the grid's CRS; name a grid with a CRS that suits the "
            "area, such as crs: utm"
        )
    return found
