"""Resampling: GDAL's warper, told exactly where every pixel comes from.

GDAL's own choices depend on the block it is asked for: its transformer is approximate, its
kernels are scaled by the ratio of window sizes, and it takes another path where a window
has no gaps.  Here the transformer is exact and counts pixels in whole numbers from one
anchor, the scale is the scene's, and the path is chosen so that both give the same bits.
"""

import logging

import numpy as np
from affine import Affine
from rasterio.enums import Resampling as Method
from rasterio.errors import RasterioError
from rasterio.warp import reproject

from spacenet_cube.core.mosaic import Resampling
from spacenet_cube.core.validity import Samples
from spacenet_cube.core.warp import SHIFT_PX
from spacenet_cube.errors import SourceError

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


logging.getLogger("rasterio._env").addFilter(_is_news)


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
    source = (
        np.pad(wanted.samples, ((0, 0), (edge, edge), (edge, edge))) if edge else wanted.samples
    )
    made = np.zeros((source.shape[0], block.height, block.width), source.dtype)
    left, top = warp.corner_xy
    gaps = {"src_nodata": 0, "dst_nodata": 0} if has_gaps else {}
    try:
        reproject(
            source,
            made,
            src_transform=_whole_pixels(window.col - edge, window.row - edge),
            dst_transform=_whole_pixels(left + block.col, top + block.row),
            src_crs=_PIXELS,
            dst_crs=_PIXELS,
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
    except RasterioError as error:
        raise SourceError(
            f"scene {wanted.scene} cannot be resampled: {error.__cause__ or error}; try again, "
            f'or add "{wanted.scene}" to exclude',
            scene=wanted.scene,
        ) from error
    return made


def _whole_pixels(col: int, row: int) -> Affine:
    return Affine.translation(col + SHIFT_PX, row + SHIFT_PX)
