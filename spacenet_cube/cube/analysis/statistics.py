"""Counting: how much of a cube is covered, and what its pixels are like, in one pass."""

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.blocks import gathered, layer_names, layers, on_blocks
from spacenet_cube.cube.analysis.dataset import grid_of, image_of, variable
from spacenet_cube.cube.analysis.formulas.area import pixel_area_m2
from spacenet_cube.cube.analysis.formulas.tally import (
    Tally,
    bin_edges,
    deviation,
    merged,
    percentiles_of,
    tally,
)
from spacenet_cube.cube.analysis.stored import stored_index
from spacenet_cube.errors import RecipeError
from spacenet_cube.format.levels import levels, told

_COARSE_PX = 1 << 20
_KM2 = 1e-6


def coverage(cube: xr.Dataset, *, approximate: bool) -> xr.Dataset:
    """Return which share of the pixels is valid, by scene; see the accessor."""
    sample = _coarse(cube) if approximate else cube
    index = variable(sample, "source_index")
    grid = grid_of(sample)
    scenes = told(cube.attrs, "spacenet_cube")["scenes"]
    numbers = [int(scene["index"]) for scene in scenes]
    area_m2 = pixel_area_m2(grid)
    found = _counted(index.transpose("y", "x"), area_m2, max(numbers, default=0))
    pixels, ground = (xr.DataArray(part[numbers], dims="scene") for part in found)
    total, whole_m2 = grid.shape_yx[0] * grid.shape_yx[1], area_m2.sum() * grid.shape_yx[1]
    with np.errstate(invalid="ignore"):
        share = pixels / total if total else pixels * np.nan
    made = xr.Dataset(
        {
            "pixels": pixels.assign_attrs(long_name="valid pixels", units="1"),
            "share": share.assign_attrs(long_name="share of all pixels", units="1"),
            "area_km2": (ground * _KM2).assign_attrs(long_name="valid area", units="km2"),
        },
        {"scene": numbers, "scene_id": ("scene", [str(scene["id"]) for scene in scenes])},
        {
            "total_pixels": int(total),
            "total_area_km2": float(whole_m2 * _KM2),
            "pixel_size": float(max(grid.resolution_xy)),
        },
    )
    return made if index.chunks else made.compute()


def _coarse(cube: xr.Dataset) -> xr.Dataset:
    """The part's ground on the finest level that has about a million pixels or fewer.

    The dataset itself where its ``source_index`` is not the stored one.
    """
    stored = stored_index(cube)
    if stored is None or cube.sizes["y"] * cube.sizes["x"] <= _COARSE_PX:
        return cube
    box, part = grid_of(cube).box, cube
    for level in levels(stored.attributes)[stored.level + 1 :]:
        part = stored.opener(level.number)
        half_y, half_x = (size / 2 for size in level.resolution_yx)
        part = part.sel(
            y=slice(box.north + half_y, box.south - half_y),
            x=slice(box.west - half_x, box.east + half_x),
        )
        if part.sizes["y"] * part.sizes["x"] <= _COARSE_PX:
            break
    return part


def _counted(index: xr.DataArray, area_m2: NDArray[np.float64], last: int) -> tuple[Any, Any]:
    """Pixels and square metres of each number up to the last, as dask arrays."""
    scenes = index.data if index.chunks else da.from_array(index.values)
    rows = da.from_array(area_m2, chunks=(scenes.chunks[0],))[:, None]
    counts = da.map_blocks(
        _of_block,
        scenes,
        rows,
        last=last,
        dtype=np.float64,
        new_axis=[2, 3],
        chunks=(*((1,) * blocks for blocks in scenes.numblocks), (2,), (last + 1,)),
        meta=np.empty((0, 0, 0, 0)),
    )
    total = counts.sum(axis=(0, 1))
    return total[0].astype(np.int64), total[1]


def _of_block(
    index: NDArray[Any], area_m2: NDArray[np.float64], *, last: int
) -> NDArray[np.float64]:
    flat = np.minimum(index.ravel(), last + 1).astype(np.int64)
    weights = np.broadcast_to(area_m2, index.shape).ravel()
    counts = np.bincount(flat, minlength=last + 2)[: last + 1]
    areas = np.bincount(flat, weights, minlength=last + 2)[: last + 1]
    return np.stack([counts, areas])[None, None].astype(np.float64)


def statistics(
    cube: xr.Dataset, image: xr.DataArray | None, percentiles: Sequence[float]
) -> xr.Dataset:
    """Return figures of each band's valid pixels; see the accessor."""
    wanted = tuple(float(each) for each in percentiles)
    if any(not 0 <= each <= 100 for each in wanted):  # noqa: PLR2004 - per cent
        raise RecipeError(f"percentiles {wanted} must lie within 0 to 100, such as (2, 50, 98)")
    picked = image_of(cube) if image is None else layers(cube, image)
    values, index = on_blocks(cube, image)
    count = values.shape[0]
    asked = dict.fromkeys(np.ndindex(index.numblocks), _tally)
    found = gathered(values, index, asked, merged)
    edges = bin_edges(values.dtype)
    made = _figures(found, values.dtype, wanted, count, len(edges))
    names = layer_names(picked)
    table = xr.Dataset(made, {"band": list(names), "percentile": list(wanted), "value": edges})
    units = picked.attrs.get("units")
    for name in ("min", "max", "mean", "std", "percentiles"):
        table[name].attrs = {} if units is None else {"units": units}
    lazy = (cube["image"] if image is None else image).chunks is not None
    return table if lazy else table.compute()


def _tally(image: NDArray[Any], index: NDArray[Any]) -> Tally:
    return tally(image, index > 0)


def _figures(
    found: Any,  # noqa: ANN401 - dask ships no types
    dtype: np.dtype[Any],
    wanted: tuple[float, ...],
    count: int,
    bins: int,
) -> dict[str, tuple[Any, Any]]:
    """Figures of a tally that is not there yet."""

    def lazily(value: Any, shape: tuple[int, ...], kind: str) -> Any:  # noqa: ANN401 - dask ships no types
        return da.from_delayed(value, shape, np.dtype(kind))

    take = delayed(_figure, pure=False)
    line, kinds = (count,), {"count": "int64"}
    made: dict[str, tuple[Any, Any]] = {
        name: ("band", lazily(take(found, name), line, kinds.get(name, "float64")))
        for name in ("count", "min", "max", "mean", "std")
    }
    ranks = delayed(percentiles_of, pure=False)(found, dtype, wanted)
    made["percentiles"] = ("percentile", "band"), lazily(ranks, (len(wanted), count), "float64")
    counts = lazily(take(found, "histogram"), (count, bins), "int64")
    made["histogram"] = ("band", "value"), counts
    return made


def _figure(found: Tally, name: str) -> NDArray[Any]:
    if name == "count":
        return found.count
    if name == "histogram":
        return found.counts
    if name == "std":
        return deviation(found)
    values = {"min": found.least, "max": found.greatest, "mean": found.mean}[name]
    return np.where(found.count > 0, values, np.nan)
