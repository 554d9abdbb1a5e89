"""Footprints: what scenes cover together, in any CRS.

Pure.  Where x goes around the Earth, the footprint is the shortest span that holds every
scene: scenes on both sides of 180 degrees lie next to each other.
"""

from collections.abc import Sequence

import numpy as np
from pyproj import Transformer

from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.crs import crs_name
from spacenet_cube.raster.grid import Block, Box
from spacenet_cube.raster.seams import Cycle, cycle_of, grid_side, smallest_arc, unwrapping
from spacenet_cube.raster.warp import Coordinates, operation, perimeter
from spacenet_cube.sources.scene import Scene

_POLES = (90.0, -90.0)


def footprint_of(scenes: Sequence[Scene], crs: str) -> Box:
    """Bounds of all scenes in a CRS.

    Parameters
    ----------
    scenes
        At least one.
    crs
        Code or WKT.

    Returns
    -------
    Box
        Its east may lie beyond 180 degrees, where the scenes cross it.

    Raises
    ------
    RecipeError
        If a part of a scene has no place in the CRS.
    """
    cycle = cycle_of(crs)
    boxes = [_of_scene(scene, crs, cycle) for scene in scenes]
    west, south = min(box.west for box in boxes), min(box.south for box in boxes)
    east, north = max(box.east for box in boxes), max(box.north for box in boxes)
    spans = [(box.west, box.east) for box in boxes]
    if cycle is not None and any(unwrapping(crs, span) is not None for span in spans):
        west, east = smallest_arc(spans, cycle)
    return Box(west, south, east, north)


def _of_scene(scene: Scene, crs: str, cycle: Cycle | None) -> Box:
    xs, ys = _outline(scene)
    steps = operation(scene.crs, crs)
    wide = cycle is not None and cycle_of(scene.crs) is None
    if cycle is not None and wide:
        # Around the scene's own middle its outline does not jump.
        x, _ = _transformed(steps, np.array([xs.mean()]), np.array([ys.mean()]))
        around = cycle.degrees(float(x[0])) if np.isfinite(x[0]) else None
        if around is not None and unwrapping(crs, _span(*_transformed(steps, xs, ys))) is not None:
            steps = grid_side(steps, crs, around)
    easts, norths = _transformed(steps, xs, ys)
    if not (np.isfinite(easts).all() and np.isfinite(norths).all()):
        raise RecipeError(
            f"scene {scene.id}: a part of it has no place in {crs_name(crs)}; name a grid with a "
            "CRS that suits the area, such as crs: utm"
        )
    box = Box(*(float(v) for v in (easts.min(), norths.min(), easts.max(), norths.max())))
    return _with_poles(scene, crs, cycle, box) if cycle is not None and wide else box


def _span(xs: Coordinates, _ys: Coordinates) -> tuple[float, float]:
    known = xs[np.isfinite(xs)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _outline(scene: Scene) -> tuple[Coordinates, Coordinates]:
    """Points (x, y) along a scene's edge."""
    cols, rows = perimeter(Block(0, 0, *scene.shape_yx))
    a, b, c, d, e, f = tuple(scene.transform)[:6]
    return a * cols + b * rows + c, d * cols + e * rows + f


def _transformed(
    steps: str, xs: Coordinates, ys: Coordinates, direction: str = "FORWARD"
) -> tuple[Coordinates, Coordinates]:
    if not steps:
        return xs, ys
    found = Transformer.from_pipeline(f"+proj=pipeline {steps}").transform(
        xs, ys, direction=direction
    )
    return found[0], found[1]


def _with_poles(scene: Scene, crs: str, cycle: Cycle, box: Box) -> Box:
    """The box, a whole turn wide and up to the pole where the scene holds one."""
    if not cycle.is_geographic:
        return box
    steps, (rows, cols) = operation(scene.crs, crs), scene.shape_yx
    for latitude in _POLES:
        xs, ys = _transformed(steps, np.array([0.0]), np.array([latitude]), "INVERSE")
        if not (np.isfinite(xs[0]) and np.isfinite(ys[0])):
            continue
        col, row = ~scene.transform @ (float(xs[0]), float(ys[0]))
        if 0 <= col <= cols and 0 <= row <= rows:
            half, south, north = (
                cycle.period / 2,
                min(box.south, latitude),
                max(box.north, latitude),
            )
            box = Box(cycle.origin - half, south, cycle.origin + half, north)
    return box
