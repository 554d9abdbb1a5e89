"""Metric grids and coarser ones: GDAL's figures, whatever the blocks."""

from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject

from spacenet_cube.cube.analysis.dataset import grid_of
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.overview import halve
from spacenet_cube.raster.pixels import Pixels
from spacenet_cube.raster.shrink import shrink
from tests.fake_cube import Fake, pixels, sources, write_cube
from tests.shares import count

WEST, NORTH = Fake().upper_left_xy
PX = Fake().pixel_size


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url):
    return open_cube(url)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_a_metric_cube_is_what_gdal_makes_of_the_whole(cube, resampling):
    found = cube.spacenet.to_metric(0.9, resampling=resampling).compute()

    grid, source = grid_of(found), grid_of(cube)
    image = np.where(sources(Fake()) > 0, pixels(Fake()), 0)
    expected = np.zeros(found.image.shape, "uint16")
    reproject(
        image, expected, src_transform=source.transform, src_crs=4326, src_nodata=0,
        dst_transform=grid.transform, dst_crs=32611, dst_nodata=0, tolerance=0,
        resampling=Resampling[resampling],
    )  # fmt: skip
    valid = (found.source_index.values > 0) & expected.any(0)
    apart = np.abs(found.image.values.astype(int) - expected)[:, valid]
    assert found.rio.crs == "EPSG:32611"
    # GDAL may compute in single precision here, and leaves single zeros of a band out.
    assert np.percentile(apart, 99.9) <= (0 if resampling == "nearest" else 2)
    assert valid.sum() > 0.98 * max((found.source_index > 0).sum().item(), expected.any(0).sum())


def test_blocks_make_no_seams(cube, monkeypatch):
    whole = cube.spacenet.to_metric(1.5, resampling="cubic").compute()
    monkeypatch.setattr("spacenet_cube.cube.analysis.regrid._BLOCK_PX", 37)

    cut = cube.spacenet.to_metric(1.5, resampling="cubic")

    assert len(cut.image.chunks[1]) > 4
    np.testing.assert_array_equal(cut.image.values, whole.image.values)
    np.testing.assert_array_equal(cut.source_index.values, whole.source_index.values)


def test_edges_lie_on_multiples_of_the_resolution_and_hold_the_ground(cube):
    found = cube.spacenet.to_metric()

    grid = grid_of(found)
    assert grid.resolution_xy == (1.2, 1.2)
    edges = np.array([grid.transform.c, grid.transform.f]) / 1.2
    np.testing.assert_allclose(edges, np.round(edges), atol=1e-9)
    ours, theirs = (each.spacenet.coverage().area_km2.sum().compute() for each in (found, cube))
    assert ours.item() == pytest.approx(theirs.item(), rel=0.005)


def test_fill_never_bleeds_into_data(cube):
    cube["image"] = cube.image.where(cube.source_index == 0, 700).astype("uint16")

    found = cube.spacenet.to_metric(0.7, resampling="cubic")

    assert set(np.unique(found.image.values)) == {0, 700}
    assert set(np.unique(found.source_index.values)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("resolution", "options", "says"),
    [
        (1.0, {"crs": "EPSG:4326"}, "EPSG:4326 counts degrees"),
        (1.0, {"crs": "EPSG:0"}, "CRS 'EPSG:0' is unknown"),
        (-1.0, {}, "is no pixel size; give metres above 0"),
        (1.0, {"resampling": "sharp"}, "no resampling 'sharp' here"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(cube, resolution, options, says):
    with pytest.raises(RecipeError, match=says):
        cube.spacenet.to_metric(resolution, **options)


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_a_power_of_two_is_an_overview_as_it_is_stored(url, cube, factor):
    found = cube.spacenet.coarsen(factor)

    assert found.equals(open_cube(url, level=factor.bit_length() - 1))


def test_a_part_on_the_overviews_edges_is_a_part_of_the_cube_coarsened(cube):
    part = cube.isel(y=slice(32, 144), x=slice(16, 96))

    whole, found = cube.spacenet.coarsen(4), part.spacenet.coarsen(4)

    assert found.equals(whole.isel(y=slice(8, 36), x=slice(4, 24)))


@pytest.mark.parametrize("factor", [2, 4, 6])
def test_a_part_between_the_overviews_edges_is_coarsened_from_its_own_corner(cube, factor):
    part = cube.isel(y=slice(33, 150), x=slice(17, 99))

    found = part.spacenet.coarsen(factor)

    alone = part.compute().drop_encoding().spacenet.coarsen(factor)
    assert found.rio.bounds()[0] == pytest.approx(part.rio.bounds()[0], abs=1e-12)
    assert found.rio.bounds()[3] == pytest.approx(part.rio.bounds()[3], abs=1e-12)
    np.testing.assert_array_equal(found.image.values, alone.image.values)
    np.testing.assert_array_equal(found.source_index.values, alone.source_index.values)


def test_a_clip_coarsened_is_made_of_the_pixels_inside_alone(cube):
    ring = shapely.Point(WEST + 100 * PX, NORTH - 130 * PX).buffer(60 * PX)
    part = cube.spacenet.clip(ring)

    found = part.spacenet.coarsen(4)

    alone = part.compute().drop_encoding().spacenet.coarsen(4)
    inside = found.source_index.values > 0
    assert found.sizes["x"] <= 31
    assert inside.mean() == pytest.approx(np.pi / 4, abs=0.06)
    np.testing.assert_array_equal(found.image.values, alone.image.values)
    np.testing.assert_array_equal(found.source_index.values, alone.source_index.values)


def test_what_was_computed_is_coarsened_itself_and_not_the_stored_overview(cube):
    doubled = cube.assign(image=(cube.image * 2).assign_attrs(cube.image.attrs))

    found = doubled.spacenet.coarsen(2)

    block = np.where(sources(Fake()) > 0, pixels(Fake()), 0)[:, :300, :].reshape(8, 150, 2, 105, 2)
    valid = (sources(Fake())[:300] > 0).reshape(150, 2, 105, 2).all((1, 3))
    expected = np.floor(2 * block.mean((2, 4)) + 0.5)
    np.testing.assert_array_equal(found.image.values[:, :150][:, valid], expected[:, valid])


def test_a_single_band_stays_single(cube):
    band = cube.sel(band="red")

    found = band.spacenet.coarsen(6)

    assert found.image.dims == ("y", "x")
    np.testing.assert_array_equal(found.image, cube.spacenet.coarsen(6).image.sel(band="red"))


@pytest.mark.parametrize(
    "options", [{}, {"factor": 2, "resolution": 1.0}, {"factor": 0}, {"resolution": 0}]
)
def test_a_factor_that_makes_no_sense_is_refused(cube, options):
    with pytest.raises(RecipeError, match="give one"):
        cube.spacenet.coarsen(**options)


@settings(max_examples=count(15, of=60))
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_shrinking_by_two_is_halving(seed, shape, dtype):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 3, shape).astype("uint16")
    image = np.where(index > 0, rng.integers(1, 250, (2, *shape)), 0).astype(dtype)

    found, expected = shrink(Pixels(image, index), 2, 0), halve(Pixels(image, index), 0)

    np.testing.assert_allclose(found.image, expected.image, rtol=1e-6)
    np.testing.assert_array_equal(found.source_index, expected.source_index)


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    factor=st.integers(2, 6),
    scenes=st.sampled_from([1, 2, 5, 60]),
)
def test_source_index_is_the_most_frequent_scene_and_the_first_in_reading_order_among_equals(
    seed, shape, factor, scenes
):
    index = np.random.default_rng(seed).integers(0, scenes + 1, shape).astype("uint16")

    found = shrink(Pixels(index[None], index), factor, 0).source_index

    for (row, col), chosen in np.ndenumerate(found):
        cell = index[row * factor : (row + 1) * factor, col * factor : (col + 1) * factor]
        votes = Counter(cell[cell > 0].tolist())
        # A Counter keeps the order in which it met its keys.
        assert chosen == (max(votes, key=votes.__getitem__) if votes else 0)
