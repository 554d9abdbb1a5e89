"""CRSs as users and files write them: which are refused, and which mean the same plane.

Pure.  Files of one delivery spell one CRS in several ways: under another name, with a
vertical part, or with rounded parameters.  They are compared by what places a point.
"""

import re
from functools import lru_cache
from math import isclose
from typing import Annotated, Any

from pydantic import Field
from pyproj import CRS
from pyproj.exceptions import CRSError

_RELATIVE, _ABSOLUTE = 1e-9, 1e-9

_INVERSE_FLATTENING = 1e-7

_PLANE = 2


MOST_CRS_CHARACTERS = 20_000
"""Longest text of a CRS that is read; the longest that EPSG holds has about 5,000."""

_FILE_WORDS = re.compile(
    r"grids\s*=|\+\s*init\s*=|\bfile\s*=|PARAMETERFILE|EXTENSION|GEOIDMODEL", re.IGNORECASE
)


def refuse_files(text: str) -> None:
    """Refuse a CRS that names files, which PROJ would open wherever they lie.

    Parameters
    ----------
    text
        WKT, PROJ's words, a code or a name.

    Raises
    ------
    ValueError
        If it does, or is longer than any CRS.
    """
    named = _FILE_WORDS.search(text)
    if named or len(text) > MOST_CRS_CHARACTERS or not text.isprintable():
        what = f"names files ({named[0][:20]!r})" if named else "is longer than any"
        message = f"CRS {text[:40]!r} {what}: give a code such as EPSG:32723, or plain WKT 2"
        raise ValueError(message)


Finite = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
"""A number of CRS units, or nanometres, that can be meant."""


@lru_cache(maxsize=512)
def plane_of(crs: str) -> str:
    """The horizontal part of a CRS, as text: heights do not move pixels.

    Parameters
    ----------
    crs
        Code or WKT.

    Returns
    -------
    str
        The same text where the CRS has two axes; otherwise the code or WKT 2 of its plane.

    Examples
    --------
    >>> plane_of("EPSG:2953+6647"), plane_of("EPSG:4979")
    ('EPSG:2953', 'EPSG:4326')
    """
    whole = CRS.from_user_input(crs)
    if len(whole.axis_info) <= _PLANE:
        return crs
    flat = whole.sub_crs_list[0] if whole.is_compound else whole.to_2d()
    flat = flat.to_2d()
    authority = flat.to_authority(min_confidence=100)
    return ":".join(authority) if authority else str(flat.to_wkt("WKT2_2019"))


@lru_cache(maxsize=4096)
def same_crs(one: str, other: str) -> bool:
    """Whether two CRSs place a point (x, y) in the same spot.

    Names do not matter, nor does a vertical part, nor parameters that differ by rounding
    (a billionth of their value).  Datums do: NAD83 is not WGS 84.

    Parameters
    ----------
    one, other
        Codes or WKT.

    Returns
    -------
    bool
        False too where it is unclear, so that nothing is mixed by mistake.

    Examples
    --------
    >>> same_crs("EPSG:2953", "EPSG:2953+6647"), same_crs("EPSG:26911", "EPSG:32611")
    (True, False)
    """
    if one == other:
        return True
    try:
        first, second = (CRS.from_user_input(plane_of(text)) for text in (one, other))
    except CRSError:
        return False
    # Codes order axes as their authority does; pixels are always placed by x, then y.
    if first.equals(second, ignore_axis_order=True):
        return True
    return _same_datum(first, second) and _same_map(first, second)


def _same_datum(one: CRS, other: CRS) -> bool:
    datums = [crs.geodetic_crs.datum if crs.geodetic_crs else None for crs in (one, other)]
    names = [_letters(datum.name) if datum else "" for datum in datums]
    if names[0] != names[1] or not names[0] or names[0].startswith("unknown"):
        return False
    first, second = one.ellipsoid, other.ellipsoid
    meridians = (one.prime_meridian, other.prime_meridian)
    if first is None or second is None or meridians[0] is None or meridians[1] is None:
        return False
    return (
        isclose(first.semi_major_metre, second.semi_major_metre, rel_tol=_RELATIVE)
        and isclose(
            first.inverse_flattening, second.inverse_flattening, rel_tol=_INVERSE_FLATTENING
        )
        and isclose(meridians[0].longitude, meridians[1].longitude, abs_tol=_ABSOLUTE)
    )


def _letters(name: str) -> str:
    """A datum's name without what spellings of it differ in."""
    plain = name.casefold().replace("world geodetic system", "wgs").replace(" ensemble", "")
    return "".join(sign for sign in plain if sign.isalnum()).removeprefix("d")


def _same_map(one: CRS, other: CRS) -> bool:
    """Whether two CRSs of one datum project alike, rounding aside."""
    first, second = one.coordinate_operation, other.coordinate_operation
    if first is None or second is None:
        return first is second and _units(one) == _units(other)
    return (
        _letters(first.method_name) == _letters(second.method_name)
        and _close(_parameters(first), _parameters(second))
        and _close(_units(one), _units(other))
    )


def _parameters(operation: Any) -> dict[str, float]:  # noqa: ANN401 - pyproj ships no types of it
    """Parameters by name in base units: metres, radians, ratios."""
    return {
        _letters(param.name): float(param.value) * (param.unit_conversion_factor or 1.0)
        for param in operation.params
    }


def _units(crs: CRS) -> dict[str, float]:
    return {axis.direction: axis.unit_conversion_factor for axis in crs.axis_info}


def _close(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        isclose(one[key], other[key], rel_tol=_RELATIVE, abs_tol=_ABSOLUTE) for key in one
    )


@lru_cache(maxsize=512)
def crs_name(crs: str) -> str:
    """What to call a CRS in a message: its code, or its name.

    Parameters
    ----------
    crs
        Code or WKT.

    Returns
    -------
    str
        At most 80 characters.

    Examples
    --------
    >>> crs_name("EPSG:32611"), crs_name("EPSG:2953+6647")
    ('EPSG:32611', 'EPSG:2953+6647')
    """
    if not crs.lstrip().upper().startswith(("PROJ", "GEO", "BOUND", "COMPOUND", "LOCAL", "ENG")):
        return crs[:80]
    try:
        return CRS.from_user_input(crs).name[:80]
    except CRSError:
        return crs[:40]
