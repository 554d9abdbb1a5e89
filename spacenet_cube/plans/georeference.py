"""Referencing: the attributes by which readers place a cube on the ground.

Pure.  CF for xarray, rioxarray and GDAL up to 3.12; the Zarr conventions ``proj``,
``spatial`` and ``multiscales`` (v0.1, through zarr-cm) for newer readers.  This is the only
module that knows the conventions, so that a new version of them is a change of one place.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import zarr_cm
from pyproj import CRS

from spacenet_cube.format.levels import level_name
from spacenet_cube.plans.plan import Plan
from spacenet_cube.raster.grid import Grid
from spacenet_cube.version import __version__

FORMAT = 1
"""Version of the cube's own layout, under ``spacenet_cube.format`` in the root."""

_CF = "CF-1.12"


def spatial_ref(grid: Grid) -> dict[str, Any]:
    """CF attributes of the grid mapping variable, as rioxarray and GDAL read them.

    Parameters
    ----------
    grid
        The grid of the level.

    Returns
    -------
    dict
        `pyproj.CRS.to_cf`, ``crs_wkt``, ``spatial_ref`` and GDAL's ``GeoTransform``.
    """
    attributes = dict(_crs(grid).to_cf())
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    attributes["spatial_ref"] = attributes["crs_wkt"]
    attributes["GeoTransform"] = " ".join(map(repr, (c, a, b, f, d, e)))
    return attributes


def _crs(grid: Grid) -> CRS:
    return CRS.from_user_input(grid.crs)


def _proj(grid: Grid) -> dict[str, Any]:
    if grid.crs.startswith("EPSG:"):
        return {"proj:code": grid.crs}
    return {"proj:wkt2": _crs(grid).to_wkt("WKT2_2019")}


def _spatial(grid: Grid) -> dict[str, Any]:
    box = grid.box
    return {
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": [box.west, box.south, box.east, box.north],
        "spatial:transform_type": "affine",
        "spatial:transform": list(tuple(grid.transform)[:6]),
        "spatial:shape": list(grid.shape_yx),
        "spatial:registration": "pixel",
    }


def level_attributes(grid: Grid) -> dict[str, Any]:
    """Conventions of a level's group and of each of its spatial arrays.

    Conventions are inherited by direct children only, so each node repeats them.

    Parameters
    ----------
    grid
        The grid of the level.

    Returns
    -------
    dict
        ``zarr_conventions``, ``proj:*`` and ``spatial:*``.
    """
    return dict(zarr_cm.create_many({"proj": _proj(grid), "spatial": _spatial(grid)}))


def _layout(plan: Plan) -> list[dict[str, Any]]:
    native = {"asset": ".", "transform": {"scale": [1.0, 1.0], "translation": [0.0, 0.0]}}
    above = [
        {
            "asset": level_name(level),
            "derived_from": level_name(level - 1) or ".",
            "transform": {"scale": [2.0, 2.0], "translation": [0.0, 0.0]},
            "resampling_method": "average",
        }
        for level in range(1, len(plan.levels))
    ]
    return [
        {**entry, "spatial:shape": list(grid.shape_yx), "spatial:transform": _six(grid)}
        for entry, grid in zip([native, *above], plan.levels, strict=True)
    ]


def _six(grid: Grid) -> list[float]:
    return list(tuple(grid.transform)[:6])


def cube_attributes(plan: Plan) -> dict[str, Any]:
    """Attributes of the root group.

    Parameters
    ----------
    plan
        The plan.

    Returns
    -------
    dict
        CF globals, conventions, licence, and the project's own object ``spacenet_cube``
        with the scene list.
    """
    product = plan.product
    conventions = zarr_cm.create_many(
        {
            "proj": _proj(plan.grid),
            "spatial": _spatial(plan.grid),
            "multiscales": {"layout": _layout(plan), "resampling_method": "average"},
        }
    )
    return {
        "Conventions": _CF,
        "title": product.title or f"{plan.aoi} {product.name}",
        "license": plan.licence.spdx,
        "license_url": plan.licence.url or "",
        "attribution": plan.licence.attribution,
        **conventions,
        "spacenet_cube": own_attributes(plan),
    }


def own_attributes(plan: Plan) -> dict[str, Any]:
    """The project's own object in the root's attributes: provenance and the scene list."""
    product = plan.product
    return {
        "format": FORMAT,
        "software": f"spacenet_cube {__version__}",
        "aoi": plan.aoi,
        "product": product.name,
        "sensor": product.sensor,
        "catalog_id": product.catalog_id,
        "mosaic": product.mosaic,
        "plan": plan.digest,
        "settings": plan.settings,
        "deviation_px": plan.deviation_px,
        **({"nodata_each_band": True} if plan.each_band else {}),
        "scenes": [_scene(plan, index) for index in range(1, len(plan.scenes) + 1)],
    }


def _scene(plan: Plan, index: int) -> Mapping[str, Any]:
    scene = plan.scenes[index - 1]
    box = scene.box
    return {
        "index": index,
        "id": scene.id,
        "key": scene.key,
        "size_bytes": scene.size_bytes,
        "etag": scene.etag,
        "acquired": scene.acquired,
        "catalog_id": plan.product.catalog_id,
        "bbox": [box.west, box.south, box.east, box.north],
        "row_col": None if scene.row_col is None else list(scene.row_col),
        **({"modified": scene.modified} if scene.modified else {}),
        **({"sha256": scene.sha256} if scene.sha256 else {}),
        "imagery": None if scene.imagery is None else asdict(scene.imagery),
    }
