"""Pictures: a cube in colours, as an array, on axes, on a map."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from spacenet_cube.cube.analysis.blocks import LAZILY
from spacenet_cube.cube.analysis.dataset import ON_GRID, band_names, bands, valid
from spacenet_cube.cube.analysis.formulas.stretch import percentiles, stretched
from spacenet_cube.cube.analysis.stored import stored_part, with_bands_of
from spacenet_cube.errors import RecipeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_COLOURS = ("red", "green", "blue")
_SAMPLE_PX = 1024


def rgb(cube: xr.Dataset, stretch: tuple[float, float] | None) -> xr.DataArray:
    """Return a true-colour picture, lazily; see the accessor."""
    names = ("pan",) * 3 if band_names(cube) == ("pan",) else _COLOURS
    image, where = bands(cube, names)
    if stretch is None:
        picture = image.isel(band=list(where)).rename(band="rgb").rename("rgb")
        return picture.transpose(..., "rgb").assign_coords(rgb=list(_COLOURS))
    if not 0 <= stretch[0] < stretch[1] <= 100:  # noqa: PLR2004 - per cent
        raise RecipeError(
            f"a stretch from percentile {stretch[0]} to {stretch[1]} leaves no range; "
            "give a rising pair within 0 to 100, such as (2, 98)"
        )
    limits = _limits(cube, names, stretch)
    drawn: xr.DataArray = xr.apply_ufunc(
        stretched,
        image,
        valid(cube),
        limits if image.chunks else limits.compute(),
        kwargs={"where": where},
        input_core_dims=[["band"], [], ["rgb", "limit"]],
        output_core_dims=[["rgb"]],
        output_dtypes=[np.uint8],
        **LAZILY,
    )
    kind = "grey" if names[0] == "pan" else "true colour"
    drawn.attrs = {"long_name": kind, "_FillValue": np.uint8(0), **ON_GRID}
    return drawn.assign_coords(rgb=list(_COLOURS)).rename("rgb")


def plot(cube: xr.Dataset, stretch: tuple[float, float], ax: "Axes | None") -> "AxesImage":
    """Draw the picture at a size that fits a screen; see the accessor."""
    part, shades = _shades(cube, stretch)
    drawn: AxesImage = shades.plot.imshow(x="x", y="y", rgb="rgb", ax=ax)
    geographic = part.rio.crs is not None and part.rio.crs.is_geographic
    drawn.axes.set_aspect(1 / math.cos(math.radians(float(part.y.mean()))) if geographic else 1)
    drawn.axes.set_title(_name(cube))
    return drawn


def explore(cube: xr.Dataset, stretch: tuple[float, float], options: dict[str, Any]) -> Any:  # noqa: ANN401 - folium ships no types
    """Return the picture on a map; see the accessor."""
    import odc.geo.xr  # noqa: F401, PLC0415 - registers shades.odc; slow

    _, shades = _shades(cube, stretch)
    return shades.odc.explore(name=_name(cube) or "cube", **options)


def _name(cube: xr.Dataset) -> str:
    facts = cube.attrs.get("spacenet_cube", {})
    return " ".join(facts.get(key, "") for key in ("aoi", "product")).strip()


def _shades(cube: xr.Dataset, stretch: tuple[float, float]) -> tuple[xr.Dataset, xr.DataArray]:
    """A screenful of the cube, and its picture with an opaque fourth colour where valid."""
    part = screenful(cube)
    opaque = valid(part).expand_dims(rgb=["alpha"], axis=-1).astype("uint8") * 255
    picture = [rgb(part, stretch), opaque.astype("uint8")]
    return part, xr.concat(picture, "rgb").rename("rgb").compute()


def _limits(cube: xr.Dataset, names: Sequence[str], stretch: tuple[float, float]) -> xr.DataArray:
    """Percentiles of each named band, shaped (rgb, limit), lazy."""
    stored = stored_part(cube)
    sample = thinned(cube) if stored is None else with_bands_of(cube, stored, -1)
    image, where = bands(sample, names)
    whole = valid(sample)
    dims = whole.dims
    if image.chunks:
        image, whole = (each.chunk(dict.fromkeys(dims, -1)) for each in (image, whole))
    limits: xr.DataArray = xr.apply_ufunc(
        percentiles,
        image.drop_vars(list(image.coords)),
        whole.drop_vars(list(whole.coords)),
        kwargs={"where": where, "stretch": stretch},
        input_core_dims=[["band", *dims], [*dims]],
        output_core_dims=[["rgb", "limit"]],
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"rgb": len(where), "limit": 2}},
        **LAZILY,
    )
    return limits


def screenful(cube: xr.Dataset) -> xr.Dataset:
    """Return about a million pixels: of a whole cube an overview, of a part every n-th."""
    shape_yx = (cube.sizes["y"], cube.sizes["x"])
    stored = stored_part(cube)
    if stored is None or stored.levels[stored.level].shape_yx != shape_yx:
        return thinned(cube)
    fits = [n for n in stored.levels if _SAMPLE_PX <= max(n.shape_yx) <= max(shape_yx)]
    return thinned(with_bands_of(cube, stored, fits[-1].number) if fits else cube)


def thinned(cube: xr.Dataset) -> xr.Dataset:
    """Return every n-th pixel, so that neither edge has more than about two thousand."""
    step = {dim: max(1, cube.sizes.get(dim, 1) // _SAMPLE_PX) for dim in ("y", "x")}
    return cube.isel({dim: slice(None, None, n) for dim, n in step.items()}, missing_dims="ignore")
