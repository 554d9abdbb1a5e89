"""Seams: where longitudes begin again, and how coordinates are kept whole across them.

Pure.  PROJ gives longitudes from -180 to 180, so a scene or grid that crosses 180 degrees,
or that counts from 0 to 360, is cut in two.  Steps of a PROJ pipeline unwrap longitudes
around the scene's centre on one side, and around the grid's centre on the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from spacenet_cube.raster.crs import plane_of

_CYLINDRICAL = (
    "mercator (variant a)",
    "mercator (variant b)",
    "mercator (variant c)",
    "mercator (1sp)",
    "mercator (2sp)",
    "popular visualisation pseudo mercator",
    "mercator (spherical)",
    "equidistant cylindrical",
    "equidistant cylindrical (spherical)",
    "plate carree",
    "lambert cylindrical equal area",
    "miller cylindrical",
)
_TURN = 360.0
_CLOSE = 1e-9

Interval = tuple[float, float]
"""Least and greatest x, CRS units."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """How x goes around the Earth in a CRS."""

    period: float
    """Units of x that are 360 degrees."""

    origin: float
    """The x that lies midway between the two seams."""

    longitude: float
    """The longitude there, degrees."""

    is_geographic: bool
    """Whether x is a longitude; otherwise the CRS is cylindrical."""

    def degrees(self, x: float) -> float:
        """The longitude of an x, on any turn, degrees."""
        return self.longitude + (x - self.origin) / self.period * _TURN

    def x(self, degrees: float) -> float:
        """The x of a longitude, on any turn."""
        return self.origin + (degrees - self.longitude) / _TURN * self.period


@lru_cache(maxsize=512)
def cycle_of(crs: str) -> Cycle | None:
    """How x goes around the Earth; None where it does not, as in UTM.

    Parameters
    ----------
    crs
        Code or WKT.

    Returns
    -------
    Cycle or None
        Of geographic CRSs in degrees, and of cylindrical ones such as Web Mercator.

    Examples
    --------
    >>> cycle_of("EPSG:4326")
    Cycle(period=360.0, origin=0.0, longitude=0.0, is_geographic=True)
    >>> cycle_of("EPSG:32601") is None
    True
    """
    found = CRS.from_user_input(plane_of(crs))
    if found.is_geographic:
        degrees = all(axis.unit_name == "degree" for axis in found.axis_info)
        return Cycle(_TURN, 0.0, 0.0, is_geographic=True) if degrees else None
    method = found.coordinate_operation.method_name if found.coordinate_operation else ""
    base = found.geodetic_crs
    if method.lower() not in _CYLINDRICAL or base is None:
        return None
    try:
        to_base = Transformer.from_crs(found, base, always_xy=True)
        longitude = float(to_base.transform(_false_easting(found), 0.0, errcheck=True)[0])
        origin, east = (
            float(to_base.transform(longitude + turn, 0.0, direction="INVERSE", errcheck=True)[0])
            for turn in (0.0, 90.0)
        )
    except ProjError:
        return None
    return Cycle(4 * (east - origin), origin, longitude, is_geographic=False)


def _false_easting(crs: CRS) -> float:
    params = crs.coordinate_operation.params if crs.coordinate_operation else ()
    factor = crs.axis_info[0].unit_conversion_factor or 1.0
    return next(
        (
            float(p.value) * p.unit_conversion_factor / factor
            for p in params
            if p.name.lower() == "false easting"
        ),
        0.0,
    )


def unwrapping(crs: str, span: Interval) -> float | None:
    """The longitude around which x must be unwrapped to keep a span of it whole.

    Parameters
    ----------
    crs
        Code or WKT.
    span
        Least and greatest x of a scene or grid.

    Returns
    -------
    float or None
        Degrees; None where the span lies well between the seams, and PROJ's own
        longitudes serve.

    Examples
    --------
    >>> unwrapping("EPSG:4326", (179.5, 180.0)), unwrapping("EPSG:4326", (10.0, 11.0))
    (179.75, None)
    """
    cycle = cycle_of(crs)
    if cycle is None:
        return None
    low, high = span
    spare = cycle.period / _TURN + (high - low) / 2
    half = cycle.period / 2
    if cycle.origin - half <= low - spare and high + spare <= cycle.origin + half:
        return None
    middle = cycle.degrees((low + high) / 2)
    return None if abs(middle - cycle.longitude) < _CLOSE else middle


def smallest_arc(spans: Sequence[Interval], cycle: Cycle) -> Interval:
    """The shortest span of x that holds others, each of which may be on another turn.

    Parameters
    ----------
    spans
        At least one.
    cycle
        How x goes around.

    Returns
    -------
    tuple of float
        Between the seams where it does not cross one.

    Examples
    --------
    >>> smallest_arc([(179.5, 180.0), (-180.0, -179.5)], cycle_of("EPSG:4326"))
    (179.5, 180.5)
    """
    period, start = cycle.period, cycle.origin - cycle.period / 2
    if any(high - low >= period for low, high in spans):
        return start, start + period
    noise = period * 1e-12
    turned = sorted(
        (low - period * ((low - start + noise) // period), high - low) for low, high in spans
    )
    held: list[list[float]] = []
    for low, length in turned:
        if held and low <= held[-1][1] + noise:
            held[-1][1] = max(held[-1][1], low + length)
        else:
            held.append([low, low + length])
    # The largest gap is what the arc leaves out; what runs over the end comes first again.
    over = held[-1][1] - period
    starts = [low for low, _ in held]
    ends = [high for _, high in held]
    gaps = [starts[k + 1] - ends[k] for k in range(len(held) - 1)]
    gaps.append(starts[0] - over)
    widest = max(range(len(gaps)), key=lambda k: (gaps[k], k))
    if gaps[widest] <= noise:
        return start, start + period
    first = (widest + 1) % len(held)
    low, high = starts[first], ends[widest]
    return (low, high) if high >= low else (low, high + period)


def scene_side(steps: str, crs: str, around: float | None) -> str:
    """Steps of a pipeline, changed so that x of the scene is unwrapped on the way back.

    Parameters
    ----------
    steps
        From the scene's CRS, as `operation` gives them.
    crs
        The scene's CRS.
    around
        As `unwrapping` gives it; None changes nothing.

    Returns
    -------
    str
        Steps of a PROJ pipeline.
    """
    return steps if around is None else f"{_there_and_back(crs, around, 'scene')} {steps}".strip()


def grid_side(steps: str, crs: str, around: float | None) -> str:
    """The same for x of the grid, on the way there.

    Parameters
    ----------
    steps
        To the grid's CRS, as `operation` gives them.
    crs
        The grid's CRS.
    around
        As `unwrapping` gives it; None changes nothing.

    Returns
    -------
    str
        Steps of a PROJ pipeline.
    """
    return steps if around is None else f"{steps} {_there_and_back(crs, around, 'grid')}".strip()


def _there_and_back(crs: str, around: float, side: str) -> str:
    """Steps that change nothing but the turn that x is on."""
    to_radians, to_degrees = (
        "+step +proj=unitconvert +xy_in=deg +xy_out=rad",
        "+step +proj=unitconvert +xy_in=rad +xy_out=deg",
    )
    cycle = cycle_of(crs)
    assert cycle is not None, "only CRSs that go around are unwrapped"
    wrap = f"+step{' +inv' if side == 'scene' else ''} +proj=longlat +lon_wrap={around!r}"
    if cycle.is_geographic:
        return f"{to_radians} {wrap} {to_degrees}"
    # On the way that unwraps, the map must take longitudes beyond its seam as they come.
    forth = _projection(crs)
    back = forth.replace("+step", "+step +inv", 1)
    whole = forth + " +over", back + " +over"
    return f"{back} {wrap} {whole[0]}" if side == "grid" else f"{whole[1]} {wrap} {forth}"


@lru_cache(maxsize=128)
def _projection(crs: str) -> str:
    """The one step from radians of a cylindrical CRS's own longitudes to its x and y."""
    found = CRS.from_user_input(plane_of(crs))
    words = Transformer.from_crs(found.geodetic_crs, found, always_xy=True).definition.split()
    steps = " ".join(words).split("step ")[1:] or [" ".join(words)]
    kept = [step.strip() for step in steps if not step.startswith("proj=unitconvert xy_in=deg")]
    return " ".join("+step " + " ".join(f"+{word}" for word in step.split()) for step in kept)
