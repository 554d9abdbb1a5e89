"""Counting: what a heap of pixels is like, from counts that can be added.

Pure.  Blocks are tallied one by one and the tallies merged, so a whole area takes one pass and
the memory of a block.  Integers of 8 and 16 bits are counted value by value: all figures
are exact.  Other types are counted in 65,536 bins that are 1/128 of their value wide (the
upper half of a float32's bits), so percentiles are within 0.8 % of their value; count, least,
greatest, mean and deviation are exact there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 65_536
"""Bins of a type that is not counted value by value."""

_EXACT_BYTES = 2
_SIGN = np.uint32(1 << 31)


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What was counted, band by band."""

    counts: NDArray[np.int64]
    """Shape (band, bin)."""

    count: NDArray[np.int64]
    """Shape (band,): pixels counted."""

    least: NDArray[np.float64]
    """Shape (band,): infinite where nothing was counted, as is the greatest."""

    greatest: NDArray[np.float64]
    """Shape (band,)."""

    mean: NDArray[np.float64]
    """Shape (band,): 0 where nothing was counted."""

    squares: NDArray[np.float64]
    """Shape (band,): sum of squared distances from the mean."""


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether each value of a type has a bin of its own."""
    return dtype.kind in "iu" and dtype.itemsize <= _EXACT_BYTES


def bin_edges(dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The value of each bin, or the edge of it that is nearer to minus infinity.

    Examples
    --------
    >>> bin_edges(np.dtype("int8"))[[0, -1]]
    array([-128.,  127.])
    >>> edges = bin_edges(np.dtype("float32"))
    >>> (bin_of(np.array([1.0, 1.99])) == np.flatnonzero((edges == 1) | (edges == 1.984375))).all()
    np.True_
    """
    if is_exact(dtype):
        limits = np.iinfo(dtype)
        return np.arange(limits.min, limits.max + 1, dtype=np.float64)
    ordered = np.arange(BINS, dtype=np.uint32) << np.uint32(16)
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered)
    # The last bins would hold NaN, which is never counted.
    with np.errstate(invalid="ignore"):
        return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def bin_of(values: NDArray[Any]) -> NDArray[np.int64]:
    """The bin of each value.

    Examples
    --------
    >>> bin_of(np.array([-128, 0], "int8"))
    array([  0, 128])
    """
    if is_exact(values.dtype):
        return values.astype(np.int64) - int(np.iinfo(values.dtype).min)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (ordered >> np.uint32(16)).astype(np.int64)


def tally(image: NDArray[Any], valid: NDArray[np.bool_]) -> Tally:
    """Count the valid pixels of a block.

    Parameters
    ----------
    image
        Shape (band, y, x).
    valid
        Shape (y, x); NaN and infinite values are left out besides.

    Returns
    -------
    Tally
        Of these pixels.

    Examples
    --------
    >>> found = tally(np.array([[[4, 6, 0]]], "uint8"), np.array([[True, True, False]]))
    >>> int(found.count[0]), float(found.mean[0]), float(found.squares[0])
    (2, 5.0, 2.0)
    """
    bands = [_of_band(band, valid) for band in image]
    columns = list(zip(*bands, strict=True)) or [()] * 6
    return Tally(
        np.stack(columns[0]) if bands else np.zeros((0, BINS), np.int64),
        np.asarray(columns[1], np.int64),
        *(np.asarray(column, np.float64) for column in columns[2:]),
    )


def _of_band(band: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[Any, ...]:
    """Counts, count, least, greatest, mean and squares of a band's valid pixels."""
    values = band[valid]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    size = np.iinfo(band.dtype).max - np.iinfo(band.dtype).min + 1 if is_exact(band.dtype) else BINS
    counts = np.bincount(bin_of(values), minlength=size)
    if not values.size:
        return counts, 0, np.inf, -np.inf, 0.0, 0.0
    wide = values.astype(np.float64)
    mean = wide.mean()
    return counts, values.size, wide.min(), wide.max(), mean, np.square(wide - mean).sum()


def merged(tallies: Sequence[Tally]) -> Tally:
    """Add tallies of different pixels.

    Means and squares are merged pairwise (T. Chan, G. Golub, R. LeVeque 1979), which loses no
    digits where a sum of squares would.

    Examples
    --------
    >>> one, other = (tally(np.array([[[v]]], "uint8"), np.array([[True]])) for v in (2, 4))
    >>> both = merged([one, other])
    >>> float(both.mean[0]), float(both.squares[0])
    (3.0, 2.0)
    """
    total = tallies[0]
    for other in tallies[1:]:
        count = total.count + other.count
        share = other.count / np.maximum(count, 1)
        step = other.mean - total.mean
        total = Tally(
            total.counts + other.counts,
            count,
            np.minimum(total.least, other.least),
            np.maximum(total.greatest, other.greatest),
            total.mean + step * share,
            total.squares + other.squares + step**2 * total.count * share,
        )
    return total


def percentiles_of(
    found: Tally, dtype: np.dtype[Any], wanted: Sequence[float]
) -> NDArray[np.float64]:
    """Percentiles of what was counted, as ``numpy.percentile`` interpolates them.

    Parameters
    ----------
    found
        The tally.
    dtype
        Type of the pixels.
    wanted
        Percentiles, 0 to 100.

    Returns
    -------
    array
        Shape (percentile, band); NaN where nothing was counted.  Exact where `is_exact`.

    Examples
    --------
    >>> found = tally(np.array([[[1, 2, 4]]], "uint8"), np.ones((1, 3), bool))
    >>> percentiles_of(found, np.dtype("uint8"), [50, 75]).ravel()
    array([2., 3.])
    """
    edges = bin_edges(dtype)
    out = np.full((len(wanted), len(found.count)), np.nan)
    for band, count in enumerate(found.count):
        if count:
            ranks = np.asarray(wanted, float) / 100 * (count - 1)
            low = np.floor(ranks).astype(np.int64)
            high = np.minimum(low + 1, count - 1)
            below, above = (_at_rank(found, band, edges, dtype, each) for each in (low, high))
            out[:, band] = below + (above - below) * (ranks - low)
    return out


def _at_rank(
    found: Tally,
    band: int,
    edges: NDArray[np.float64],
    dtype: np.dtype[Any],
    ranks: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Values at ranks from 0; within a bin that holds many, as if they lay evenly."""
    counts = found.counts[band]
    upto = np.cumsum(counts)
    place = np.searchsorted(upto, ranks, side="right")
    if is_exact(dtype):
        return edges[place]
    within = (ranks - (upto[place] - counts[place]) + 0.5) / counts[place]
    upper = edges[np.minimum(place + 1, len(edges) - 1)]
    guess = edges[place] + (upper - edges[place]) * within
    held: NDArray[np.float64] = np.clip(guess, found.least[band], found.greatest[band])
    return held


def deviation(found: Tally) -> NDArray[np.float64]:
    """Standard deviation of each band, as ``numpy.std``; NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(found.squares / found.count)
