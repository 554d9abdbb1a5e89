"""Exporting: a part of a cube as a cloud optimized GeoTIFF, block by block."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from dask.base import compute
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window

from spacenet_cube.cube.analysis.blocks import layer_names, layers, on_blocks
from spacenet_cube.cube.analysis.dataset import grid_of, image_of
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.raster.grid import Grid

_TILE_PX = 512
_LOSSLESS = ("DEFLATE", "LZW", "ZSTD", "NONE")
_AT_ONCE_BYTES = 512 << 20
_CACHE_BYTES = 256 << 20


def to_cog(
    cube: xr.Dataset,
    path: str | os.PathLike[str],
    image: xr.DataArray | None,
    compression: str,
    *,
    overwrite: bool,
) -> Path:
    """Write a cloud optimized GeoTIFF; see the accessor."""
    target = _local(path, overwrite=overwrite)
    if compression not in _LOSSLESS:
        raise RecipeError(
            f"there is no compression {compression!r} here; give one of {', '.join(_LOSSLESS)}"
        )
    picked = image_of(cube) if image is None else layers(cube, image)
    grid = grid_of(cube)
    if not all(grid.shape_yx) or not picked.sizes["band"]:
        raise RecipeError(
            f"a part of {picked.sizes['band']} x {grid.shape_yx} (bands, y, x) makes no file; "
            "select some rows, columns and bands"
        )
    flat, made = target.with_name(f".{target.name}.flat"), target.with_name(f".{target.name}.cog")
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
            _write_flat(flat, cube, image, picked, grid)
            copy(
                flat, made, driver="COG", COMPRESS=compression, PREDICTOR="YES",
                BLOCKSIZE=_TILE_PX, BIGTIFF="IF_SAFER", RESAMPLING=Resampling.average.name,
                INTERLEAVE="PIXEL" if picked.sizes["band"] <= 4 else "BAND", # noqa: PLR2004 - pictures
            )  # fmt: skip
        made.replace(target)
    except (RasterioError, OSError) as error:
        raise StoreError(
            f"{target} cannot be written: {error}; check the folder, its free space "
            "(the pixels uncompressed, for a while) and the compression"
        ) from error
    finally:
        flat.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
    return target


def _local(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """A file that may be written, or an error that says why not."""
    if "://" in os.fspath(path):
        raise RecipeError(
            f"{os.fspath(path)} is a URL, and a file is written here; "
            "give a local path, and copy it"
        )
    target = Path(path)
    if target.exists() and not overwrite:
        raise RecipeError(f"{target} is there; give overwrite=True, or another path")
    return target


def _write_flat(
    path: Path,
    cube: xr.Dataset,
    image: xr.DataArray | None,
    picked: xr.DataArray,
    grid: Grid,
) -> None:
    """The pixels as a tiled file without overviews."""
    nodata = np.nan if picked.dtype.kind == "f" else picked.rio.nodata
    if picked.rio.nodata is not None:
        nodata = picked.rio.nodata
    facts = {
        "driver": "GTiff", "height": grid.shape_yx[0], "width": grid.shape_yx[1],
        "count": picked.sizes["band"], "dtype": picked.dtype.name, "crs": grid.crs,
        "transform": Affine(*tuple(grid.transform)[:6]), "nodata": nodata,
        "tiled": True, "blockxsize": _TILE_PX, "blockysize": _TILE_PX,
        "interleave": "band", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with rasterio.open(path, "w", **facts) as file:
        for number, name in enumerate(layer_names(picked), start=1):
            file.set_band_description(number, name)
        units = picked.attrs.get("units")
        file.units = (str(units) if units else None,) * file.count
        file.update_tags(**_tags(cube))
        for window, block in _blocks(cube, image):
            file.write(block, window=window)


def _tags(cube: xr.Dataset) -> dict[str, str]:
    named = {"TIFFTAG_IMAGEDESCRIPTION": "title", "TIFFTAG_COPYRIGHT": "attribution"}
    return {tag: str(cube.attrs[key]) for tag, key in named.items() if key in cube.attrs}


def _blocks(cube: xr.Dataset, image: xr.DataArray | None) -> Iterator[tuple[Window, NDArray[Any]]]:
    """Blocks of pixels, a few computed at once, so memory does not grow with the area."""
    values, _ = on_blocks(cube, image)
    rows, cols = (np.concatenate([[0], np.cumsum(sizes)]) for sizes in values.chunks[1:])
    largest = int(np.prod([max(sizes) for sizes in values.chunks])) * values.dtype.itemsize
    at_once = max(1, min(os.cpu_count() or 1, _AT_ONCE_BYTES // max(largest, 1)))
    places = list(np.ndindex(values.numblocks[1:]))
    for first in range(0, len(places), at_once):
        group = places[first : first + at_once]
        found = compute(*(values.blocks[0, row, col] for row, col in group))
        for (row, col), block in zip(group, found, strict=True):
            yield (
                Window.from_slices(
                    (int(rows[row]), int(rows[row + 1])), (int(cols[col]), int(cols[col + 1]))
                ),
                block,
            )
