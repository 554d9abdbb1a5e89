"""Warped cubes against what others make of the same files: GDAL, odc-geo and rioxarray."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives xarray its .rio
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_reproject
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import spacenet_cube as sc
from spacenet_cube.raster.grid import Grid
from tests.places import RECIPES
from tests.scenes import write_geotiff
from tests.warping import RIO, chip, noise

KERNELS = ("nearest", "bilinear", "cubic", "average")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three overlapping chips with gaps as files, and a function that builds a cube of them."""
    folder = tmp_path_factory.mktemp("chips")
    rng = np.random.default_rng(11)
    for name, at, shape in (
        ("a.tif", (-43.5, -22.9), (150, 140)),
        ("b.tif", (-43.4985, -22.901), (130, 150)),
        ("c.tif", (-43.4995, -22.9015), (120, 90)),
    ):
        image = noise(rng, (3, *shape), "uint16")
        # The others take nodata for a matter of each band, so here no band of a valid pixel is 0.
        image[0][(image[0] == 0) & (image[1] > 0)] = 5
        one = chip(name, shape_yx=shape, at=at)
        write_geotiff(folder / name, image, transform=one.transform, crs=one.crs)

    def build(
        to: Path, *, workers: int = 3, order: int = 1, **facts: Any
    ) -> tuple[xr.Dataset, Grid, Path]:
        usual = {
            "name": "P",
            "sources": ["*.tif"],
            "bands": ["red", "green", "nir"],
            "encoding": {"chunk": 16, "shard": 32},
        }
        recipe = sc.Recipe.model_validate(
            {
                "name": "AOI",
                "source": str(folder),
                "licence": {"spdx": "CC0-1.0", "attribution": "nobody"},
                "products": [usual | facts],
            }
        )
        planned = sc.plan(recipe, "P", sc.survey(recipe, "P"))
        assert len(planned.units) > 3
        planned = replace(planned, units=planned.units[::order])
        url = sc.build(planned, to, workers=workers)
        cube = xr.open_zarr(url, chunks=None, mask_and_scale=False, decode_coords="all")
        return cube, planned.grid, folder

    return build


def laid(layers: list[Any]) -> Any:
    """The first layer that holds anything, pixel by pixel."""
    found = np.zeros_like(layers[0])
    for layer in layers:
        free = (found == 0).all(axis=0)
        found = np.where(free, layer, found)
    return found


def compare(cube: xr.Dataset, wanted: Any, kernel: str) -> None:
    """Equal but for sums that round apart, which are counted; average differs at scene edges."""
    off = np.abs(cube.image.values.astype(int) - wanted)
    # Cubic undershoots: where a band is clipped to 0 the others make it 1, their nodata being 0.
    assert (off > 0).mean() < {"average": 0.02, "cubic": 0.01}.get(kernel, 2e-3)
    if kernel != "average":
        # One pixel whose validity is decided by the ninth digit would differ by all its value.
        assert (off > 1).mean() < 1e-4


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_cube_is_what_gdals_warped_vrt_makes_to_a_millionth_of_a_pixel(made, kernel, tmp_path):
    grid = {"crs": RIO, "resolution": 2.0, "resampling": kernel}
    cube, target, folder = made(tmp_path, grid=grid)
    layers = []
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as source:
            found = replace(target)
            # The scale is given, because GDAL's own depends on the block that is asked for.
            scale = scales(cube, path)
            with WarpedVRT(
                source,
                crs=RIO,
                transform=found.transform,
                height=found.shape_yx[0],
                width=found.shape_yx[1],
                resampling=Resampling[kernel],
                # A WarpedVRT cannot be made with 0.
                tolerance=1e-6,
                src_nodata=0,
                nodata=0,
                XSCALE=scale[0],
                YSCALE=scale[1],
            ) as warped:
                layers.append(warped.read())

    compare(cube, laid(layers), kernel)


def scales(cube: xr.Dataset, path: Path) -> tuple[str, str]:
    """Grid pixels per scene pixel at the scene's centre, by pyproj alone, at most 1."""
    from pyproj import Transformer  # noqa: PLC0415 - for this alone

    with rasterio.open(path) as source:
        inverse, (rows, cols) = ~source.transform, source.shape
        lon, lat = source.transform @ (cols / 2, rows / 2)
    there = Transformer.from_crs("EPSG:4326", RIO, always_xy=True)
    x, y = there.transform(lon, lat)
    back = Transformer.from_crs(RIO, "EPSG:4326", always_xy=True)
    step = float(cube.x[1] - cube.x[0])
    at = [inverse @ back.transform(x + dx, y + dy) for dx, dy in ((0, 0), (step, 0), (0, -step))]
    across = np.hypot(at[1][0] - at[0][0], at[2][0] - at[0][0])
    down = np.hypot(at[1][1] - at[0][1], at[2][1] - at[0][1])
    return repr(float(min(1, 1 / across))), repr(float(min(1, 1 / down)))


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
def test_a_cube_is_what_odc_and_rioxarray_reproject(made, kernel, tmp_path):
    # Finer than the source, where kernels are not scaled and all agree on their width.
    grid = {"crs": RIO, "resolution": 1.5, "resampling": kernel}
    cube, target, folder = made(tmp_path, grid=grid)
    box = GeoBox(target.shape_yx, target.transform, RIO)
    by_odc, by_rio = [], []
    for path in sorted(folder.glob("*.tif")):
        with xr.open_dataarray(path, engine="rasterio", mask_and_scale=False) as opened:
            image = opened.load().rio.write_nodata(0)
        by_odc.append(xr_reproject(image, box, resampling=kernel, tolerance=0).values)
        like = image.rio.reproject(
            RIO,
            transform=target.transform,
            shape=target.shape_yx,
            resampling=Resampling[kernel],
            nodata=0,
            tolerance=0,
        )
        by_rio.append(like.values)

    for layers in (by_odc, by_rio):
        compare(cube, laid(layers), kernel)


WARPED = {
    "grid": {"crs": RIO, "resolution": 2.0, "resampling": "cubic"},
    "mosaic": "feather",
    "feather_px": 7,
}


@pytest.mark.parametrize("shard", [16, 64, 96])
def test_the_size_of_shards_changes_no_pixel(made, shard, tmp_path):
    small, _, _ = made(tmp_path / "a", **WARPED)
    large, _, _ = made(tmp_path / "b", **WARPED, encoding={"chunk": 16, "shard": shard})

    np.testing.assert_array_equal(small.image.values, large.image.values)
    np.testing.assert_array_equal(small.source_index.values, large.source_index.values)


def shards_of(root: Path) -> dict[Path, bytes]:
    """Every file of the pixel arrays, at every level."""
    files = (path for path in root.rglob("c/**/*") if path.is_file())
    return {path.relative_to(root): path.read_bytes() for path in files}


@pytest.mark.parametrize(("workers", "order"), [(1, 1), (2, -1), (5, 1), (5, -1)])
def test_neither_workers_nor_the_order_of_units_change_a_byte(made, workers, order, tmp_path):
    made(tmp_path / "a", **WARPED)
    made(tmp_path / "b", **WARPED, workers=workers, order=order)

    usual, other = shards_of(tmp_path / "a"), shards_of(tmp_path / "b")

    assert len(usual) > 20
    assert usual == other


def at_home(name: str, source: Path, product: str, **facts: Any) -> sc.Recipe:
    """A recipe of the tests' folder with another grid or rule, pointed at a source."""
    loaded = sc.load_recipe(RECIPES / f"{name}.yaml")
    wanted = loaded.product(product).model_dump() | facts
    changed = type(loaded.products[0]).model_validate(wanted)
    return loaded.model_copy(update={"source": str(source), "products": (changed,)})


@pytest.mark.parametrize("rule", ["first", "feather"])
@pytest.mark.parametrize(("product", "resolution"), [("8band", 2.0), ("3band", 0.5)])
def test_real_rio_chips_lie_in_the_cube_where_they_lie_on_the_ground(
    shared, tmp_path, rule, product, resolution
):
    grid = {"crs": RIO, "resolution": resolution}
    recipe = at_home("rio_chips", shared / "AOI_1_Rio", product, grid=grid, mosaic=rule)

    url = sc.build(sc.plan(recipe, product, sc.survey(recipe, product)), tmp_path, workers=2)

    with xr.open_zarr(url, chunks=None, mask_and_scale=False) as cube:
        held = cube.load()
    assert held.image.shape[0] == int(product[0])
    names = {one["id"]: one["index"] for one in held.attrs["spacenet_cube"]["scenes"]}
    assert len(names) == 10
    for path in sorted((shared / "AOI_1_Rio" / product).glob("*.tif")):
        row, col, chip_, shifted = sampled(held, path, names[path.name])
        assert row.size > 200
        # Read back at the centres of the chip's own pixels the cube is the chip, less what
        # bilinear interpolation smooths; a shift by half a pixel explains it much worse.
        here = np.corrcoef(chip_.ravel(), held.image.values[:, row, col].ravel())[0, 1]
        assert here > 0.97
        for other in shifted:
            assert np.corrcoef(chip_.ravel(), other.ravel())[0, 1] < here


def sampled(cube: xr.Dataset, path: Path, number: int) -> Any:
    """Cube pixels of one chip, the chip bilinearly at their centres, and the chip shifted."""
    from pyproj import Transformer  # noqa: PLC0415 - for this alone

    with rasterio.open(path) as source:
        image, inverse = source.read().astype(float), ~source.transform
    row, col = np.nonzero(cube.source_index.values == number)
    back = Transformer.from_crs(RIO, "EPSG:4326", always_xy=True)
    at = inverse @ back.transform(cube.x.values[col], cube.y.values[row])

    def bilinear(dx: float, dy: float) -> tuple[Any, Any]:
        x, y = at[0] - 0.5 + dx, at[1] - 0.5 + dy
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        safe = (left >= 1) & (top >= 1) & (left < image.shape[2] - 2) & (top < image.shape[1] - 2)
        left, top, fx, fy = (np.where(safe, v, 1) for v in (left, top, x - left, y - top))
        corners = [image[:, top + j, left + i] for j in (0, 1) for i in (0, 1)]
        weights = [(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]
        full = np.all([(c != 0).any(axis=0) for c in corners], axis=0) & safe
        return sum(w * c for w, c in zip(weights, corners, strict=True)), full

    found, full = bilinear(0, 0)
    shifted = [
        bilinear(dx, dy)[0][:, full] for dx, dy in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))
    ]
    return row[full], col[full], found[:, full], shifted


@pytest.mark.parametrize("rule", ["first", "feather"])
def test_real_chips_join_without_a_seam(shared, tmp_path, rule):
    grid = {"crs": RIO, "resolution": 0.5}
    recipe = at_home("rio_chips", shared / "AOI_1_Rio", "3band", grid=grid, mosaic=rule)

    url = sc.build(sc.plan(recipe, "3band", sc.survey(recipe, "3band")), tmp_path, workers=2)

    with xr.open_zarr(url, chunks=None, mask_and_scale=False) as cube:
        image, index = cube.image.values.astype(int), cube.source_index.values
    step = np.abs(np.diff(image, axis=1)).mean(axis=0)
    both = (index[1:] > 0) & (index[:-1] > 0)
    joint = both & (index[1:] != index[:-1])
    assert joint.sum() > 300
    # From chip to chip neighbours differ no more than within a chip, a few rows away.
    near = np.zeros_like(joint)
    for away in (-6, -5, -4, 4, 5, 6):
        near |= np.roll(joint, away, axis=0)
    near &= both & ~joint
    assert step[joint].mean() < 1.25 * step[near].mean()
