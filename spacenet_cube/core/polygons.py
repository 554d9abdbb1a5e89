"""Polygons: reading them from what a recipe holds, and laying them over pixels.

Pure.  A pixel is inside where its centre is, by the even-odd rule for each polygon with its
holes.  Crossings are computed from the grid's own whole numbers, so the answer for a pixel
does not depend on the block it is asked in.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from spacenet_cube.core.grid import Block, Grid

Ring = tuple[tuple[float, float], ...]
"""Points (x, y); the last may repeat the first."""

MOST_POINTS = 200_000
"""Points that the polygons of one cutline or area may have together."""

_STEP_PX = 64
_MOST_STEPS = 2_000_000
_DIMENSIONS = (2, 3, 4)
_LEAST_POINTS = 3
_FAR = 1e12
_WKT = re.compile(r"(?i)(MULTIPOLYGON|POLYGON) ?(?:ZM|Z|M)? ?\((.*)\)$")
_KINDS = ("Polygon", "MultiPolygon")


def polygons_from(value: Any) -> Any:  # noqa: ANN401 - whatever the YAML held
    """Polygons from WKT or GeoJSON, as nested tuples; nested lists pass through.

    Parameters
    ----------
    value
        ``POLYGON`` or ``MULTIPOLYGON`` as WKT, or a GeoJSON geometry, feature or collection.

    Returns
    -------
    tuple of polygons, each a tuple of rings, each a tuple of points (x, y)
        Heights are dropped.

    Raises
    ------
    ValueError
        If it is neither, or has more than `MOST_POINTS` points.

    Examples
    --------
    >>> polygons_from("POLYGON ((0 0, 2 0, 2 1, 0 0))")
    ((((0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 0.0)),),)
    """
    if isinstance(value, str):
        found = tuple(_from_wkt(value))
    elif isinstance(value, dict):
        found = tuple(_from_geojson(value))
    elif isinstance(value, (list, tuple)):
        # A plain list that holds more than that holds more points than are read.
        _check_points(sum(map(_weight, value)))
        return value
    else:
        return value
    _check_points(sum(len(ring) for polygon in found for ring in polygon))
    return found


def _weight(value: Any) -> int:  # noqa: ANN401 - whatever the YAML held
    """Points that nested lists may hold: pairs, counted without building anything."""
    if not isinstance(value, (list, tuple)):
        return 0
    return max(1, sum(map(_weight, value)))


def _check_points(points: int) -> None:
    if not 0 < points <= MOST_POINTS:
        message = (
            f"the polygon has {points} points, where 3 to {MOST_POINTS} are read: give a closed "
            "outline, simplified if need be"
        )
        raise ValueError(message)


def refuse_unsound(polygons: Sequence[Sequence[Ring]]) -> Sequence[Sequence[Ring]]:
    """Give polygons back, unless they enclose nothing.

    Parameters
    ----------
    polygons
        Points (x, y).

    Returns
    -------
    The same.

    Raises
    ------
    ValueError
        If there is none, or a ring has fewer than three points.
    """
    rings = [ring for polygon in polygons for ring in polygon]
    if not rings or not all(polygons) or min(map(len, rings)) < _LEAST_POINTS:
        message = "a ring of the polygon has fewer than 3 points: give a closed outline"
        raise ValueError(message)
    return polygons


def _from_wkt(text: str) -> Iterator[tuple[Ring, ...]]:
    found = _WKT.match(" ".join(text.split()))
    if found is None:
        message = (
            f"{text[:40]!r} is no polygon: give WKT such as POLYGON ((x y, ...)), a GeoJSON "
            "object, or the name of a .geojson file beside the recipe"
        )
        raise ValueError(message)
    kind, body = found[1].upper(), found[2]
    parts = re.findall(r"\(\s*(\([^()]*\)(?:\s*,\s*\([^()]*\))*)\s*\)", body)
    for polygon in parts if kind == "MULTIPOLYGON" else [body]:
        yield tuple(_wkt_ring(ring) for ring in re.findall(r"\(([^()]*)\)", polygon))


def _wkt_ring(text: str) -> Ring:
    try:
        points = [tuple(map(float, point.split())) for point in text.split(",")]
    except ValueError:
        points = []
    if "_" in text or not points or not all(len(p) in _DIMENSIONS for p in points):
        message = f"{text[:40]!r} is no ring of points: write it as x y, x y, ..."
        raise ValueError(message)
    return tuple((point[0], point[1]) for point in points)


def _from_geojson(value: Any) -> Iterator[tuple[Ring, ...]]:  # noqa: ANN401 - any JSON
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "FeatureCollection":
        for feature in _list(value.get("features")):
            yield from _from_geojson(feature)
    elif kind == "Feature":
        yield from _from_geojson(value.get("geometry"))
    elif kind in _KINDS:
        held = _list(value.get("coordinates"))
        for polygon in held if kind == "MultiPolygon" else [held]:
            yield tuple(tuple(map(_point, _list(ring))) for ring in _list(polygon))
    else:
        message = f"GeoJSON of type {str(kind)[:40]!r} has no area: give a Polygon or MultiPolygon"
        raise ValueError(message)


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    if not isinstance(value, list):
        message = f"GeoJSON has {str(value)[:40]!r} where a list belongs: correct its coordinates"
        raise ValueError(message)  # noqa: TRY004 - pydantic reports only this kind
    _check_points(max(1, len(value)))
    return value


def _point(value: Any) -> tuple[float, float]:  # noqa: ANN401 - any JSON
    match value:
        case [int() | float() as x, int() | float() as y, *_] if max(abs(x), abs(y)) < _FAR:
            return float(x), float(y)
    message = (
        f"GeoJSON has {str(value)[:40]!r} where a point belongs: write it as [x, y], in numbers"
    )
    raise ValueError(message)


def on_grid(polygons: Sequence[Sequence[Ring]], crs: str, grid: Grid) -> tuple[Any, ...]:
    """Bring polygons into a grid's pixel coordinates.

    Long edges are divided first, so that what is straight in the polygons' CRS bends as it
    must in the grid's.

    Parameters
    ----------
    polygons
        Points (x, y).
    crs
        Their CRS.
    grid
        The grid.

    Returns
    -------
    tuple of polygons
        Points (column, row), from the corner of the grid's first pixel.
    """
    to_crs = Transformer.from_crs(crs, grid.crs, always_xy=True)
    inverse = ~grid.transform

    def bring(xs: NDArray[Any], ys: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        easts, norths = to_crs.transform(xs, ys)
        cols = inverse.a * easts + inverse.b * norths + inverse.c
        rows = inverse.d * easts + inverse.e * norths + inverse.f
        return cols, rows

    def ring_on_grid(ring: Ring) -> tuple[tuple[float, float], ...]:
        points = np.array(ring if ring[0] == ring[-1] else (*ring, ring[0]), float)
        cols, rows = bring(points[:, 0], points[:, 1])
        steps = np.hypot(np.diff(cols), np.diff(rows)) / _STEP_PX
        most = max(min(10_000, _MOST_STEPS // len(points)), 1)
        counts = np.clip(np.ceil(np.nan_to_num(steps, posinf=1)), 1, most).astype(int)
        parts = [
            points[i] + np.arange(n)[:, None] / n * (points[i + 1] - points[i])
            for i, n in enumerate(counts)
        ]
        whole = np.concatenate([*parts, points[-1:]])
        cols, rows = bring(whole[:, 0], whole[:, 1])
        return tuple(zip(cols.tolist(), rows.tolist(), strict=True))

    return tuple(tuple(ring_on_grid(ring) for ring in polygon) for polygon in polygons)


def bounds(polygons: Sequence[Sequence[Ring]]) -> tuple[float, float, float, float]:
    """Least x, least y, greatest x and greatest y of every point."""
    points = np.array([point for polygon in polygons for ring in polygon for point in ring])
    (left, top), (right, bottom) = (
        points.min(axis=0).tolist(),
        points.max(axis=0).tolist(),
    )
    return left, top, right, bottom


def inside(polygons: Sequence[Sequence[Ring]], block: Block) -> NDArray[np.bool_]:
    """Say which pixels of a block have their centre in any of the polygons.

    Parameters
    ----------
    polygons
        Points (column, row) on the block's grid, as `on_grid` gives them.
    block
        Pixels to ask about.

    Returns
    -------
    array of bool
        Shape (y, x).

    Examples
    --------
    >>> square = ((((1.0, 0.0), (3.0, 0.0), (3.0, 1.0), (1.0, 1.0)),),)
    >>> inside(square, Block(0, 0, 2, 4)).astype(int)
    array([[0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    found = np.zeros((block.height, block.width), bool)
    for polygon in polygons:
        crossed = np.zeros((block.height, block.width + 1), np.uint8)
        for ring in polygon:
            _cross(crossed, ring, block)
        found |= (np.cumsum(crossed[:, :-1], axis=1, dtype=np.uint8) & 1).astype(bool)
    return found


def _cross(crossed: NDArray[np.uint8], ring: Ring, block: Block) -> None:
    """Flip, in every row, the pixel from which on the ring's other side lies."""
    points = np.array(ring, float)
    ends = np.roll(points, -1, axis=0)
    for (x0, y0), (x1, y1) in zip(points.tolist(), ends.tolist(), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        first = max(int(np.ceil(low - 0.5)), block.row)
        last = min(int(np.ceil(high - 0.5)), block.row + block.height)
        if first >= last:
            continue
        rows = np.arange(first, last)
        at = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        cols = np.clip(np.ceil(at - 0.5) - block.col, 0, block.width).astype(int)
        crossed[rows - block.row, cols] ^= 1
