"""Sun: how far it is from the Earth.

Pure.
"""

from datetime import UTC, datetime
from math import cos, radians

_J2000 = 2451545.0
_UNIX_EPOCH_JD = 2440587.5
_DAY_S = 86400.0


def julian_day(acquired: str) -> float:
    """Julian day of a time.

    Parameters
    ----------
    acquired
        ISO 8601; UTC where it names no zone.

    Returns
    -------
    float
        Days since noon of 1 January 4713 BC (Julian calendar).

    Examples
    --------
    >>> julian_day("2000-01-01T12:00:00Z")
    2451545.0
    """
    time = datetime.fromisoformat(acquired)
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return _UNIX_EPOCH_JD + time.timestamp() / _DAY_S


def earth_sun_distance_au(acquired: str) -> float:
    """Distance from the Earth to the Sun.

    Parameters
    ----------
    acquired
        ISO 8601; UTC where it names no zone.

    Returns
    -------
    float
        Astronomical units, 0.983 to 1.017.

    Notes
    -----
    ``d = 1.00014 - 0.01671 cos g - 0.00014 cos 2g`` with ``g = 357.529 + 0.98560028 D``
    degrees and D the days since J2000: the formula of DigitalGlobe's technical note
    *Radiometric Use of WorldView-3 Imagery* (2016), which is that of the US Naval
    Observatory (https://aa.usno.navy.mil/faq/sun_approx).  It agrees with chapter 25 of
    J. Meeus, *Astronomical Algorithms*, to 1e-4.

    Examples
    --------
    >>> round(earth_sun_distance_au("2016-01-04T00:00:00Z"), 4)
    0.9833
    """
    g = radians(357.529 + 0.98560028 * (julian_day(acquired) - _J2000))
    return 1.00014 - 0.01671 * cos(g) - 0.00014 * cos(2 * g)
