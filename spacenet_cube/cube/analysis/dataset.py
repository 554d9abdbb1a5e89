"""Parts: what every question asks of a cube, whole or a part of one.

Bands by name, where pixels are valid, where they lie, and blocks of both for dask.
"""

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import rioxarray  # noqa: F401 - registers cube.rio
import xarray as xr
from affine import Affine

from spacenet_cube.errors import MissingExtraError, RecipeError
from spacenet_cube.raster.grid import Grid

OPEN_LEVEL = "open_level"
"""Where ``Dataset.encoding`` keeps the function that opens another level of the cube."""


ON_GRID = {"grid_mapping": "spatial_ref"}
"""The attribute that ties a variable to its CRS."""

PER_BAND = ("band", "wavelength", "fwhm")
"""Coordinates along bands."""

_NEARLY = 1e-6


def needs(package: str, extra: str, what: str) -> None:
    """Say what to install where a package is missing.

    Parameters
    ----------
    package
        What is imported.
    extra
        The extra of this package that brings it.
    what
        What needs it.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    if find_spec(package) is None:
        raise MissingExtraError(
            f"{what} needs {package}, which is not installed; "
            f"run: pip install 'spacenet-cube[{extra}]'"
        )


def band_names(cube: xr.Dataset) -> tuple[str, ...]:
    """Names of the bands, in order; one where a single band was selected."""
    if "band" not in cube.coords:
        return ()
    return tuple(str(name) for name in np.atleast_1d(cube["band"].values))


def variable(cube: xr.Dataset, name: str) -> xr.DataArray:
    """Return a variable that every cube has.

    Parameters
    ----------
    cube
        The dataset.
    name
        Name of the variable.

    Returns
    -------
    xarray.DataArray
        It.

    Raises
    ------
    RecipeError
        If the dataset has lost it.
    """
    if name not in cube.variables:
        raise RecipeError(
            f"the dataset has no variable '{name}' (it has "
            f"{', '.join(map(str, cube.variables))}); keep '{name}' when you "
            "select variables of a cube"
        )
    return cube[name]


def valid(cube: xr.Dataset) -> xr.DataArray:
    """Where a scene gave the pixel: bool, shaped (y, x), lazy.

    Parameters
    ----------
    cube
        The dataset.

    Returns
    -------
    xarray.DataArray
        True where ``source_index`` is above 0.

    Raises
    ------
    RecipeError
        If the dataset has lost ``source_index``.
    """
    found = variable(cube, "source_index") > 0
    found.attrs = {"long_name": "pixel comes from a scene", **ON_GRID}
    return found.drop_vars(PER_BAND, errors="ignore").rename("valid")


def image_of(cube: xr.Dataset) -> xr.DataArray:
    """Return the image, shaped (band, y, x) even where a single band was selected.

    Parameters
    ----------
    cube
        The dataset.

    Returns
    -------
    xarray.DataArray
        Bands first, in one dask chunk.

    Raises
    ------
    RecipeError
        If the dataset has lost ``image``.
    """
    image = variable(cube, "image")
    image = image if "band" in image.dims else image.expand_dims("band")
    return image.chunk(band=-1) if image.chunks else image


def bands(cube: xr.Dataset, names: Sequence[str]) -> tuple[xr.DataArray, tuple[int, ...]]:
    """Select bands such that nothing else is read.

    Parameters
    ----------
    cube
        The dataset.
    names
        Names of bands.

    Returns
    -------
    image : xarray.DataArray
        The bands asked for, and perhaps some between them.
    where : tuple of int
        The place of each band that was asked for.

    Raises
    ------
    RecipeError
        If the cube lacks a band, or its image.
    """
    there = band_names(cube)
    missing = sorted(set(names) - set(there))
    if missing:
        raise RecipeError(
            f"the cube has no band {' or '.join(map(repr, missing))} "
            f"(it has {', '.join(there) or 'none'}); open a product that has it, "
            "or keep it when you select bands"
        )
    image = variable(cube, "image")
    image = image if "band" in image.dims else image.expand_dims("band")
    places = [there.index(name) for name in names]
    cover = _cover(places)
    image = image.isel(band=cover)
    image = image.chunk(band=-1) if image.chunks else image
    return image.drop_vars(PER_BAND, errors="ignore"), tuple(
        (place - cover.start) // cover.step for place in places
    )


def _cover(places: Sequence[int]) -> slice:
    """Return the sparsest slice that holds all places.

    Dask merges a plain slice, and nothing else, into the read itself: asked for a list of
    bands, or for two bands one by one, it reads every band of a chunk.
    """
    first = min(places)
    step = math.gcd(*(place - first for place in places)) or 1
    return slice(first, max(places) + 1, step)


def grid_of(cube: xr.Dataset | xr.DataArray) -> Grid:
    """Where the pixels lie.

    Parameters
    ----------
    cube
        The dataset, or a variable of it; north up, with ``y`` and ``x``.

    Returns
    -------
    Grid
        Its transform is that of the stored level, moved by whole pixels, wherever the
        dataset's pixels are that level's; so parts of a cube share pixel edges exactly.

    Raises
    ------
    RecipeError
        If ``y`` or ``x`` is gone, they do not step evenly from the north-west, or there
        is no CRS.
    """
    if not {"y", "x"} <= set(cube.dims):
        raise RecipeError(
            f"the dataset has dimensions {', '.join(map(str, cube.dims)) or 'none'}, and this "
            "needs y and x; select rows and columns by slices, as isel(y=slice(7, 8))"
        )
    crs = cube.rio.crs
    if crs is None:
        raise RecipeError(
            "the dataset has no CRS; keep 'spatial_ref', or set it with rio.write_crs(...)"
        )
    known = _geo_transform(cube)
    dx, west = _line(cube, "x", known.a, known.c)
    dy, north = _line(cube, "y", known.e, known.f)
    if not (dx > 0 > dy):
        raise RecipeError(
            f"pixels step by {dx:.6g} in x and {dy:.6g} in y, and this needs rows from the north "
            "and columns from the west; sort them with sortby"
        )
    code = crs.to_epsg()
    name = f"EPSG:{code}" if code else crs.to_wkt()
    return Grid((cube.sizes["y"], cube.sizes["x"]), Affine(dx, 0, west, 0, dy, north), name)


def _geo_transform(cube: xr.Dataset | xr.DataArray) -> Affine:
    """The transform that the CRS variable tells; NaN where it tells none."""
    attributes = cube["spatial_ref"].attrs if "spatial_ref" in cube.coords else {}
    words = str(attributes.get("GeoTransform", "")).split()
    if len(words) != 6:  # noqa: PLR2004 - an affine transform
        return Affine(*(math.nan,) * 6)
    return Affine.from_gdal(*map(float, words))


def _line(
    cube: xr.Dataset | xr.DataArray, dim: str, step: float, edge: float
) -> tuple[float, float]:
    """Step and outer edge of an axis; exact where it is a stretch of the axis that is known."""
    centres = np.asarray(cube[dim].values, float)
    if not centres.size:
        return step, edge
    found = step if centres.size == 1 else (centres[-1] - centres[0]) / (centres.size - 1)
    even = centres.size == 1 or np.allclose(np.diff(centres), found, rtol=1e-3, atol=0)
    if math.isnan(found) or not even:
        raise RecipeError(
            f"coordinate {dim} does not step evenly, so its pixels have no one size; "
            "select rows and columns by slices"
        )
    first = centres[0] - found / 2
    if abs(found - step) > _NEARLY * abs(step) or math.isnan(step):
        return found, first
    whole = (first - edge) / step
    near = abs(whole - round(whole)) < 0.01  # noqa: PLR2004 - pixels
    return step, edge + round(whole) * step if near else first


def each_cube(cube: xr.Dataset, made_of: Callable[[xr.Dataset], xr.Dataset]) -> xr.Dataset:
    """Apply a function of one cube along every other dimension, such as ``time``.

    Parameters
    ----------
    cube
        A dataset whose ``image`` or ``source_index`` may have dimensions other than band, y, x.
    made_of
        Makes a dataset with ``image`` and ``source_index`` of one without such dimensions.

    Returns
    -------
    xarray.Dataset
        The results, joined along the same dimensions; dimensions come first.
    """
    pixels = [name for name in ("image", "source_index") if name in cube.variables]
    others = [dim for name in pixels for dim in cube[name].dims if dim not in {"band", "y", "x"}]
    if not others:
        return made_of(cube)
    dim = others[0]
    parts = [each_cube(cube.isel({dim: k}), made_of) for k in range(cube.sizes[dim])]
    along = cube[dim] if dim in cube.coords else dim
    dropped = [part.drop_vars([dim], errors="ignore") for part in parts]
    return xr.concat(
        dropped, along, data_vars="all", coords="minimal", compat="override", join="override",
        combine_attrs="override",
    )  # fmt: skip
