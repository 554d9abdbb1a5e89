"""Regridding: a cube on a metric grid, and at a coarser resolution, lazily."""

from collections.abc import Mapping
from math import ceil, floor, isfinite, log10
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError

from spacenet_cube.cube.analysis.blocks import on_blocks
from spacenet_cube.cube.analysis.dataset import PER_BAND, band_names, each_cube, grid_of
from spacenet_cube.cube.analysis.stored import stored_part, with_bands_of
from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.grid import Block, Grid
from spacenet_cube.raster.pixels import Pixels, Resampling
from spacenet_cube.raster.resample import resample
from spacenet_cube.raster.shrink import shrink
from spacenet_cube.raster.validity import differs, keep_present, keep_valid
from spacenet_cube.raster.warp import KERNEL_RADIUS_PX, Lattice, Warp, scene_window, warp_of

_BLOCK_PX = 1024
_EDGE_POINTS = 21
_ON_LINE_PX = 0.01
_UTM_NORTH, _UTM_SOUTH = 32600, 32700


def to_metric(
    cube: xr.Dataset,
    resolution: float | None,
    crs: Any,  # noqa: ANN401 - whatever pyproj understands
    resampling: str,
) -> xr.Dataset:
    """Return the cube on a metric grid; see the accessor."""
    return each_cube(cube, lambda one: _on_metres(one, resolution, crs, resampling))


def _on_metres(
    cube: xr.Dataset,
    resolution: float | None,
    crs: Any,  # noqa: ANN401 - whatever pyproj understands
    resampling: str,
) -> xr.Dataset:
    if resampling not in KERNEL_RADIUS_PX and resampling != "average":
        raise RecipeError(
            f"there is no resampling {resampling!r} here; "
            f"give one of {', '.join((*KERNEL_RADIUS_PX, 'average'))}"
        )
    source = grid_of(cube)
    if not all(source.shape_yx):
        raise RecipeError(
            f"a part of {source.shape_yx} (y, x) pixels has no ground; select some rows and columns"
        )
    target = _target(source, crs, resolution)
    image, index = on_blocks(cube)
    nodata = (_nodata(cube), _each_band(cube))
    pixels = _Warped(source, target, resampling, nodata).pixels(image, index)
    made = _described(cube, target, pixels)
    return made if cube["image"].chunks else made.compute()


def _each_band(cube: xr.Dataset) -> bool:
    """Whether nodata marks single samples of the cube, and not whole pixels alone."""
    own = cube.attrs.get("spacenet_cube")
    return isinstance(own, Mapping) and own.get("nodata_each_band") is True


def _nodata(cube: xr.Dataset) -> float:
    image = cube["image"]
    floats = image.dtype.kind == "f"
    return float(image.attrs.get("_FillValue", np.nan if floats else 0))


def _target(source: Grid, crs: Any, resolution: float | None) -> Grid:  # noqa: ANN401 - whatever pyproj understands
    """The grid that holds the source, its edges on whole multiples of the resolution."""
    box = source.box
    middle = ((box.west + box.east) / 2, (box.south + box.north) / 2)
    lon, lat = Transformer.from_crs(source.crs, "EPSG:4326", always_xy=True).transform(*middle)
    name = _utm(lon, lat) if crs == "utm" else _code(crs)
    if CRS.from_user_input(name).is_geographic:
        raise RecipeError(f"{name} counts degrees, not metres; give a projected CRS, or crs='utm'")
    step = _metres(source, middle) if resolution is None else float(resolution)
    if not (isfinite(step) and step > 0):
        raise RecipeError(f"a resolution of {resolution} is no pixel size; give metres above 0")
    bounds = Transformer.from_crs(source.crs, name, always_xy=True).transform_bounds(
        box.west, box.south, box.east, box.north, densify_pts=_EDGE_POINTS
    )
    west, south = (floor(edge / step + _ON_LINE_PX) for edge in bounds[:2])
    east, north = (ceil(edge / step - _ON_LINE_PX) for edge in bounds[2:])
    transform = Affine(step, 0, west * step, 0, -step, north * step)
    return Grid((max(north - south, 1), max(east - west, 1)), transform, name)


def _utm(lon: float, lat: float) -> str:
    """Code of the UTM zone (WGS 84) of a point."""
    if not -80 <= lat <= 84:  # noqa: PLR2004 - where UTM ends
        raise RecipeError(
            f"the cube lies at latitude {lat:.2f}, where UTM does not reach; name a polar CRS, "
            "such as crs='EPSG:3413'"
        )
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{(_UTM_NORTH if lat >= 0 else _UTM_SOUTH) + zone}"


def _code(crs: Any) -> str:  # noqa: ANN401 - whatever pyproj understands
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise RecipeError(
            f"CRS {crs!r} is unknown; give 'utm', or a code such as EPSG:32611"
        ) from error
    code = known.to_epsg()
    return f"EPSG:{code}" if code else known.to_wkt()


def _metres(source: Grid, middle: tuple[float, float]) -> float:
    """The longer edge of a pixel on the ground, to two digits."""
    crs = CRS.from_user_input(source.crs)
    width, height = source.resolution_xy
    unit = crs.axis_info[0].unit_conversion_factor
    if crs.is_geographic:
        x, y = middle
        geod = Geod(ellps="WGS84")
        across = geod.line_length((x, x + width), (y, y))
        up = geod.line_length((x, x), (y, y + height))
    else:
        across, up = width * unit, height * unit
    longer = max(across, up)
    return round(longer, 1 - floor(log10(longer)))


_Kind = tuple[int, np.dtype[Any], np.dtype[Any], float, bool]
"""Bands, type of the image and of source_index, nodata, and whether it marks single samples."""


_HALF = 0.5


class _Warped:
    """Blocks of a grid, each resampled from the source pixels that it needs and no others."""

    def __init__(
        self, source: Grid, target: Grid, resampling: str, nodata: tuple[float, bool]
    ) -> None:
        lattice = Lattice(target.transform, target.crs)
        self._warps = tuple(
            warp_of(source.transform, source.crs, source.shape_yx, lattice, method)
            for method in (resampling, "nearest")
        )
        self._source = source
        self._target = target
        self._nodata = nodata

    def pixels(self, image: Any, index: Any) -> tuple[da.Array, da.Array]:  # noqa: ANN401 - dask arrays
        """Image (band, y, x) and ``source_index`` (y, x) on the target."""
        rows, cols = (_sizes(size) for size in self._target.shape_yx)
        sources = tuple(np.concatenate([[0], np.cumsum(sizes)]) for sizes in index.chunks)
        token = tokenize(image.name, index.name, self._warps, self._target, self._nodata)
        both, names = "warped-" + token, ("image-" + token, "index-" + token)
        tasks: dict[Any, Any] = {}
        parts: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})
        for row, col in np.ndindex(len(rows), len(cols)):
            block = Block(row * _BLOCK_PX, col * _BLOCK_PX, rows[row], cols[col])
            pieces = self._pieces(block, sources, image.name, index.name)
            tasks[both, row, col] = (
                _resampled, self._warps, self._source.shape_yx, block, pieces,
                (image.shape[0], image.dtype, index.dtype, *self._nodata),
            )  # fmt: skip
            parts[0][names[0], 0, row, col] = (_part, (both, row, col), 0)
            parts[1][names[1], row, col] = (_part, (both, row, col), 1)
        below = HighLevelGraph.from_collections(both, tasks, dependencies=[image, index])
        shapes = (((image.shape[0],), rows, cols), (rows, cols))
        made = [
            da.Array(_above(below, both, name, part), name, chunks, dtype=like.dtype)
            for name, part, chunks, like in zip(names, parts, shapes, (image, index), strict=True)
        ]
        return made[0], made[1]

    def _pieces(
        self, block: Block, sources: tuple[NDArray[np.int64], ...], image: str, index: str
    ) -> list[list[Any]]:
        """Source blocks that a target block needs: place, image key, index key."""
        window = scene_window(self._warps[0], self._source.shape_yx, block)
        if window is None:
            return []
        found = []
        spans = zip(sources, (window.row, window.col), (window.height, window.width), strict=True)
        near = [_touched(edges, begin, size) for edges, begin, size in spans]
        for row in near[0]:
            for col in near[1]:
                place = (int(sources[0][row]), int(sources[1][col]))
                found.append([place, (image, 0, row, col), (index, row, col)])
        return found


def _above(below: HighLevelGraph, both: str, name: str, tasks: dict[Any, Any]) -> HighLevelGraph:
    """A graph with one layer more, which needs only the topmost."""
    return HighLevelGraph({**below.layers, name: tasks}, {**below.dependencies, name: {both}})


def _sizes(size: int) -> tuple[int, ...]:
    whole, rest = divmod(size, _BLOCK_PX)
    return (_BLOCK_PX,) * whole + ((rest,) if rest else ())


def _touched(edges: NDArray[np.int64], begin: int, size: int) -> range:
    """Numbers of the blocks that a stretch of pixels touches."""
    first = int(np.searchsorted(edges, begin, side="right")) - 1
    return range(first, int(np.searchsorted(edges, begin + size, side="left")))


def _part(both: tuple[NDArray[Any], NDArray[Any]], which: int) -> NDArray[Any]:
    return both[which]


def _resampled(
    warps: tuple[Warp, Warp],
    shape_yx: tuple[int, int],
    block: Block,
    pieces: list[list[Any]],
    kind: _Kind,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Image and ``source_index`` of a block of the target."""
    count, dtype, index_dtype, nodata, each_band = kind
    scenes = np.zeros((block.height, block.width), index_dtype)
    made = np.full((count, block.height, block.width), nodata).astype(dtype)
    window = scene_window(warps[0], shape_yx, block)
    if window is None or not pieces:
        return made, scenes
    image, index = _assembled(window, pieces, kind)
    valid = index > 0
    if not valid.any():
        return made, scenes
    gaps = not valid.all()
    planes = np.concatenate([np.where(valid, image, 0), valid[None].astype(dtype)])
    found = resample(Resampling("cube", planes, window, block, warps[0], gaps))
    flags = np.stack([np.where(valid, index, 0), valid.astype(index.dtype)])
    scenes = resample(Resampling("cube", flags, window, block, warps[1], has_gaps=True))[0]
    held = (found[-1] > 0) & (scenes > 0)
    if each_band:
        present = valid & differs(image, nodata)
        made = np.where(held, _by_band(image, present, (window, block), warps[0], nodata), made)
    else:
        made = np.where(held, found[:-1], made)
    scenes = np.where(held, scenes, 0).astype(index_dtype)
    keep_valid(made, scenes, nodata)
    return made, scenes


def _by_band(
    image: NDArray[Any],
    present: NDArray[Any],
    places: tuple[Block, Block],
    warp: Warp,
    nodata: float,
) -> NDArray[Any]:
    """Bands resampled one by one, each without the samples that are nodata in it."""
    made = []
    for band, here in zip(image, present, strict=True):
        pair = np.stack([np.where(here, band, 0), here]).astype(image.dtype)
        found = resample(Resampling("cube", pair, *places, warp, has_gaps=True))
        plane = np.where(found[1] > _HALF, found[0], nodata).astype(image.dtype)
        keep_present(plane, found[1] > _HALF, nodata)
        made.append(plane)
    return np.stack(made)


def _assembled(
    window: Block, pieces: list[list[Any]], kind: _Kind
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The window's pixels, put together from the blocks that hold them."""
    image = np.zeros((kind[0], window.height, window.width), kind[1])
    index = np.zeros((window.height, window.width), kind[2])
    for (row, col), values, scenes in pieces:
        whole = Block(row, col, *scenes.shape)
        shared = whole.intersection(window)
        if shared is not None:
            here, there = shared.relative_to(window).yx, shared.relative_to(whole).yx
            image[:, *here] = values[:, *there]
            index[here] = scenes[there]
    return image, index


def _described(cube: xr.Dataset, grid: Grid, pixels: tuple[da.Array, da.Array]) -> xr.Dataset:
    """Pixels on a grid as a dataset that the accessor understands."""
    along = {
        name: ("band", np.atleast_1d(cube[name].values), cube[name].attrs)
        for name in PER_BAND
        if name in cube.coords
    }
    images = pixels[0], pixels[1]
    made: xr.Dataset = xr.Dataset(
        {
            "image": (("band", "y", "x"), images[0], _plain(cube["image"].attrs)),
            "source_index": (("y", "x"), images[1], _plain(cube["source_index"].attrs)),
        },
        {**along, "band": list(band_names(cube)), "y": grid.y, "x": grid.x},
        _plain(cube.attrs),
    )
    made = made.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    if "band" not in cube["image"].dims:
        made = made.isel(band=0)
    return made


def _plain(attributes: Any) -> dict[str, Any]:  # noqa: ANN401 - xarray's attributes
    """Attributes without what tells of another grid."""
    gone = {"zarr_conventions", "multiscales"}
    kept = {k: v for k, v in attributes.items() if k not in gone}
    return {k: v for k, v in kept.items() if not k.startswith(("proj:", "spatial:"))}


def coarsen(cube: xr.Dataset, factor: int | None, resolution: float | None) -> xr.Dataset:
    """Return the cube with pixels that many times as large; see the accessor."""
    return each_cube(cube, lambda one: _coarsened(one, factor, resolution))


def _coarsened(cube: xr.Dataset, factor: int | None, resolution: float | None) -> xr.Dataset:
    times = _times(cube, factor, resolution)
    source, rest = _overview(cube, times)
    if rest == 1:
        return source
    grid = grid_of(source)
    if not all(grid.shape_yx):
        raise RecipeError(
            f"a part of {grid.shape_yx} (y, x) pixels cannot be coarsened; select some"
        )
    pixels, nodata = on_blocks(source), (_nodata(cube), _each_band(cube))
    for step in _steps(rest):
        pixels = _shrunk_blocks(*pixels, step, nodata)
        shape_yx = (pixels[1].shape[0], pixels[1].shape[1])
        grid = Grid(shape_yx, grid.transform @ Affine.scale(step), grid.crs)
    made = _described(cube, grid, pixels)
    return made if cube["image"].chunks else made.compute()


def _steps(times: int) -> tuple[int, ...]:
    """Halvings first, as overviews are made, then what is left.

    Examples
    --------
    >>> _steps(12)
    (2, 2, 3)
    """
    halvings = (times & -times).bit_length() - 1
    rest = times >> halvings
    return (*(2,) * halvings, *((rest,) if rest > 1 else ()))


def _shrunk_blocks(
    image: da.Array, index: da.Array, factor: int, nodata: tuple[float, bool]
) -> tuple[da.Array, da.Array]:
    """Image (band, y, x) and ``source_index`` (y, x), ``factor`` times as coarse."""
    cut = tuple(_multiples(sizes, factor) for sizes in index.chunks)
    small = tuple(tuple(-(-size // factor) for size in sizes) for sizes in cut)
    shrunk = da.map_blocks(
        _shrunk, image.rechunk((-1, *cut)), index.rechunk(cut)[None], factor=factor,
        nodata=nodata[0], each_band=nodata[1], dtype=image.dtype,
        chunks=((image.shape[0],), *small), meta=np.empty((0, 0, 0), image.dtype),
    )  # fmt: skip
    scenes = da.map_blocks(
        _shrunk_index, index.rechunk(cut), factor=factor, dtype=index.dtype, chunks=small,
        meta=np.empty((0, 0), index.dtype),
    )  # fmt: skip
    return shrunk, scenes


def _times(cube: xr.Dataset, factor: int | None, resolution: float | None) -> int:
    if (factor is None) == (resolution is None):
        raise RecipeError(
            f"factor {factor} and resolution {resolution}: give one of them, such as "
            "coarsen(8), or coarsen(resolution=1e-4) in CRS units"
        )
    if resolution is not None:
        if not resolution > 0:
            raise RecipeError(f"a resolution of {resolution} is no pixel size; give one above 0")
        factor = max(1, floor(resolution / max(grid_of(cube).resolution_xy) + 1e-6))
    if not isinstance(factor, int) or factor < 1:
        raise RecipeError(f"a factor of {factor!r} is no whole number from 1; give one such as 8")
    return factor


def _overview(cube: xr.Dataset, times: int) -> tuple[xr.Dataset, int]:
    """The dataset to shrink and by how much: an overview of the same ground where there is one."""
    some = cube.sizes.get("y") and cube.sizes.get("x")
    stored = stored_part(cube) if some and times % 2 == 0 else None
    if stored is None:
        return cube, times
    most = min((times & -times).bit_length() - 1, len(stored.levels) - 1 - stored.level)
    for steps in range(most, 0, -1):
        block = stored.aligned(steps)
        if block is not None:
            rows, cols = block.yx
            part = with_bands_of(cube, stored, stored.level + steps).isel(y=rows, x=cols)
            return part, times >> steps
    return cube, times


def _multiples(sizes: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Block sizes near those given, all but the last whole multiples of a factor."""
    total = sum(sizes)
    edge = max(1, round(max(sizes) / factor)) * factor
    return (edge,) * (total // edge) + ((total % edge,) if total % edge else ())


def _shrunk(
    image: NDArray[Any], index: NDArray[Any], *, factor: int, nodata: float, each_band: bool
) -> NDArray[Any]:
    return shrink(Pixels(image, index[0]), factor, nodata, each_band=each_band).image


def _shrunk_index(index: NDArray[Any], *, factor: int) -> NDArray[Any]:
    nothing = np.zeros((1, *index.shape), np.uint8)
    return shrink(Pixels(nothing, index), factor, 0).source_index
