"""Grids: every pixel once, each where two other libraries say it is."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import array_bounds, xy

from spacenet_cube.raster.grid import Block, Box, Grid, blocks, levels
from tests.scenes import blocks_within

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
degrees = st.sampled_from([2.7e-6, 1.08e-5, 4.4879e-6]), st.floats(-180, 180)
metres = st.sampled_from([0.3, 0.5, 1.0, 30.0]), st.floats(-1e7, 1e7)
MILLIONTH = 1e-6
"""Of a pixel: what rounding may cost where corners are large and pixels small."""


@st.composite
def grids(draw):
    edge, corner = draw(st.sampled_from([degrees, metres]))
    transform = Affine(draw(edge), 0.0, draw(corner), 0.0, -draw(edge), draw(corner))
    return Grid(draw(sizes), transform, "EPSG:32611")


def assert_same_places(found, expected, edge):
    np.testing.assert_allclose(found, expected, rtol=0, atol=MILLIONTH * edge)


@given(shape=sizes, edge=st.integers(1, 45))
def test_blocks_cover_every_pixel_exactly_once(shape, edge):
    painted = np.zeros(shape, int)

    for block in blocks(shape, edge):
        painted[block.yx] += 1

    assert (painted == 1).all()


@given(shape=sizes, edge=st.integers(1, 45))
def test_blocks_run_north_to_south_then_west_to_east_and_start_on_their_edge(shape, edge):
    found = list(blocks(shape, edge))

    assert found == sorted(found)
    assert all(block.row % edge == block.col % edge == 0 for block in found)
    assert max(max(block.height, block.width) for block in found) <= edge


@given(one=blocks_within(12), other=blocks_within(12))
def test_an_intersection_is_the_pixels_that_both_blocks_paint(one, other):
    painted = np.zeros((2, 24, 24), bool)
    painted[0][one.yx] = painted[1][other.yx] = True

    shared = one.intersection(other)

    both = np.zeros((24, 24), bool)
    if shared is not None:
        assert shared.pixels > 0
        both[shared.yx] = True
    np.testing.assert_array_equal(both, painted.all(axis=0))
    assert shared == other.intersection(one)


@given(one=blocks_within(12), other=blocks_within(12), third=blocks_within(12))
def test_intersections_may_be_taken_in_any_order(one, other, third):
    def all_three(a, b, c):
        two = a.intersection(b)
        return two and two.intersection(c)

    assert all_three(one, other, third) == all_three(third, one, other)
    assert one.intersection(one) == one


@given(block=blocks_within(12), origin=blocks_within(12))
def test_a_block_counted_from_another_names_the_same_pixels(block, origin):
    whole = np.arange(24 * 24).reshape(24, 24)
    shared = block.intersection(origin)

    if shared is not None:
        inside = shared.relative_to(origin)
        np.testing.assert_array_equal(whole[origin.yx][inside.yx], whole[shared.yx])
        assert inside.pixels == shared.pixels
    assert block.relative_to(block) == Block(0, 0, block.height, block.width)
    assert block.relative_to(Block(0, 0, 1, 1)) == block


@given(grid=grids())
def test_coordinates_are_those_of_odc_geo(grid):
    y, x = (grid.geobox.coords[dim].values for dim in grid.geobox.dimensions)

    assert_same_places(grid.x, x, grid.resolution_xy[0])
    assert_same_places(grid.y, y, grid.resolution_xy[1])


@given(grid=grids())
def test_coordinates_are_those_of_rasterio(grid):
    rows, cols = grid.shape_yx

    x, _ = xy(grid.transform, np.zeros(cols, int), np.arange(cols))
    _, y = xy(grid.transform, np.arange(rows), np.zeros(rows, int))

    assert_same_places(grid.x, x, grid.resolution_xy[0])
    assert_same_places(grid.y, y, grid.resolution_xy[1])


@given(grid=grids())
def test_the_box_of_a_grid_is_that_of_rasterio_and_odc_geo(grid):
    rows, cols = grid.shape_yx
    box = (grid.box.west, grid.box.south, grid.box.east, grid.box.north)

    assert box == pytest.approx(array_bounds(rows, cols, grid.transform), rel=1e-14)
    assert box == pytest.approx(tuple(grid.geobox.boundingbox), rel=1e-14)


def test_the_last_of_230_thousand_rows_has_not_drifted():
    grid = Grid(
        (232_417, 74_875), Affine(2.7e-6, 0, 2.1109464, 0, -2.7e-6, 49.0767768), "EPSG:4326"
    )
    exact = Fraction(grid.transform.f) - Fraction(grid.transform.e) * -(232_416 + Fraction(1, 2))

    assert abs(Fraction(grid.y[-1]) - exact) < Fraction(1, 10**14)
    assert grid.y.dtype == grid.x.dtype == np.float64
    assert (grid.y.size, grid.x.size) == grid.shape_yx


@given(grid=grids(), smallest=st.integers(1, 20))
def test_every_level_keeps_the_corner_doubles_the_pixel_and_trims_nothing(grid, smallest):
    found = levels(grid, smallest)

    assert found[0] is grid
    for below, above in pairwise(found):
        assert above.shape_yx == tuple(-(-size // 2) for size in below.shape_yx)
        a, b, c, d, e, f = tuple(below.transform)[:6]
        assert tuple(above.transform)[:6] == (2 * a, b, c, d, 2 * e, f)
        assert above.crs == grid.crs
        spare = np.array(above.shape_yx) * 2 - below.shape_yx
        assert ((spare == 0) | (spare == 1)).all()


@given(grid=grids(), smallest=st.integers(1, 20))
def test_levels_end_with_the_first_that_fits(grid, smallest):
    found = levels(grid, smallest)

    assert max(found[-1].shape_yx) <= smallest
    assert all(max(level.shape_yx) > smallest for level in found[:-1])


@given(grid=grids())
def test_an_overview_pixel_lies_amid_the_four_it_is_made_of(grid):
    x, y = grid.x, grid.y
    whole_y, whole_x = (size // 2 for size in grid.shape_yx)

    above = grid.halved

    pairs_x, pairs_y = x[: 2 * whole_x].reshape(-1, 2), y[: 2 * whole_y].reshape(-1, 2)
    assert_same_places(above.x[:whole_x], pairs_x.mean(axis=1), grid.resolution_xy[0])
    assert_same_places(above.y[:whole_y], pairs_y.mean(axis=1), grid.resolution_xy[1])


def test_a_grid_of_one_pixel_is_its_own_and_only_level():
    grid = Grid((1, 1), Affine(2, 0, 10, 0, -4, 20), "EPSG:32611")

    assert levels(grid, 1) == (grid,)
    assert grid.box == Box(west=10, south=16, east=12, north=20)
    assert grid.resolution_xy == (2.0, 4.0)
    assert (grid.x.item(), grid.y.item()) == (11, 18)
