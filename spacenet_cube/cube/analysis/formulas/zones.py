"""Zones: statistics of the pixels that features cover, from parts that can be merged.

Pure.  A feature may lie across many blocks.  Each block gives the values it covers there, with
the share of each pixel that is covered; parts are merged, and statistics taken at the end.
Definitions are those of exactextract (https://isciences.github.io/exactextract/operations.html).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.errors import RecipeError

MOMENTS = ("count", "sum", "mean", "min", "max", "variance", "stdev", "coefficient_of_variation")
"""Statistics that need a few numbers a feature."""

TABLES = ("median", "mode", "majority", "minority", "variety")
"""Statistics that need each value a feature covers, once; ``quantile(q=0.9)`` is another."""

_QUANTILE = re.compile(r"quantile\(q=(0(?:\.\d+)?|1(?:\.0+)?|\.\d+)\)")


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """What is known of a feature's pixels in one band."""

    count: float = 0.0
    """Sum of the covered shares of pixels."""

    mean: float = 0.0
    """Mean of values, weighted by the covered share."""

    squares: float = 0.0
    """Weighted sum of squared distances from the mean."""

    least: float = np.inf
    """Least value that is touched."""

    greatest: float = -np.inf
    """Greatest value that is touched."""

    values: NDArray[np.float64] | None = None
    """Shape (n,): each value once, rising; None where no statistic needs them."""

    weights: NDArray[np.float64] | None = None
    """Shape (n,): covered shares of the pixels of that value."""


def needs_tables(stats: Sequence[str]) -> bool:
    """Whether any statistic needs every value.

    Parameters
    ----------
    stats
        Names, as exactextract has them.

    Returns
    -------
    bool
        False where a few numbers a feature do.

    Raises
    ------
    RecipeError
        If there are none, or one is unknown.

    Examples
    --------
    >>> needs_tables(["mean", "max"]), needs_tables(["quantile(q=0.9)"])
    (False, True)
    """
    unknown = [
        each for each in stats if each not in (*MOMENTS, *TABLES) and not _QUANTILE.fullmatch(each)
    ]
    if unknown or not stats:
        wrong = f"there is no statistic {unknown[0]!r}" if unknown else "no statistic is named"
        raise RecipeError(
            f"{wrong}; give some of {', '.join((*MOMENTS, *TABLES))}, or quantile(q=0.9)"
        )
    return any(each not in MOMENTS for each in stats)


def column(stat: str) -> str:
    """Name of a statistic's column, as exactextract names it.

    Examples
    --------
    >>> column("mean"), column("quantile(q=0.25)")
    ('mean', 'quantile_25')
    """
    found = _QUANTILE.fullmatch(stat)
    return stat if found is None else f"quantile_{round(float(found[1]) * 100)}"


def zone(values: NDArray[Any], shares: NDArray[Any], *, table: bool) -> Zone:
    """Take down the pixels that a feature covers in a block.

    Parameters
    ----------
    values
        Shape (n,); NaN is left out.
    shares
        Shape (n,): how much of each pixel is covered, above 0 up to 1.
    table
        Whether to keep each value.

    Returns
    -------
    Zone
        Of these pixels.

    Examples
    --------
    >>> found = zone(np.array([2, 4]), np.array([1.0, 0.5]), table=False)
    >>> found.count, round(found.mean, 3)
    (1.5, 2.667)
    """
    held = np.isfinite(values) & (shares > 0)
    kept, weights = values[held].astype(np.float64), shares[held].astype(np.float64)
    if not kept.size:
        none = np.zeros(0)
        return Zone(values=none, weights=none) if table else Zone()
    count = weights.sum()
    mean = (weights * kept).sum() / count
    squares = (weights * np.square(kept - mean)).sum()
    rows = _compact(kept, weights) if table else (None, None)
    return Zone(float(count), float(mean), float(squares), kept.min(), kept.max(), *rows)


def _compact(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each value once, rising, with the sum of its weights."""
    single, place = np.unique(values, return_inverse=True)
    return single, np.bincount(place, weights, minlength=single.size)


def joined(one: Zone, other: Zone) -> Zone:
    """Merge what two blocks know of a feature.

    Examples
    --------
    >>> parts = [zone(np.array([v]), np.ones(1), table=False) for v in (1.0, 3.0)]
    >>> found = joined(*parts)
    >>> found.count, found.mean, found.squares
    (2.0, 2.0, 2.0)
    """
    count = one.count + other.count
    share = other.count / count if count else 0.0
    step = other.mean - one.mean
    rows: tuple[Any, Any] = (None, None)
    if one.values is not None and other.values is not None:
        assert one.weights is not None
        assert other.weights is not None
        rows = _compact(
            np.concatenate([one.values, other.values]),
            np.concatenate([one.weights, other.weights]),
        )
    return Zone(
        count,
        one.mean + step * share,
        one.squares + other.squares + step**2 * one.count * share,
        min(one.least, other.least),
        max(one.greatest, other.greatest),
        *rows,
    )


def merge(parts: Iterable[Mapping[int, tuple[Zone, ...]]]) -> dict[int, tuple[Zone, ...]]:
    """Merge what blocks know of features: one `Zone` a band, by the feature's place."""
    total: dict[int, tuple[Zone, ...]] = {}
    for part in parts:
        for place, zones in part.items():
            before = total.get(place)
            pairs = zip(before, zones, strict=True) if before else ()
            total[place] = tuple(joined(*pair) for pair in pairs) if before else zones
    return total


def statistic(found: Zone, stat: str) -> float:
    """One statistic of a feature's pixels; NaN where it covers none.

    Parameters
    ----------
    found
        What is known of them.
    stat
        Name of the statistic.

    Returns
    -------
    float
        In the pixels' units; ``count`` in pixels.

    Examples
    --------
    >>> found = zone(np.array([1, 2, 2, 9]), np.ones(4), table=True)
    >>> [statistic(found, each) for each in ("mode", "variety", "mean", "sum")]
    [2.0, 3.0, 3.5, 14.0]
    """
    if stat == "count":
        return found.count
    if stat == "sum":
        return found.mean * found.count
    if stat == "variety":
        return float(len(found.values)) if found.values is not None else 0.0
    if not found.count:
        return float("nan")
    return _moment(found, stat) if stat in MOMENTS else _of_table(found, stat)


def _moment(found: Zone, stat: str) -> float:
    variance = found.squares / found.count
    if stat == "coefficient_of_variation":
        return float(np.sqrt(variance) / found.mean) if found.mean else float("nan")
    known = {
        "mean": found.mean,
        "min": found.least,
        "max": found.greatest,
        "variance": variance,
        "stdev": np.sqrt(variance),
    }
    return float(known[stat])


def _of_table(found: Zone, stat: str) -> float:
    values, weights = found.values, found.weights
    assert values is not None
    assert weights is not None
    if stat in {"mode", "majority"}:
        # The greatest among equals, as exactextract has it.
        return float(values[::-1][np.argmax(weights[::-1])])
    if stat == "minority":
        return float(values[np.argmin(weights)])
    match = _QUANTILE.fullmatch(stat)
    return _quantile(values, weights, 0.5 if match is None else float(match[1]))


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> float:
    """Weighted quantile by linear interpolation, as exactextract's ``weighted_quantiles.h``."""
    if values.size == 1:
        return float(values[0])
    before = np.concatenate([[0.0], np.cumsum(weights)[:-1]])
    marks = np.arange(values.size) * weights + (values.size - 1) * before
    return float(np.interp(q * weights.sum() * (values.size - 1), marks, values))
