"""Spectral: indices of bands, by spyndex's formulas."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.blocks import LAZILY
from spacenet_cube.cube.analysis.dataset import ON_GRID, band_names, bands, needs, valid
from spacenet_cube.cube.analysis.formulas.band_letters import (
    letters_of,
    refuse_incomplete,
    refuse_unknown,
)
from spacenet_cube.cube.analysis.formulas.stretch import normalized_difference
from spacenet_cube.cube.analysis.radiometry import calibrate

Of = Literal["numbers", "radiance", "reflectance"]
"""What an index is computed from: digital numbers, or what they stand for."""


def ndvi(cube: xr.Dataset, nir: str, red: str) -> xr.DataArray:
    """Return (nir - red) / (nir + red) of digital numbers; see the accessor."""
    image, where = bands(cube, (nir, red))
    made: xr.DataArray = xr.apply_ufunc(
        normalized_difference,
        image,
        valid(cube),
        kwargs={"where": where},
        input_core_dims=[["band"], []],
        output_dtypes=[np.float32],
        **LAZILY,
    )
    made.attrs = {
        "long_name": "normalized difference vegetation index",
        "units": "1",
        "valid_min": -1.0,
        "valid_max": 1.0,
        "comment": f"({nir} - {red}) / ({nir} + {red}) of digital numbers",
        **ON_GRID,
    }
    return made.rename("ndvi")


def index(
    cube: xr.Dataset,
    name: str,
    of: Of,
    letters: Mapping[str, str] | None,
    constants: Mapping[str, float],
) -> xr.DataArray:
    """Return a spectral index; see the accessor."""
    needs("spyndex", "analysis", "index")
    import spyndex  # noqa: PLC0415 - slow, and only wanted here

    refuse_unknown(name, list(spyndex.indices))
    formula = spyndex.indices[name]
    chosen = letters_of(formula.bands, spyndex.bands, letters)
    values = _constants(spyndex, formula.bands, chosen, constants)
    needed = {each: chosen.get(each) for each in formula.bands if each in spyndex.bands}
    unset = [each for each in formula.bands if each not in needed and each not in values]
    refuse_incomplete(name, needed, band_names(cube), unset)
    names = list(dict.fromkeys(chosen.values()))
    # A dataset of its own: the bands are fewer than the cube's.
    source = cube if of == "numbers" else calibrate(cube, of, bands=names).to_dataset(name="image")
    image, where = bands(source, names)
    places = dict(zip(names, where, strict=True))
    made: xr.DataArray = xr.apply_ufunc(
        _evaluated,
        image,
        valid(cube),
        kwargs={
            "name": name,
            "where": {letter: places[band] for letter, band in chosen.items()},
            "constants": values,
        },
        input_core_dims=[["band"], []],
        output_dtypes=[np.float32],
        **LAZILY,
    )
    made.attrs = {
        **_origin(formula, chosen, values),
        "computed_from": "digital numbers" if of == "numbers" else of,
        **ON_GRID,
    }
    return made.rename(name)


def _origin(
    formula: Any,  # noqa: ANN401 - it ships no types
    chosen: Mapping[str, str],
    constants: Mapping[str, float],
) -> dict[str, str]:
    """What an index is, and of which bands: as attributes."""
    said = {"constants": ", ".join(f"{k}={v}" for k, v in constants.items())} if constants else {}
    return {
        "long_name": formula.long_name,
        "units": "1",
        "formula": formula.formula,
        "bands": ", ".join(f"{letter}={band}" for letter, band in chosen.items()),
        "references": formula.reference,
        **said,
    }


def _constants(
    spyndex: Any,  # noqa: ANN401 - it ships no types
    symbols: list[str],
    chosen: Mapping[str, str],
    given: Mapping[str, float],
) -> dict[str, float]:
    """Values of a formula's constants: those given, else spyndex's defaults."""
    values = {}
    for symbol in symbols:
        known = spyndex.constants.get(symbol)
        value = given.get(symbol, None if known is None else known.default)
        if symbol not in chosen and value is not None:
            values[symbol] = float(value)
    return values


def _evaluated(
    image: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    name: str,
    where: Mapping[str, int],
    constants: Mapping[str, float],
) -> NDArray[np.float32]:
    """The formula of a block, computed in float64; NaN where not valid or not finite."""
    import spyndex  # noqa: PLC0415 - on whichever worker this runs

    letters = {letter: image[..., place].astype(np.float64) for letter, place in where.items()}
    with np.errstate(all="ignore"):
        found = spyndex.computeIndex(name, params={**letters, **constants})
        return np.where(valid & np.isfinite(found), found, np.nan).astype(np.float32)


def indices(cube: xr.Dataset) -> tuple[str, ...]:
    """Return names of the indices that the bands allow; see the accessor."""
    needs("spyndex", "analysis", "indices")
    import spyndex  # noqa: PLC0415 - slow, and only wanted here

    there = set(band_names(cube))
    return tuple(
        sorted(
            name
            for name, formula in spyndex.indices.items()
            if _allowed(spyndex, formula.bands, there)
        )
    )


def _allowed(spyndex: Any, symbols: list[str], there: set[str]) -> bool:  # noqa: ANN401 - it ships no types
    chosen = letters_of(symbols, spyndex.bands)
    rest = [each for each in symbols if each not in chosen]
    known = (spyndex.constants.get(each) for each in rest)
    return set(chosen.values()) <= there and all(
        each is not None and each.default is not None for each in known
    )
