"""Resampling: GDAL's warper, told exactly where every pixel comes from.

GDAL's own choices depend on the block it is asked for: its transformer is approximate, its
kernels are scaled by the ratio of window sizes, and it takes another path where a window
has no gaps.  Here the transformer is exact and counts pixels in whole numbers from one
anchor, the scale is the scene's, and the path is chosen so that both give the same bits.

Not pure: calls GDAL.
"""

import logging
from typing import Any

import rasterio
from affine import Affine
from rasterio.enums import Resampling as Method
from rasterio.errors import RasterioError
from rasterio.warp import reproject
from rasterio.windows import Window

from spacenet_cube.compat import GDAL_LOG
from spacenet_cube.errors import SourceError
from spacenet_cube.raster.pixels import Resampling
from spacenet_cube.raster.validity import Samples
from spacenet_cube.raster.warp import SHIFT_PX

_PIXELS = 'LOCAL_CS["pixels",UNIT["metre",1]]'
_MEMORY_MB = 4096
_WHOLE_WINDOW = 1 << 20

# GDAL's path for cubic without gaps computes in single precision: up to 3 of 65535 off.
_ALWAYS_WITH_GAPS = frozenset({"cubic"})


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a warning is more than that the warper leaves an option to its transformer.

    rasterio hands every option to both, and GDAL warns of it for every block.
    """
    return "support option COORDINATE_OPERATION" not in record.getMessage()


logging.getLogger(GDAL_LOG).addFilter(_is_news)


def resample(wanted: Resampling) -> Samples:
    """Resample the pixels of a scene onto a block of the grid.

    A target pixel is valid where the source pixel that its centre falls into is (for
    average and its kin: where any that it covers is).  Kernels leave out what is not valid,
    and the weights of the rest are scaled to one.  Integers are rounded half up and clipped
    to their type.

    Parameters
    ----------
    wanted
        Samples, where they are from, and where they go.

    Returns
    -------
    array
        Shape (band + 1, y, x); the last band is 1 where valid, and all are 0 elsewhere.

    Raises
    ------
    SourceError
        If GDAL fails.
    """
    warp, block, window = wanted.warp, wanted.block, wanted.window
    has_gaps = wanted.has_gaps or warp.resampling in _ALWAYS_WITH_GAPS
    # A frame without data makes GDAL see a gap in every window, and so take one path.
    edge = 1 if has_gaps else 0
    count, rows, cols = wanted.samples.shape
    left, top = warp.corner_xy
    gaps = {"src_nodata": 0, "dst_nodata": 0} if has_gaps else {}
    kind = {"count": count, "dtype": wanted.samples.dtype}
    try:
        with (
            _raster(
                window.row - edge, window.col - edge, rows + 2 * edge, cols + 2 * edge, **kind
            ) as source,
            _raster(top + block.row, left + block.col, block.height, block.width, **kind) as made,
        ):
            source.write(wanted.samples, window=Window(edge, edge, cols, rows))
            reproject(
                rasterio.band(source, source.indexes),
                rasterio.band(made, made.indexes),
                resampling=Method[warp.resampling],
                tolerance=0,
                warp_mem_limit=_MEMORY_MB,
                COORDINATE_OPERATION=warp.pipeline,
                XSCALE=repr(warp.scale_xy[0]),
                YSCALE=repr(warp.scale_xy[1]),
                SOURCE_EXTRA=_WHOLE_WINDOW,
                SAMPLE_GRID="NO",
                UNIFIED_SRC_NODATA="YES",
                **gaps,
            )
            found: Samples = made.read()
            return found
    except RasterioError as error:
        raise SourceError(
            f"scene {wanted.scene} cannot be resampled: {error.__cause__ or error}; try again, "
            f'or add "{wanted.scene}" to exclude',
            scene=wanted.scene,
        ) from error


def _raster(row: int, col: int, height: int, width: int, **kind: Any) -> Any:  # noqa: ANN401 - rasterio ships no types
    """A raster in memory whose coordinates are whole pixels.

    rasterio makes one from an array under `warnings.catch_warnings`, which threads disturb.
    """
    transform = Affine.translation(col + SHIFT_PX, row + SHIFT_PX)
    return rasterio.open(
        "resampling",
        "w+",
        driver="MEM",
        height=height,
        width=width,
        transform=transform,
        crs=_PIXELS,
        **kind,
    )
