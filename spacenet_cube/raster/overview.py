"""Overviews: a level from the one below it.

Pure.  Four pixels become one.  Pixels without data are left out of the average, so the
edge of a mosaic does not darken; integers are rounded half up, as GDAL's average
resampling does from zero upwards.  ``source_index`` takes the scene most of the four come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.raster.pixels import Pixels
from spacenet_cube.raster.validity import differs, keep_present, keep_valid

_QUAD = 4
_STRIPE_ROWS = 128


def halve(
    pixels: Pixels, nodata: float, out: Pixels | None = None, *, each_band: bool = False
) -> Pixels:
    """Reduce a block of a level to a block of the next.

    Parameters
    ----------
    pixels
        A block that starts on an even row and column; odd sizes are padded with no data.
    nodata
        The product's nodata value.
    out
        Where to put the result, of its size; new memory by default.
    each_band
        Whether nodata marks single samples, which are then left out of their band's average.

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
        half.source_index[there] = most_common(_quads(index))
        quads = _valid_quads(index > 0)
        for band, made in zip(pixels.image, half.image, strict=True):
            plane = _even(band[here], nodata)
            if each_band:
                _average_of_present(plane, index > 0, nodata, made[there])
            else:
                _average(plane, quads, nodata, made[there])
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
    """Integers in a type that holds the sum of four, and twice that of three, with rounding."""
    kind, size = plane.dtype.kind, plane.dtype.itemsize
    if kind == "u" and size == np.dtype(np.uint16).itemsize and plane.max() < 1 << 13:
        return plane
    return plane.astype({1: np.int16, 2: np.int32}.get(size, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class _ValidQuads:
    """Which pixels of a plane are valid, and what that makes of its quads; for every band."""

    valid: NDArray[np.bool_]
    """Shape (y, x) of the plane."""

    is_whole: bool
    """Whether every pixel is valid."""

    partly: tuple[NDArray[np.intp], ...]
    """Rows and columns of the quads of which some pixels are valid: few, along edges."""

    count: NDArray[Any]
    """How many of each of those are valid: 1, 2 or 3."""

    none: NDArray[np.bool_]
    """Shape of the quads (y, x): those without a valid pixel; empty where all are."""


def _valid_quads(valid: NDArray[np.bool_]) -> _ValidQuads:
    is_whole = bool(valid.all())
    count = np.zeros((0, 0), np.uint8) if is_whole else _sum(valid.view(np.uint8))
    partly = np.nonzero((count > 0) & (count < _QUAD))
    return _ValidQuads(valid, is_whole, partly, count[partly], count == 0)


def _average(plane: NDArray[Any], quads: _ValidQuads, nodata: float, out: NDArray[Any]) -> None:
    """Average of the valid pixels of each quad, in the plane's type."""
    if plane.dtype.kind == "f":
        out[...] = _average_of_floats(plane, quads.valid, nodata)
        return
    if not quads.is_whole:
        plane = plane * quads.valid.astype(plane.dtype)
    total = _sum(_wide(plane))
    of_some = total[quads.partly]
    total += 2
    total >>= 2
    np.copyto(out, total, casting="unsafe")
    if not quads.is_whole:
        count = quads.count.astype(total.dtype)
        out[quads.partly] = (2 * of_some + count) // (2 * count)
        if nodata != 0:
            np.copyto(out, np.asarray(nodata, out.dtype), where=quads.none)


def _average_of_present(
    plane: NDArray[Any], valid: NDArray[np.bool_], nodata: float, out: NDArray[Any]
) -> None:
    """Average of the samples of each quad that are not nodata in this band."""
    present = valid & differs(plane, nodata)
    _average(plane, _valid_quads(present), nodata, out)
    keep_present(out, _sum(present.view(np.uint8)) > 0, nodata)


def _average_of_floats(
    plane: NDArray[Any], valid: NDArray[np.bool_], nodata: float
) -> NDArray[Any]:
    """The same of floats; NaN in a band is left out."""
    held = valid & ~np.isnan(plane)
    wide = plane.astype(np.float64)
    if held.all():
        return _sum(wide) / _QUAD
    total = _sum(np.where(held, wide, 0.0))
    count = _sum(held.astype(np.uint8))
    mean = total / np.maximum(count, 1)
    empty = np.where(_sum(valid.astype(np.uint8)) > 0, np.nan, nodata)
    found: NDArray[Any] = np.where(count > 0, mean, empty)
    return found


def most_common(planes: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The scene that most pixels of each cell come from.

    Parameters
    ----------
    planes
        Scene numbers, a plane for each place in a cell, in reading order: from north to
        south, then from west to east.  0 is no data and has no vote.

    Returns
    -------
    array
        Shaped as a plane.  Of scenes with equally many pixels, the one whose pixel comes
        first; 0 where a cell has no data.

    Examples
    --------
    >>> most_common([np.array([2]), np.array([1]), np.array([1]), np.array([2])])
    array([2])
    """
    found, same = planes[0].copy(), np.ones(planes[0].shape, bool)
    for other in planes[1:]:
        same &= planes[0] == other
    if not same.all():
        mixed = np.nonzero(~same)
        found[mixed] = _elected([plane[mixed] for plane in planes])
    return found


def _elected(cells: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The same, where pixels of a cell differ."""
    if len(cells) > _QUAD:
        return _elected_of_many(np.stack(cells))
    best, most = np.zeros_like(cells[0]), np.zeros(cells[0].shape, np.uint8)
    for candidate in cells:
        votes = sum((candidate == other).astype(np.uint8) for other in cells)
        wins = (candidate > 0) & (votes > most)
        best[wins], most[wins] = candidate[wins], votes[wins]
    return best


def _elected_of_many(cells: NDArray[Any]) -> NDArray[Any]:
    """The same, counted scene by scene: comparing each pixel with each would take too long."""
    best: NDArray[Any] = np.zeros_like(cells[0])
    most, place = np.zeros(best.shape, np.int64), np.zeros(best.shape, np.int64)
    for scene in np.unique(cells[cells > 0]):
        is_scene = cells == scene
        votes, first = is_scene.sum(0), is_scene.argmax(0)
        wins = (votes > most) | ((votes == most) & (first < place))
        best[wins], most[wins], place[wins] = scene, votes[wins], first[wins]
    return best
