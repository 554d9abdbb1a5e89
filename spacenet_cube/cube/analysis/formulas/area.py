"""Ellipsoid: the ground that a pixel of a geographic grid covers.

Pure.
"""

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from spacenet_cube.raster.grid import Grid


def pixel_area_m2(grid: Grid) -> NDArray[np.float64]:
    """Area of one pixel of each row.

    Parameters
    ----------
    grid
        Where the pixels lie, north up.

    Returns
    -------
    array
        Shape (y,), square metres.  Of a geographic CRS, on its ellipsoid, exactly (J. Snyder,
        *Map Projections: A Working Manual*, 1987, equation 3-12); of a projected one, on the
        map: in UTM within 0.1 % of that on the ground.

    Examples
    --------
    >>> from affine import Affine
    >>> pixel_area_m2(Grid((1, 1), Affine(1, 0, 0, 0, -1, 1), "EPSG:4326")).round(-5)
    array([1.23085e+10])
    """
    rows = grid.shape_yx[0]
    crs = CRS.from_user_input(grid.crs)
    width, height = grid.resolution_xy
    unit = crs.axis_info[0].unit_conversion_factor
    if not crs.is_geographic:
        return np.full(rows, width * height * unit**2)
    edges = (grid.transform.f + np.arange(rows + 1) * grid.transform.e) * unit
    assert crs.ellipsoid is not None
    radius, flattening = crs.ellipsoid.semi_major_metre, 1 / crs.ellipsoid.inverse_flattening
    zone = _below_m2(edges.astype(np.float64), radius, flattening)
    return np.abs(np.diff(zone)) * width * unit


def _below_m2(lat: NDArray[np.float64], radius_m: float, flattening: float) -> NDArray[np.float64]:
    """Area between the equator and a latitude (radians), a radian of longitude wide."""
    squared = flattening * (2 - flattening)
    e, sine = np.sqrt(squared), np.sin(lat)
    ring = sine / (1 - squared * sine**2) + np.arctanh(e * sine) / e
    area: NDArray[np.float64] = radius_m**2 * (1 - squared) / 2 * ring
    return area
