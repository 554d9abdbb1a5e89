"""Towns: streets, blocks, lots and the houses on them."""

# ruff: noqa: PLR2004 - a picture is made of numbers.

from dataclasses import dataclass

import numpy as np

from spacenet_cube.sample.ground.canvas import Canvas
from spacenet_cube.sample.ground.noise import Hashes, Ints, Mask, Window, scatter, unit, value_noise
from spacenet_cube.sample.ground.places import Frame, Place
from spacenet_cube.sample.ground.spectra import Material

_AVENUE_EVERY = 4
_BRIDGE_EVERY = 8
_SWAY = {Frame.SQUARE: 0, Frame.TILTED: 12, Frame.WARPED: 90, Frame.RADIAL: 45}
_HALL_ROOFS = (Material.PALE_ROOF, Material.GREY_ROOF, Material.BLUE_ROOF, Material.CONCRETE)


@dataclass(frozen=True, slots=True, eq=False)
class Streets:
    """Where streets, blocks and lots are; arrays are shaped ``(y, x)``."""

    street: Mask
    """Any street."""

    avenue: Mask
    """The wide ones."""

    bridge: Mask
    """The avenues that cross water."""

    block: Hashes
    """A random number for each block."""

    across: Ints
    """Pixels from the block's first edge, away from the street along it."""

    along: Ints
    """Pixels from the block's second edge."""


def lay_streets(place: Place, extent_yx: tuple[int, int], window: Window) -> Streets:
    """Lay the network of an AOI, as if it were all town."""
    period = (
        place.street + place.lots[0] * place.lot,
        place.street + place.lots[1] * place.lot,
    )
    p, q = _frame(place, extent_yx, window, period)
    rows, cols = p // period[0], q // period[1]
    lp, lq = p - rows * period[0], q - cols * period[1]
    wide = place.street + 2
    avenue_p = (rows % _AVENUE_EVERY == 0) & (lp < wide)
    avenue_q = (cols % _AVENUE_EVERY == 0) & (lq < wide)
    rays = _rays(place, extent_yx, window)
    avenue = avenue_p | avenue_q | rays
    return Streets(
        street=(lp < place.street) | (lq < place.street) | avenue,
        avenue=avenue,
        bridge=rays if place.frame is Frame.RADIAL else avenue_p & (rows % _BRIDGE_EVERY == 0),
        block=scatter(rows, cols, place.seed + 50),
        across=lp - place.street,
        along=lq - place.street,
    )


def build_town(canvas: Canvas, place: Place, streets: Streets, town: Mask) -> None:
    """Paint yards, houses, halls, parks and streets where there is town."""
    if not town.any():
        return
    kind = streets.block >> np.uint32(28)
    park = town & (kind < place.parks)
    hall = town & ~park & (kind < place.parks + place.halls)
    house = town & ~park & ~hall
    soft = value_noise(canvas.window, 7, place.seed + 51)
    grove = value_noise(canvas.window, 4, place.seed + 55) + 0.7 * soft > 0.95
    canvas.paint(park, (Material.GRASS, Material.FALLOW), 0.5 * soft, 0.92 + 0.2 * soft)
    canvas.paint(park & grove, (Material.TREES, Material.TREES), 0.0, 0.9)
    canvas.paint(house, place.yards, unit(streets.block << np.uint32(8)) * (0.5 + 0.5 * soft))
    canvas.paint(hall, (Material.ASPHALT, Material.CONCRETE), 0.3 + 0.4 * soft)
    _build_houses(canvas, place, streets, house)
    _build_halls(canvas, place, streets, hall)
    canvas.paint(town & streets.street, (Material.ASPHALT, Material.CONCRETE), 0.15)
    canvas.paint(town & streets.avenue, (Material.ASPHALT, Material.CONCRETE), 0.35)


@dataclass(frozen=True, slots=True, eq=False)
class _Lots:
    """Lots of one size; arrays are shaped ``(y, x)``."""

    number: Hashes
    """A random number for each lot."""

    y: Ints
    """Pixels from the lot's first edge."""

    x: Ints
    """Pixels from the lot's second edge."""

    size: tuple[int, int]
    """Pixels along both edges."""

    shadow: int
    """Length of the shadow of what stands there."""

    def footprint(self, shift: int = 0) -> Mask:
        """Where the building stands, moved north and west by some pixels."""
        bits = [((self.number >> np.uint32(k)) & np.uint32(1)).astype(np.int32) for k in range(4)]
        y, x, first = self.y + shift, self.x + shift, 1 + self.shadow
        rows = (y >= first + bits[0]) & (y < self.size[0] - 1 - bits[1])
        return rows & (x >= first + bits[2]) & (x < self.size[1] - 1 - bits[3])

    def pick(self, bit: int, count: int) -> Hashes:
        """One of ``count`` choices for each lot; ``count`` is a power of two."""
        return (self.number >> np.uint32(bit)) & np.uint32(count - 1)


def _divide(streets: Streets, size: tuple[int, int], shadow: int, seed: int) -> _Lots:
    i, j = streets.across // size[0], streets.along // size[1]
    number = scatter(i, j, seed) ^ streets.block
    return _Lots(
        number=scatter(number.view(np.int32), i, seed + 1),
        y=streets.across - i * size[0],
        x=streets.along - j * size[1],
        size=size,
        shadow=shadow,
    )


def _build_houses(canvas: Canvas, place: Place, streets: Streets, where: Mask) -> None:
    """Put a house with its shadow, a tree and perhaps a pool on each lot."""
    lots = _divide(streets, (place.lot, place.lot), place.storeys, place.seed + 52)
    y, x = lots.y - 1, lots.x - 1
    canvas.paint(
        where & (y * y + x * x < 4) & (lots.pick(4, 4) == 0),
        (Material.TREES, Material.TREES),
        0.0,
        0.85,
    )
    if place.pools:
        pool = (lots.y >= place.lot - 3) & (x < 2) & (x >= 0) & (lots.pick(6, 8) == 0)
        canvas.paint(where & pool, (Material.POOL, Material.POOL))
    roof = where & lots.footprint()
    _cast(canvas, where & lots.footprint(lots.shadow) & ~roof)
    roofs = np.array(place.roofs, np.uint8)[lots.pick(16, 8)]
    sunny = np.where(2 * lots.y < place.lot + lots.shadow, np.float32(0.78), np.float32(0.96))
    canvas.paint(roof, roofs, 0.0, sunny + np.float32(0.22) * unit(lots.number << np.uint32(12)))


def _build_halls(canvas: Canvas, place: Place, streets: Streets, where: Mask) -> None:
    """Put a large flat building on each half of a block."""
    size = place.lots[0] * place.lot, place.lots[1] * place.lot // 2
    lots = _divide(streets, size, place.storeys * 2, place.seed + 54)
    parked = (lots.y % 3 == 0) & (lots.x % 2 == 0) & (unit(scatter(lots.y, lots.x, 7)) < 0.6)
    canvas.paint(where & parked, (Material.GREY_ROOF, Material.PALE_ROOF), unit(lots.number) * 0.5)
    roof = where & lots.footprint()
    _cast(canvas, where & lots.footprint(lots.shadow) & ~roof)
    roofs = np.array(_HALL_ROOFS, np.uint8)[lots.pick(16, 4)]
    vents = (lots.y % 7 == 3) & (lots.x % 5 == 2)
    canvas.paint(roof, roofs, 0.0, np.where(vents, np.float32(0.7), np.float32(1)))


def _cast(canvas: Canvas, shadow: Mask) -> None:
    np.multiply(canvas.light, np.float32(0.5), out=canvas.light, where=shadow)


def _frame(
    place: Place, extent_yx: tuple[int, int], window: Window, period: tuple[int, int]
) -> tuple[Ints, Ints]:
    """Street coordinates of every pixel: two whole numbers, in about pixels."""
    y, x = _swayed(place, window)
    match place.frame:
        case Frame.SQUARE | Frame.WARPED:
            return y, x
        case Frame.TILTED:
            return (y * 16 - x * 4) // 16, (y * 4 + x * 16) // 16
        case Frame.RADIAL:
            return _rings(*_from_centre(place, extent_yx, y, x), period)


def _swayed(place: Place, window: Window) -> tuple[Ints, Ints]:
    """Row and column of every pixel, as if the land were a rubber sheet pulled about."""
    reach = _SWAY[place.frame]
    sway = [value_noise(window, 130, place.seed + k) * reach for k in (60, 61)]
    return window.rows + sway[0].astype(np.int32), window.cols + sway[1].astype(np.int32)


def _rings(y: Ints, x: Ints, period: tuple[int, int]) -> tuple[Ints, Ints]:
    """Distance from the centre, and the way around it in a whole number of blocks."""
    down, right = y.astype(np.float32), x.astype(np.float32)
    radius = np.sqrt(down * down + right * right).astype(np.int32)
    # Along a diamond instead of a circle: the same order of rays without trigonometry.
    slope = right / (np.abs(down) + np.abs(right) + np.float32(1e-3))
    turn = np.where(y >= 0, np.float32(1) - slope, np.float32(3) + slope)
    blocks = np.maximum(1, radius // period[0] * period[0] * 11 // (7 * period[1]))
    return radius, (turn * (blocks * period[1]).astype(np.float32)).astype(np.int32)


def _rays(place: Place, extent_yx: tuple[int, int], window: Window) -> Mask:
    """Boulevards that meet in the centre of the first town."""
    if place.frame is not Frame.RADIAL:
        return np.zeros((window.height, window.width), np.bool_)
    y, x = _from_centre(place, extent_yx, *_swayed(place, window))
    half = place.street - 1
    straight = (np.abs(y) < half) | (np.abs(x) < half)
    diagonal = (np.abs(y - x) < half + 1) | (np.abs(y + x) < half + 1)
    oblique = (np.abs(2 * y - x) < 2 * half) | (np.abs(y + 2 * x) < 2 * half)
    return straight | diagonal | oblique


def _from_centre(place: Place, extent_yx: tuple[int, int], y: Ints, x: Ints) -> tuple[Ints, Ints]:
    town = place.towns[0]
    return y - np.int32(extent_yx[0] * town.v), x - np.int32(extent_yx[1] * town.u)
