"""Sharpening: bands of a coarse cube at the pixels of a panchromatic one, lazily."""

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.array.overlap import overlap
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.blocks import on_blocks
from spacenet_cube.cube.analysis.dataset import ON_GRID, PER_BAND, band_names, grid_of
from spacenet_cube.cube.analysis.formulas.detail import REACH_PX, fused, stored, upsampled
from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.grid import Grid
from spacenet_cube.raster.validity import keep_valid

_METHODS = ("brovey", "esri", "mean")
_NEST_PX = 0.05
_BLOCK_PX = 2048


def pansharpen(
    cube: xr.Dataset,
    pan: xr.Dataset,
    method: str,
    weights: Mapping[str, float] | None,
    kernel: str,
) -> xr.Dataset:
    """Return the cube's bands at the pixels of ``pan``; see the accessor."""
    if method not in _METHODS or kernel not in REACH_PX:
        raise RecipeError(
            f"there is no pan-sharpening {method!r} with resampling {kernel!r}; give method "
            f"{', '.join(_METHODS)} and resampling {', '.join(REACH_PX)}"
        )
    names = band_names(cube)
    shares = _weights(names, weights)
    fine_names = band_names(pan)
    if len(fine_names) != 1:
        raise RecipeError(
            f"pan has bands {', '.join(fine_names) or 'none'}, and sharpening needs one; give "
            "the product PAN, or select a band"
        )
    factor, shift_yx = _nested(grid_of(cube), grid_of(pan))
    coarse, coarse_index = on_blocks(cube)
    fine, fine_index = on_blocks(pan)
    pieces = _Pieces(factor, kernel, method, shares, coarse.dtype)
    common = _common(coarse.shape[1:], fine.shape[1:], factor, shift_yx)
    (rows, cols), (fine_rows, fine_cols) = common
    image, index = pieces.joined(
        (coarse[:, rows, cols], coarse_index[rows, cols]),
        (fine[0, fine_rows, fine_cols], fine_index[fine_rows, fine_cols]),
        _phase(fine_rows, fine_cols, shift_yx, factor),
    )
    like = pan.isel(y=fine_rows, x=fine_cols)
    made = _described(cube, like, names, (image, index), {"method": method, "resampling": kernel})
    return made if cube["image"].chunks or pan["image"].chunks else made.compute()


def _weights(names: tuple[str, ...], given: Mapping[str, float] | None) -> tuple[float, ...]:
    """One weight a band, summing to 1; equal by default, as GDAL's are."""
    if given is None:
        return (1 / max(len(names), 1),) * len(names)
    unknown = sorted(set(given) - set(names))
    total = sum(given.values())
    if unknown or total <= 0 or min(given.values()) < 0:
        raise RecipeError(
            f"weights {dict(given)} must be above 0 in sum and name bands of the cube "
            f"({', '.join(names)}); such as {{'green': 0.4, 'red': 0.6}}"
        )
    return tuple(given.get(name, 0.0) / total for name in names)


def _nested(coarse: Grid, fine: Grid) -> tuple[int, tuple[int, int]]:
    """How many fine pixels a coarse one has along an edge, and the first's place (y, x)."""
    found = [c / f for c, f in zip(coarse.resolution_xy, fine.resolution_xy, strict=True)]
    factor = round(found[0])
    even = factor >= 1 and all(abs(each - factor) < 1e-3 * factor for each in found)
    left = (fine.transform.c - coarse.transform.c) / fine.transform.a
    top = (fine.transform.f - coarse.transform.f) / fine.transform.e
    off = max(abs(left - round(left)), abs(top - round(top)))
    if coarse.crs != fine.crs or not even or off > _NEST_PX:
        raise RecipeError(
            f"the grids do not nest: pixels of {coarse.resolution_xy} against "
            f"{fine.resolution_xy} (x, y), {off:.2f} pixels apart, in {coarse.crs[:40]} and "
            f"{fine.crs[:40]}; give cubes of one delivery, or build one with grid: {{like: ...}}"
        )
    return factor, (round(top), round(left))


type Window = tuple[slice, slice]


def _common(
    coarse_yx: tuple[int, ...],
    fine_yx: tuple[int, ...],
    factor: int,
    shift_yx: tuple[int, int],
) -> tuple[Window, Window]:
    """Rows and columns of both that cover the same ground."""
    mine, theirs = [], []
    for coarse, fine, shift in zip(coarse_yx, fine_yx, shift_yx, strict=True):
        begin, end = max(0, shift), min(coarse * factor, shift + fine)
        if begin >= end:
            raise RecipeError(
                "the cube and pan share no ground, so nothing can be sharpened; give cubes of "
                "one area, or clip both alike"
            )
        mine.append(slice(begin // factor, -(-end // factor)))
        theirs.append(slice(begin - shift, end - shift))
    return (mine[0], mine[1]), (theirs[0], theirs[1])


def _phase(rows: slice, cols: slice, shift_yx: tuple[int, int], factor: int) -> tuple[int, int]:
    """Place (y, x) of the first fine pixel within its coarse one."""
    return (rows.start + shift_yx[0]) % factor, (cols.start + shift_yx[1]) % factor


class _Pieces:
    """Sharpens block by block: a coarse block with its neighbours' edges, and the fine one."""

    def __init__(
        self,
        factor: int,
        kernel: str,
        method: str,
        weights: tuple[float, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._factor = factor
        self._dtype = dtype
        self._options = {
            "factor": factor, "kernel": kernel, "method": method, "weights": weights,
        }  # fmt: skip
        self._reach = REACH_PX[kernel]

    def joined(
        self,
        coarse: tuple[da.Array, da.Array],
        fine: tuple[da.Array, da.Array],
        phase_yx: tuple[int, int],
    ) -> tuple[da.Array, da.Array]:
        """Image (band, y, x) and ``source_index`` (y, x) at the fine pixels."""
        edge = max(_BLOCK_PX // self._factor, self._reach + 1)
        shape_yx = coarse[1].shape
        cut = tuple(_chunks(size, edge, self._reach) for size in shape_yx)
        fine_cut = tuple(tuple(n * self._factor for n in sizes) for sizes in cut)
        padding = [
            (phase, size * self._factor - phase - each)
            for phase, size, each in zip(phase_yx, shape_yx, fine[1].shape, strict=True)
        ]
        pan, pan_index = (_padded(each, padding).rechunk(fine_cut) for each in fine)
        image = coarse[0].rechunk((-1, *cut))
        index = coarse[1].rechunk(cut)
        margins = self._reach
        wide = overlap(image, {1: margins, 2: margins}, {1: 0, 2: 0}) if margins else image
        around = overlap(index, {0: margins, 1: margins}, {0: 0, 1: 0}) if margins else index
        both = da.map_blocks(
            _block, wide, around[None], pan[None], pan_index[None],
            dtype=self._dtype, chunks=((image.shape[0],), *fine_cut),
            meta=np.empty((0, 0, 0), self._dtype), **self._options,
        )  # fmt: skip
        scenes = da.map_blocks(
            _index_block, index, pan_index, factor=self._factor,
            dtype=pan_index.dtype, chunks=fine_cut, meta=np.empty((0, 0), pan_index.dtype),
        )  # fmt: skip
        kept = tuple(
            slice(begin, begin + size)
            for (begin, _), size in zip(padding, fine[1].shape, strict=True)
        )
        return both[:, *kept], scenes[kept]


def _chunks(size: int, edge: int, reach: int) -> tuple[int, ...]:
    """Sizes of blocks, none smaller than the kernel's reach."""
    sizes = [edge] * (size // edge)
    rest = size % edge
    if rest and (rest > reach or not sizes):
        sizes.append(rest)
    elif rest:
        sizes[-1] += rest
    return tuple(sizes)


def _padded(array: da.Array, padding: list[tuple[int, int]]) -> da.Array:
    return da.pad(array, padding) if any(map(any, padding)) else array


def _block(
    image: NDArray[Any],
    index: NDArray[Any],
    pan: NDArray[Any],
    pan_index: NDArray[Any],
    *,
    factor: int,
    kernel: str,
    method: str,
    weights: tuple[float, ...],
) -> NDArray[Any]:
    """Sharpen one block; pixels that are not valid in both are 0, or NaN of floats."""
    fine = upsampled(image, index[0] > 0, factor, kernel)
    reach = REACH_PX[kernel]
    inner = index[0, reach : index.shape[1] - reach, reach : index.shape[2] - reach]
    scenes = _index_block(inner, pan_index[0], factor=factor)
    found = fused(fine, pan[0], weights, method)
    dtype = image.dtype
    empty = 0 if dtype.kind in "iu" else np.nan
    made = np.where(scenes > 0, stored(found, dtype), np.asarray(empty, dtype))
    keep_valid(made, scenes, empty)
    return made


def _index_block(index: NDArray[Any], pan_index: NDArray[Any], *, factor: int) -> NDArray[Any]:
    """The panchromatic scene of each fine pixel, 0 where either has no data."""
    held = np.repeat(np.repeat(index > 0, factor, axis=0), factor, axis=1)
    return np.where(held, pan_index, 0).astype(pan_index.dtype)


def _described(
    cube: xr.Dataset,
    like: xr.Dataset,
    names: tuple[str, ...],
    pixels: tuple[da.Array, da.Array],
    how: Mapping[str, str],
) -> xr.Dataset:
    """The pixels as a dataset that the accessor understands, and that says what it is."""
    image, index = pixels
    grid = {name: like[name] for name in ("y", "x", "spatial_ref")}
    along = {
        name: ("band", np.atleast_1d(cube[name].values), cube[name].attrs)
        for name in PER_BAND
        if name in cube.coords
    }
    kept = {**cube["image"].attrs, **ON_GRID}
    if image.dtype.kind == "f":
        kept["_FillValue"] = image.dtype.type(np.nan)
    made = xr.Dataset(
        {
            "image": (("band", "y", "x"), image, _without_conventions(kept)),
            "source_index": (("y", "x"), index, _without_conventions(like["source_index"].attrs)),
        },
        {**grid, **along, "band": list(names)},
    )
    gone = {"multiscales", "zarr_conventions"}
    made.attrs = {
        key: value
        for key, value in like.attrs.items()
        if key not in gone and not key.startswith(("proj:", "spatial:"))
    }
    own, other = (each.attrs.get("spacenet_cube", {}) for each in (cube, like))
    product = f"{own.get('product', '')} sharpened by {other.get('product', '')}"
    made.attrs["title"] = f"{own.get('aoi', '')} {product}".strip()
    made.attrs["spacenet_cube"] = {**other, "product": product, "pansharpened": dict(how)}
    return made


def _without_conventions(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in attributes.items()
        if key != "zarr_conventions" and not key.startswith(("proj:", "spatial:"))
    }
