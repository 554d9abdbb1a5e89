"""Placing: the grid of a cube, and how each scene lies on it.

Pure.  A scene either lies on the grid's own lattice, and its pixels pass through unchanged,
or it is warped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor

import numpy as np
from affine import Affine

from spacenet_cube.errors import RecipeError
from spacenet_cube.plans.footprint import footprint_of
from spacenet_cube.plans.lattice import Placement, place_on_lattice, snap
from spacenet_cube.raster.crs import crs_name, same_crs
from spacenet_cube.raster.grid import Block, Box, Grid
from spacenet_cube.raster.polygons import bounds, on_grid
from spacenet_cube.raster.seams import cycle_of, unwrapping
from spacenet_cube.raster.upright import rotation_px
from spacenet_cube.raster.warp import Lattice, Warp, landing, scene_window, warp_of
from spacenet_cube.recipe.grids import Area, LikeGrid, NativeGrid, TargetGrid
from spacenet_cube.recipe.model import Product, Recipe
from spacenet_cube.sources.scene import Scene

_NOISE_PX = 0.01
_WHOLE = 1e-3
_MOST_STEP_PX = 4096
_ZONE_DEGREES = 6


@dataclass(frozen=True, slots=True)
class Seat:
    """How one scene lies on the grid."""

    block: Block
    """Pixels of the grid that the scene may fill; some may lie beyond the grid's edge."""

    warp: Warp | None = None
    """How it is resampled; None where its pixels pass through unchanged."""

    def window(self, shape_yx: tuple[int, int], block: Block) -> Block | None:
        """Pixels of the scene that a block of the grid needs; None where it needs none."""
        shared = block.intersection(self.block)
        if shared is None:
            return None
        if self.warp is None:
            return shared.relative_to(self.block)
        return scene_window(self.warp, shape_yx, shared)


@dataclass(frozen=True, slots=True)
class Seating:
    """A grid, and where every scene lies on it."""

    grid: Grid
    """The grid of the cube."""

    seats: tuple[Seat, ...]
    """One a scene, in their order."""

    deviation_px: float
    """Largest distance of an unchanged scene's corner from the lattice, pixels."""


def seat_scenes(
    recipe: Recipe, product: Product, scenes: Sequence[Scene], reference: Grid | None
) -> Seating:
    """Settle the grid of a cube and place every scene on it.

    Parameters
    ----------
    recipe
        Holds the area, and the other products, whose pixels these nest in.
    product
        Says which grid.
    scenes
        At least one, all of one CRS.
    reference
        The grid that ``like`` names; None where the product names none.

    Returns
    -------
    Seating
        The grid is cut to the recipe's area.

    Raises
    ------
    RecipeError
        If the scenes share no lattice where they should, the reference is missing, a CRS
        does not suit, or the area holds nothing of the scenes.
    """
    if isinstance(product.grid, NativeGrid):
        whole = _native(place_on_lattice(scenes, product.grid.tolerance_px))
    elif isinstance(product.grid, TargetGrid):
        whole = _target(recipe, product.grid, scenes)
    else:
        whole = _like(product.grid, scenes, reference)
    if recipe.area is None:
        return whole
    return _cut(whole, recipe.area, common_step_px(recipe, product, whole.grid))


def _native(placement: Placement) -> Seating:
    seats = tuple(Seat(block) for block in placement.blocks)
    return Seating(placement.grid, seats, placement.deviation_px)


def _like(wanted: LikeGrid, scenes: Sequence[Scene], reference: Grid | None) -> Seating:
    """Seats on another cube's grid, or on one whose pixels are a whole number of its own."""
    if reference is None:
        raise RecipeError(
            f"the grid is like that of {wanted.like}, which was not given; pass "
            "reference=reference_grid(recipe, product, ...) to plan"
        )
    rows, cols = (-(-size // wanted.factor) for size in reference.shape_yx)
    grid = Grid((rows, cols), reference.transform @ Affine.scale(wanted.factor), reference.crs)
    box = grid.box
    around = unwrapping(grid.crs, (box.west, box.east))
    lattice = Lattice(grid.transform, grid.crs, around=around)
    found = [_on_lattice(scene, grid, wanted.tolerance_px) for scene in scenes]
    seats = tuple(
        Seat(native[0]) if native else _warped(scene, lattice, wanted.resampling)
        for scene, native in zip(scenes, found, strict=True)
    )
    return Seating(grid, seats, max((native[1] for native in found if native), default=0.0))


def _on_lattice(scene: Scene, grid: Grid, tolerance_px: float) -> tuple[Block, float] | None:
    """A scene's block and its distance from the lattice, where that is within the tolerance."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    turned = b or d or rotation_px(scene.transform, scene.shape_yx) > tolerance_px
    flipped = scene.transform.a <= 0 or scene.transform.e >= 0
    if turned or flipped or not same_crs(scene.crs, grid.crs):
        return None
    block, sides = snap(_on_turn_of(scene, grid), c, f, a, -e)
    off = max(map(abs, sides))
    return (block, off) if off <= tolerance_px else None


def _on_turn_of(scene: Scene, grid: Grid) -> Scene:
    """The scene, moved by whole turns around the Earth to where the grid lies."""
    cycle = cycle_of(grid.crs)
    if cycle is None:
        return scene
    turns = round((_middle_x(grid.box) - _middle_x(scene.box)) / cycle.period)
    moved = Affine.translation(turns * cycle.period, 0) @ scene.transform
    return replace(scene, transform=Affine(*tuple(moved)[:6])) if turns else scene


def _middle_x(box: Box) -> float:
    return (box.west + box.east) / 2


def _target(recipe: Recipe, wanted: TargetGrid, scenes: Sequence[Scene]) -> Seating:
    """Seats on the smallest grid of the author's choice that holds every scene."""
    crs = utm_of(scenes) if wanted.crs == "utm" else wanted.crs
    width, height = wanted.resolution
    footprint = footprint_of(scenes, crs)
    around = unwrapping(crs, (footprint.west, footprint.east)) if cycle_of(crs) else None
    pixel = Affine(width, 0, wanted.anchor[0], 0, -height, wanted.anchor[1])
    lattice = Lattice(pixel, crs, around=around)
    # Lattice columns and rows of the footprint's edges, rounding noise taken off outwards.
    left = (footprint.west - wanted.anchor[0]) / width
    right = (footprint.east - wanted.anchor[0]) / width
    top = (wanted.anchor[1] - footprint.north) / height
    bottom = (wanted.anchor[1] - footprint.south) / height
    alike = [other.resolution for other in _same_anchor(recipe, wanted)]
    step_x, step_y = _steps([*alike, wanted.resolution], wanted.resolution)
    col, row = _down(left, step_x), _down(top, step_y)
    cols, rows = -_down(-right, step_x) - col, -_down(-bottom, step_y) - row
    placed = replace(lattice, corner_xy=(col, row))
    transform = Affine(
        width,
        0,
        wanted.anchor[0] + col * width,
        0,
        -height,
        wanted.anchor[1] - row * height,
    )
    seats = tuple(_warped(scene, placed, wanted.resampling) for scene in scenes)
    return Seating(Grid((rows, cols), transform, crs), seats, 0.0)


def _down(value: float, step: int) -> int:
    """The next multiple of a step at or below a value, rounding noise aside.

    The noise is a part of the step, so that products of other pixel sizes cut alike.
    """
    return floor(value / step + _NOISE_PX) * step


def _warped(scene: Scene, lattice: Lattice, resampling: str) -> Seat:
    """A scene's warp, and the pixels that it may fill."""
    try:
        warp = warp_of(scene.transform, scene.crs, scene.shape_yx, lattice, resampling)
        return Seat(landing(warp, scene.shape_yx, scene.crs, lattice), warp)
    except RecipeError as error:
        raise RecipeError(f"scene {scene.id}: {error}") from error


def utm_of(scenes: Sequence[Scene]) -> str:
    """Code of the UTM zone (WGS 84) that the middle of the scenes lies in.

    Zones are six degrees wide everywhere: those widened for Norway are not.

    Raises
    ------
    RecipeError
        If the scenes lie beyond the zones, which end at 84 degrees north and 80 south.
    """
    box = footprint_of(scenes, "EPSG:4326")
    lon, lat = (box.west + box.east) / 2, (box.south + box.north) / 2
    if not -80 <= lat <= 84:  # noqa: PLR2004 - where UTM ends
        raise RecipeError(
            f"the scenes lie at latitude {lat:.2f}, where UTM does not reach; name a polar CRS, "
            "such as EPSG:3995 or EPSG:3031"
        )
    zone = floor((lon + 180) / _ZONE_DEGREES) % 60 + 1
    return f"EPSG:{326 if lat >= 0 else 327}{zone:02d}"


def _same_anchor(recipe: Recipe, wanted: TargetGrid) -> list[TargetGrid]:
    """The recipe's target grids whose pixels can share corners with those of one of them."""
    return [
        other.grid
        for other in recipe.products
        if isinstance(other.grid, TargetGrid)
        and (other.grid.crs, other.grid.anchor) == (wanted.crs, wanted.anchor)
    ]


def _steps(sizes: Sequence[tuple[float, float]], own: tuple[float, float]) -> tuple[int, int]:
    """How many of our own pixels the coarsest is wide and high, if all fit into it wholly."""

    def along(axis: int) -> int:
        coarsest = max(size[axis] for size in sizes)
        counts = [coarsest / size[axis] for size in sizes]
        if any(abs(n - round(n)) > _WHOLE * n for n in counts) or max(counts) > _MOST_STEP_PX:
            return 1
        return round(coarsest / own[axis])

    return along(0), along(1)


def common_step_px(recipe: Recipe, product: Product, grid: Grid) -> tuple[int, int]:
    """Pixels between the places where an area may cut, so that all products are cut alike.

    It is the coarsest pixel of the recipe's products, in pixels of this one, where that is a
    whole number: PAN is cut on the edges of MUL's pixels.

    Parameters
    ----------
    recipe
        Its products' grids, or the pixel sizes that it expects of native ones.
    product
        The product at hand.
    grid
        Its grid.

    Returns
    -------
    tuple of int
        Columns and rows.
    """
    if isinstance(product.grid, LikeGrid):
        factors = [
            other.grid.factor
            for other in recipe.products
            if isinstance(other.grid, LikeGrid) and other.grid.like == product.grid.like
        ]
        factor = product.grid.factor
        return _steps([(n, n) for n in [*factors, 1]], (factor, factor))
    own = grid.resolution_xy
    followers = [
        (own[0] * other.grid.factor, own[1] * other.grid.factor)
        for other in recipe.products
        if isinstance(other.grid, LikeGrid) and recipe.reference_product(other) == product
    ]
    if isinstance(product.grid, TargetGrid):
        alike = [other.resolution for other in _same_anchor(recipe, product.grid)]
        return _steps([*alike, *followers, own], own)
    expected = [
        other.expect.pixel_size
        for other in recipe.products
        if isinstance(other.grid, NativeGrid) and other.expect.pixel_size is not None
    ]
    return _steps([*expected, *followers, own], own)


def _cut(whole: Seating, area: Area, step_xy: tuple[int, int]) -> Seating:
    """The part of a grid that an area touches, cut on whole steps."""
    grid = whole.grid
    left, top, right, bottom = bounds(on_grid(area.shape, area.crs, grid))
    if not np.isfinite([left, top, right, bottom]).all():
        raise RecipeError(
            f"area has no place in {crs_name(grid.crs)}; correct its crs or coordinates"
        )
    step_x, step_y = step_xy
    row, col = _down(top, step_y), _down(left, step_x)
    wanted = Block(row, col, -_down(-bottom, step_y) - row, -_down(-right, step_x) - col)
    kept = wanted.intersection(Block(0, 0, *grid.shape_yx))
    if kept is None or not any(kept.intersection(seat.block) for seat in whole.seats):
        told = tuple(round(v, 6) for v in bounds(area.shape))
        raise RecipeError(
            f"area {told} ({area.crs}) holds nothing of the scenes, which lie within "
            f"{grid.box} ({crs_name(grid.crs)}); correct area (bbox is west, south, east, north)"
        )
    x, y = grid.transform @ (kept.col, kept.row)
    a, e = grid.transform.a, grid.transform.e
    cut = Grid((kept.height, kept.width), Affine(a, 0, x, 0, e, y), grid.crs)
    seats = tuple(_moved(seat, kept) for seat in whole.seats)
    return Seating(cut, seats, whole.deviation_px)


def _moved(seat: Seat, origin: Block) -> Seat:
    """A seat counted from another corner of the same lattice."""
    if seat.warp is None:
        return Seat(seat.block.relative_to(origin))
    x, y = seat.warp.corner_xy
    moved = replace(seat.warp, corner_xy=(x + origin.col, y + origin.row))
    return Seat(seat.block.relative_to(origin), moved)


def grown(block: Block, margin_px: int) -> Block:
    """A block with a margin on every side."""
    return Block(
        block.row - margin_px,
        block.col - margin_px,
        block.height + 2 * margin_px,
        block.width + 2 * margin_px,
    )
