"""Mosaics: each pixel is that of the scene which wins it, and nothing else."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rasterio.merge import merge

from spacenet_cube.builds.unit.mosaic import mosaic, new_pixels
from spacenet_cube.builds.unit.read import reader
from spacenet_cube.errors import SourceError
from spacenet_cube.plans.placement import Seat
from spacenet_cube.plans.plan import STRIPE_ROWS, plan
from spacenet_cube.plans.units import units
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.resample import resample
from spacenet_cube.raster.validity import valid_yx
from tests.scenes import (
    Lattice,
    blocks_within,
    coordinates,
    from_corner,
    geotiff,
    in_memory,
    product,
    recipe,
    write_geotiff,
)

NAN = float("nan")
KINDS = [
    ("uint8", 0.0),
    ("uint8", 255.0),
    ("int8", -128.0),
    ("uint16", 0.0),
    ("int16", -9999.0),
    ("uint32", 4_294_967_295.0),
    ("int32", -2_147_483_648.0),
    ("float32", NAN),
    ("float32", -9999.0),
    ("float64", -1.7976931348623157e308),
]


@st.composite
def deliveries(draw):
    """A plan whose scenes overlap and have holes, and their samples (band, y, x) by name."""
    dtype, nodata = draw(st.sampled_from(KINDS))
    blocks = from_corner(draw(st.lists(blocks_within(9), min_size=1, max_size=4)))
    count = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    wanted = product(count=count, nodata=nodata, mosaic=draw(st.sampled_from(["first", "last"])))
    scenes, images = [], {}
    for number, block in enumerate(blocks):
        tag = draw(st.sampled_from([None, nodata, 7.0, -9999.0]))
        # Few values, so that nodata and the tag turn up in one band, in some and in all.
        usable = [nodata, 7.0, 8.0 + number]
        image = rng.choice(np.array(usable, dtype), (count, block.height, block.width))
        image = np.where(rng.random(image.shape[1:]) < 0.3, np.array(nodata, dtype), image)
        name = f"s{number}.tif"
        images[name] = image
        scenes.append(Lattice().cut(name, block, dtype=dtype, count=count, nodata=tag))
    return plan(recipe(wanted), "P", scenes), images


def made_of(plan, images, *, edge=None, open_scene=None):
    """The whole mosaic, unit by unit: image (band, y, x) and source_index (y, x)."""
    shape = plan.grid.shape_yx
    cut = plan.units if edge is None else units(shape, edge, blocks_of(plan))
    image = np.zeros((len(plan.bands), *shape), plan.dtype)
    index = np.zeros(shape, np.uint16)
    for unit in cut:
        pixels = mosaic(plan, unit, open_scene or in_memory(images), resample)
        image[:, *unit.block.yx] = pixels.image
        index[unit.block.yx] = pixels.source_index
    return image, index


def blocks_of(plan):
    lattice = Lattice()
    return [
        Block(
            round((lattice.north - one.transform.f) / lattice.height),
            round((one.transform.c - lattice.west) / lattice.width),
            *one.shape_yx,
        )
        for one in plan.scenes
    ]


def holds(pixel, nodata, tag):
    """Whether any band of a pixel holds neither value; NaN never holds data."""
    return any(value not in {nodata, tag} and not isnan(value) for value in pixel.tolist())


def expected(plan, images):
    """The same mosaic, as slow and as plain as can be."""
    rows, cols = plan.grid.shape_yx
    nodata = plan.product.nodata
    image = np.full((len(plan.bands), rows, cols), nodata, plan.dtype)
    index = np.zeros((rows, cols), int)
    numbered = list(enumerate(plan.scenes, start=1))
    if plan.product.mosaic == "last":
        numbered.reverse()
    places = blocks_of(plan)
    for row in range(rows):
        for col in range(cols):
            for number, one in numbered:
                at = row - places[number - 1].row, col - places[number - 1].col
                if not (0 <= at[0] < one.shape_yx[0] and 0 <= at[1] < one.shape_yx[1]):
                    continue
                pixel = images[one.id][:, *at]
                if holds(pixel, nodata, one.nodata):
                    kept = [nodata if value == one.nodata else value for value in pixel.tolist()]
                    image[:, row, col], index[row, col] = kept, number
                    break
    return image, index


@given(delivery=deliveries())
def test_a_mosaic_is_what_a_plain_loop_over_scenes_and_pixels_makes(delivery):
    image, index = made_of(*delivery)

    wanted_image, wanted_index = expected(*delivery)
    np.testing.assert_array_equal(index, wanted_index)
    np.testing.assert_array_equal(image, wanted_image)


@given(delivery=deliveries(), edge=st.integers(1, 20))
def test_units_of_any_size_give_the_same_whole(delivery, edge):
    for one, other in zip(made_of(*delivery), made_of(*delivery, edge=edge), strict=True):
        np.testing.assert_array_equal(one, other)


@given(delivery=deliveries())
def test_first_of_scenes_is_last_of_the_same_scenes_reversed(delivery):
    plan, images = delivery
    count = len(plan.scenes)
    blocks = blocks_of(plan)
    other = "last" if plan.product.mosaic == "first" else "first"
    turned = replace(
        plan,
        scenes=plan.scenes[::-1],
        seats=plan.seats[::-1],
        product=plan.product.model_copy(update={"mosaic": other}),
        units=units(plan.grid.shape_yx, 32, blocks[::-1]),
    )

    image, index = made_of(plan, images)
    same_image, renumbered = made_of(turned, images)

    np.testing.assert_array_equal(same_image, image)
    np.testing.assert_array_equal(renumbered, np.where(index > 0, count + 1 - index, 0))


@given(delivery=deliveries())
def test_source_index_says_where_each_pixel_comes_from(delivery):
    plan, images = delivery
    blocks = blocks_of(plan)

    image, index = made_of(plan, images)

    for row, col in np.argwhere(index > 0):
        number = index[row, col] - 1
        pixel = images[plan.scenes[number].id][
            :, row - blocks[number].row, col - blocks[number].col
        ]
        marked = pixel == plan.scenes[number].nodata
        wanted = np.where(marked, np.array(plan.nodata, pixel.dtype), pixel)
        np.testing.assert_array_equal(image[:, row, col], wanted)


@given(delivery=deliveries())
def test_a_pixel_is_valid_or_nodata_and_never_both(delivery):
    plan, images = delivery

    image, index = made_of(plan, images)

    for row, col in np.ndindex(index.shape):
        assert holds(image[:, row, col], plan.nodata, None) == (index[row, col] > 0)


@given(delivery=deliveries())
def test_a_mosaic_of_one_scene_is_that_scene(delivery):
    plan, images = delivery
    only = plan.scenes[0]
    alone = replace(
        plan, scenes=(only,), units=units(only.shape_yx, 32, [Block(0, 0, *only.shape_yx)])
    )
    alone = replace(alone, seats=(Seat(Block(0, 0, *only.shape_yx)),))
    alone = replace(alone, grid=replace(plan.grid, shape_yx=only.shape_yx))
    assume(only.nodata is None or only.nodata == plan.product.nodata)

    image, index = made_of(alone, images)

    np.testing.assert_array_equal(image, images[only.id])
    np.testing.assert_array_equal(index > 0, valid_yx(images[only.id], plan.product.nodata))


def test_scenes_taller_than_a_stripe_are_laid_and_laid_under_row_by_row():
    tall = Block(0, 0, 2 * STRIPE_ROWS + 77, 3)
    scenes = [Lattice().cut(f"{name}.tif", tall, dtype="int32", count=2) for name in "ab"]
    upper, under = coordinates(tall), -coordinates(tall)
    upper[:, STRIPE_ROWS - 1 :: 5, 1] = 0
    made = plan(recipe(product(count=2, shard=1024)), "P", scenes)

    image, index = made_of(made, {"a.tif": upper, "b.tif": under})

    hole = (upper == 0).all(axis=0)
    np.testing.assert_array_equal(index, np.where(hole, 2, 1))
    np.testing.assert_array_equal(image, np.where(hole, under, upper))


def test_every_pixel_of_a_mosaic_knows_its_row_and_column():
    blocks = [
        Block(0, 0, 40, 25),
        Block(0, 25, 35, 30),
        Block(40, 0, 21, 25),
        Block(35, 25, 26, 30),
    ]
    scenes = [
        Lattice().cut(f"s{number}.tif", block, dtype="int32", count=2)
        for number, block in enumerate(blocks)
    ]
    images = {one.id: coordinates(block) for one, block in zip(scenes, blocks, strict=True)}

    image, index = made_of(plan(recipe(product(count=2)), "P", scenes), images)

    np.testing.assert_array_equal(image, coordinates(Block(0, 0, 61, 55)))
    assert (index > 0).all()


def test_more_scenes_than_fit_into_a_byte_keep_their_numbers():
    scenes = [
        Lattice().cut(f"s{number:03}.tif", Block(0, number, 1, 1), count=1) for number in range(300)
    ]
    images = {one.id: np.ones((1, 1, 1), np.uint16) for one in scenes}

    _, index = made_of(plan(recipe(product(count=1)), "P", scenes), images)

    np.testing.assert_array_equal(index[0], np.arange(1, 301))


@pytest.mark.parametrize("rule", ["first", "last"])
def test_a_mosaic_is_what_rasterio_merges_from_the_files(rule, tmp_path):
    rng = np.random.default_rng(5)
    blocks = [Block(0, 0, 40, 30), Block(10, 20, 40, 30), Block(5, 10, 20, 45)]
    scenes, images = [], {}
    for number, block in enumerate(blocks):
        name = f"s{number}.tif"
        image = rng.integers(1, 2000, (1, block.height, block.width), dtype=np.uint16)
        image[0][rng.random(image.shape[1:]) < 0.3] = 0
        one = Lattice().cut(name, block, count=1)
        images[name] = image
        href = write_geotiff(tmp_path / name, image, transform=one.transform)
        scenes.append(replace(one, href=href))
    made = plan(recipe(product(count=1, mosaic=rule)), "P", scenes)

    image, _ = made_of(made, {}, open_scene=reader(made.product.band_indexes))

    with ExitStack() as stack:
        files = [
            stack.enter_context(geotiff(images[one.id], transform=one.transform, nodata=0))
            for one in scenes
        ]
        merged, _ = merge(files, method=rule)
    np.testing.assert_array_equal(image, merged)


def test_bands_are_read_in_the_order_the_recipe_names_them(tmp_path):
    image = coordinates(Block(0, 0, 20, 30), count=3, dtype="float64")
    href = write_geotiff(tmp_path / "a.tif", image)
    one = Lattice().cut("a.tif", Block(0, 0, 20, 30), dtype="float64", href=href)
    bands = ({"name": "third", "index": 3}, {"name": "first", "index": 1})
    made = plan(recipe(product(bands=bands, sensor=None)), "P", [one])

    found, _ = made_of(made, {}, open_scene=reader(made.product.band_indexes))

    np.testing.assert_array_equal(found, image[[2, 0]])


def test_an_error_from_a_read_is_an_error_and_never_nodata():
    closed = []

    @contextmanager
    def broken(_scene, _within):
        def read(_window, _out):
            raise SourceError("scene b.tif cannot be read", scene="b.tif")

        try:
            yield read
        finally:
            closed.append(True)

    made = plan(recipe(), "P", [Lattice().cut("b.tif", Block(0, 0, 4, 4))])

    with pytest.raises(SourceError, match=r"b\.tif cannot be read"):
        mosaic(made, made.units[0], broken, resample)

    assert closed == [True]


def test_a_scene_that_lies_beneath_fills_the_holes_and_never_covers():
    blocks = [Block(0, 0, 2, 2), Block(0, 0, 2, 2)]
    scenes = [
        Lattice().cut(f"{name}.tif", block, count=2)
        for name, block in zip("ab", blocks, strict=True)
    ]
    images = {
        "a.tif": np.array([[[0, 5], [0, 0]], [[0, 0], [6, 0]]], np.uint16),
        "b.tif": np.array([[[9, 9], [9, 0]], [[9, 9], [9, 0]]], np.uint16),
    }

    image, index = made_of(plan(recipe(product(count=2)), "P", scenes), images)

    np.testing.assert_array_equal(index, [[2, 1], [1, 0]])
    np.testing.assert_array_equal(image, [[[9, 5], [0, 0]], [[9, 0], [6, 0]]])


def test_what_winners_hide_is_not_read():
    block = Block(0, 0, 12, 14)
    scenes = [Lattice().cut(name, block) for name in ("a.tif", "b.tif")]
    made = plan(recipe(product()), "P", scenes)
    winner = made.scenes[0]
    images = {winner.id: coordinates(block, 3, winner.dtype) + 1}

    def open_scene(wanted, within):
        assert wanted.id == winner.id, "a scene of which nothing can be seen was opened"
        return in_memory(images)(wanted, within)

    found = mosaic(made, made.units[0], open_scene, resample)

    assert (found.source_index == 1).all()
    assert np.array_equal(found.image, images[winner.id])


@given(deliveries())
def test_what_is_given_to_be_filled_may_hold_anything(delivery):
    made, images = delivery
    for unit in made.units:
        wanted = mosaic(made, unit, in_memory(images), resample)
        rng = np.random.default_rng(1)
        dirty = new_pixels(made, (unit.block.height, unit.block.width))
        dirty.image[...] = rng.integers(0, 99, dirty.image.shape)
        dirty.source_index[...] = 1

        found = mosaic(made, unit, in_memory(images), resample, out=dirty)

        assert np.array_equal(found.image, wanted.image, equal_nan=found.image.dtype.kind == "f")
        assert np.array_equal(found.source_index, wanted.source_index)
