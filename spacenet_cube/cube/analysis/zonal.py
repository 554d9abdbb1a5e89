"""Zonal: statistics of the pixels under features, by exactextract, block by block."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import xarray as xr
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.blocks import gathered, layer_names, layers, on_blocks
from spacenet_cube.cube.analysis.dataset import grid_of, image_of, needs
from spacenet_cube.cube.analysis.formulas.zones import (
    Zone,
    column,
    merge,
    needs_tables,
    statistic,
    zone,
)
from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.grid import Grid

if TYPE_CHECKING:
    import geopandas

type Edges = tuple[float, float, float, float]
"""West, south, east, north, CRS units."""

type Zones = dict[int, tuple[Zone, ...]]
"""One zone a band, by the place of the feature."""


def zonal(
    cube: xr.Dataset,
    features: "geopandas.GeoDataFrame",
    stats: Sequence[str],
    image: xr.DataArray | None,
) -> Delayed:
    """Return statistics of each feature, lazily; see the accessor."""
    for package in ("exactextract", "geopandas"):
        needs(package, "analysis", "zonal")
    wanted = (stats,) if isinstance(stats, str) else tuple(stats)
    table = needs_tables(wanted)
    grid = grid_of(cube)
    picked = image_of(cube) if image is None else layers(cube, image)
    shapes = _on_grid(features, grid)
    found = _found(cube, image, grid, shapes, table=table)
    finish = delayed(_finished, pure=False)
    # Kept whole, so that dask does not take the table apart.
    kept = delayed(features, pure=False, traverse=False)
    made: Delayed = finish(found, kept, layer_names(picked), wanted)
    return made


def _on_grid(features: "geopandas.GeoDataFrame", grid: Grid) -> NDArray[Any]:
    """The features' geometries in the grid's CRS."""
    if not hasattr(features, "geometry") or not hasattr(features, "to_crs"):
        raise RecipeError(
            f"zonal takes a geopandas GeoDataFrame, not {type(features).__name__}; "
            "read one with geopandas.read_file"
        )
    if features.crs is None:
        raise RecipeError(
            "the features have no CRS, so where they lie is not known; "
            "set it with features.set_crs(...)"
        )
    found: NDArray[Any] = np.asarray(features.geometry.to_crs(grid.crs).values, object)
    return found


def _found(
    cube: xr.Dataset,
    image: xr.DataArray | None,
    grid: Grid,
    shapes: NDArray[Any],
    *,
    table: bool,
) -> Delayed:
    """What is known of the features: one task for each block that any of them touches."""
    values, index = on_blocks(cube, image)
    asked = {
        place: partial(_of_block, held=held, edges=edges, table=table)
        for place, edges, held in _held(grid, index.chunks, shapes)
    }
    if not asked:
        nothing: Delayed = delayed({})
        return nothing
    return gathered(values, index, asked, merge)


type Held = tuple[NDArray[np.int64], NDArray[Any]]
"""Places of features, and their polygons as WKB."""


def _held(
    grid: Grid, chunks: tuple[tuple[int, ...], ...], shapes: NDArray[Any]
) -> Iterator[tuple[tuple[int, int], Edges, Held]]:
    """The features that touch each block, with its row and column and its edges."""
    rows, cols = (np.concatenate([[0], np.cumsum(sizes)]) for sizes in chunks)
    if not (rows[-1] and cols[-1] and shapes.size):
        return
    places = list(np.ndindex(len(rows) - 1, len(cols) - 1))
    edges = [_edges(grid, rows[row : row + 2], cols[col : col + 2]) for row, col in places]
    boxes = shapely.box(*np.array(edges).T)
    pairs = shapely.STRtree(shapes).query(boxes, predicate="intersects")
    wkb = shapely.to_wkb(shapes)
    for block in np.unique(pairs[0]):
        near = np.sort(pairs[1][pairs[0] == block])
        yield places[block], edges[block], (near, wkb[near])


def _edges(grid: Grid, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Edges:
    """West, south, east, north of a block, CRS units."""
    west, north = grid.transform @ (int(cols[0]), int(rows[0]))
    east, south = grid.transform @ (int(cols[1]), int(rows[1]))
    return west, south, east, north


def _of_block(
    image: NDArray[Any],
    index: NDArray[Any],
    *,
    held: Held,
    edges: Edges,
    table: bool,
) -> Zones:
    """What a block knows of the features that touch it."""
    from exactextract import exact_extract  # noqa: PLC0415
    from exactextract.raster import NumPyRasterSource  # noqa: PLC0415

    west, south, east, north = edges
    # Only where cells lie is asked; which of them are valid, exactextract need not know.
    source = NumPyRasterSource(np.zeros(index.shape, np.uint8), west, south, east, north)
    valid = (index > 0).ravel()
    places, wkb = held
    shapes = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for shape in shapely.from_wkb(wkb)
    ]
    flat = image.reshape(image.shape[0], -1)
    known: Zones = {}
    for place, found in zip(
        places, exact_extract(source, shapes, ["cell_id", "coverage"]), strict=True
    ):
        cells, shares = (found["properties"][name] for name in ("cell_id", "coverage"))
        held_cells = cells[valid[cells]]
        held_shares = shares[valid[cells]]
        known[int(place)] = tuple(zone(band[held_cells], held_shares, table=table) for band in flat)
    return known


def _finished(
    found: Zones, features: "geopandas.GeoDataFrame", names: tuple[str, ...], stats: tuple[str, ...]
) -> "geopandas.GeoDataFrame":
    """The features with one column more a band and statistic."""
    import pandas as pd  # noqa: PLC0415 - on whichever worker this runs

    columns: dict[str, list[float]] = {}
    nothing = Zone()
    for band, name in enumerate(names):
        for stat in stats:
            title = column(stat) if len(names) == 1 else f"{name}_{column(stat)}"
            zones = (found.get(k) for k in range(len(features)))
            columns[title] = [statistic(z[band] if z else nothing, stat) for z in zones]
    return pd.concat([features, pd.DataFrame(columns, index=features.index)], axis=1)
