"""Shrinking: a block of pixels at a whole fraction of its resolution.

Pure.  The rules are those of overviews, for any factor: pixels that are not valid are left
out of the mean, integers are rounded half up, and ``source_index`` takes the scene most of the
pixels come from.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.raster.overview import most_common
from spacenet_cube.raster.pixels import Pixels
from spacenet_cube.raster.validity import differs, keep_present, keep_valid


def shrink(pixels: Pixels, factor: int, nodata: float, *, each_band: bool = False) -> Pixels:
    """Make one pixel of ``factor`` by ``factor``.

    Parameters
    ----------
    pixels
        A block; what is missing at its southern and eastern edge counts as not valid.
    factor
        Pixels along an edge that become one.
    nodata
        The product's nodata value.
    each_band
        Whether nodata marks single samples, which are then left out of their band's mean.

    Returns
    -------
    Pixels
        Sizes are rounded up.

    Examples
    --------
    >>> nine = Pixels(np.array([[[2, 3, 0, 9]]], "uint16"), np.array([[1, 1, 0, 2]], "uint16"))
    >>> small = shrink(nine, 3, 0)
    >>> small.image.tolist(), small.source_index.tolist()
    ([[[3, 9]]], [[1, 2]])
    """
    index = _cells(pixels.source_index, factor, 0)
    valid = index > 0
    planes = []
    for band in pixels.image:
        cells = _cells(band, factor, nodata)
        present = valid & differs(cells, nodata) if each_band else valid
        mean = _mean(cells, present, nodata)
        if each_band:
            keep_present(mean, present.any(-1), nodata)
        planes.append(mean)
    made = Pixels(np.stack(planes), most_common(list(np.moveaxis(index, -1, 0))))
    keep_valid(made.image, made.source_index, nodata)
    return made


def _cells(plane: NDArray[Any], factor: int, filler: float) -> NDArray[Any]:
    """The plane as (y, x, pixels of the cell), padded to whole cells."""
    rows, cols = plane.shape
    padding = ((0, -rows % factor), (0, -cols % factor))
    whole = np.pad(plane, padding, constant_values=filler)
    shape = (whole.shape[0] // factor, factor, whole.shape[1] // factor, factor)
    return whole.reshape(shape).swapaxes(1, 2).reshape(shape[0], shape[2], factor * factor)


def _mean(cells: NDArray[Any], valid: NDArray[np.bool_], nodata: float) -> NDArray[Any]:
    integer = cells.dtype.kind in "iu"
    held = valid if integer else valid & ~np.isnan(cells)
    total = np.where(held, cells, 0).sum(-1, dtype=np.int64 if integer else np.float64)
    count = held.sum(-1)
    least = np.maximum(count, 1)
    mean = (2 * total + least) // (2 * least) if integer else total / least
    empty = nodata if integer else np.where(valid.any(-1), np.nan, nodata)
    return np.where(count > 0, mean, empty).astype(cells.dtype)
