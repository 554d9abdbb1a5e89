"""The accessor: its figures equal numpy's, and nothing is read before it is asked for."""

import dask
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import MissingExtraError, RecipeError
from spacenet_cube.format.levels import Level, levels
from tests.fake_cube import MUL, PAN, RGB, Fake, pixels, sources, write_cube

VALID = sources(Fake()) > 0
IMAGE = np.where(VALID, pixels(Fake()), 0)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url):
    return open_cube(url)


def ndvi_by_numpy(image, valid):
    red, nir = (image[MUL.index(name)].astype(float) for name in ("red", "nir1"))
    with np.errstate(invalid="ignore"):
        return np.where(valid & (nir + red > 0), (nir - red) / (nir + red), np.nan)


@pytest.mark.parametrize("level", [0, 1, 4])
@pytest.mark.parametrize(
    "view",
    [
        lambda cube: cube.spacenet.ndvi(),
        lambda cube: cube.spacenet.rgb(),
        lambda cube: cube.spacenet.rgb(stretch=None),
        lambda cube: cube.spacenet.valid,
        lambda cube: cube.isel(x=slice(3, 40)).spacenet.rgb(),
    ],
    ids=["ndvi", "rgb", "rgb as stored", "valid", "rgb of a part"],
)
def test_a_view_computes_nothing_before_it_is_asked_to(url, view, level):
    def refuse(*_args, **_kwargs):
        pytest.fail("dask was asked to compute")

    with dask.config.set(scheduler=refuse):
        lazy = view(open_cube(url, level=level))

    assert lazy.chunks is not None
    assert lazy.rio.crs == "EPSG:4326"
    assert lazy.compute().dtype == lazy.dtype


def test_ndvi_equals_numpy_in_double_precision(cube):
    ndvi = cube.spacenet.ndvi()

    assert ndvi.dtype == np.float32
    np.testing.assert_allclose(ndvi.values, ndvi_by_numpy(IMAGE, VALID), atol=1e-6, rtol=0)
    assert ndvi.attrs["units"] == "1"
    assert ndvi.min() < 0 or ndvi.max() <= 1


@pytest.mark.parametrize(("nir", "red"), [(1, 65535), (65535, 65535), (65535, 1), (0, 7)])
def test_ndvi_does_not_wrap_where_unsigned_integers_would(cube, nir, red):
    image = xr.zeros_like(cube.image[:, :2, :2]).compute()
    image.loc[{"band": "nir1"}] = nir
    image.loc[{"band": "red"}] = red
    small = cube.isel(y=slice(2), x=slice(2)).assign(image=image)

    assert small.spacenet.ndvi().values == pytest.approx((nir - red) / (nir + red), abs=1e-6)


def test_ndvi_is_missing_where_no_scene_is_and_where_both_bands_are_0(cube):
    image = cube.image.where(cube.x < cube.x[3], 0)
    ndvi = cube.assign(image=image.astype("uint16")).spacenet.ndvi()

    np.testing.assert_array_equal(np.isfinite(ndvi.values), VALID & (np.arange(210) < 3))


def test_ndvi_takes_another_infrared_band(cube):
    ndvi = cube.spacenet.ndvi(nir="nir2")

    assert ndvi.attrs["comment"].startswith("(nir2 - red)")


def test_valid_is_where_a_scene_is(cube):
    np.testing.assert_array_equal(cube.spacenet.valid.values, VALID)


def test_rgb_is_bright_from_1_to_255_and_0_where_no_scene_is(cube):
    picture = cube.spacenet.rgb()

    assert picture.dims == ("y", "x", "rgb")
    assert picture.dtype == np.uint8
    assert tuple(picture.rgb.values) == ("red", "green", "blue")
    np.testing.assert_array_equal((picture > 0).all("rgb").values, VALID)
    assert picture.values[VALID].min() == 1
    assert picture.values.max() == 255


def test_rgb_stretches_between_percentiles_of_the_coarsest_overview(url, cube):
    coarse = open_cube(url, level=4)
    colours = coarse.image.sel(band=["red", "green", "blue"]).values
    low, high = np.percentile(colours[:, coarse.spacenet.valid.values], (5, 90), axis=1)

    found = cube.spacenet.rgb((5, 90)).sel(rgb="red").values[VALID]

    # Dark band by band, bright by the widest band's gain.
    light = np.clip((IMAGE[MUL.index("red")][VALID] - low[0]) / (high - low).max(), 0, 1)
    np.testing.assert_allclose(found, 1 + 254 * light**0.7, atol=0.51)


def test_a_part_of_a_cube_looks_as_it_does_in_the_whole(cube):
    part = {"y": slice(70, 200), "x": slice(5, 100)}

    whole = cube.spacenet.rgb().isel(part)

    np.testing.assert_array_equal(cube.isel(part).spacenet.rgb().values, whole.values)


def test_rgb_without_a_stretch_is_digital_numbers(cube):
    picture = cube.spacenet.rgb(stretch=None)

    assert picture.dtype == np.uint16
    expected = IMAGE[[MUL.index(name) for name in RGB]]
    np.testing.assert_array_equal(picture.values, np.moveaxis(expected, 0, -1))


def test_rgb_of_a_panchromatic_cube_is_grey(tmp_path):
    pan = open_cube(write_cube(tmp_path, Fake(product="PAN", bands=PAN)))

    picture = pan.spacenet.rgb()

    assert picture.attrs["long_name"] == "grey"
    assert (picture == picture.isel(rgb=0)).all()
    assert pan.sel(band="pan").spacenet.rgb().equals(picture)


def test_rgb_takes_every_order_of_bands_and_8_bits(tmp_path):
    fake = Fake(product="RGB", bands=("blue", "red", "green"), dtype="uint8")
    shuffled = open_cube(write_cube(tmp_path, fake))

    picture = shuffled.spacenet.rgb(stretch=None)

    xr.testing.assert_equal(
        picture.sel(rgb="green").drop_vars("rgb"), shuffled.image.sel(band="green", drop=True)
        .drop_vars(["wavelength", "fwhm"], errors="ignore"),
    )  # fmt: skip


@pytest.mark.parametrize("stretch", [(98, 2), (5, 5), (-1, 50), (0, 101)])
def test_a_stretch_without_range_is_refused(cube, stretch):
    with pytest.raises(RecipeError, match=r"rising pair within 0 to 100"):
        cube.spacenet.rgb(stretch)


def test_a_missing_band_is_named_with_those_there_are(cube, tmp_path):
    pan = open_cube(write_cube(tmp_path, Fake(product="PAN", bands=PAN)))

    with pytest.raises(RecipeError, match=r"no band 'nir1' or 'red' \(it has pan\)"):
        pan.spacenet.ndvi()
    with pytest.raises(RecipeError, match=r"no band 'blue' or 'green' \(it has red, nir1\)"):
        cube.sel(band=["red", "nir1"]).spacenet.rgb()


def test_a_dropped_variable_is_named(cube):
    with pytest.raises(RecipeError, match=r"no variable 'source_index'.*keep 'source_index'"):
        cube[["image"]].spacenet.ndvi()


def test_parts_of_cubes_keep_working(cube):
    bands = cube.sel(band=["nir1", "red"])
    row = cube.isel(y=7)
    corner = cube.isel(y=slice(-5, None), x=slice(-5, None))

    expected = ndvi_by_numpy(IMAGE, VALID)
    np.testing.assert_allclose(bands.spacenet.ndvi().values, expected, atol=1e-6)
    np.testing.assert_allclose(row.spacenet.ndvi().values, expected[7], atol=1e-6)
    assert corner.spacenet.ndvi().isnull().all()
    assert (corner.spacenet.rgb() == 0).all()
    assert row.spacenet.rgb().dims == ("x", "rgb")
    assert cube.isel(x=slice(0, 0)).spacenet.ndvi().values.shape == (301, 0)


def test_a_cube_opened_by_plain_xarray_has_the_accessor_too(url, cube):
    with xr.open_zarr(url, decode_coords="all") as plain:
        ndvi = plain.spacenet.ndvi().values
        picture = plain.spacenet.rgb().values

    np.testing.assert_allclose(ndvi, cube.spacenet.ndvi().values, atol=1e-6)
    np.testing.assert_array_equal(picture > 0, cube.spacenet.rgb().values > 0)


def test_a_cube_without_dask_gives_the_same(url, cube):
    eager = open_cube(url, chunks=None)

    np.testing.assert_array_equal(eager.spacenet.rgb().values, cube.spacenet.rgb().values)
    np.testing.assert_array_equal(eager.spacenet.ndvi().values, cube.spacenet.ndvi().values)


def test_bands_in_chunks_of_their_own_give_the_same(url, cube):
    split = open_cube(url, chunks={"band": 1})

    np.testing.assert_array_equal(split.spacenet.rgb().values, cube.spacenet.rgb().values)


def test_scenes_are_a_table_by_source_index(cube):
    scenes = cube.spacenet.scenes

    assert list(scenes.index) == [1, 2]
    assert scenes.loc[1, "id"] == "15OCT22183656-M2AS_R1C1-055649178030_01_P001.TIF"
    assert scenes.loc[1, "acquired"].isoformat() == "2015-10-22T18:36:56+00:00"
    assert scenes["acquired"].isna().tolist() == [False, True]


def test_levels_are_those_of_the_whole_cube_wherever_one_stands(url, cube):
    there = cube.spacenet.levels

    assert there[0] == Level(0, ".", (301, 210), (1.08e-5, 1.08e-5))
    assert [level.name for level in there[1:]] == ["ovr_2x", "ovr_4x", "ovr_8x", "ovr_16x"]
    assert there[-1].shape_yx == (19, 14)
    assert open_cube(url, level=2).isel(y=slice(3)).spacenet.levels == there


def test_a_dataset_that_is_no_cube_is_told_so():
    with pytest.raises(RecipeError, match="take it from open_cube"):
        levels({})
    with pytest.raises(RecipeError, match="take it from open_cube"):
        _ = xr.Dataset().spacenet.scenes
    with pytest.raises(RecipeError, match="it has none"):
        xr.Dataset().spacenet.ndvi()


def test_plot_draws_the_whole_cube_and_parts_in_true_proportions(cube):
    for part in (cube, cube.isel(y=slice(20, 60), x=slice(10, 90))):
        axes = Figure().add_subplot()

        image = part.spacenet.plot(ax=axes)

        assert image.get_array().shape[-1] == 4
        assert axes.get_title() == "AOI_2_Vegas MUL"
        assert axes.get_aspect() == pytest.approx(1.24, abs=0.01)


def test_plot_without_matplotlib_says_what_to_install(cube, monkeypatch):
    monkeypatch.setattr("spacenet_cube.cube.analysis.dataset.find_spec", lambda _name: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'spacenet-cube\[viewer\]'"):
        cube.spacenet.plot()


def test_drawing_leaves_matplotlib_as_it_was(cube):
    before = dict(mpl.rcParams)

    cube.spacenet.plot(ax=Figure().add_subplot())

    assert dict(mpl.rcParams) == before
