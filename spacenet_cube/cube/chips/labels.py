"""Labels: polygons and lines as pixels on a cube's grid, lazily.

A feature is brought into pixel coordinates counted from the corner of the whole cube, once.
Each block then burns those features that touch it, and nothing else is sent to its task.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import xarray as xr
from affine import Affine
from dask.array import zeros
from dask.array.core import Array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import DTypeLike, NDArray
from rasterio import features as burner

from spacenet_cube.compat import free_in_forks
from spacenet_cube.cube.chips.geojson import CRS84, features
from spacenet_cube.cube.chips.read import tiles_of
from spacenet_cube.errors import MissingExtraError, RecipeError, SourceError
from spacenet_cube.format.subset import Part, locate_part
from spacenet_cube.raster.grid import Block, Grid
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate

if TYPE_CHECKING:
    import geopandas

type Labels = "geopandas.GeoDataFrame | str | os.PathLike[str]"

_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_SUFFIXES = (".geojson", ".json")
_TILE_PX = 512
_ONE_AT_A_TIME = free_in_forks(threading.Lock())
"""rasterio catches a warning of its own while it burns; two threads at it would let it escape."""
_NEAR_PX = 2
"""How far outside a block a line may lie that GDAL still burns in it."""
_PARTS_OF_A_PX = 1 << 24
"""Coordinates are whole numbers of these, so that counting from another corner is exact."""


def read_labels(
    labels: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> "geopandas.GeoDataFrame":
    """Read a GeoJSON file of labels, or all of those in a folder, as one table.

    Parameters
    ----------
    labels
        Path or URL of a ``.geojson`` file, or of a folder of them; files are read in the
        order of their names.
    storage_options
        How the storage is reached, as fsspec takes it.

    Returns
    -------
    geopandas.GeoDataFrame
        One row a feature, numbered through: its properties, ``feature_id`` where GeoJSON gives
        an id, ``file`` (the name of the file it is from), and its geometry without heights.
        Files without features add no row.

    Raises
    ------
    MissingExtraError
        If geopandas is not installed.
    SourceError
        If there is no such file, it cannot be read, or is no feature collection.

    Examples
    --------
    With SpaceNet's training labels below a folder::

        buildings = read_labels("AOI_2_Vegas_Train/geojson/buildings")
    """
    _require_geopandas("read_labels")
    import geopandas  # noqa: PLC0415 - an extra
    import pandas as pd  # noqa: PLC0415 - only wanted here

    frames, crs = [], None
    for file in _files(locate(os.fspath(labels), storage_options)):
        name = file.url.rsplit("/", 1)[-1]
        found = features(_content(file), file.url)
        crs = crs or found.crs
        if found.geometries:
            table = pd.DataFrame([{**each, "file": name} for each in found.properties])
            shapes = shapely.force_2d(np.array(found.geometries, object))
            frame = geopandas.GeoDataFrame(table, geometry=shapes, crs=found.crs)
            frames.append(frame.to_crs(crs))
    if not frames:
        return geopandas.GeoDataFrame({"file": []}, geometry=[], crs=crs or CRS84)
    return geopandas.GeoDataFrame(pd.concat(frames, ignore_index=True), crs=crs)


def _files(where: Location) -> list[Location]:
    if where.url.lower().endswith(_SUFFIXES):
        return [where]
    try:
        names = sorted(path.rsplit("/", 1)[-1] for path in where.fs.find(where.path, maxdepth=1))
    except FAULTS as error:
        raise SourceError(f"{where.url} cannot be listed: {where.told(error)}") from error
    found = [where / name for name in names if name.lower().endswith(_SUFFIXES)]
    if not found:
        raise SourceError(
            f"{where.url} holds no .geojson file; give a file of labels, or the folder they are in"
        )
    return found


def _content(file: Location) -> bytes:
    try:
        return file.read_bytes()
    except FAULTS as error:
        raise SourceError(
            f"{file.url} cannot be read: {file.told(error)}; check the path of the labels"
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Burn:
    """What one block burns."""

    block: Block
    """Pixels, counted from the corner of the whole cube."""

    shapes: tuple[bytes, ...]
    """Features that touch the block, as WKB: (column, minus row), in the order they are burned."""

    values: NDArray[Any]
    """What each becomes."""

    fill: float
    """What all else becomes."""

    all_touched: bool
    """Whether a pixel that is only touched is burned."""

    def __call__(self) -> NDArray[Any]:
        """Burn, tile by tile."""
        out = np.full((self.block.height, self.block.width), self.fill, self.values.dtype)
        if not self.shapes:
            return out
        shapes = shapely.from_wkb(list(self.shapes))
        tiles = _tiles(self.block)
        for tile, where in zip(tiles, _touching(shapes, tiles), strict=True):
            shared = tile.intersection(self.block)
            if shared is not None and len(where):
                burned = self._burned(shapes[where], self.values[where], tile)
                out[shared.relative_to(self.block).yx] = burned[shared.relative_to(tile).yx]
        return out

    def _burned(self, shapes: Any, values: NDArray[Any], tile: Block) -> NDArray[Any]:  # noqa: ANN401
        out = np.full((tile.height, tile.width), self.fill, values.dtype)
        with _ONE_AT_A_TIME:
            burner.rasterize(
                zip(shapes, values.tolist(), strict=True),
                out=out,
                transform=Affine(1, 0, tile.col, 0, -1, -tile.row),
                all_touched=self.all_touched,
            )
        return out


def _tiles(block: Block) -> tuple[Block, ...]:
    """The tiles of the whole cube that a block has pixels of.

    GDAL cuts a line off at the edges of the raster it burns into, and rounds anew there.  So
    that a pixel does not depend on the block it is asked for in, the edges are always these.
    """
    rows, cols = (
        range(first - first % _TILE_PX, first + length, _TILE_PX)
        for first, length in ((block.row, block.height), (block.col, block.width))
    )
    return tuple(Block(row, col, _TILE_PX, _TILE_PX) for row in rows for col in cols)


def rasterize(
    cube: xr.Dataset,
    labels: Labels,
    column: str | None = None,
    *,
    fill: float = 0,
    dtype: DTypeLike | None = None,
    all_touched: bool = False,
    buffer_m: float = 0,
    instances: bool = False,
) -> xr.DataArray:
    """Burn labels onto a cube's pixels, lazily, as ``cube.spacenet.rasterize`` says.

    Parameters
    ----------
    cube
        A cube or a part of one.
    labels, column, fill, dtype, all_touched, buffer_m, instances
        As the accessor has them.

    Returns
    -------
    xarray.DataArray
        Shape (y, x).

    Raises
    ------
    MissingExtraError
        If geopandas is not installed.
    RecipeError
        If labels have no CRS, or what they become cannot stand.
    SourceError
        If labels are a path and cannot be read.
    """
    _require_geopandas("rasterize")
    part = locate_part(cube.attrs, str(cube.rio.crs), cube["y"].values, cube["x"].values)
    frame = read_labels(labels) if isinstance(labels, str | os.PathLike) else labels
    if frame.crs is None:
        raise RecipeError(
            "the labels have no CRS, so they lie nowhere; set it, such as "
            "labels.set_crs('OGC:CRS84')"
        )
    values = _values(frame, column, fill=fill, dtype=dtype, instances=instances)
    shapes = _on_pixels(frame.geometry, part.grid, buffer_m)
    anchor = cube["image"] if "image" in cube.variables else cube["source_index"]
    burn = partial(_Burn, fill=fill, all_touched=all_touched)
    lazy = _lazily(shapes, values, part, tiles_of(anchor, part), burn)
    coords = {name: cube.coords[name] for name in ("y", "x", "spatial_ref") if name in cube.coords}
    name = "instances" if instances else column or "labels"
    return xr.DataArray(lazy, coords, ("y", "x"), name=name, attrs={"grid_mapping": "spatial_ref"})


def _lazily(shapes: Any, values: NDArray[Any], part: Part, tiles: Any, burn: Any) -> Array:  # noqa: ANN401
    """A dask array of which each block is one task."""
    if not part.block.pixels:
        none: Array = zeros((part.block.height, part.block.width), dtype=values.dtype)
        return none
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    shapes, values = shapes[there], values[there]
    wkb = shapely.to_wkb(shapes)
    blocks = tiles.blocks
    touching = _touching(shapes, blocks)
    name = "labels-" + tokenize(wkb.tolist(), values, part, tiles, burn.keywords)
    wide = len(tiles.cols) - 1
    graph: dict[Any, Any] = {}
    for number, (block, where) in enumerate(zip(blocks, touching, strict=True)):
        task = burn(block, tuple(wkb[where].tolist()), values[where])
        graph[name, number // wide, number % wide] = (task,)
    chunks = tuple(tuple(np.diff(edges).tolist()) for edges in (tiles.rows, tiles.cols))
    layers = HighLevelGraph.from_collections(name, graph)
    return Array(layers, name, chunks, dtype=values.dtype)  # type: ignore[no-untyped-call]


def _touching(shapes: Any, blocks: tuple[Block, ...]) -> list[NDArray[np.int64]]:  # noqa: ANN401
    """Places of the features that each block may burn, in their order."""
    edges = np.array([(b.col, -b.row - b.height, b.col + b.width, -b.row) for b in blocks])
    near = edges.reshape(-1, 4) + np.array([-_NEAR_PX, -_NEAR_PX, _NEAR_PX, _NEAR_PX])
    hits, found = shapely.STRtree(shapes).query(shapely.box(*near.T), predicate="intersects")
    order = np.lexsort((found, hits))
    hits, found = hits[order], found[order]
    ends = np.searchsorted(hits, np.arange(len(blocks) + 1))
    return [found[first:last] for first, last in pairwise(ends.tolist())]


def _on_pixels(shapes: "geopandas.GeoSeries", grid: Grid, buffer_m: float) -> Any:  # noqa: ANN401
    """Features as (column, minus row) from the corner of the whole cube, heights dropped."""
    if buffer_m and len(shapes):
        shapes = shapes.to_crs(shapes.estimate_utm_crs()).buffer(buffer_m)
    inverse = ~grid.transform

    def counted(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        cols = inverse.a * (xy[:, 0] - grid.transform.c)
        rows = inverse.e * (xy[:, 1] - grid.transform.f)
        return np.round(np.stack([cols, -rows], axis=1) * _PARTS_OF_A_PX) / _PARTS_OF_A_PX

    return shapely.transform(shapely.force_2d(shapes.to_crs(grid.crs).to_numpy()), counted)


def _values(
    frame: "geopandas.GeoDataFrame",
    column: str | None,
    *,
    fill: float,
    dtype: DTypeLike | None,
    instances: bool,
) -> NDArray[Any]:
    """What each feature becomes, in the array's type."""
    if instances and column is not None:
        raise RecipeError(
            f"instances=True numbers features, and column={column!r} asks for their values; "
            "give one of them"
        )
    if instances:
        said, plain = np.arange(1, len(frame) + 1), "uint32"
    elif column is None:
        said, plain = np.ones(len(frame), np.uint8), "uint8"
    else:
        said = _numbers(frame, column)
        plain = "int32" if said.dtype.kind in "iub" else "float32"
    chosen = np.dtype(plain if dtype is None else dtype)
    if chosen.name not in _TYPES:
        raise RecipeError(f"labels cannot be {chosen.name}; give a dtype of {', '.join(_TYPES)}")
    _check_held(np.append(said, fill), chosen, column)
    return said.astype(chosen)


def _check_held(said: NDArray[Any], chosen: np.dtype[Any], column: str | None) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        held = said.astype(chosen)
    lossy = ~((held == said) | (np.isnan(said) & (chosen.kind == "f")))
    if chosen.kind == "f":
        lossy = np.isinf(held) & np.isfinite(said)
    if lossy.any():
        raise RecipeError(
            f"{chosen.name} does not hold {said[lossy][0]!s}, which is fill or in "
            f"{column or 'the labels'}; give a wider dtype, such as int32 or float64"
        )


def _numbers(frame: "geopandas.GeoDataFrame", column: str) -> NDArray[Any]:
    import pandas as pd  # noqa: PLC0415 - only wanted here

    if column not in frame.columns:
        named = [str(name) for name in frame.columns if name != frame.geometry.name]
        raise RecipeError(
            f"the labels have no column '{column}' (they have {', '.join(named) or 'none'}); "
            "name one of those"
        )
    try:
        # Some of SpaceNet's files write numbers as text.
        found: NDArray[Any] = pd.to_numeric(frame[column]).to_numpy()
    except (ValueError, TypeError) as error:
        raise RecipeError(
            f"column '{column}' holds what is no number ({error}); make a column of numbers of it, "
            f"such as labels['code'] = labels['{column}'].astype('category').cat.codes + 1"
        ) from error
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise RecipeError(
            f"column '{column}' has no value in {int(np.isnan(found).sum())} of {len(found)} "
            "features, which would be burned as nothing; fill them in, or drop those features"
        )
    return found


def _require_geopandas(asked: str) -> None:
    if find_spec("geopandas") is None:
        raise MissingExtraError(
            f"{asked} needs geopandas, which is not installed; "
            "run: pip install 'spacenet-cube[learn]'"
        )
