"""Validity: which pixels hold data.

Pure.  A pixel is valid where any band says so: fill is nodata in every band at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]
"""Shape (band, y, x)."""


def valid_yx(samples: Samples, nodata: float) -> NDArray[np.bool_]:
    """Say which pixels hold data: those where any band differs from nodata.

    Parameters
    ----------
    samples
        Shape (band, y, x).
    nodata
        Value that marks no data when every band holds it; NaN for float samples.

    Returns
    -------
    array of bool
        Shape (y, x).

    Examples
    --------
    >>> valid_yx(np.array([[[0, 0]], [[0, 7]]]), 0)
    array([[False,  True]])
    """
    found: NDArray[np.bool_] = _differs(samples[0], nodata)
    for band in samples[1:]:
        if found.all():
            break
        found |= _differs(band, nodata)
    return found


def differs(band: Samples, nodata: float) -> NDArray[np.bool_]:
    """Say which samples hold data, one by one.

    Parameters
    ----------
    band
        Any shape.
    nodata
        Value that marks no data; NaN does in any case.

    Returns
    -------
    array of bool
        The same shape.

    Examples
    --------
    >>> differs(np.array([0, 7]), 0)
    array([False,  True])
    """
    return _differs(band, nodata)


def keep_present(image: Samples, present: NDArray[np.bool_], nodata: float) -> None:
    """Keep computed samples from being nodata, where nodata marks single samples.

    They are moved by the least step, in place: 1, or the next number of a float.

    Parameters
    ----------
    image
        Any shape; changed in place.
    present
        The same shape: where samples hold data.
    nodata
        The product's nodata value.

    Examples
    --------
    >>> image = np.array([0, 0, 5], "uint16")
    >>> keep_present(image, np.array([True, False, True]), 0)
    >>> image.tolist()
    [1, 0, 5]
    """
    if not np.isnan(nodata):
        lost = present & (image == _of_type(image.dtype, nodata))
        image[lost] = _beside(image.dtype, nodata)


def _differs(band: Samples, nodata: float) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = np.not_equal(band, _of_type(band.dtype, nodata))
    # NaN is no data whatever the recipe says; it differs even from itself.
    return different & ~np.isnan(band) if band.dtype.kind == "f" else different


def _of_type(dtype: np.dtype[Any], nodata: float) -> Any:  # noqa: ANN401 - of that type or a float
    """Nodata as one of the samples, if they can hold it: so integers are not compared as floats."""
    if dtype.kind not in "iu" or not float(nodata).is_integer():
        return nodata
    limits = np.iinfo(dtype)
    return dtype.type(nodata) if limits.min <= nodata <= limits.max else nodata


def keep_valid(image: Samples, source_index: NDArray[Any], nodata: float) -> None:
    """Keep a computed pixel from being nodata in every band, which would hide it.

    Its first band is moved by the least step, in place: 1, or the next number of a float.

    Parameters
    ----------
    image
        Shape (band, y, x); changed in place.
    source_index
        Shape (y, x); 0 where there is no data.
    nodata
        The product's nodata value.

    Examples
    --------
    >>> image = np.zeros((2, 1, 2), "uint16")
    >>> keep_valid(image, np.array([[0, 1]]), 0)
    >>> image.tolist()
    [[[0, 1]], [[0, 0]]]
    """
    if np.isnan(nodata) or (source_index == 0).all():
        return
    lost = ~valid_yx(image, nodata) & (source_index > 0)
    if lost.any():
        image[0][lost] = _beside(image.dtype, nodata)


def _beside(dtype: np.dtype[Any], nodata: float) -> Any:  # noqa: ANN401 - of that type
    """The number next to nodata."""
    if dtype.kind == "f":
        return np.nextafter(dtype.type(nodata), dtype.type(np.inf if nodata < 0 else -np.inf))
    return dtype.type(nodata + 1 if nodata < np.iinfo(dtype).max else nodata - 1)
