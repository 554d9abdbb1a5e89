"""Nodata of one band leaves means, minima, overviews and kernels of that band alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.merge import merge
from rasterio.warp import reproject

import spacenet_cube as sc
from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.combine import Layer, combine
from spacenet_cube.raster.overview import halve
from spacenet_cube.raster.pixels import Pixels
from spacenet_cube.raster.shrink import shrink
from spacenet_cube.sources.nodata import held
from tests.scenes import LICENCE, Lattice, write_geotiff

FILL = -9999


def built(tmp_path, images, *, tag=FILL, **more):
    """A cube of files of one size, each with a tag of its own where a mapping gives them."""
    source = tmp_path / "in"
    source.mkdir(exist_ok=True)
    for name, image in images.items():
        own = tag[name] if isinstance(tag, dict) else tag
        write_geotiff(source / name, image, nodata=own)
    bands = [f"b{k}" for k in range(len(next(iter(images.values()))))]
    usual = {
        "name": "P",
        "sources": "*.tif",
        "bands": bands,
        "encoding": {"chunk": 16, "shard": 32},
    }
    recipe = sc.Recipe(name="a", licence=LICENCE, source=str(source), products=[{**usual, **more}])
    made = sc.plan(recipe, "P", sc.survey(recipe, "P"))
    sc.build(made, tmp_path / "out", workers=1, replace=True)
    return tmp_path / "out" / made.cube_path


def gaps(shape, seed, share=0.3, low=1, high=2000):
    """Samples of 16 bits, of which some of each band are nodata."""
    rng = np.random.default_rng(seed)
    image = rng.integers(low, high, shape).astype("int16")
    image[rng.random(shape) < share] = FILL
    return image


EXACT: dict[str, Callable[[Any], Any]] = {
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
}
RULES = list(EXACT)
near_fill = st.sampled_from([FILL, FILL - 1, FILL + 1, -3, 0, 1, 500])
samples = st.lists(near_fill, min_size=8, max_size=8)


@given(pairs=st.lists(samples, min_size=2, max_size=4), rule=st.sampled_from(RULES))
def test_a_rule_combines_the_samples_that_are_there_band_by_band(pairs, rule):
    layers = []
    for number, values in enumerate(pairs, start=1):
        image = np.array(values, "int16").reshape(2, 1, 4)
        present = image != FILL
        layers.append(Layer(number, image, present.any(axis=0), present=present))

    found, index = combine(rule, layers, FILL)

    for band, row, col in np.ndindex(found.shape):
        stack = np.array([layer.samples[band, row, col] for layer in layers])
        here = stack[stack != FILL]
        if not here.size:
            assert found[band, row, col] == FILL
            continue
        wanted = np.floor(float(EXACT[rule](here)) + 0.5)
        # A mean that is the very value of nodata is moved by one, so that it stays data.
        assert found[band, row, col] == wanted + (wanted == FILL)
    assert ((index > 0) == np.logical_or.reduce([layer.valid for layer in layers])).all()


@given(values=st.lists(samples, min_size=4, max_size=4))
def test_an_overview_averages_the_samples_that_are_there_band_by_band(values):
    image = np.array(values, "int16").reshape(2, 4, 4)
    index = (image != FILL).any(axis=0).astype("uint16")

    found = halve(Pixels(image, index), FILL, each_band=True)

    again = shrink(Pixels(image, index), 2, FILL, each_band=True)
    np.testing.assert_array_equal(found.image, again.image)
    for band, row, col in np.ndindex(found.image.shape):
        cell = image[band, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        here = cell[cell != FILL]
        wanted = np.floor(here.mean() + 0.5) if here.size else FILL
        assert found.image[band, row, col] == wanted + (here.size and wanted == FILL)


@pytest.mark.parametrize("rule", RULES)
def test_a_mosaic_is_that_of_the_samples_of_all_files(tmp_path, rule):
    images = {
        "a.tif": gaps((2, 40, 50), 1),
        "b.tif": gaps((2, 40, 50), 2),
        "c.tif": gaps((2, 40, 50), 3),
    }

    cube = sc.open_cube(built(tmp_path, images, mosaic=rule))

    stack = np.stack(list(images.values())).astype(float)
    stack[stack == FILL] = np.nan
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        wanted = getattr(np, f"nan{rule}")(stack, axis=0)
    wanted = np.where(np.isnan(wanted), FILL, np.floor(wanted + 0.5))
    np.testing.assert_array_equal(cube.image.values, wanted)


def test_a_first_mosaic_of_one_band_is_that_of_rasterio(tmp_path):
    images = {"a.tif": gaps((1, 40, 50), 1, low=-5, high=5), "b.tif": gaps((1, 40, 50), 2)}

    cube = built(tmp_path, images)

    wanted = merge([str(tmp_path / "in" / name) for name in images])[0]
    np.testing.assert_array_equal(sc.open_cube(cube).image.values, wanted)
    assert xr.open_zarr(cube).image.encoding["_FillValue"] == FILL


def test_an_overview_is_gdal_s_average_of_each_band(tmp_path):
    image = gaps((2, 64, 64), 4)

    cube = sc.open_cube(built(tmp_path, {"a.tif": image}), level=1)

    with rasterio.open(tmp_path / "in" / "a.tif") as file:
        wanted = file.read(out_shape=(2, 32, 32), resampling=Resampling.average)
    np.testing.assert_array_equal(cube.image.values, wanted)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "average"])
def test_kernels_leave_out_the_samples_that_gdal_leaves_out(tmp_path, kernel):
    image = gaps((2, 40, 50), 5, share=0.2)
    grid = {"crs": "EPSG:32611", "resolution": 0.7, "anchor": [500_000, 4_000_000]}

    cube = sc.open_cube(built(tmp_path, {"a.tif": image}, grid={**grid, "resampling": kernel}))

    for band in (0, 1):
        wanted = np.full(cube.image.shape[1:], FILL, "int16")
        reproject(
            image[band], wanted, src_transform=Lattice().transform(), src_crs="EPSG:32611",
            dst_transform=cube.rio.transform(), dst_crs="EPSG:32611", src_nodata=FILL,
            dst_nodata=FILL, resampling=Resampling[kernel], tolerance=0,
            XSCALE=str(0.5 / 0.7), YSCALE=str(0.5 / 0.7),
        )  # fmt: skip
        found = cube.image.values[band].astype(int)
        np.testing.assert_array_equal(found == FILL, wanted == FILL)
        assert np.abs(found - wanted).max() <= 1


def test_a_plain_0_marks_whole_pixels_alone(tmp_path):
    image = np.full((2, 32, 32), 100, "uint8")
    image[0, :, ::2] = 0
    other = np.full((2, 32, 32), 200, "uint8")

    path = built(tmp_path, {"a.tif": image, "b.tif": other}, tag=None, nodata=0, mosaic="mean")

    cube = sc.open_cube(path)
    assert set(np.unique(cube.image.values[0])) == {100, 150}
    assert "nodata_each_band" not in cube.attrs["spacenet_cube"]


def test_each_band_says_the_same_of_files_without_a_tag(tmp_path):
    image = gaps((2, 40, 50), 6)
    both = {"value": FILL, "each_band": True}

    tagged = sc.open_cube(built(tmp_path, {"a.tif": image}), level=1).image.values
    stated = sc.open_cube(built(tmp_path, {"a.tif": image}, tag=None, nodata=both), level=1)

    np.testing.assert_array_equal(stated.image.values, tagged)


def test_a_tag_of_another_value_is_stored_as_the_cube_s(tmp_path):
    image = gaps((2, 40, 50), 7)

    cube = sc.open_cube(built(tmp_path, {"a.tif": image}, nodata=0))

    np.testing.assert_array_equal(cube.image.values, np.where(image == FILL, 0, image))
    np.testing.assert_array_equal(cube.source_index.values > 0, (image != FILL).any(axis=0))


def test_files_whose_tags_differ_are_asked_about(tmp_path):
    images = {"a.tif": gaps((1, 40, 50), 8), "b.tif": gaps((1, 40, 50), 9)}

    with pytest.raises(RecipeError, match=r"differ in their nodata tag: -9999 .* and none .* add"):
        built(tmp_path, images, tag={"a.tif": FILL, "b.tif": None})


@pytest.mark.parametrize("value", [-3.4e38, 1e20, -9999.9, -3.4028235e38, float("nan")])
def test_a_float_value_is_rounded_to_the_samples(tmp_path, value):
    image = np.arange(2000, dtype="float32").reshape(1, 40, 50) + 1
    image[:, :10] = np.float32(value)

    path = built(tmp_path, {"a.tif": image}, tag=None, nodata=value)

    opened = xr.open_zarr(path)
    assert int(np.isnan(opened.image.values).sum()) == 500
    assert int((opened.source_index.values == 0).sum()) == 500


@given(value=st.floats(allow_nan=False), dtype=st.sampled_from(["uint8", "int16", "float32"]))
def test_a_value_is_held_as_a_sample_that_is_equal_to_it_or_not_at_all(value, dtype):
    found = held(value, dtype)

    if found is not None:
        assert float(np.dtype(dtype).type(found)) == found
        assert dtype == "float32" or found == value
    else:
        assert dtype != "float32" or abs(value) > float(np.finfo("float32").max)


def test_coarsening_an_opened_cube_leaves_the_same_samples_out(tmp_path):
    image = gaps((2, 64, 64), 10)

    cube = sc.open_cube(built(tmp_path, {"a.tif": image}))

    own = cube.isel(y=slice(0, 60), x=slice(0, 60)).spacenet.coarsen(3).image.values
    cells = image[:, :60, :60].reshape(2, 20, 3, 20, 3).swapaxes(2, 3).reshape(2, 20, 20, 9)
    stack = np.where(cells == FILL, np.nan, cells.astype(float))
    wanted = np.floor(np.nanmean(stack, axis=-1) + 0.5)
    np.testing.assert_array_equal(own, wanted)
