"""Clipping: the part of a cube within a rectangle or polygons, lazily."""

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from dask.delayed import delayed
from numpy.typing import NDArray
from odc.geo.geom import Geometry
from pyproj import Transformer
from rasterio.features import geometry_mask

from spacenet_cube.analysis.parts import CUT_OUT, grid_of, variable
from spacenet_cube.core.grid import Box, Grid
from spacenet_cube.errors import RecipeError

type Region = Any
"""Bounds (west, south, east, north), a GeoJSON mapping, a geometry, or a GeoDataFrame."""

_CORNERS = 4
_EDGE_POINTS = 21


def clip(cube: xr.Dataset, region: Region, crs: Any, *, all_touched: bool) -> xr.Dataset:  # noqa: ANN401 - whatever pyproj understands
    """Return the part within a region; see the accessor."""
    grid = grid_of(cube)
    if _is_bounds(region):
        box = _bounds_on(grid, region, crs)
        return cube.isel(_window(grid, box, all_touched=all_touched))
    shapes = polygons_on(grid, region, crs)
    edges = np.array([shape.boundingbox.bbox for shape in shapes])
    box = Box(*edges[:, :2].min(0), *edges[:, 2:].max(0))
    part = cube.isel(_window(grid, box, all_touched=all_touched))
    return cut_out(part, tuple(shape.geom.wkb for shape in shapes), all_touched=all_touched)


def _is_bounds(region: Region) -> bool:
    if isinstance(region, (str, bytes, Mapping)) or not hasattr(region, "__len__"):
        return False
    return len(region) == _CORNERS and all(np.isscalar(edge) for edge in region)


def _bounds_on(grid: Grid, region: Sequence[float], crs: Any) -> Box:  # noqa: ANN401 - whatever pyproj understands
    west, south, east, north = (float(edge) for edge in region)
    if not (west < east and south < north):
        raise RecipeError(
            f"bounds {(west, south, east, north)} enclose nothing; give west, south, east, north"
        )
    if crs is not None:
        transformer = Transformer.from_crs(crs, grid.crs, always_xy=True)
        west, south, east, north = transformer.transform_bounds(
            west, south, east, north, densify_pts=_EDGE_POINTS
        )
    return Box(west, south, east, north)


def polygons_on(grid: Grid, region: Region, crs: Any) -> list[Geometry]:  # noqa: ANN401 - whatever pyproj understands
    """Bring geometries to the CRS of a grid.

    Parameters
    ----------
    grid
        The grid.
    region
        A GeoJSON mapping, a shapely or odc geometry, or what geopandas holds.
    crs
        CRS of geometries that know none; by default that of the grid.

    Returns
    -------
    list of Geometry
        Not empty; edges are densified before they are brought to another CRS.

    Raises
    ------
    RecipeError
        If there are none, or the region is nothing of the kind.
    """
    geometry: Any = getattr(region, "geometry", region)
    if hasattr(geometry, "to_wkb") and hasattr(geometry, "crs"):
        found, own = list(geometry.values), geometry.crs
    elif isinstance(region, Mapping) and region.get("type") == "FeatureCollection":
        found, own = [each["geometry"] for each in region["features"]], None
    elif isinstance(region, Mapping) and region.get("type") == "Feature":
        found, own = [region["geometry"]], None
    else:
        found, own = [region], None
    source = crs if own is None else own
    made = [_geometry(each, grid.crs if source is None else source) for each in found]
    kept = [each.to_crs(grid.crs) for each in made if each is not None and not each.is_empty]
    if not kept:
        raise RecipeError(
            "the region holds no polygon; give bounds, a polygon, or a table that is not empty"
        )
    return kept


def _geometry(shape: Any, crs: Any) -> Geometry | None:  # noqa: ANN401 - shapely ships no types
    if shape is None or isinstance(shape, Geometry):
        return shape
    if isinstance(shape, Mapping):
        return Geometry(dict(shape), crs)
    if hasattr(shape, "__geo_interface__"):
        return Geometry(shape.__geo_interface__, crs)
    raise RecipeError(
        f"a region cannot be {type(shape).__name__}; give bounds (west, south, east, north), a "
        "GeoJSON mapping, a shapely geometry, or a GeoDataFrame"
    )


def _window(grid: Grid, box: Box, *, all_touched: bool) -> dict[str, slice]:
    """Rows and columns whose centres lie in the box, its west and north edge included."""
    width, height = grid.resolution_xy
    # By the pixel's centre: half a pixel is added to its corner's number, and rounded up.
    half = 0.0 if all_touched else 0.5
    lines = {
        "x": ((box.west - grid.transform.c) / width, (box.east - grid.transform.c) / width),
        "y": ((grid.transform.f - box.north) / height, (grid.transform.f - box.south) / height),
    }
    sizes = dict(zip(("y", "x"), grid.shape_yx, strict=True))
    window = {}
    for dim, (begin, end) in lines.items():
        start, stop = (
            _snapped(begin, half, touching=all_touched),
            _snapped(end, half, touching=False),
        )
        window[dim] = slice(max(start, 0), min(stop, sizes[dim]))
    if any(part.start >= part.stop for part in window.values()):
        raise RecipeError(
            f"the region ({box.west:.7g}, {box.south:.7g}, {box.east:.7g}, {box.north:.7g}) "
            f"holds no pixel of the cube, which lies within ({_told(grid.box)}); check the order "
            "west, south, east, north, and name the region's crs"
        )
    return window


def _snapped(edge: float, half: float, *, touching: bool) -> int:
    """First pixel at or after an edge; edges within a millionth of a pixel count as on it."""
    near = round(edge - half, 6)
    return int(np.floor(near) if touching else np.ceil(near))


def _told(box: Box) -> str:
    return ", ".join(f"{edge:.7g}" for edge in (box.west, box.south, box.east, box.north))


def cut_out(cube: xr.Dataset, shapes: tuple[bytes, ...], *, all_touched: bool) -> xr.Dataset:
    """Make nodata of what lies outside polygons, block by block.

    Parameters
    ----------
    cube
        The dataset.
    shapes
        Polygons in its CRS, as WKB.
    all_touched
        Whether a pixel that a polygon touches is inside; else its centre must be.

    Returns
    -------
    xarray.DataArray
        The dataset with ``image`` and ``source_index`` masked; types and attributes stay.

    Raises
    ------
    RecipeError
        If the dataset has lost ``source_index``.
    """
    index = variable(cube, "source_index")
    inside = _inside(cube, index, shapes, all_touched=all_touched)
    made = cube.copy()
    for name in ("image", "source_index"):
        if name in cube:
            array = cube[name]
            empty = array.attrs.get("_FillValue", array.encoding.get("_FillValue", 0))
            fill = np.asarray(0 if name == "source_index" else empty).astype(array.dtype)
            kept = array.where(inside, fill)
            made[name] = kept.transpose(*array.dims).assign_attrs(array.attrs)
            made[name].encoding = dict(array.encoding)
    # The pixels that are left are the level's; CUT_OUT says that some are not.
    made.encoding = {
        **cube.encoding,
        CUT_OUT: (*cube.encoding.get(CUT_OUT, ()), (shapes, all_touched)),
    }
    return made


def _inside(
    cube: xr.Dataset, index: xr.DataArray, shapes: tuple[bytes, ...], *, all_touched: bool
) -> xr.DataArray:
    grid = grid_of(cube)
    options: dict[str, Any] = {"transform": tuple(grid.transform)[:6], "all_touched": all_touched}
    if not index.chunks:
        rows, cols = (np.arange(size) for size in grid.shape_yx)
        mask = _drawn(rows[:, None], cols[None, :], shapes=shapes, **options)
        return xr.DataArray(mask, dims=("y", "x"))
    chunks = dict(zip(index.dims, index.chunks, strict=True))
    mask = da.map_blocks(
        _drawn,
        da.arange(grid.shape_yx[0], chunks=(chunks["y"],))[:, None],
        da.arange(grid.shape_yx[1], chunks=(chunks["x"],))[None, :],
        # One task holds the polygons, and all blocks refer to it.
        shapes=delayed(shapes, pure=True),
        dtype=bool,
        chunks=(chunks["y"], chunks["x"]),
        meta=np.empty((0, 0), bool),
        **options,
    )
    return xr.DataArray(mask, dims=("y", "x"))


def _drawn(
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    *,
    shapes: tuple[bytes, ...],
    transform: tuple[float, ...],
    all_touched: bool,
) -> NDArray[np.bool_]:
    """Which pixels of a block lie in polygons."""
    import shapely  # type: ignore[import-untyped] # noqa: PLC0415 - on whichever worker this runs

    shape_yx = (rows.size, cols.size)
    if not rows.size or not cols.size:
        return np.zeros(shape_yx, bool)
    corner = Affine(*transform) @ Affine.translation(int(cols.flat[0]), int(rows.flat[0]))
    west, north = corner @ (0, 0)
    east, south = corner @ (cols.size, rows.size)
    found = shapely.from_wkb(list(shapes))
    near = found[shapely.intersects(found, shapely.box(west, south, east, north))]
    if not near.size:
        return np.zeros(shape_yx, bool)
    mask: NDArray[np.bool_] = geometry_mask(
        list(near), shape_yx, corner, all_touched=all_touched, invert=True
    )
    return mask
