"""Pixels of a product: the ground as the product's maker would deliver it.

0 is fill, in every band; what the sensor saw is at least 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.sample.catalog import Delivery
from spacenet_cube.sample.ground.areas import PLACES
from spacenet_cube.sample.ground.canvas import Canvas
from spacenet_cube.sample.ground.ground import paint_ground
from spacenet_cube.sample.ground.noise import Mask, Window
from spacenet_cube.sample.ground.spectra import BANDS, PAN_SIXTEENTHS

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_RGB = ("red", "green", "blue")
_PRODUCT_BANDS = {"PAN": ("pan",), "RGB-PanSharpen": _RGB, "3-Band": _RGB}


@dataclass(frozen=True, slots=True)
class Radiometry:
    """How brightness becomes a number."""

    gain: float
    """Digital numbers of the product for one of the 11-bit sensor."""

    highest: int
    """Where the product saturates."""


ELEVEN_BITS = Radiometry(gain=1.0, highest=2047)
BALANCED = Radiometry(gain=3.6, highest=7500)
"""Rio's mosaic: brighter than any 11-bit number."""

_TONES = {"red": (100, 4600), "green": (300, 5800), "blue": (450, 4700)}


def band_names(product: str) -> tuple[str, ...]:
    """Bands of a product, in their order in the file."""
    return _PRODUCT_BANDS.get(product, BANDS)


def pixel_type(product: str) -> str:
    """Type of a product's pixels."""
    return "uint8" if product == "3-Band" else "uint16"


def pixels(delivery: Delivery, window: Window) -> Pixels:
    """Compute a part of a product.

    Parameters
    ----------
    delivery
        The product.
    window
        The part, in the product's own pixels from the AOI's upper left corner.

    Returns
    -------
    Pixels
        Shaped ``(band, y, x)``; 0 is fill.
    """
    k = delivery.factor
    fine = Window(window.y * k, window.x * k, window.height * k, window.width * k)
    canvas = paint_ground(PLACES[delivery.aoi], delivery.ground_yx, fine)
    seen = _all_of(swath(delivery, fine), k)
    radiometry = BALANCED if delivery.product in ("3-Band", "8-Band") else ELEVEN_BITS
    names = band_names(delivery.product)
    shape = (len(names), window.height, window.width)
    out = np.zeros(shape, pixel_type(delivery.product))
    for i, name in enumerate(names):
        band = _pan(canvas) if name == "pan" else _band(canvas, BANDS.index(name), radiometry)
        values = _toned(band, name) if out.dtype == np.uint8 else _mean_of(band, k)
        np.copyto(out[i], values, where=seen, casting="same_kind")
    return out


def swath(delivery: Delivery, window: Window) -> Mask:
    """Where the sensor looked, at the AOI's finest pixels: between slanting edges.

    The edges keep clear of the last tiles, some of which are very narrow: no tile is
    fill throughout.
    """
    height, width = delivery.ground_yx
    up, rows, cols = height - 1 - window.rows, window.rows, window.cols
    if delivery.code:
        west, east = width * 3 // 100, width * 8 // 1000
        # The last pixels of MUL reach over the edge, and are seen whole.
        right = -(-width // 4) * 4
        return (cols >= rows * west // height) & (cols < right - up * east // height)
    edge = width // 8
    west, south = edge // 2, edge * 2 // 5
    return (cols >= up * west // height) & (up >= (width - 1 - cols) * south // width)


def _band(canvas: Canvas, band: int, radiometry: Radiometry) -> NDArray[np.uint16]:
    numbers = np.rint(canvas.digital_numbers(band) * np.float32(radiometry.gain))
    return np.clip(numbers, 1, radiometry.highest).astype(np.uint16)


def _pan(canvas: Canvas) -> NDArray[np.uint16]:
    total = np.full(canvas.near.shape, 8, np.uint32)
    for band, weight in enumerate(PAN_SIXTEENTHS):
        if weight:
            total += np.uint32(weight) * _band(canvas, band, ELEVEN_BITS)
    return (total >> np.uint32(4)).astype(np.uint16)


def _toned(band: NDArray[np.uint16], name: str) -> NDArray[np.uint8]:
    """Squeeze into 1 to 255 for the eye: dark tones are spread, bright ones crowded."""
    dark, white = _TONES[name]
    numbers = np.arange(BALANCED.highest + 1, dtype=np.float32)
    share = np.clip((numbers - np.float32(dark)) / np.float32(white - dark), 0, 1)
    curve: NDArray[np.uint8] = (1 + np.floor(np.sqrt(share) * np.float32(254))).astype(np.uint8)
    return curve[band]


def _mean_of(band: NDArray[np.uint16], k: int) -> NDArray[np.uint16]:
    """Mean of each ``k`` x ``k`` pixels, rounded half up."""
    if k == 1:
        return band
    rows, cols = band.shape
    blocks = band.reshape(rows // k, k, cols // k, k)
    total = blocks.sum(axis=(1, 3), dtype=np.uint32)
    return ((total + k * k // 2) // (k * k)).astype(np.uint16)


def _all_of(mask: Mask, k: int) -> Mask:
    """Whether each ``k`` x ``k`` pixels are all true."""
    rows, cols = mask.shape
    result: Mask = mask.reshape(rows // k, k, cols // k, k).all(axis=(1, 3))
    return result
