"""Warped scenes made up for tests, and what GDAL makes of them in one go."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from spacenet_cube.builds.unit.mosaic import mosaic
from spacenet_cube.plans.placement import grown
from spacenet_cube.plans.plan import Plan
from spacenet_cube.plans.precedence import reach_px
from spacenet_cube.plans.units import units
from spacenet_cube.raster.resample import resample
from spacenet_cube.raster.warp import Warp
from spacenet_cube.sources.scene import Scene
from tests.scenes import in_memory, scene

RIO = "EPSG:32723"
KERNELS = (
    "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "min", "max",
    "med", "q1", "q3", "rms",
)  # fmt: skip


def chip(
    name: str = "a.tif",
    *,
    shape_yx: tuple[int, int] = (60, 70),
    at: tuple[float, float] = (-43.5, -22.9),
    pixel: float = 1.8e-5,
    turn: float = 0.0,
    **facts: Any,
) -> Scene:
    """A scene in degrees near Rio, perhaps turned."""
    transform = Affine.translation(*at) @ Affine.rotation(turn) @ Affine.scale(pixel, -pixel)
    return scene(name, shape_yx=shape_yx, transform=transform, crs="EPSG:4326", **facts)


def noise(rng: np.random.Generator, shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    """Samples with gaps: blobs that hold nothing, and zeros in one band of valid pixels."""
    most = 255 if dtype == "uint8" else 2047
    image = rng.integers(1, most, shape).astype(dtype)
    for _ in range(3):
        row, col = rng.integers(0, shape[1]), rng.integers(0, shape[2])
        image[:, row : row + 9, col : col + 13] = 0
    image[0][rng.random(shape[1:]) < 0.02] = 0
    return image


def made_of(
    plan: Plan, images: dict[str, NDArray[Any]], edge: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The whole mosaic, unit by unit: image (band, y, x) and source_index (y, x)."""
    shape = plan.grid.shape_yx
    cut = plan.units if edge is None else recut(plan, edge)
    image = np.zeros((len(plan.bands), *shape), plan.dtype)
    index = np.zeros(shape, np.int64)
    for unit in cut:
        pixels = mosaic(plan, unit, in_memory(images), resample)
        image[:, *unit.block.yx] = pixels.image
        index[unit.block.yx] = pixels.source_index
    return image, index


def only_warp(plan: Plan) -> Warp:
    """The warp of a plan's first scene."""
    warp = plan.seats[0].warp
    assert warp is not None
    return warp


def recut(plan: Plan, edge: int) -> Sequence[Any]:
    """The plan's units, cut with another edge."""
    margin = reach_px(plan.product)
    return units(
        plan.grid.shape_yx,
        edge,
        [seat.block for seat in plan.seats],
        lambda number, block: plan.seats[number - 1].window(
            plan.scenes[number - 1].shape_yx, grown(block, margin)
        ),
    )


def in_one_go(
    plan: Plan, one: Scene, image: NDArray[Any], kernel: str, *, own_scale: bool = False
) -> NDArray[Any]:
    """GDAL's own exact warp of a whole scene onto the plan's whole grid, by its CRSs."""
    made = np.zeros((image.shape[0], *plan.grid.shape_yx), image.dtype)
    seat = plan.seats[[s.id for s in plan.scenes].index(one.id)]
    assert seat.warp is not None
    x, y = seat.warp.scale_xy
    more = {} if own_scale else {"XSCALE": repr(x), "YSCALE": repr(y)}
    reproject(
        image,
        made,
        src_transform=one.transform,
        src_crs=one.crs,
        src_nodata=0,
        dst_transform=plan.grid.transform,
        dst_crs=plan.grid.crs,
        dst_nodata=0,
        resampling=Resampling[kernel],
        tolerance=0,
        **more,
    )
    return made
