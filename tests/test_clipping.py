"""Clips: whole pixels, exactly those within, and masks drawn block by block."""

from itertools import pairwise

import geopandas
import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers .rio, the oracle
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from spacenet_cube.cube.analysis.dataset import grid_of
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError
from tests.fake_cube import Fake, write_cube
from tests.shares import count

WEST, NORTH = Fake().upper_left_xy
PX = Fake().pixel_size
ROUND = shapely.Point(WEST + 100.3 * PX, NORTH - 130.2 * PX).buffer(60.7 * PX)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url):
    return open_cube(url)


def bounds(left, top, right, bottom):
    """Bounds by pixel numbers."""
    return (WEST + left * PX, NORTH - bottom * PX, WEST + right * PX, NORTH - top * PX)


def test_bounds_on_pixel_edges_give_those_pixels(cube):
    found = cube.spacenet.clip(bounds(10, 20, 50, 70))

    assert found.equals(cube.isel(x=slice(10, 50), y=slice(20, 70)))
    assert found.attrs == cube.attrs
    assert grid_of(found).transform.c == WEST + 10 * PX


@pytest.mark.parametrize("rows", range(1, 6))
@pytest.mark.parametrize("columns", range(4))
def test_a_table_is_clipped_to_its_rows_however_many_rows_and_columns_it_has(cube, rows, columns):
    boxes = [shapely.box(*bounds(10 * k, 10 * k, 10 * k + 10, 10 * k + 10)) for k in range(rows)]
    more = {f"column{k}": range(rows) for k in range(columns)}
    table = geopandas.GeoDataFrame(more, geometry=boxes, crs=4326)

    for region in (table, table.geometry):
        found = cube.spacenet.clip(region)
        assert (found.sizes["y"], found.sizes["x"]) == (10 * rows, 10 * rows)


@settings(max_examples=count(15, of=60), deadline=None)
@given(cuts=st.lists(st.floats(0, 210), min_size=2, max_size=6, unique=True))
def test_bounds_that_abut_share_no_column_and_leave_none_out(url, cuts):
    cube = open_cube(url, chunks=None)
    edges = sorted({0.0, 210.0, *cuts})
    kept = []

    for left, right in pairwise(edges):
        try:
            kept += cube.spacenet.clip(bounds(left, 0, right, 301)).x.values.tolist()
        except RecipeError:
            assert right - left < 1

    assert kept == cube.x.values.tolist()


def test_a_polygon_masks_as_gdal_does_on_the_whole(cube):
    found = cube.spacenet.clip(ROUND)

    expected = cube.image.rio.clip([ROUND], crs=4326, drop=False).sel(y=found.y, x=found.x)
    assert found.image.chunks is not None
    assert len(found.image.chunks[1]) > 1
    np.testing.assert_array_equal(found.image.values, expected.values)
    assert found.image.dtype == np.uint16
    assert found.image.attrs == cube.image.attrs
    inside = found.source_index.values > 0
    np.testing.assert_array_equal(inside, found.image.values.any(0))


def test_every_way_of_naming_a_polygon_is_the_same(cube):
    expected = cube.spacenet.clip(ROUND).compute()
    frame = geopandas.GeoDataFrame({"n": [1]}, geometry=[ROUND], crs=4326)
    mapping = shapely.geometry.mapping(ROUND)

    for region in (
        frame,
        frame.geometry,
        mapping,
        {"type": "Feature", "geometry": mapping, "properties": {}},
        {"type": "FeatureCollection", "features": [{"geometry": mapping}]},
    ):
        assert cube.spacenet.clip(region).equals(expected)
    in_metres = cube.spacenet.clip(frame.to_crs(32611))
    assert (in_metres.source_index > 0).sum() == (expected.source_index > 0).sum()


def test_bounds_in_another_crs_become_those_that_enclose_them(cube):
    metres = geopandas.GeoSeries([shapely.box(*bounds(10, 20, 50, 70))], crs=4326).to_crs(32611)

    found = cube.spacenet.clip(metres.total_bounds, crs=32611)

    assert found.x[0] <= cube.x[10]
    assert found.y[-1] <= cube.y[69]
    assert found.sizes["x"] <= 44


def test_a_clip_of_a_clip_and_of_a_level_keep_working(url):
    level = open_cube(url, level=1)

    twice = level.spacenet.clip(ROUND).spacenet.clip(ROUND.buffer(-20 * PX))

    once = level.spacenet.clip(ROUND.buffer(-20 * PX))
    assert twice.equals(once)


def test_a_clip_in_memory_is_that_of_dask(url, cube):
    eager = open_cube(url, chunks=None).spacenet.clip(ROUND)

    assert eager.equals(cube.spacenet.clip(ROUND).compute())


def test_holes_and_features_apart_are_masked(cube):
    ring = ROUND.difference(ROUND.buffer(-30 * PX))
    far = shapely.box(*bounds(180, 10, 190, 20))
    frame = geopandas.GeoDataFrame(geometry=[ring, far, shapely.Point()], crs=4326)

    found = cube.spacenet.clip(frame)

    expected = cube.image.rio.clip([ring, far], crs=4326, drop=False).sel(y=found.y, x=found.x)
    np.testing.assert_array_equal(found.image.values, expected.values)


@pytest.mark.parametrize(
    ("region", "crs", "says"),
    [
        ((0, 0, 1, 1), None, r"holds no pixel of the cube, which lies within \(-115\.3"),
        ((36.26, -115.3, 36.27, -115.2), None, "check the order west, south, east, north"),
        ((2, 0, 1, 1), None, "enclose nothing"),
        (shapely.Point(), None, "holds no polygon"),
        (17, None, "a region cannot be int"),
    ],
)
def test_a_region_that_gives_nothing_is_refused_with_the_mend(cube, region, crs, says):
    with pytest.raises(RecipeError, match=says):
        cube.spacenet.clip(region, crs=crs)


def test_a_plot_of_a_clip_shows_the_clip_alone(cube):
    from matplotlib.figure import Figure  # noqa: PLC0415 - only here

    whole = shapely.box(*cube.rio.bounds()).difference(ROUND)

    image = cube.spacenet.clip(whole).spacenet.plot(ax=Figure().add_subplot())

    assert (image.get_array()[120:140, 90:110, 3] == 0).all()
