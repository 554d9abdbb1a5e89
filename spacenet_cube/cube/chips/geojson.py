"""Features: labels as GeoJSON has them.

Pure.  SpaceNet's files say CRS84, have heights of 0, and hold a collection without features
(217 bytes) where a chip has no label.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from spacenet_cube.errors import SourceError
from spacenet_cube.raster.polygons import geometry_from

CRS84 = "OGC:CRS84"
"""What GeoJSON is in where it does not say (RFC 7946, section 4)."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one file."""

    crs: str
    """Their coordinate reference system."""

    geometries: tuple[Any, ...]
    """Geometries of shapely; None where a feature has none."""

    properties: tuple[Mapping[str, Any], ...]
    """Properties of each, with its ``id`` as ``feature_id`` where it has one."""


def features(content: bytes, name: str) -> Features:
    """Read a GeoJSON feature collection.

    Parameters
    ----------
    content
        The file.
    name
        What to call it in an error.

    Returns
    -------
    Features
        In the file's order.

    Raises
    ------
    SourceError
        If it is none, or names a CRS that nobody knows.

    Examples
    --------
    >>> features(b'{"type": "FeatureCollection", "features": []}', "a.geojson").crs
    'OGC:CRS84'
    """
    try:
        found = json.loads(content)
        listed = found["features"]
        geometries = tuple(_geometry(feature["geometry"]) for feature in listed)
        properties = tuple(_properties(feature) for feature in listed)
        crs = str(found.get("crs", {}).get("properties", {}).get("name", CRS84))
        CRS.from_user_input(crs)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{name} is no GeoJSON feature collection ({type(error).__name__}: {error}); "
            "give a .geojson file of labels, or a folder of such files"
        ) from error
    except CRSError as error:
        raise SourceError(
            f"{name} names a CRS that is not known ({error}); correct its member 'crs'"
        ) from error
    return Features(crs, geometries, properties)


def _geometry(value: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - shapely ships no types
    return None if value is None else geometry_from(value)


def _properties(feature: Mapping[str, Any]) -> dict[str, Any]:
    own = {"feature_id": feature["id"]} if "id" in feature else {}
    return {**own, **(feature.get("properties") or {})}
