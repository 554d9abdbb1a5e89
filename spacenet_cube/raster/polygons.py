"""Polygons: reading them from what a recipe holds, and laying them over pixels.

Pure.  A pixel is inside where its centre is, by the even-odd rule for each polygon with its
holes.  Crossings are computed from the grid's own whole numbers, so the answer for a pixel
does not depend on the block it is asked in.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.errors import GEOSException

from spacenet_cube.raster.grid import Block, Grid

Ring = tuple[tuple[float, float], ...]
"""Points (x, y); the last may repeat the first."""

MOST_POINTS = 200_000
"""Points that the polygons of one cutline or area may have together."""

_STEP_PX = 64
_MOST_STEPS = 2_000_000
_LEAST_POINTS = 3
_WKT = re.compile(r"\s*(MULTI)?POLYGON\b", re.IGNORECASE)
_RING_DEPTHS = {"Polygon": 1, "MultiPolygon": 2}
"""How many lists lie around a ring in GeoJSON's coordinates, by kind."""


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
        shapes = [_from_wkt(value)]
    elif isinstance(value, dict):
        shapes = list(_from_geojson(value))
    elif isinstance(value, (list, tuple)):
        # A plain list that holds more than that holds more points than are read.
        _check_points(sum(map(_weight, value)))
        return value
    else:
        return value
    _check_points(int(shapely.get_num_coordinates(shapes).sum()))
    return tuple(map(rings_of, shapely.get_parts(shapes)))


def rings_of(polygon: Any) -> tuple[Ring, ...]:  # noqa: ANN401 - shapely ships no types
    """Outline and holes of a polygon of shapely, as points without heights."""
    rings = (polygon.exterior, *polygon.interiors)
    return tuple(tuple(map(tuple, shapely.get_coordinates(ring).tolist())) for ring in rings)


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
    counts = [len(r) - (r[:1] == r[1:][-1:]) for polygon in polygons for r in polygon]
    if not counts or not all(polygons) or min(counts) < _LEAST_POINTS:
        message = "a ring of the polygon has fewer than 3 points: give a closed outline"
        raise ValueError(message)
    return polygons


def _from_wkt(text: str) -> Any:  # noqa: ANN401 - shapely ships no types
    if not _WKT.match(text):
        message = (
            f"{text[:40]!r} is no polygon: give WKT such as POLYGON ((x y, ...)), a GeoJSON "
            "object, or the name of a .geojson file beside the recipe"
        )
        raise ValueError(message)
    with np.errstate(all="ignore"):
        # Rings that are open are closed.
        found = shapely.from_wkt(text, on_invalid="fix")
    if found is None:
        message = f"{text[:40]!r} is no WKT: write each ring of points as (x y, x y, ...)"
        raise ValueError(message)
    return found


def _from_geojson(value: Mapping[str, Any]) -> Iterator[Any]:
    """Polygons of shapely from a geometry, a feature or a collection of features."""
    kind = value.get("type")
    features = value.get("features") if kind == "FeatureCollection" else [value]
    if not isinstance(features, list):
        message = "the GeoJSON FeatureCollection has no list of features: give it one"
        raise ValueError(message)  # noqa: TRY004 - pydantic reports only this kind
    for feature in features:
        shape = feature
        if isinstance(feature, Mapping) and feature.get("type") == "Feature":
            shape = feature.get("geometry")
        kind = str(shape.get("type")) if isinstance(shape, Mapping) else type(shape).__name__
        if kind not in _RING_DEPTHS:
            message = f"GeoJSON of type {kind[:40]!r} has no area: give a Polygon or MultiPolygon"
            raise ValueError(message)
        yield geometry_from(shape)


def geometry_from(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - shapely ships no types
    """Read a GeoJSON geometry.

    Parameters
    ----------
    value
        The geometry; arrays of numpy may be among its coordinates.

    Returns
    -------
    shapely.Geometry
        Rings that were open are closed.

    Raises
    ------
    ValueError
        If it is none: coordinates are missing, no finite numbers, or too deeply nested.

    Examples
    --------
    >>> geometry_from({"type": "Point", "coordinates": [1, 2]})
    <POINT (1 2)>
    """
    depth = _RING_DEPTHS.get(str(value.get("type")))
    try:
        if depth is not None:
            value = {**value, "coordinates": _closed(value.get("coordinates"), depth)}
        text = json.dumps(value, allow_nan=False, default=_plain)
        return shapely.from_geojson(text)
    except (GEOSException, TypeError, ValueError, RecursionError) as error:
        reason = str(error).rpartition("] ")[2].rpartition("Exception: ")[2].strip("'")[:80]
        message = (
            f"GeoJSON of type {str(value.get('type'))[:40]!r} cannot be read ({reason}): write "
            "each point as [x, y], in finite numbers, and nest lists as its type wants them"
        )
        raise ValueError(message) from error


def _closed(value: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON
    """Coordinates with every ring closed, which lies so many lists down."""
    if not isinstance(value, (list, tuple)) or not value:
        return value
    if depth:
        return [_closed(each, depth - 1) for each in value]
    return [*value, value[0]] if list(value[0]) != list(value[-1]) else value


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON does not know
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    message = f"a {type(value).__name__} is neither a number nor a list"
    raise TypeError(message)


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
