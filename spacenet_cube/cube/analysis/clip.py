"""Clipping: the part of a cube within a rectangle or polygons, lazily."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import shapely
import xarray as xr
from affine import Affine
from dask.delayed import delayed
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from spacenet_cube.cube.analysis.dataset import grid_of, variable
from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.grid import Block, Box, Grid
from spacenet_cube.raster.polygons import geometry_from, inside, rings_of

type Region = Any
"""Bounds (west, south, east, north), a GeoJSON mapping, a geometry, or a GeoDataFrame."""

_CORNERS = 4
_AREAS = ("Polygon", "MultiPolygon")
_EDGE_POINTS = 21
_EDGE_PIECES = 100


def clip(cube: xr.Dataset, region: Region, crs: Any) -> xr.Dataset:  # noqa: ANN401 - whatever pyproj understands
    """Return the part within a region; see the accessor."""
    grid = grid_of(cube)
    if _is_bounds(region):
        box = _bounds_on(grid, region, crs)
        return cube.isel(_window(grid, box))
    shapes = polygons_on(grid, region, crs)
    edges = np.array([shape.bounds for shape in shapes])
    box = Box(*edges[:, :2].min(0), *edges[:, 2:].max(0))
    part = cube.isel(_window(grid, box))
    return cut_out(part, tuple(shape.wkb for shape in shapes))


def _is_bounds(region: Region) -> bool:
    """Whether a region is four numbers; a table of four columns or rows is not."""
    if isinstance(region, (str, bytes, Mapping)) or hasattr(region, "geometry"):
        return False
    if not hasattr(region, "__len__") or len(region) != _CORNERS:
        return False
    return all(isinstance(edge, (int, float, np.number)) for edge in region)


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


def polygons_on(grid: Grid, region: Region, crs: Any) -> list[Any]:  # noqa: ANN401 - whatever pyproj understands
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
    list
        Polygons of shapely, not empty; edges are densified before they are brought to another CRS.

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
        # odc-geo's geometry knows its CRS.
        found, own = [region], getattr(region, "crs", None)
    source = grid.crs if own is None and crs is None else str(crs if own is None else own)
    made = [_projected(_shape(each), source, grid) for each in found if each is not None]
    kept = [each for each in made if not each.is_empty]
    if not kept or any(each.geom_type not in _AREAS for each in kept):
        raise RecipeError(
            "the region holds no polygon, or more than polygons; give bounds, polygons, or a "
            "table of them that is not empty"
        )
    return kept


def _shape(region: Any) -> Any:  # noqa: ANN401 - shapely ships no types
    """A shapely geometry of whatever tells its coordinates."""
    if isinstance(region, shapely.Geometry):
        return region
    told = region if isinstance(region, Mapping) else getattr(region, "__geo_interface__", None)
    if told is None:
        raise RecipeError(
            f"a region cannot be {type(region).__name__}; give bounds (west, south, east, north), "
            "a GeoJSON mapping, a shapely geometry, or a GeoDataFrame"
        )
    try:
        return geometry_from(told)
    except ValueError as error:
        raise RecipeError(f"the region cannot be used: {error}") from error


def _projected(shape: Any, source: str, grid: Grid) -> Any:  # noqa: ANN401 - shapely ships no types
    """The geometry in the grid's CRS; long edges are divided first, so that they bend."""
    if CRS.from_user_input(source) == CRS.from_user_input(grid.crs) or shape.is_empty:
        return shape
    west, south, east, north = shape.bounds
    fine = shapely.segmentize(shape, max(east - west, north - south) / _EDGE_PIECES)
    bring = Transformer.from_crs(source, grid.crs, always_xy=True).transform
    return shapely.transform(fine, lambda points: np.stack(bring(*points.T), axis=1))


def _window(grid: Grid, box: Box) -> dict[str, slice]:
    """Rows and columns whose centres lie in the box, its west and north edge included."""
    width, height = grid.resolution_xy
    lines = {
        "x": ((box.west - grid.transform.c) / width, (box.east - grid.transform.c) / width),
        "y": ((grid.transform.f - box.north) / height, (grid.transform.f - box.south) / height),
    }
    sizes = dict(zip(("y", "x"), grid.shape_yx, strict=True))
    window = {}
    for dim, (begin, end) in lines.items():
        start, stop = (_from(edge) for edge in (begin, end))
        window[dim] = slice(max(start, 0), min(stop, sizes[dim]))
    if any(part.start >= part.stop for part in window.values()):
        raise RecipeError(
            f"the region ({box.west:.7g}, {box.south:.7g}, {box.east:.7g}, {box.north:.7g}) "
            f"holds no pixel of the cube, which lies within ({_told(grid.box)}); check the order "
            "west, south, east, north, and name the region's crs"
        )
    return window


def _from(edge_px: float) -> int:
    """First pixel whose centre lies at or after an edge, to a millionth of a pixel."""
    return int(np.ceil(round(edge_px - 0.5, 6)))


def _told(box: Box) -> str:
    return ", ".join(f"{edge:.7g}" for edge in (box.west, box.south, box.east, box.north))


def cut_out(cube: xr.Dataset, shapes: tuple[bytes, ...]) -> xr.Dataset:
    """Make nodata of what lies outside polygons, block by block.

    Parameters
    ----------
    cube
        The dataset.
    shapes
        Polygons in its CRS, as WKB; a pixel is inside where its centre is.

    Returns
    -------
    xarray.Dataset
        The dataset with ``image`` and ``source_index`` masked; types and attributes stay.

    Raises
    ------
    RecipeError
        If the dataset has lost ``source_index``.
    """
    index = variable(cube, "source_index")
    held = _inside(cube, index, shapes)
    made = cube.copy()
    for name in ("image", "source_index"):
        if name in cube:
            array = cube[name]
            empty = array.attrs.get("_FillValue", array.encoding.get("_FillValue", 0))
            fill = np.asarray(0 if name == "source_index" else empty).astype(array.dtype)
            kept = array.where(held, fill)
            made[name] = kept.transpose(*array.dims).assign_attrs(array.attrs)
            made[name].encoding = dict(array.encoding)
    return made


def _inside(cube: xr.Dataset, index: xr.DataArray, shapes: tuple[bytes, ...]) -> xr.DataArray:
    grid = grid_of(cube)
    transform = tuple(grid.transform)[:6]
    if not index.chunks:
        rows, cols = (np.arange(size) for size in grid.shape_yx)
        mask = _drawn(rows[:, None], cols[None, :], shapes=shapes, transform=transform)
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
        transform=transform,
    )
    return xr.DataArray(mask, dims=("y", "x"))


def _drawn(
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    *,
    shapes: tuple[bytes, ...],
    transform: tuple[float, ...],
) -> NDArray[np.bool_]:
    """Which pixels of a block have their centre in polygons.

    rasterio's `geometry_mask` would do, but for a warning that it hushes in a way that threads
    disturb.
    """
    shape_yx = (rows.size, cols.size)
    if not rows.size or not cols.size:
        return np.zeros(shape_yx, bool)
    block = Block(int(rows.flat[0]), int(cols.flat[0]), *shape_yx)
    to_pixels = ~Affine(*transform)
    whole = shapely.transform(shapely.from_wkb(list(shapes)), partial(_moved, to_pixels))
    top, left = block.row, block.col
    box = shapely.box(left, top, left + block.width, top + block.height)
    near = shapely.get_parts(whole[shapely.intersects(whole, box)])
    return inside([rings_of(polygon) for polygon in near], block)


def _moved(transform: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = points.T
    cols = transform.a * x + transform.b * y + transform.c
    rows = transform.d * x + transform.e * y + transform.f
    return np.stack([cols, rows], axis=1)
