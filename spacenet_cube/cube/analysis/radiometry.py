"""Radiometry: digital numbers as radiance and reflectance, scene by scene."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.blocks import LAZILY
from spacenet_cube.cube.analysis.dataset import ON_GRID, PER_BAND, band_names, variable
from spacenet_cube.cube.analysis.dataset import bands as select
from spacenet_cube.cube.analysis.formulas.calibration import (
    Quantity,
    calibrated,
    refuse_product,
    scene_table,
)
from spacenet_cube.format.levels import told

_TOLD = {
    "radiance": ("spectral radiance at the top of the atmosphere", "W m-2 sr-1 um-1"),
    "reflectance": ("bidirectional reflectance at the top of the atmosphere", "1"),
}
_STANDARD = {
    "radiance": "toa_outgoing_radiance_per_unit_wavelength",
    "reflectance": "toa_bidirectional_reflectance",
}


def calibrate(
    cube: xr.Dataset,
    quantity: Quantity,
    vintage: str = "2016v0",
    bands: Iterable[str] | None = None,
) -> xr.DataArray:
    """Return radiance or reflectance of some bands, lazily; see the accessor."""
    own = told(cube.attrs, "spacenet_cube")
    image = variable(cube, "image")
    refuse_product(own, str(image.dtype))
    names = band_names(cube) if bands is None else tuple(dict.fromkeys(bands))
    table = scene_table(own, names, quantity, vintage)
    image, where = select(cube, names)
    index = variable(cube, "source_index").drop_vars(PER_BAND, errors="ignore")
    made: xr.DataArray = xr.apply_ufunc(
        _picked,
        image,
        index,
        kwargs={"table": table, "where": where},
        input_core_dims=[["band"], []],
        output_core_dims=[["band"]],
        exclude_dims={"band"},
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"band": len(names)}},
        **LAZILY,
    )
    made = made.transpose("band", ...).assign_coords(_along(cube, names))
    long_name, units = _TOLD[quantity]
    made.attrs = {
        "long_name": long_name,
        "standard_name": _STANDARD[quantity],
        "units": units,
        "comment": f"gains and offsets of vintage {vintage}; Esun of Thuillier (2003)",
        "_FillValue": np.float32(np.nan),
        **ON_GRID,
    }
    one = "band" not in variable(cube, "image").dims
    return (made.isel(band=0) if one else made).rename(quantity)


def _picked(
    image: NDArray[Any],
    source_index: NDArray[Any],
    *,
    table: NDArray[np.float64],
    where: tuple[int, ...],
) -> NDArray[np.float32]:
    return calibrated(image[..., list(where)], source_index, table)


def _along(cube: xr.Dataset, names: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Coordinates along the bands that were asked for."""
    there = band_names(cube)
    places = [there.index(name) for name in names]
    found = {"band": xr.DataArray(list(names), dims="band", attrs=cube["band"].attrs)}
    for name in ("wavelength", "fwhm"):
        if name in cube.coords:
            values = np.atleast_1d(cube[name].values)[places]
            found[name] = xr.DataArray(values, dims="band", attrs=cube[name].attrs)
    return found
