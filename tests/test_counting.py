"""Coverage and statistics: numpy's figures of the whole array, in one pass of blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Geod

from spacenet_cube.cube.analysis.dataset import grid_of
from spacenet_cube.cube.analysis.formulas.area import pixel_area_m2
from spacenet_cube.cube.analysis.formulas.tally import merged, percentiles_of, tally
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError
from tests.fake_cube import MUL, Fake, pixels, sources, write_cube
from tests.shares import count

WANTED = (0, 2, 33.3, 50, 98, 100)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url):
    return open_cube(url)


def test_statistics_equal_numpy_on_the_whole_array(cube):
    found = cube.spacenet.statistics(percentiles=WANTED).compute()

    valid = sources(Fake()) > 0
    for band, plane in zip(MUL, pixels(Fake()), strict=True):
        values, here = plane[valid].astype(float), found.sel(band=band)
        assert here["count"] == values.size
        assert (here["min"], here["max"]) == (values.min(), values.max())
        assert here["mean"].item() == pytest.approx(values.mean(), rel=1e-12)
        assert here["std"].item() == pytest.approx(values.std(), rel=1e-12)
        np.testing.assert_allclose(here["percentiles"], np.percentile(values, WANTED), rtol=1e-12)
        counts = np.bincount(plane[valid], minlength=65536)
        np.testing.assert_array_equal(here["histogram"], counts)


def test_statistics_of_an_index_are_near_numpys(cube):
    ndvi = cube.spacenet.ndvi()

    found = cube.spacenet.statistics(ndvi, percentiles=WANTED).compute()

    values = ndvi.values[np.isfinite(ndvi.values)].astype(float)
    assert list(found.band.values) == ["ndvi"]
    assert found["count"].item() == values.size
    assert found["std"].item() == pytest.approx(values.std(), rel=1e-9)
    exact = np.percentile(values, WANTED)
    np.testing.assert_allclose(found["percentiles"][:, 0], exact, rtol=0.008, atol=1e-30)
    assert found["percentiles"].attrs == {"units": "1"}


@settings(max_examples=count(20, of=80))
@given(
    image=st.sampled_from(["uint8", "int16", "uint16", "float32", "int32"]).flatmap(
        lambda dtype: arrays(dtype, (2, 5, 4), elements=_elements(dtype))
    ),
    cut=st.integers(0, 5),
)
def test_two_tallies_merged_are_the_tally_of_both(image, cut):
    valid = np.arange(20).reshape(5, 4) % 3 > 0

    whole = tally(image, valid)
    both = merged([tally(image[:, :cut], valid[:cut]), tally(image[:, cut:], valid[cut:])])

    np.testing.assert_array_equal(both.counts, whole.counts)
    np.testing.assert_allclose(both.mean, whole.mean, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(both.squares, whole.squares, rtol=1e-6, atol=1e-3)
    expected = np.percentile(image[:, valid].astype(float), (10, 90), axis=1)
    exact = image.dtype.itemsize <= 2
    # A percentile between two far values inherits an error from each.
    slack = 0 if exact else np.abs(image[:, valid].astype(float)).max() / 128
    found = percentiles_of(both, image.dtype, (10, 90))
    np.testing.assert_allclose(found, expected, rtol=1e-9 if exact else 0.008, atol=slack)


def _elements(dtype):
    if dtype.startswith("float"):
        return st.floats(-1e6, 1e6, width=32)
    limits = np.iinfo(dtype)
    return st.integers(int(limits.min), int(limits.max))


def test_what_is_not_finite_is_not_counted():
    image = np.array([[[1.0, np.nan, np.inf, 3.0]]], "float32")

    found = tally(image, np.ones((1, 4), bool))

    assert (found.count[0], found.least[0], found.greatest[0]) == (2, 1, 3)


def test_nothing_valid_has_no_figures_and_does_not_warn(cube):
    corner = cube.isel(y=slice(-5, None), x=slice(-5, None))

    found = corner.spacenet.statistics().compute()

    assert (found["count"] == 0).all()
    assert found[["min", "max", "mean", "std", "percentiles"]].to_array().isnull().all()


def test_percentiles_and_arrays_that_make_no_sense_are_refused(cube):
    with pytest.raises(RecipeError, match="within 0 to 100"):
        cube.spacenet.statistics(percentiles=(2, 101))
    with pytest.raises(RecipeError, match="not on the pixels of a cube"):
        cube.spacenet.statistics(cube.isel(y=slice(5)).spacenet.ndvi())


def test_coverage_counts_the_pixels_of_each_scene(cube):
    found = cube.spacenet.coverage().compute()

    index = sources(Fake())
    counts = [(index == 1).sum(), (index == 2).sum()]
    assert found.pixels.values.tolist() == counts
    np.testing.assert_allclose(found.share, np.array(counts) / index.size)
    area = pixel_area_m2(grid_of(cube))[:, None] * np.ones(index.shape) / 1e6
    np.testing.assert_allclose(found.area_km2, [area[index == k].sum() for k in (1, 2)])
    assert found.attrs["total_area_km2"] == pytest.approx(area.sum())


def test_the_area_of_a_row_is_that_of_geographiclib(cube):
    grid = grid_of(cube)

    found = pixel_area_m2(grid)

    # Edges along a parallel are no geodesics; over 1e-5 degrees that makes no difference.
    west, north = grid.transform @ (0, 100)
    east, south = grid.transform @ (1, 101)
    area_m2, _ = Geod(ellps="WGS84").polygon_area_perimeter(
        [west, west, east, east], [north, south, south, north]
    )
    assert found[100] == pytest.approx(area_m2, rel=1e-6)
    assert found.shape == (301,)


def test_an_approximate_coverage_reads_an_overview(url, monkeypatch):
    monkeypatch.setattr("spacenet_cube.cube.analysis.statistics._COARSE_PX", 700)
    cube = open_cube(url)
    part = cube.isel(y=slice(100, 280), x=slice(20, 180))

    exact = part.spacenet.coverage().compute()
    found = part.spacenet.coverage(approximate=True).compute()

    assert found.attrs["pixel_size"] == pytest.approx(8 * 1.08e-5)
    assert found.share.sum().item() == pytest.approx(exact.share.sum().item(), abs=0.05)
    masked = part.assign(source_index=part.source_index * (part.x > part.x[40]))
    counted = masked.spacenet.coverage(approximate=True).compute()
    assert counted.equals(masked.spacenet.coverage().compute())


def test_metric_pixels_have_the_area_of_their_edges(tmp_path):
    fake = Fake(crs="EPSG:32611", pixel_size=2.0, upper_left_xy=(650_000.0, 4_000_000.0))
    cube = open_cube(write_cube(tmp_path, fake))

    found = cube.spacenet.coverage().compute()

    np.testing.assert_allclose(found.area_km2, found.pixels * 4e-6)
