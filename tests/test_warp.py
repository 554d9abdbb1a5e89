"""Warping: what a pixel becomes depends on the scene and the grid, and on nothing else."""

from dataclasses import replace
from math import floor

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from spacenet_cube.plans.placement import grown
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.warp import Lattice, operation, scene_window, warp_of
from tests.scenes import product, recipe
from tests.shares import count
from tests.warping import KERNELS, RIO, chip, in_one_go, made_of, noise, only_warp

few = settings(max_examples=count(6, of=12))


@st.composite
def deliveries(draw, rules=("first", "last", "min", "max", "mean", "median", "feather")):
    """A plan of turned and overlapping scenes with gaps on a metric grid, and their samples."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "float32"]))
    scenes, images = [], {}
    for number in range(draw(st.integers(1, 3))):
        shape = draw(st.tuples(st.integers(8, 60), st.integers(8, 60)))
        at = (-43.5 + rng.uniform(0, 6e-4), -22.9 + rng.uniform(0, 6e-4))
        turn = draw(st.sampled_from([0.0, 0.0, 13.0, 45.0, 90.0, 200.0]))
        pixel = draw(st.sampled_from([1.8e-5, 1.7e-5, 0.9e-5]))
        one = chip(
            f"s{number}.tif", shape_yx=shape, at=at, pixel=pixel, turn=turn, dtype=dtype, count=2
        )
        scenes.append(one)
        images[one.id] = noise(rng, (2, *shape), dtype)
    grid = {
        "crs": "utm",
        "resolution": draw(st.sampled_from([2.0, 1.3, 5.0, [1.0, 2.0]])),
        "resampling": draw(st.sampled_from(KERNELS)),
    }
    wanted = product(
        count=2, grid=grid, mosaic=draw(st.sampled_from(rules)), feather_px=draw(st.integers(1, 9))
    )
    return plan(recipe(wanted), "P", scenes), images


@few
@given(delivery=deliveries(), edge=st.integers(5, 90))
def test_units_of_any_size_give_the_same_bits(delivery, edge):
    made, images = delivery
    for one, other in zip(made_of(made, images), made_of(made, images, edge), strict=True):
        np.testing.assert_array_equal(one, other)


@few
@given(delivery=deliveries(), data=st.data())
def test_a_cut_out_build_gives_the_bits_of_the_whole(delivery, data):
    whole, images = delivery
    rows, cols = whole.grid.shape_yx
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    block = Block(row, col, min(height, rows - row), min(width, cols - col))
    box = replace(whole.grid, shape_yx=(block.height, block.width))
    west, north = whole.grid.transform @ (col, row)
    a, e = whole.grid.transform.a, whole.grid.transform.e
    seats = tuple(
        replace(
            seat,
            block=seat.block.relative_to(block),
            warp=replace(
                seat.warp, corner_xy=(seat.warp.corner_xy[0] + col, seat.warp.corner_xy[1] + row)
            ),
        )
        for seat in whole.seats
    )
    part = replace(whole, grid=replace(box, transform=Affine(a, 0, west, 0, e, north)), seats=seats)

    image, index = made_of(whole, images)
    cut_image, cut_index = made_of(part, images, edge=32)

    np.testing.assert_array_equal(cut_image, image[:, *block.yx])
    np.testing.assert_array_equal(cut_index, index[block.yx])


def off_the_edge(made):
    """Pixels of the grid whose own source pixels all lie inside the scene (y, x)."""
    row, col = np.indices([size + 1 for size in made.grid.shape_yx])
    x, y = only_warp(made).to_scene(col.astype(float), row.astype(float))
    rows, cols = made.scenes[0].shape_yx
    inside = (x > 0) & (x < cols) & (y > 0) & (y < rows)
    return inside[1:, 1:] & inside[1:, :-1] & inside[:-1, 1:] & inside[:-1, :-1]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("resolution", [2.0, 5.0])
def test_units_differ_from_one_whole_exact_warp_nowhere_more_than_by_rounding(kernel, resolution):
    rng = np.random.default_rng(7)
    one = chip(shape_yx=(200, 190), dtype="uint16")
    image = noise(rng, (3, 200, 190), "uint16")
    grid = {"crs": "utm", "resolution": resolution, "resampling": kernel}
    made = plan(recipe(product(grid=grid)), "P", [one])

    found, index = made_of(made, {one.id: image}, edge=37)

    wanted = in_one_go(made, one, image, kernel)
    np.testing.assert_array_equal(index > 0, (wanted != 0).any(axis=0))
    off = np.abs(found.astype(int) - wanted)
    if kernel in {"average", "rms", "mode"}:
        # At a scene's edge GDAL gives whole weight to pixels that it half covers; see below.
        off = off[:, off_the_edge(made)]
    # Coordinates differ from GDAL's in the ninth digit, so here and there a sum rounds apart.
    assert (off > 0).mean() < 1e-3
    assert off.max() <= 1
    if off.ndim == wanted.ndim:
        at_border = np.zeros(wanted.shape[1:], bool)
        for place in (0, 36):
            at_border[place::37] = at_border[:, place::37] = True
        assert (off[:, at_border] > 0).mean() <= (off[:, ~at_border] > 0).mean() + 1e-3


def test_an_average_weighs_source_pixels_by_what_the_target_pixel_covers():
    rng = np.random.default_rng(7)
    one = chip(shape_yx=(60, 50), dtype="float64", count=1)
    image = noise(rng, (1, 60, 50), "uint16").astype(float)
    grid = {"crs": "utm", "resolution": 7.0, "resampling": "average"}
    made = plan(recipe(product(count=1, grid=grid)), "P", [one])

    found, index = made_of(made, {one.id: image}, edge=5)

    warp = only_warp(made)
    for row, col in np.argwhere(index > 0):
        x, y = warp.to_scene(np.array([col, col + 1.0]), np.array([row, row + 1.0]))
        weight_x = covered(x, 50)
        weight = covered(y, 60)[:, None] * weight_x * (image[0] != 0)
        assert found[0, row, col] == pytest.approx((weight * image[0]).sum() / weight.sum())


def covered(ends, size):
    """How much of each of so many pixels lies between two places."""
    low, high = sorted(ends)
    place = np.arange(size)
    return np.clip(np.minimum(place + 1, high) - np.maximum(place, low), 0, 1)


def test_geometry_is_exact_to_a_millionth_of_a_pixel_and_no_worse_at_unit_borders():
    one = chip(shape_yx=(400, 380))
    grid = {"crs": RIO, "resolution": 0.5}
    made = plan(recipe(product(grid=grid)), "P", [one])
    warp = only_warp(made)
    rows, cols = (made.grid.shape_yx[0], made.grid.shape_yx[1])
    col, row = np.meshgrid(np.arange(0, cols, 7) + 0.5, np.arange(0, rows, 7) + 0.5)

    found = warp.to_scene(col, row)

    a, e = made.grid.transform.a, made.grid.transform.e
    x, y = made.grid.transform.c + col * a, made.grid.transform.f + row * e
    lon, lat = Transformer.from_crs(RIO, "EPSG:4326", always_xy=True).transform(x, y)
    inverse = ~one.transform
    np.testing.assert_allclose(found[0], inverse.a * lon + inverse.c, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1], inverse.e * lat + inverse.f, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "lanczos", "average"])
def test_a_ramp_stays_where_it_is_on_the_ground(kernel):
    one = chip(shape_yx=(120, 130), dtype="float64", count=2)
    row, col = np.mgrid[:120, :130] + 0.5
    grid = {"crs": RIO, "resolution": 1.8, "resampling": kernel}
    made = plan(recipe(product(count=2, grid=grid)), "P", [one])

    found, index = made_of(made, {one.id: np.stack([row, col])}, edge=33)

    x, y = only_warp(made).to_scene(*(np.indices(index.shape)[::-1] + 0.5))
    inner = (index > 0) & (x > 6) & (x < 124) & (y > 6) & (y < 114)
    most = {"nearest": 0.51, "average": 0.51, "lanczos": 0.03}.get(kernel, 1e-6)
    assert np.abs(found[0][inner] - y[inner]).max() < most
    assert np.abs(found[1][inner] - x[inner]).max() < most


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_bleeds_into_valid_pixels_and_nothing_valid_is_lost(kernel):
    one = chip(shape_yx=(80, 80), dtype="uint8", count=2)
    image = np.full((2, 80, 80), 200, np.uint8)
    image[:, 20:40, 30:50] = 0
    image[0, 60:70, 10:20] = 0
    grid = {"crs": RIO, "resolution": 2.0, "resampling": kernel}
    made = plan(recipe(product(count=2, grid=grid)), "P", [one])

    found, index = made_of(made, {one.id: image})

    assert set(np.unique(found[1][index > 0])) == {200}
    assert set(np.unique(found[:, index == 0])) <= {0}
    if kernel not in {"average", "mode", "min", "max", "med", "q1", "q3", "rms"}:
        row, col = np.indices(index.shape) + 0.5
        x, y = only_warp(made).to_scene(col, row)
        at = np.floor([y, x]).astype(int)
        inside = ((at >= 0) & (at < 80)).all(axis=0)
        held = np.zeros(index.shape, bool)
        held[inside] = image[1][at[0][inside], at[1][inside]] > 0
        np.testing.assert_array_equal(index > 0, held)


def test_integers_are_rounded_half_up_and_clipped():
    image = np.zeros((1, 40, 40), np.uint8)
    image[0, :, :20], image[0, :, 20:] = 255, 1
    one = chip(shape_yx=(40, 40), dtype="uint8", count=1)
    grid = {"crs": RIO, "resolution": 1.0, "resampling": "lanczos"}
    made = plan(recipe(product(count=1, grid=grid)), "P", [one])

    found, index = made_of(made, {one.id: image})

    # Overshoot beyond 255 stays 255 and undershoot below 0 stays 0, which would be nodata: 1.
    assert found[0][index > 0].max() == 255
    assert found[0][index > 0].min() == 1


@few
@given(
    data=st.data(),
    kernel=st.sampled_from(KERNELS),
    turn=st.floats(0, 360),
    resolution=st.floats(0.4, 20),
)
def test_a_window_holds_every_source_pixel_that_its_block_needs(data, kernel, turn, resolution):
    one = chip(shape_yx=(500, 500), turn=turn)
    lattice = Lattice(Affine(resolution, 0, 0, 0, -resolution, 0), RIO)
    warp = warp_of(one.transform, one.crs, one.shape_yx, lattice, kernel)
    x, y = warp.to_grid(np.array([250.0]), np.array([250.0]))
    size = data.draw(st.integers(1, 90))
    block = Block(floor(y[0]) - 10, floor(x[0]) - 10, size, size)

    window = scene_window(warp, one.shape_yx, block)

    row, col = np.mgrid[: block.height, : block.width] + 0.5
    cols, rows = warp.to_scene(col + block.col, row + block.row)
    radius = {"nearest": 0, "bilinear": 1, "cubic": 2, "cubic_spline": 2, "lanczos": 3}
    reach = radius.get(kernel, 0.5) / min(warp.scale_xy)
    near = (rows > -reach) & (rows < 500 + reach) & (cols > -reach) & (cols < 500 + reach)
    if near.any():
        assert window is not None
        assert window.row <= max(0, rows[near].min() - reach)
        assert window.row + window.height >= min(500, rows[near].max() + reach)
        assert window.col <= max(0, cols[near].min() - reach)
        assert window.col + window.width >= min(500, cols[near].max() + reach)
        assert window.intersection(grown(window, 1)) == window


def test_one_crs_needs_no_operation_and_an_unknown_way_is_an_error():
    assert operation(RIO, RIO) == ""
    assert "+proj=utm" in operation("EPSG:4326", RIO)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_tile_without_gaps_gets_the_bits_that_it_gets_beside_one(kernel, dtype):
    # GDAL takes another path where nothing is missing; at full range its rounding would show.
    rng = np.random.default_rng(3)
    image = rng.integers(1, np.iinfo(dtype).max, (1, 110, 100)).astype(dtype)
    one = chip(shape_yx=(110, 100), dtype=dtype, count=1)
    grid = {"crs": RIO, "resolution": 1.5, "resampling": kernel}
    made = plan(recipe(product(count=1, grid=grid)), "P", [one])

    whole, _ = made_of(made, {one.id: image}, edge=1000)
    small, _ = made_of(made, {one.id: image}, edge=16)

    np.testing.assert_array_equal(small, whole)
