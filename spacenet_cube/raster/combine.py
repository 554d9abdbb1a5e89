"""Rules: what overlapping scenes become.

Pure.  Every rule looks at valid pixels alone.  ``first``, ``last``, ``newest``, ``oldest``
and ``order`` let one scene win; the others combine samples band by band.  Combined integers
are rounded half up, from exact sums.  ``source_index`` then names the majority contributor:
the scene that the value comes from in most bands (min, max, median: that is nearest to it),
or that has the greatest weight (mean, feather); among equals the first in scene order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.raster.validity import Samples, keep_present

Mask = NDArray[np.bool_]
"""Shape (y, x)."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One scene on a block of the grid."""

    number: int
    """Number of the scene, from 1."""

    samples: Samples
    """Shape (band, y, x); anything where not valid."""

    valid: Mask
    """Shape (y, x)."""

    weight: NDArray[np.int64] | None = None
    """Shape (y, x), for feather: 0 where not valid."""

    present: NDArray[np.bool_] | None = None
    """Shape (band, y, x): which samples of valid pixels hold data; None where all do."""


def combine(
    rule: str, layers: Sequence[Layer], nodata: float
) -> tuple[Samples, NDArray[np.unsignedinteger[Any]]]:
    """Combine scenes that lie on the same pixels.

    Parameters
    ----------
    rule
        min, max, mean, median or feather.
    layers
        At least one, in scene order.
    nodata
        The product's nodata.

    Returns
    -------
    samples, source_index
        Shapes (band, y, x) and (y, x); nodata and 0 where no layer is valid.

    Examples
    --------
    >>> low = Layer(1, np.array([[[2, 4]]], "uint8"), np.array([[True, True]]))
    >>> high = Layer(2, np.array([[[5, 9]]], "uint8"), np.array([[True, False]]))
    >>> image, index = combine("mean", [low, high], 0)
    >>> image.tolist(), index.tolist()
    ([[[4, 4]]], [[1, 1]])
    """
    count = layers[0].samples.shape[0]
    image = np.empty_like(layers[0].samples)
    votes = np.zeros((len(layers), *image.shape[1:]), np.int64)
    for band in range(count):
        planes = [layer.samples[band] for layer in layers]
        present = [_present(layer, band) for layer in layers]
        image[band] = _BY_RULE[rule](layers, planes, present, nodata)
        if any(layer.present is not None for layer in layers):
            keep_present(image[band], np.logical_or.reduce(present), nodata)
        _vote(rule, votes, layers, planes, present, image[band])
    index = np.array([layer.number for layer in layers], np.uint32)[votes.argmax(axis=0)]
    anywhere = np.logical_or.reduce([layer.valid for layer in layers])
    index[~anywhere] = 0
    return image, index


def _present(layer: Layer, band: int) -> Mask:
    """Where a band of a layer has a value: in a valid pixel a float band may still be NaN."""
    plane = layer.samples[band]
    found = layer.valid if layer.present is None else layer.valid & layer.present[band]
    return found & ~np.isnan(plane) if plane.dtype.kind == "f" else found


def _wide(plane: NDArray[Any]) -> NDArray[Any]:
    """The plane in a type that holds sums exactly, or as nearly as can be."""
    return plane.astype(np.float64 if plane.dtype.kind == "f" else np.int64)


def _vote(
    rule: str,
    votes: NDArray[np.int64],
    layers: Sequence[Layer],
    planes: Sequence[NDArray[Any]],
    present: Sequence[Mask],
    result: NDArray[Any],
) -> None:
    """Add what each layer gave to one band."""
    if rule in {"mean", "feather"}:
        for k, (layer, here) in enumerate(zip(layers, present, strict=True)):
            votes[k] += here if layer.weight is None else np.where(here, layer.weight, 0)
        return
    least: NDArray[Any] | None = None
    nearest = np.full(result.shape, -1)
    for k, (plane, here) in enumerate(zip(planes, present, strict=True)):
        off = np.where(here, np.abs(_wide(plane) - _wide(result)), np.inf)
        better = here if least is None else off < least
        nearest[better] = k
        least = off if least is None else np.minimum(least, off)
    for k in range(len(layers)):
        votes[k] += nearest == k


_Planes = Sequence[NDArray[Any]]


def _extreme(planes: _Planes, present: Sequence[Mask], nodata: float, sign: int) -> NDArray[Any]:
    choose = np.minimum if sign > 0 else np.maximum
    found = np.full(planes[0].shape, nodata, planes[0].dtype)
    some = np.zeros(found.shape, bool)
    for plane, here in zip(planes, present, strict=True):
        found = np.where(here, np.where(some, choose(found, plane), plane), found)
        some |= here
    return found


def _min(
    _: Sequence[Layer], planes: _Planes, present: Sequence[Mask], nodata: float
) -> NDArray[Any]:
    return _extreme(planes, present, nodata, 1)


def _max(
    _: Sequence[Layer], planes: _Planes, present: Sequence[Mask], nodata: float
) -> NDArray[Any]:
    return _extreme(planes, present, nodata, -1)


def _weighted(planes: _Planes, weights: Sequence[NDArray[np.int64]], nodata: float) -> NDArray[Any]:
    """Weighted mean: an exact quotient rounded half up for integers."""
    integer = planes[0].dtype.kind in "iu"
    total = np.zeros(planes[0].shape, np.int64 if integer else np.float64)
    whole = np.zeros(total.shape, np.int64)
    for plane, weight in zip(planes, weights, strict=True):
        total += np.where(weight > 0, _wide(plane), 0) * weight
        whole += weight
    least = np.maximum(whole, 1)
    mean = (2 * total + least) // (2 * least) if integer else total / least
    return np.where(whole > 0, mean, nodata).astype(planes[0].dtype)


def _mean(
    _: Sequence[Layer], planes: _Planes, present: Sequence[Mask], nodata: float
) -> NDArray[Any]:
    return _weighted(planes, [here.astype(np.int64) for here in present], nodata)


def _feather(
    layers: Sequence[Layer], planes: _Planes, present: Sequence[Mask], nodata: float
) -> NDArray[Any]:
    weights = [
        np.where(here, 1 if layer.weight is None else layer.weight, 0)
        for layer, here in zip(layers, present, strict=True)
    ]
    return _weighted(planes, weights, nodata)


def _median(
    _: Sequence[Layer], planes: _Planes, present: Sequence[Mask], nodata: float
) -> NDArray[Any]:
    integer = planes[0].dtype.kind in "iu"
    most = np.iinfo(np.int64).max if integer else np.inf
    stack = np.sort(
        [np.where(here, _wide(p), most) for p, here in zip(planes, present, strict=True)],
        axis=0,
    )
    count = np.sum(present, axis=0)
    low = np.maximum(count - 1, 0) // 2
    pair = [np.take_along_axis(stack, k[None], axis=0)[0] for k in (low, count // 2)]
    pair = [np.where(count > 0, half, 0) for half in pair]
    middle = (pair[0] + pair[1] + 1) // 2 if integer else (pair[0] + pair[1]) / 2
    return np.where(count > 0, middle, nodata).astype(planes[0].dtype)


_BY_RULE = {
    "min": _min,
    "max": _max,
    "mean": _mean,
    "median": _median,
    "feather": _feather,
}


def feather_weight(valid: Mask, most_px: int) -> NDArray[np.int64]:
    """How deep in its scene every pixel lies: the distance to the nearest invalid one.

    Distance is counted along rows and columns (city block), which is the distance to an
    edge that runs along either, and at most `most_px`.  So it depends on nothing farther
    away than that, and a block with that margin gives what the whole would.

    Parameters
    ----------
    valid
        Shape (y, x).  What lies beyond it is taken for valid.
    most_px
        Where the weight stops growing.

    Returns
    -------
    array of int64
        Shape (y, x), from 1 at the edge; 0 where not valid.

    Examples
    --------
    >>> feather_weight(np.array([[False, True, True, True, True]]), 3).tolist()
    [[0, 1, 2, 3, 3]]
    """
    found = np.where(valid, np.int64(most_px), 0)
    for axis in (0, 1):
        shape = [1, 1]
        shape[axis] = valid.shape[axis]
        place = np.arange(valid.shape[axis]).reshape(shape)
        forward = np.minimum.accumulate(found - place, axis=axis) + place
        flipped = np.flip(found + place, axis=axis)
        backward = np.flip(np.minimum.accumulate(flipped, axis=axis), axis=axis) - place
        found = np.minimum(forward, backward)
    return np.minimum(found, most_px)
