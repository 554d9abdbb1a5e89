"""Overviews: a level from the one below it.

Pure.  Four pixels become one.  Pixels without data are left out of the average, so the
edge of a mosaic does not darken; integers are rounded half up, as GDAL's average
resampling does from zero upwards.  ``source_index`` takes the scene most of the four come from.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.core.mosaic import Pixels
from spacenet_cube.core.validity import keep_valid

_QUAD = 4
_STRIPE_ROWS = 128


def halve(pixels: Pixels, nodata: float, out: Pixels | None = None) -> Pixels:
    """Reduce a block of a level to a block of the next.

    Parameters
    ----------
    pixels
        A block that starts on an even row and column; odd sizes are padded with no data.
    nodata
        The product's nodata value.
    out
        Where to put the result, of its size; new memory by default.

    Returns
    -------
    Pixels
        Half as high and wide, rounded up; ``out`` where that is given.  A pixel is valid
        where any of its four is.

    Examples
    --------
    >>> quad = Pixels(np.array([[[2, 3], [0, 9]]], "uint16"), np.array([[1, 1], [0, 2]], "uint16"))
    >>> half = halve(quad, 0)
    >>> half.image.item(), half.source_index.item()
    (5, 1)
    """
    count, rows, cols = pixels.image.shape
    shape_yx = ((rows + 1) // 2, (cols + 1) // 2)
    half = out or Pixels(
        np.empty((count, *shape_yx), pixels.image.dtype),
        np.empty(shape_yx, pixels.source_index.dtype),
    )
    assert half.source_index.shape == shape_yx, "the result has another size"
    for top in range(0, rows, _STRIPE_ROWS):
        here, there = slice(top, top + _STRIPE_ROWS), slice(top // 2, (top + _STRIPE_ROWS) // 2)
        index = _even(pixels.source_index[here], 0)
        half.source_index[there] = _most_common(index)
        valid = index > 0
        for band, made in zip(pixels.image, half.image, strict=True):
            made[there] = _average(_even(band[here], nodata), valid, nodata)
        keep_valid(half.image[:, there], half.source_index[there], nodata)
    return half


def _even(plane: NDArray[Any], filler: float) -> NDArray[Any]:
    """The plane (y, x), padded to even sizes."""
    rows, cols = plane.shape
    if rows % 2 == 0 and cols % 2 == 0:
        return plane
    return np.pad(plane, ((0, rows % 2), (0, cols % 2)), constant_values=filler)


def _quads(plane: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """The four pixels of each quad: north-west, north-east, south-west, south-east."""
    return plane[0::2, 0::2], plane[0::2, 1::2], plane[1::2, 0::2], plane[1::2, 1::2]


def _sum(plane: NDArray[Any]) -> NDArray[Any]:
    """Sum of each quad, rows first because they are contiguous."""
    pairs = plane[0::2] + plane[1::2]
    total: NDArray[Any] = pairs[:, 0::2] + pairs[:, 1::2]
    return total


def _wide(plane: NDArray[Any]) -> NDArray[Any]:
    """The plane in a type that holds the sum of four with room for rounding."""
    kind, size = plane.dtype.kind, plane.dtype.itemsize
    if kind == "f":
        return plane.astype(np.float64)
    if kind == "u" and size == np.dtype(np.uint16).itemsize and plane.max() < 1 << 13:
        return plane
    return plane.astype({1: np.int16, 2: np.int32}.get(size, np.int64))


def _average(plane: NDArray[Any], valid: NDArray[np.bool_], nodata: float) -> NDArray[Any]:
    """Average of the valid pixels of each quad, in the plane's type; NaN in a band is left out."""
    integer = plane.dtype.kind in "iu"
    held = valid if integer else valid & ~np.isnan(plane)
    if held.all():
        total = _sum(_wide(plane))
        return ((total + 2) >> 2 if integer else total / _QUAD).astype(plane.dtype)
    total = _sum(_wide(np.where(held, plane, np.zeros((), plane.dtype))))
    count = _sum(held.astype(np.uint8)).astype(total.dtype)
    least = np.maximum(count, 1)
    mean = (2 * total + least) // (2 * least) if integer else total / least
    empty = nodata if integer else np.where(_sum(valid.astype(np.uint8)) > 0, np.nan, nodata)
    return np.where(count > 0, mean, empty).astype(plane.dtype)


def _most_common(index: NDArray[Any]) -> NDArray[Any]:
    """The scene most of each quad come from; the first in reading order among equals."""
    low, high = index.min(), index.max()
    if low == high:
        return np.full((index.shape[0] // 2, index.shape[1] // 2), low, index.dtype)
    quads = _quads(index)
    best = np.zeros(quads[0].shape, index.dtype)
    most = np.zeros(quads[0].shape, np.uint8)
    for candidate in quads:
        votes = sum((candidate == other).astype(np.uint8) for other in quads)
        wins = (candidate > 0) & (votes > most)
        best[wins] = candidate[wins]
        most[wins] = votes[wins]
    return best
