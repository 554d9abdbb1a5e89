"""Sharpening: a panchromatic band's detail for bands of larger pixels.

Pure.  The panchromatic pixels nest in the others: ``factor`` of them lie along each edge.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["brovey", "esri", "mean"]
"""How detail is put in; `fused` says what each does."""

Kernel = Literal["nearest", "bilinear", "cubic"]
"""How coarse bands are brought to fine pixels."""

REACH_PX: dict[str, int] = {"nearest": 0, "bilinear": 1, "cubic": 2}
"""Coarse pixels that a fine one looks beyond its own."""

_LEAST_WEIGHT = 0.05


def _weight(kernel: str, distance_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a coarse pixel by its distance; cubic is Keys' with a = -0.5, as GDAL's."""
    far = np.abs(distance_px)
    if kernel == "nearest":
        return (far <= 0.5).astype(float)  # noqa: PLR2004 - half a pixel
    if kernel == "bilinear":
        linear: NDArray[np.float64] = np.maximum(1 - far, 0)
        return linear
    near = (1.5 * far - 2.5) * far**2 + 1
    wide = ((-0.5 * far + 2.5) * far - 4) * far + 2
    return np.where(far <= 1, near, np.where(far < REACH_PX["cubic"], wide, 0.0))


def finer(planes: NDArray[np.float32], factor: int, kernel: str, axis: int) -> NDArray[np.float32]:
    """Interpolate along one axis, leaving off the margin of `REACH_PX` on both ends.

    Parameters
    ----------
    planes
        Values, 0 where not valid.
    factor
        Fine pixels along a coarse one.
    kernel
        A `Kernel`.
    axis
        Which axis.

    Returns
    -------
    array of float32
        ``factor`` times as long as ``planes`` without its margins.

    Examples
    --------
    >>> line = np.array([[0, 4, 8, 0]], np.float32)
    >>> finer(line, 2, "bilinear", axis=1)
    array([[3., 5., 7., 6.]], dtype=float32)
    """
    reach = REACH_PX[kernel]
    source = np.moveaxis(planes, axis, 0)
    count = source.shape[0] - 2 * reach
    out = np.zeros((count, factor, *source.shape[1:]), np.float32)
    for phase in range(factor):
        centre = (phase + 0.5) / factor - 0.5
        for tap in range(-reach, reach + 1):
            weight = np.float32(_weight(kernel, np.array(tap - centre)))
            if weight:
                out[:, phase] += weight * source[reach + tap : reach + tap + count]
    return np.moveaxis(out.reshape(count * factor, *source.shape[1:]), 0, axis)


def upsampled(
    image: NDArray[Any], valid: NDArray[np.bool_], factor: int, kernel: str
) -> NDArray[np.float32]:
    """Bring coarse bands to fine pixels; what is not valid has no weight.

    Parameters
    ----------
    image
        Shape (band, y, x), with a margin of `REACH_PX` on every side.
    valid
        Shape (y, x); False beyond the edge of the image.
    factor
        Fine pixels along a coarse one.
    kernel
        A `Kernel`.

    Returns
    -------
    array of float32
        Shape (band, y * factor, x * factor) without the margins; NaN where no weight is.
    """
    held = np.where(valid, image, 0).astype(np.float32)
    total = finer(finer(held, factor, kernel, axis=1), factor, kernel, axis=2)
    if valid.all():
        return total
    flat = valid.astype(np.float32)
    weight = finer(finer(flat, factor, kernel, axis=0), factor, kernel, axis=1)
    # Cubic kernels have negative weights: where few samples are valid their sum may be near 0.
    enough = weight > _LEAST_WEIGHT
    made: NDArray[np.float32] = np.where(enough, total / np.where(enough, weight, 1), np.nan)
    return made.astype(np.float32)


def fused(
    image: NDArray[np.float32], pan: NDArray[Any], weights: Sequence[float], method: str
) -> NDArray[np.float32]:
    """Put the detail of a panchromatic band into others.

    Parameters
    ----------
    image
        Shape (band, y, x), already at the fine pixels.
    pan
        Shape (y, x).
    weights
        One a band: how much of it the panchromatic band is thought to hold.
    method
        ``brovey``: each band times pan / pseudo, where pseudo is the weighted sum of bands
        (GDAL's ``gdal_pansharpen``).  ``esri``: each band plus pan - pseudo.  ``mean``: the
        mean of each band and pan.

    Returns
    -------
    array of float32
        Shape (band, y, x); brovey gives 0 where pseudo is 0, as GDAL does.

    Examples
    --------
    >>> bands, pan = np.array([[[10.0]], [[30.0]]], np.float32), np.array([[40.0]])
    >>> fused(bands, pan, (0.5, 0.5), "brovey").ravel()
    array([20., 60.], dtype=float32)
    >>> fused(bands, pan, (0.5, 0.5), "esri").ravel()
    array([30., 50.], dtype=float32)
    """
    fine = pan.astype(np.float32)
    if method == "mean":
        return np.asarray((image + fine) / 2, np.float32)
    pseudo = np.einsum("byx,b->yx", image, np.asarray(weights, np.float32))
    if method == "esri":
        return np.asarray(image + (fine - pseudo), np.float32)
    ratio = np.divide(fine, pseudo, out=np.zeros_like(fine), where=pseudo != 0)
    return np.asarray(image * ratio, np.float32)


def stored(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round half up and clip to an integer type; floats pass.

    Examples
    --------
    >>> stored(np.array([-1, 2.5, 70000], np.float32), np.dtype("uint16"))
    array([    0,     3, 65535], dtype=uint16)
    """
    if dtype.kind not in "iu":
        return image.astype(dtype)
    limits = np.iinfo(dtype)
    whole = np.floor(np.nan_to_num(image).astype(np.float64) + 0.5)
    return np.clip(whole, limits.min, limits.max).astype(dtype)
