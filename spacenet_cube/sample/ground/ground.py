"""The ground of an AOI: a pure function of where one looks.

Every product, and every piece of one, shows the same ground.  Small features (streets,
houses, fields) have a size in pixels, large ones (rivers, towns, hills) a share of the
AOI, so a larger sample shows more ground and not finer ground.
"""

# ruff: noqa: PLR2004 - a picture is made of numbers.

import numpy as np

from spacenet_cube.sample.ground.canvas import Canvas, blank
from spacenet_cube.sample.ground.noise import (
    Floats,
    Mask,
    Window,
    layered_noise,
    ramp,
    scatter,
    unit,
    value_noise,
)
from spacenet_cube.sample.ground.places import Place, River, Sea
from spacenet_cube.sample.ground.spectra import Material
from spacenet_cube.sample.ground.streets import build_town, lay_streets

_PARCEL_YX = (24, 38)
_PIVOT = 46
_SLOPE_STEP = 2


def paint_ground(place: Place, extent_yx: tuple[int, int], window: Window) -> Canvas:
    """Paint a part of an AOI.

    Parameters
    ----------
    place
        The temper of the AOI.
    extent_yx
        Rows and columns of the whole AOI.
    window
        The part to paint.

    Returns
    -------
    Canvas
        What each pixel of ``window`` shows, whatever else is painted.
    """
    canvas = blank(window)
    width = extent_yx[1]
    height = layered_noise(window, (width // 3, width // 7, width // 16, 24), place.seed)
    hill = height > place.hill_line
    _paint_open_land(canvas, place, width)
    _paint_farms(canvas, place, width)
    peak = ramp(height + 0.1 * value_noise(window, 9, place.seed + 20), place.hill_line + 0.05, 1.0)
    canvas.paint(hill, place.hills, peak)
    town = _town(place, extent_yx, window) & ~hill
    streets = lay_streets(place, extent_yx, window)
    build_town(canvas, place, streets, town)
    canvas.paint(streets.bridge & ~hill, (Material.ASPHALT, Material.CONCRETE), 0.35)
    _light(canvas, place, ramp(height, place.hill_line - 0.06, place.hill_line + 0.06))
    rivers = [_river_depth(river, place, extent_yx, window) for river in place.rivers]
    seas = [_sea_depth(sea, place, extent_yx, window) for sea in place.seas]
    bank = width // 120 + 3
    _paint_banks(canvas, place, bank, rivers + seas)
    _flood(canvas, place, bank, [(d, r.water) for d, r in zip(rivers, place.rivers, strict=True)])
    canvas.paint(streets.bridge & ~hill, (Material.CONCRETE, Material.ASPHALT), 0.3)
    _flood(canvas, place, bank, [(d, s.water) for d, s in zip(seas, place.seas, strict=True)])
    return canvas


def _paint_open_land(canvas: Canvas, place: Place, width: int) -> None:
    window = canvas.window
    rough = layered_noise(window, (width // 6, 40, 14, 6), place.seed + 10)
    canvas.paint(np.ones_like(rough, np.bool_), place.ground, ramp(rough, 0.35, 0.65))
    bushes = (value_noise(window, 5, place.seed + 14) > 0.72) & (rough > 0.48)
    bush = Material.TREES if Material.GRASS in place.ground else Material.SCRUB
    canvas.paint(bushes, (bush, bush), 0.0, 0.88)


def _paint_farms(canvas: Canvas, place: Place, width: int) -> None:
    if not place.farmed:
        return
    window = canvas.window
    rural = layered_noise(window, (width // 4, 60), place.seed + 30)
    farmed = rural < 0.2 + 0.6 * place.farmed
    if place.pivots:
        _paint_pivots(canvas, place, farmed)
        return
    sway = (value_noise(window, 110, place.seed + 32) * 40).astype(np.int32)
    p, q = (window.rows * 16 - window.cols * 3) // 16 + sway, window.cols + window.rows // 5 - sway
    row, col = p // _PARCEL_YX[0], q // (_PARCEL_YX[1])
    y, x = p - row * _PARCEL_YX[0], q - col * _PARCEL_YX[1]
    number = scatter(row, col, place.seed + 33)
    furrow = np.where((y & 3 == 0) & (number & np.uint32(1) == 0), np.float32(0.9), np.float32(1))
    vigour = unit(number) * 0.85 + value_noise(window, 16, place.seed + 34) * 0.15
    canvas.paint(farmed, place.crops, vigour, furrow)
    hedge = (y == 0) | (x == 0)
    canvas.paint(farmed & hedge, (Material.FALLOW, Material.TREES), 0.0, 0.9)


def _paint_pivots(canvas: Canvas, place: Place, farmed: Mask) -> None:
    window = canvas.window
    row, col = window.rows // _PIVOT, window.cols // _PIVOT
    y, x = window.rows - row * _PIVOT - _PIVOT // 2, window.cols - col * _PIVOT - _PIVOT // 2
    number = scatter(row, col, place.seed + 35)
    circle = (y * y + x * x) < (_PIVOT // 2 - 2) * (_PIVOT // 2 - 2)
    canvas.paint(farmed & circle, place.crops, unit(number), 1.0)


def _town(place: Place, extent_yx: tuple[int, int], window: Window) -> Mask:
    rows, cols = window.rows.astype(np.float32), window.cols.astype(np.float32)
    height, width = extent_yx
    density = np.full((window.height, window.width), -1, np.float32)
    for town in place.towns:
        dy = (rows - np.float32(town.v * height)) / np.float32(town.radius * width)
        dx = (cols - np.float32(town.u * width)) / np.float32(town.radius * width)
        np.maximum(density, 1 - dy * dy - dx * dx, out=density)
    noise = layered_noise(window, (width // 5, width // 12, 30), place.seed + 40)
    return density + (noise - np.float32(0.5)) * np.float32(4 * place.sprawl) > 0


def _light(canvas: Canvas, place: Place, steep: Floats) -> None:
    """Light the hills from the south-east, and vary what is too even to be ground."""
    window = canvas.window
    high = layered_noise(window.grown(_SLOPE_STEP), (70, 32, 14), place.seed + 1)
    slope = high[:-_SLOPE_STEP, :-_SLOPE_STEP] - high[_SLOPE_STEP:, _SLOPE_STEP:]
    light = 1 + slope * (steep * np.float32(place.relief) + np.float32(0.5))
    light = np.clip(light, np.float32(0.4), np.float32(1.5))
    grain = unit(scatter(window.rows, window.cols, place.seed + 70))
    cloth = layered_noise(window, (40, 12, 5, 2), place.seed + 71)
    light *= np.float32(0.83) + cloth * np.float32(0.28) + grain * np.float32(0.06)
    crowns = np.float32(0.72) + np.float32(0.56) * value_noise(window, 3, place.seed + 75)
    np.multiply(light, crowns, out=light, where=canvas.near == Material.TREES)
    np.multiply(canvas.light, light, out=canvas.light)


def _river_depth(river: River, place: Place, extent_yx: tuple[int, int], window: Window) -> Floats:
    """Pixels from the nearer bank, negative on land."""
    height, width = extent_yx
    rows = window.rows.astype(np.float32)
    first, last = (np.float32(v * height) for v in river.v_span)
    begin, end = (np.float32(u * width) for u in river.u_span)
    along = (rows - first) / (last - first)
    line = Window(window.y, 0, window.height, 1)
    seed = place.seed + 80 + int(river.half_width * 1000)
    stray = layered_noise(line, (width // 2, width // 6), seed) - np.float32(0.5)
    half = np.float32(river.half_width * width) * (
        np.float32(0.75) + np.float32(0.5) * layered_noise(line, (width // 5, 20), seed + 9)
    )
    # Straight where two rivers meet, so that they do.
    calm = np.minimum(ramp(along, 0.0, 0.12), ramp(-along, -1.0, -0.88))
    centre = begin + (end - begin) * along + stray * calm * np.float32(2 * river.meander * width)
    depth = half - np.abs(window.cols.astype(np.float32) - centre)
    return np.where((along >= 0) & (along <= 1), depth, np.float32(-1e6))


def _sea_depth(sea: Sea, place: Place, extent_yx: tuple[int, int], window: Window) -> Floats:
    """About the number of pixels from the shore, negative on land."""
    height, width = extent_yx
    down = window.rows.astype(np.float32) * np.float32(sea.south / height)
    right = window.cols.astype(np.float32) * np.float32(sea.east / width)
    cells = (width // 6, width // 15, 24)
    stray = layered_noise(window, cells, place.seed + 90) - np.float32(0.5)
    value = down + right + stray * np.float32(2 * sea.wobble) - np.float32(sea.level)
    depth: Floats = value * np.float32(min(height, width))
    return depth


def _paint_banks(canvas: Canvas, place: Place, bank: int, depths: list[Floats]) -> None:
    for depth in depths:
        shore = (depth > -bank) & (depth <= 0)
        canvas.paint(shore, place.banks, ramp(-depth, 0.0, float(bank)))


def _flood(
    canvas: Canvas, place: Place, bank: int, waters: list[tuple[Floats, tuple[Material, Material]]]
) -> None:
    ripple = value_noise(canvas.window, 6, place.seed + 95)
    for depth, water in waters:
        light = np.float32(0.94) + np.float32(0.12) * ripple
        canvas.paint(depth > 0, water, ramp(depth, 0.0, 5.0 * bank), light)
