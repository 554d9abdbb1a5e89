"""Warps: the exact map between the pixels of a scene and those of a grid.

Pure.  A warp is one PROJ pipeline from scene pixels to the pixels of the grid's lattice,
counted in whole numbers from the lattice's anchor.  GDAL's warper is given that pipeline
and integer offsets, so a pixel's place in the scene is the same number, to the last bit,
whichever block of the grid it is computed in.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil, floor, hypot

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.crs import crs_name, plane_of, same_crs
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.seams import Cycle, cycle_of, grid_side, scene_side, unwrapping

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
_BENT_PX = 2
_MESH = 256
_SPARE_PX = 3
_CLOSE = 1e-6
_LEAST_SCALE = 1e-4

Coordinates = NDArray[np.float64]
"""Columns or rows, pixels."""


@dataclass(frozen=True, slots=True)
class Pole:
    """A pole that all columns of a scene run together in."""

    col: float
    """Column of the lattice."""

    row: float
    """Row of the lattice."""

    scene_row: float
    """Row of the scene."""

    def is_near(self, block: Block, corner_xy: tuple[int, int]) -> bool:
        """Whether it lies in a block of the grid, or at most a pixel off."""
        col, row = self.col - corner_xy[0] - block.col, self.row - corner_xy[1] - block.row
        return -1 <= col <= block.width + 1 and -1 <= row <= block.height + 1


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

    turn_px: float = field(default=0.0, repr=False)
    """Columns of the scene that are 360 degrees, where a block may see it on both sides of a
    seam or around a pole; otherwise 0."""

    poles: tuple[Pole, ...] = field(default=(), repr=False)
    """Poles that lie among the scene's rows, where its longitudes meet."""

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
    if same_crs(source_crs, target_crs):
        return ""
    try:
        planes = plane_of(source_crs), plane_of(target_crs)
        found = TransformerGroup(*planes, always_xy=True).transformers
        words = found[0].definition.split()
    except (ProjError, IndexError) as error:
        raise RecipeError(
            f"there is no way from CRS {crs_name(source_crs)} to {crs_name(target_crs)}: {error}; "
            "name a grid with another CRS"
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

    around: float | None = None
    """Longitude around which x is unwrapped, degrees; None where PROJ's own turn serves."""


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
    span = _span(scene_transform, shape_yx)
    steps = scene_side(operation(scene_crs, lattice.crs), scene_crs, unwrapping(scene_crs, span))
    steps = grid_side(steps, lattice.crs, lattice.around)
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
    plain = replace(flat, scale_xy=_scale(flat, shape_yx))
    return _with_seams(plain, scene_transform, scene_crs, shape_yx)


def _with_seams(warp: Warp, transform: Affine, crs: str, shape_yx: tuple[int, int]) -> Warp:
    """The warp, with where longitudes of the scene meet if its pixels may lie around that."""
    cycle = cycle_of(crs)
    if cycle is None or not transform.a:
        return warp
    turn_px = abs(cycle.period / transform.a)
    block = _around(*warp.to_grid(*perimeter(Block(0, 0, *shape_yx))), 1)
    if block is None:
        return replace(warp, turn_px=turn_px, poles=_poles(warp, transform, cycle, shape_yx))
    poles = _poles(warp, transform, cycle, shape_yx)
    cols, _ = warp.to_scene(*perimeter(block))
    spread = np.ptp(cols[np.isfinite(cols)]) if np.isfinite(cols).any() else turn_px
    if spread > turn_px / 2 or any(pole.is_near(block, warp.corner_xy) for pole in poles):
        return replace(warp, turn_px=turn_px, poles=poles)
    return warp


def _poles(
    warp: Warp, transform: Affine, cycle: Cycle, shape_yx: tuple[int, int]
) -> tuple[Pole, ...]:
    """The poles that have a place on the grid, as a scene with longitudes sees them."""
    if not cycle.is_geographic:
        return ()
    found = []
    for latitude in (90.0, -90.0):
        row = (latitude - transform.f) / transform.e
        x, y = warp.to_grid(np.array([shape_yx[1] / 2]), np.array([row]))
        if np.isfinite(x[0]) and np.isfinite(y[0]):
            col, down = float(x[0]) + warp.corner_xy[0], float(y[0]) + warp.corner_xy[1]
            found.append(Pole(col, down, row))
    return tuple(found)


def _span(transform: Affine, shape_yx: tuple[int, int]) -> tuple[float, float]:
    """Least and greatest x of a scene."""
    rows, cols = shape_yx
    xs = [(transform @ corner)[0] for corner in ((0, 0), (cols, 0), (0, rows), (cols, rows))]
    return min(xs), max(xs)


def _scale(warp: Warp, shape_yx: tuple[int, int]) -> tuple[float, float]:
    """Grid pixels per scene pixel along the scene's axes, at the scene's centre.

    Where that is a pole, which has no width, it is the middle one of other places.
    """
    rows, cols = shape_yx
    found = _source_px(warp, cols / 2, rows / 2)
    if not np.isfinite(found).all() or max(found) > 1 / _LEAST_SCALE:
        places = [(x, y) for x in (0.1, 0.3, 0.7, 0.9) for y in (0.1, 0.3, 0.7, 0.9)]
        several = np.array([_source_px(warp, cols * x, rows * y) for x, y in places])
        known = several[np.isfinite(several).all(axis=1)]
        if known.size:
            found = (float(np.median(known[:, 0])), float(np.median(known[:, 1])))
    return _at_most_one(found[0]), _at_most_one(found[1])


def _source_px(warp: Warp, col: float, row: float) -> tuple[float, float]:
    """Source pixels that a grid pixel is wide and high, at a place of the scene."""
    x, y = warp.to_grid(np.array([col]), np.array([row]))
    near = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    left, top = warp.to_scene(x + near[0], y + near[1])
    return hypot(left[1] - left[0], left[2] - left[0]), hypot(top[1] - top[0], top[2] - top[0])


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


def perimeter(block: Block, step_px: int = _STEP_PX) -> tuple[Coordinates, Coordinates]:
    """Points (columns, rows) along the outer edge of a block, at most so many pixels apart."""
    down = np.linspace(0, block.height, max(2, ceil(block.height / step_px) + 1)) + block.row
    right = np.linspace(0, block.width, max(2, ceil(block.width / step_px) + 1)) + block.col
    top, left = np.full(right.size, down[0]), np.full(down.size, right[0])
    bottom, east = np.full(right.size, down[-1]), np.full(down.size, right[-1])
    return np.concatenate([right, right, left, east]), np.concatenate([top, bottom, down, down])


def mesh(block: Block) -> tuple[Coordinates, Coordinates]:
    """Points (columns, rows) all over a block, shape (y, x), edges included."""
    rows = np.linspace(0, block.height, min(block.height, _MESH) + 1) + block.row
    cols = np.linspace(0, block.width, min(block.width, _MESH) + 1) + block.col
    across, down = np.meshgrid(cols, rows)
    return across, down


def _around(cols: Coordinates, rows: Coordinates, margin_px: int) -> Block | None:
    """The smallest block around points, grown by a margin; None where a point is nowhere."""
    if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
        return None
    top, left = floor(rows.min()) - margin_px, floor(cols.min()) - margin_px
    bottom, right = ceil(rows.max()) + margin_px, ceil(cols.max()) + margin_px
    return Block(top, left, bottom - top, right - left)


def _around_some(cols: Coordinates, rows: Coordinates, margin_px: int) -> Block | None:
    """The same of points (y, x) that are nowhere in part; None where all are.

    Between the last point that is somewhere and the next lies as much again, at most, as
    between it and the one before.
    """
    known = np.isfinite(cols) & np.isfinite(rows)
    if not known.any():
        return None
    reach = [margin_px, margin_px]
    for place, values in enumerate((cols, rows)):
        held = np.where(known, values, np.nan)
        for axis in (0, 1):
            steps = np.abs(np.diff(held, axis=axis))
            steps = steps[np.isfinite(steps)]
            reach[place] = max(reach[place], ceil(2 * steps.max()) if steps.size else margin_px)
    top, left = floor(rows[known].min()) - reach[1], floor(cols[known].min()) - reach[0]
    bottom, right = ceil(rows[known].max()) + reach[1], ceil(cols[known].max()) + reach[0]
    return Block(top, left, bottom - top, right - left)


def _needed(warp: Warp, shape_yx: tuple[int, int], block: Block) -> Block | None:
    """Source pixels around what a block maps to; None where it maps to nothing.

    A map without a seam or pole takes the inside of a block to the inside of the image of
    its edge, so points along the edge bound it.
    """
    cols, rows = warp.to_scene(*perimeter(block, _BENT_PX if warp.turn_px else _STEP_PX))
    found = _around(cols, rows, warp.margin_px)
    if found is None:
        cols, rows = warp.to_scene(*mesh(block))
        found = _around_some(cols, rows, warp.margin_px)
    if found is None or not warp.turn_px:
        return found
    near = [pole.scene_row for pole in warp.poles if pole.is_near(block, warp.corner_xy)]
    if near or found.width + _widest_step(cols, warp.turn_px) > warp.turn_px / 2:
        found = Block(found.row, -warp.margin_px, found.height, shape_yx[1] + 2 * warp.margin_px)
    # Near a pole an edge bends much between two points of it.
    bend = ceil(_widest_step(rows, np.inf))
    found = Block(found.row - bend, found.col, found.height + 2 * bend, found.width)
    for row in near:
        top = min(found.row, floor(row) - warp.margin_px)
        bottom = max(found.row + found.height, ceil(row) + warp.margin_px)
        found = Block(top, found.col, bottom - top, found.width)
    return found


def _widest_step(values: Coordinates, turn_px: float) -> float:
    """Most columns or rows between neighbouring points, a jump over the seam apart."""
    steps = np.abs(np.diff(values, axis=-1))
    steps = steps[np.isfinite(steps)]
    steps = np.minimum(steps, np.abs(turn_px - steps))
    return float(steps.max()) if steps.size else 0.0


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
    needed = _needed(warp, shape_yx, block)
    return None if needed is None else needed.intersection(Block(0, 0, *shape_yx))


def is_wholly_inside(warp: Warp, shape_yx: tuple[int, int], block: Block) -> bool:
    """Whether no kernel of a block reaches over the scene's edge."""
    needed = _around(*warp.to_scene(*perimeter(block)), warp.margin_px)
    if needed is None or needed.intersection(Block(0, 0, *shape_yx)) != needed:
        return False
    return not warp.turn_px or needed == _needed(warp, shape_yx, block)


def landing(warp: Warp, shape_yx: tuple[int, int], scene_crs: str, lattice: Lattice) -> Block:
    """The pixels of the grid that a scene may fill; some lie beyond the grid's edge.

    Parameters
    ----------
    warp
        How the scene comes onto the grid.
    shape_yx
        Rows and columns of the scene.
    scene_crs
        The scene's CRS.
    lattice
        The grid without its edge.

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
            f"a part of it has no place in {crs_name(lattice.crs)}, so its pixels there cannot be "
            "bounded; name a grid with a CRS that suits the area, such as crs: utm"
        )
    return _all_around(warp, shape_yx, scene_crs, lattice, found)


def _all_around(
    warp: Warp, shape_yx: tuple[int, int], scene_crs: str, lattice: Lattice, found: Block
) -> Block:
    """The same, a whole turn wide where the scene holds a pole or lies on both sides of a seam."""
    cycle = cycle_of(lattice.crs)
    if cycle is None or cycle_of(scene_crs) is not None:
        return found
    turn_px = cycle.period / lattice.transform.a
    middle = cycle.longitude if lattice.around is None else lattice.around
    centre = (cycle.x(middle) - lattice.transform.c) / lattice.transform.a - warp.corner_xy[0]
    left, right = floor(centre - turn_px / 2), ceil(centre + turn_px / 2)
    poles = _poles_on(lattice, warp) if cycle.is_geographic else []
    rows, cols = shape_yx
    held = []
    for row in poles:
        x, y = warp.to_scene(np.array([centre]), np.array([row]))
        if 0 <= x[0] <= cols and 0 <= y[0] <= rows:
            held.append(row)
    if not held and found.width <= turn_px / 2:
        return found
    top = min([found.row, *(floor(row) for row in held)])
    bottom = max([found.row + found.height, *(ceil(row) for row in held)])
    return Block(top, left, bottom - top, right - left)


def _poles_on(lattice: Lattice, warp: Warp) -> list[float]:
    """Rows of a geographic grid that are poles."""
    _, _, _, _, e, f = tuple(lattice.transform)[:6]
    return [(latitude - f) / e - warp.corner_xy[1] for latitude in (90.0, -90.0)]
