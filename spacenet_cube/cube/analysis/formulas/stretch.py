"""Rendering: pixels as indices and as pictures.

Pure.  Arrays come as xarray hands them to a function of its core dimensions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

GAMMA = 0.7
"""Exponent by which linear light becomes screen values; sRGB's is 1 / 2.2, which is paler."""

_LEAST_SPAN = np.float32(1e-6)


def normalized_difference(
    image: NDArray[Any], valid: NDArray[np.bool_], *, where: tuple[int, ...]
) -> NDArray[np.float32]:
    """(first - second) / (first + second), computed in float32 because unsigned types wrap.

    Parameters
    ----------
    image
        Bands on the last axis.
    valid
        The shape of ``image`` without bands.
    where
        Places of the two bands.

    Returns
    -------
    array of float32
        From -1 to 1; NaN where not valid, or where both bands are 0.

    Examples
    --------
    >>> normalized_difference(np.array([[30, 10]], "uint16"), np.array([True]), where=(1, 0))
    array([-0.5], dtype=float32)
    """
    first, second = (image[..., place].astype(np.float32) for place in where)
    total = first + second
    out = np.full(total.shape, np.nan, np.float32)
    np.divide(first - second, total, out=out, where=valid & (total != 0))
    return out


def percentiles(
    image: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    where: tuple[int, ...],
    stretch: tuple[float, float],
) -> NDArray[np.float32]:
    """Percentiles of the valid pixels of bands.

    Parameters
    ----------
    image
        Shape (band, y, x).
    valid
        Shape (y, x).
    where
        Places of the bands.
    stretch
        The two percentiles, 0 to 100.

    Returns
    -------
    array of float32
        Shape (bands, 2); 0 and 1 where nothing is valid.
    """
    samples = (image[place][valid].astype(np.float32) for place in where)
    finite = [sample[np.isfinite(sample)] for sample in samples]
    limits = [np.percentile(sample, stretch) if sample.size else (0, 1) for sample in finite]
    return np.asarray(limits, np.float32)


def stretched(
    image: NDArray[Any],
    valid: NDArray[np.bool_],
    limits: NDArray[np.float32],
    *,
    where: tuple[int, ...],
) -> NDArray[np.uint8]:
    """Screen values: each band from its own dark end, all by one gain, gamma coded.

    Parameters
    ----------
    image
        Bands on the last axis.
    valid
        The shape of ``image`` without bands.
    limits
        Dark and bright end of each band, shape (bands, 2).
    where
        Places of the bands.

    Returns
    -------
    array of uint8
        Bands on the last axis: 1 to 255, and 0 where not valid.
    """
    span = max(np.max(limits[:, 1] - limits[:, 0]), _LEAST_SPAN)
    out = np.zeros((*image.shape[:-1], len(where)), np.uint8)
    for channel, place in enumerate(where):
        light = (image[..., place].astype(np.float32) - limits[channel, 0]) / span
        screen = np.clip(np.nan_to_num(light), 0, 1) ** GAMMA
        out[..., channel] = np.where(valid, 1 + np.rint(254 * screen), 0)
    return out
