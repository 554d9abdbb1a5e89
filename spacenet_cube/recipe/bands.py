"""Bands: what the WorldView sensors see, as values with their sources.

Pure.  Names are those of the common-name vocabulary that spyndex and STAC readers use where one
exists (``red``, ``nir1``), in the order in which the 8-band products store them.

Edges are the nominal band edges of DigitalGlobe's data sheets, in nanometres
(https://catalyst.earth/catalyst-system-files/help/references/gdb_r/WorldView-3.html).
Centres are weighted by the relative spectral response, in nanometres (DigitalGlobe
``geoio``, ``constants.py``, commit 94a9d4b).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from spacenet_cube.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a product."""

    name: str
    """What ``cube.image.sel(band=...)`` takes, such as ``nir1``."""

    wavelength_nm: float | None = None
    """Centre wavelength in nanometres, weighted by the spectral response; None if unknown."""

    edges_nm: tuple[float, float] | None = None
    """Lower and upper edge of the band in nanometres; None if unknown."""

    @property
    def fwhm_nm(self) -> float | None:
        """Width between the edges in nanometres, which stand at half of the peak response."""
        return None if self.edges_nm is None else self.edges_nm[1] - self.edges_nm[0]


_EDGES_NM = {
    "pan": (450.0, 800.0),
    "coastal": (400.0, 450.0),
    "blue": (450.0, 510.0),
    "green": (510.0, 580.0),
    "yellow": (585.0, 625.0),
    "red": (630.0, 690.0),
    "rededge": (705.0, 745.0),
    "nir1": (770.0, 895.0),
    "nir2": (860.0, 1040.0),
}

_CENTRES_NM = {
    "WorldView-2": {
        "pan": 651.05,
        "coastal": 428.58,
        "blue": 479.35,
        "green": 548.07,
        "yellow": 607.78,
        "red": 658.92,
        "rededge": 723.27,
        "nir1": 825.06,
        "nir2": 914.55,
    },
    "WorldView-3": {
        "pan": 649.36,
        "coastal": 427.38,
        "blue": 481.92,
        "green": 547.14,
        "yellow": 604.28,
        "red": 660.11,
        "rededge": 722.73,
        "nir1": 824.04,
        "nir2": 913.65,
    },
}

SENSORS: Mapping[str, Mapping[str, Band]] = MappingProxyType(
    {
        sensor: MappingProxyType(
            {name: Band(name, centre, _EDGES_NM[name]) for name, centre in centres.items()}
        )
        for sensor, centres in _CENTRES_NM.items()
    }
)
"""Bands by sensor and name: ``SENSORS["WorldView-3"]["nir1"]``."""


def sensor_bands(sensor: str, names: Sequence[str]) -> tuple[Band, ...]:
    """Look up bands of a sensor by name, in the order asked for.

    Parameters
    ----------
    sensor
        A key of `SENSORS`, such as ``WorldView-3``.
    names
        Band names, such as ``["red", "green", "blue"]``.

    Returns
    -------
    tuple of Band
        One band a name.

    Raises
    ------
    RecipeError
        If the sensor, or a band of it, is unknown.

    Examples
    --------
    >>> [band.fwhm_nm for band in sensor_bands("WorldView-3", ["red", "nir1"])]
    [60.0, 125.0]
    """
    known = SENSORS.get(sensor)
    if known is None:
        raise RecipeError(
            f"sensor {sensor!r} is unknown; use one of {', '.join(SENSORS)}, or leave "
            "sensor out and describe each band by name and wavelength"
        )
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RecipeError(
            f"{sensor} has no band {unknown[0]!r}; it has {', '.join(known)}: "
            "correct the name, or leave sensor out and describe the bands yourself"
        )
    return tuple(known[name] for name in names)
