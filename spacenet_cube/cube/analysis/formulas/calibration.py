"""Radiometry: what turns digital numbers into radiance and reflectance.

Pure.  ``L = gain * DN * (absCalFactor / effectiveBandwidth) + offset`` [W m-2 sr-1 um-1] and
``rho = pi * L * d**2 / (Esun * cos(theta))`` [1], after DigitalGlobe's technical note
*Radiometric Use of WorldView-3 Imagery* (2016); theta is the sun's distance from the zenith.
"""

from collections.abc import Mapping, Sequence
from math import pi, radians, sin
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.cube.analysis.formulas.sun import earth_sun_distance_au
from spacenet_cube.errors import RecipeError

Quantity = Literal["radiance", "reflectance"]
"""``radiance`` [W m-2 sr-1 um-1], or ``reflectance`` at the top of the atmosphere [1]."""

Adjustment = tuple[float, float]
"""Gain [1] and offset [W m-2 sr-1 um-1]."""

_ORDER = ("pan", "coastal", "blue", "green", "yellow", "red", "rededge", "nir1", "nir2")


def _table(*values: Any) -> Mapping[str, Any]:  # noqa: ANN401 - floats, or pairs of them
    return MappingProxyType(dict(zip(_ORDER, values, strict=True)))


VINTAGES: Mapping[str, Mapping[str, Mapping[str, Adjustment]]] = MappingProxyType(
    {
        "2016v0": {
            "WV02": _table(
                (0.942, -2.704), (1.151, -7.478), (0.988, -5.736), (0.936, -3.546),
                (0.949, -3.564), (0.952, -2.512), (0.974, -4.120), (0.961, -3.300),
                (1.002, -2.891),
            ),
            "WV03": _table(
                (0.950, -3.629), (0.905, -8.604), (0.940, -5.809), (0.938, -4.996),
                (0.962, -3.649), (0.964, -3.021), (1.000, -4.521), (0.961, -5.522),
                (0.978, -2.992),
            ),
        },
        "geoio": {
            "WV02": _table(
                (0.960, -2.957), (1.146, -10.474), (1.003, -7.795), (0.953, -4.047),
                (0.965, -3.467), (0.969, -2.257), (1.003, -4.103), (0.981, -3.081),
                (1.037, -2.818),
            ),
            "WV03": _table(
                (0.923, -1.700), (0.863, -7.154), (0.905, -4.189), (0.907, -3.287),
                (0.938, -1.816), (0.945, -1.350), (0.980, -2.617), (0.982, -3.752),
                (0.954, -1.507),
            ),
        },
    }
)  # fmt: skip
"""Gain and offset by vintage, satellite and band.

``2016v0`` is ABSRADCAL_FLEET_2016v0_Rel20170606, as the International Charter's pages on
WorldView-2 and WorldView-3 print it (https://docs.disasterscharter.org).  ``geoio`` is the
older set of DigitalGlobe's ``geoio`` (``constants.py``, commit 94a9d4b).
"""

ESUN: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "WV02": _table(
            1571.36, 1773.81, 2007.27, 1829.62, 1701.85, 1538.85, 1346.09, 1053.21, 856.599
        ),
        "WV03": _table(
            1574.41, 1757.89, 2004.61, 1830.18, 1712.07, 1535.33, 1348.08, 1055.94, 858.77
        ),
    }
)
"""Sun's irradiance outside the atmosphere at 1 au, W m-2 um-1, by satellite and band.

The spectrum of G. Thuillier et al. (2003, https://doi.org/10.1023/A:1024048429145), weighted by
each band's response, as DigitalGlobe's technical notes give it.
"""

_SHARPENED = ("pansharpen", "pan-sharpen", "ps-ms", "ps-rgb")


def refuse_product(own: Mapping[str, Any], dtype: str) -> None:
    """Refuse a product whose values are no longer proportional to light.

    Parameters
    ----------
    own
        The cube's own object ``spacenet_cube``.
    dtype
        numpy's name of the sample type.

    Raises
    ------
    RecipeError
        If the product is pan-sharpened, a balanced mosaic, or has 8 bits; the message
        says which.
    """
    name = f"{own.get('aoi', '')} {own.get('product', '')}".strip()
    text = str(own.get("product", "")).casefold()
    told = {str((each.get("imagery") or {}).get("pan_sharpening") or "") for each in _scenes(own)}
    if own.get("pansharpened") or any(word in text for word in _SHARPENED) or told - {"", "None"}:
        reason = "is pan-sharpened: its bands were mixed with the panchromatic one"
    elif own.get("aoi") == "AOI_1_Rio":
        reason = "is a colour-balanced mosaic: its values are no digital numbers of the sensor"
    elif np.dtype(dtype).itemsize == 1:
        reason = "has 8 bits: its range was adjusted for screens"
    else:
        return
    raise RecipeError(
        f"{name} {reason}, so no calibration applies to it; open the product as it was "
        "measured, such as MUL or PAN"
    )


def _scenes(own: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = own.get("scenes") or ()
    return found


def scene_table(
    own: Mapping[str, Any], bands: Sequence[str], quantity: Quantity, vintage: str
) -> NDArray[np.float64]:
    """Slope and offset of every scene and band.

    Parameters
    ----------
    own
        The cube's own object ``spacenet_cube``, whose scenes carry their ``imagery``.
    bands
        Names of the bands.
    quantity
        What is wanted.
    vintage
        A key of `VINTAGES`.

    Returns
    -------
    array
        Shape (scenes + 1, band, 2), so that ``source_index`` is the place; row 0, which
        stands for no data, is NaN.

    Raises
    ------
    RecipeError
        If the vintage is unknown, or a scene lacks what is needed; the message names it.
    """
    if vintage not in VINTAGES:
        raise RecipeError(
            f"there is no table of gains {vintage!r}; give one of {', '.join(VINTAGES)}"
        )
    scenes = _scenes(own)
    last = max((int(scene["index"]) for scene in scenes), default=0)
    table = np.full((last + 1, len(bands), 2), np.nan)
    for scene in scenes:
        for place, band in enumerate(bands):
            table[scene["index"], place] = factors(scene, band, quantity, vintage)
    return table


def factors(scene: Mapping[str, Any], band: str, quantity: Quantity, vintage: str) -> Adjustment:
    """Slope and offset that turn a band's digital numbers into a quantity.

    Parameters
    ----------
    scene
        An entry of the scene list, with ``imagery`` (`spacenet_cube.sources.metadata.Imagery`).
    band
        Name of the band.
    quantity
        What is wanted.
    vintage
        A key of `VINTAGES`.

    Returns
    -------
    tuple
        Slope (per digital number) and offset, in the quantity's units.

    Raises
    ------
    RecipeError
        If the scene lacks what is needed.

    Examples
    --------
    >>> bands = [{"band": "red", "abs_cal_factor": 0.0143856, "effective_bandwidth_um": 0.0585}]
    >>> scene = {"id": "a", "imagery": {"satellite": "WV03", "bands": bands}}
    >>> slope, offset = factors(scene, "red", "radiance", "2016v0")
    >>> round(slope * 500 + offset, 4)  # 0.964 * 500 * 0.0143856 / 0.0585 - 3.021
    115.5065
    """
    imagery, satellite = _imagery(scene)
    found = next((each for each in imagery.get("bands", ()) if each["band"] == band), None)
    if found is None or band not in _ORDER:
        what = f"calibration (absCalFactor, effectiveBandwidth) of band {band!r}"
        raise RecipeError(_lacks(scene, what))
    gain, offset = VINTAGES[vintage][satellite][band]
    slope = gain * found["abs_cal_factor"] / found["effective_bandwidth_um"]
    if quantity == "radiance":
        return slope, offset
    scale = _per_radiance(scene, imagery, ESUN[satellite][band])
    return slope * scale, offset * scale


def _imagery(scene: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """What the scene's IMD says, and its satellite."""
    imagery: Mapping[str, Any] = scene.get("imagery") or {}
    if not imagery:
        raise RecipeError(_lacks(scene, ".IMD or .XML beside it"))
    satellite = str(imagery.get("satellite"))
    if satellite not in ESUN:
        raise RecipeError(
            f"scene {scene['id']} is from satellite {satellite}, whose gains and solar "
            f"irradiance are not known here; they are for {', '.join(ESUN)}"
        )
    return imagery, satellite


def _per_radiance(scene: Mapping[str, Any], imagery: Mapping[str, Any], esun: float) -> float:
    """Reflectance per radiance: pi d**2 / (Esun cos theta)."""
    elevation_deg = imagery.get("sun_elevation_deg")
    acquired = imagery.get("acquired") or scene.get("acquired")
    if elevation_deg is None or acquired is None:
        what = "meanSunEl" if elevation_deg is None else "time of acquisition"
        raise RecipeError(_lacks(scene, what))
    if not 0 < elevation_deg <= 90:  # noqa: PLR2004 - degrees above the horizon
        raise RecipeError(
            f"the sun stood {elevation_deg} degrees above the horizon of scene {scene['id']}, "
            "which gives no reflectance; correct meanSunEl in its .IMD, or use radiance()"
        )
    distance_au = earth_sun_distance_au(acquired)
    return pi * distance_au**2 / (esun * sin(radians(elevation_deg)))


def _lacks(scene: Mapping[str, Any], what: str) -> str:
    return (
        f"scene {scene['id']} has no {what}, so its digital numbers cannot be calibrated; put "
        "the provider's .IMD beside the raster and build the cube again with --update"
    )


def calibrated(
    image: NDArray[Any], source_index: NDArray[Any], table: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Digital numbers as a quantity, each pixel by the factors of its scene.

    Parameters
    ----------
    image
        Digital numbers, bands on the last axis.
    source_index
        The shape of ``image`` without bands.
    table
        As `scene_table` gives it.

    Returns
    -------
    array of float32
        The shape of ``image``; NaN where ``source_index`` is 0.

    Examples
    --------
    >>> table = np.array([[[np.nan, np.nan]], [[2.0, 1.0]]])
    >>> calibrated(np.array([[[0], [5]]], "uint16"), np.array([[0, 1]]), table).ravel()
    array([nan, 11.], dtype=float32)
    """
    out = np.empty(image.shape, np.float32)
    for band in range(image.shape[-1]):
        slope, offset = table[source_index, band, 0], table[source_index, band, 1]
        out[..., band] = image[..., band] * slope + offset
    return out
