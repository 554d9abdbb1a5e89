"""Lattices: recognising the one grid that many scenes were cut from.

Pure.  Tiles of one delivery abut exactly on the ground, yet their headers carry rounding
noise: corners are off by up to a thousandth of a pixel, and pixel sizes differ in the 8th
digit.  A lattice is recognised when every corner of every scene lies within a stated
tolerance of it; the scenes are then snapped, and their pixels are never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from affine import Affine

from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.grid import Block, Grid
from spacenet_cube.raster.upright import rotation_px
from spacenet_cube.sources.scene import Scene

_DIGITS = range(1, 17)
_SIZES_RELATIVE = 0.02


@dataclass(frozen=True, slots=True)
class Placement:
    """A grid, and where each scene lies on it."""

    grid: Grid
    """The smallest grid on the lattice that holds every scene."""

    blocks: tuple[Block, ...]
    """Pixels of the grid that each scene covers, in the order of the scenes."""

    deviation_px: float
    """Largest distance of a scene's corner from the lattice, pixels."""


def _shortest_between(low: float, high: float, fallback: float) -> float:
    """The number with the fewest digits in ``[low, high]``."""
    for digits in _DIGITS:
        candidate = float(f"{(low + high) / 2:.{digits}g}")
        if low <= candidate <= high:
            return candidate
    return fallback


def _pixel_edge(edges: Sequence[float]) -> float:
    """One pixel edge for all: what the headers agree on, or the roundest they allow."""
    low, high = min(edges), max(edges)
    return low if low == high else _shortest_between(low, high, median(edges))


def _refusal(scene: Scene, why: str) -> str:
    return (
        f"scene {scene.id} {why}, so pixels cannot pass through unchanged; give the product a "
        "grid to resample onto, such as grid: {crs: utm, resolution: 0.5}, or exclude the scene"
    )


def place_on_lattice(scenes: Sequence[Scene], tolerance_px: float) -> Placement:
    """Recognise the lattice that scenes share, and place each of them on it.

    The lattice's pixel size is the one all headers state or, where they differ by
    rounding, the number with the fewest digits among them.  Its origin is the
    north-western corner of the scenes, as ``gdalbuildvrt`` has it.

    Parameters
    ----------
    scenes
        At least one, all of one CRS.
    tolerance_px
        How far a corner of a scene may lie from the lattice, pixels.

    Returns
    -------
    Placement
        The grid and one block a scene.

    Raises
    ------
    RecipeError
        If a scene is rotated, scenes have pixels of several sizes, or one lies off the lattice
        by more than the tolerance: its author names a grid to resample onto, or excludes the scene.
    """
    for scene in scenes:
        turned = rotation_px(scene.transform, scene.shape_yx)
        if turned > tolerance_px or scene.transform.a <= 0 or scene.transform.e >= 0:
            raise RecipeError(_refusal(scene, "is rotated or not north-up"))
    _refuse_sizes(scenes)
    width = _pixel_edge([scene.transform.a for scene in scenes])
    height = _pixel_edge([-scene.transform.e for scene in scenes])
    west = min(scene.transform.c for scene in scenes)
    north = max(scene.transform.f for scene in scenes)
    placed = [snap(scene, west, north, width, height) for scene in scenes]
    deviation_px = max(max(map(abs, off)) for _, off in placed)
    if deviation_px > tolerance_px:
        worst = _odd_one([off for _, off in placed])
        why = (
            f"lies up to {deviation_px:.3g} pixels off the lattice of the others (origin {west!r}, "
            f"{north!r}; pixel {width!r} x {height!r}; tolerance {tolerance_px})"
        )
        raise RecipeError(_refusal(scenes[worst], why))
    found = tuple(block for block, _ in placed)
    rows = max(block.row + block.height for block in found)
    cols = max(block.col + block.width for block in found)
    transform = Affine(width, 0.0, west, 0.0, -height, north)
    return Placement(Grid((rows, cols), transform, _crs_of(scenes)), found, deviation_px)


def _crs_of(scenes: Sequence[Scene]) -> str:
    """The CRS of scenes that all mean the same one: under its code, where any file has it."""
    texts = list(dict.fromkeys(scene.crs for scene in scenes))
    return next((text for text in texts if text.partition(":")[0].isalnum()), texts[0])


def _refuse_sizes(scenes: Sequence[Scene]) -> None:
    """Refuse scenes whose pixels differ in size by more than rounding, and name the sizes."""
    by_size: dict[tuple[str, str], list[Scene]] = {}
    for scene in scenes:
        size = (f"{scene.transform.a:.4g}", f"{-scene.transform.e:.4g}")
        by_size.setdefault(size, []).append(scene)
    edges = [(scene.transform.a, -scene.transform.e) for scene in scenes]
    unlike = any(max(side) > min(side) * (1 + _SIZES_RELATIVE) for side in zip(*edges, strict=True))
    if unlike and len(by_size) > 1:
        told = " and ".join(
            f"{width} x {height} ({len(some)}, as {some[0].id})"
            for (width, height), some in by_size.items()
        )
        raise RecipeError(
            f"scenes have pixels of several sizes (x, y): {told}, so they share no lattice; give "
            "the product a grid to resample onto, such as grid: {crs: utm, resolution: 0.5}, or "
            "exclude the others"
        )


def _odd_one(off_px: Sequence[tuple[float, ...]]) -> int:
    """Which scene differs most from what most scenes have, wherever the origin lies."""
    usual = [median(side) for side in zip(*off_px, strict=True)]
    return max(
        range(len(off_px)),
        key=lambda i: max(abs(a - b) for a, b in zip(off_px[i], usual, strict=True)),
    )


def snap(
    scene: Scene, west: float, north: float, width: float, height: float
) -> tuple[Block, tuple[float, ...]]:
    """The block nearest to a scene, and how far its four edges are from it in pixels."""
    box = scene.box
    rows, cols = scene.shape_yx
    left, top = (box.west - west) / width, (north - box.north) / height
    right, bottom = (box.east - west) / width, (north - box.south) / height
    row, col = round(top), round(left)
    off = (left - col, top - row, right - (col + cols), bottom - (row + rows))
    return Block(row, col, rows, cols), off
