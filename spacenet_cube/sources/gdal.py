"""GDAL: the one way in which source rasters are opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioIOError

from spacenet_cube.compat import CPLE_BaseError

GDAL_OPTIONS = {
    "GDAL_CACHEMAX": 64,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_PAM_ENABLED": "NO",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "NUM_THREADS": "1",
}
"""Settings under which every source is opened; the block cache, in MB, is one for all threads."""

_HEADER_BYTES = 1 << 16


@contextmanager
def open_raster(href: str) -> Iterator[Any]:
    """Open a GeoTIFF for this thread alone.

    Parameters
    ----------
    href
        Local path.

    Yields
    ------
    rasterio.DatasetReader
        Never shared: GDAL's datasets are not safe across threads.

    Raises
    ------
    rasterio.errors.RasterioIOError
        If it is no GeoTIFF or cannot be read.
    """
    # GDAL would take other names for addresses, archives and connection strings.
    if not Path(href).is_absolute() or href.startswith("/vsi") or not Path(href).is_file():
        raise RasterioIOError(f"{href!r} is not the absolute path of a file")
    try:
        with (
            rasterio.Env(**GDAL_OPTIONS),
            rasterio.open(href, driver="GTiff", sharing=False) as dataset,
        ):
            yield dataset
    except CPLE_BaseError as error:
        # Some damaged tags come through as GDAL's own error, which is of no public family.
        raise RasterioIOError(str(error)) from error
    except RasterioIOError:
        _refuse_unreadable(href)
        raise


def _refuse_unreadable(href: str) -> None:
    """Name what the disk says: GDAL takes a file it cannot read for one of another format."""
    try:
        with Path(href).open("rb") as file:
            file.read(_HEADER_BYTES)
    except OSError as error:
        raise RasterioIOError(f"{href}: {error.strerror}") from error
