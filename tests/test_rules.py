"""Mosaic rules: against plain stacks of numpy, and their laws."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacenet_cube.builds.unit.mosaic import mosaic
from spacenet_cube.errors import RecipeError
from spacenet_cube.plans.plan import Plan, plan
from spacenet_cube.plans.precedence import precedence
from spacenet_cube.raster.combine import Layer, combine, feather_weight
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.resample import resample
from tests.scenes import Lattice, blocks_within, from_corner, in_memory, product, recipe
from tests.shares import count
from tests.warping import made_of

few = settings(max_examples=count(8, of=25))
KINDS = ("uint8", "uint16", "int16", "uint32", "float32")
COMBINED = ("min", "max", "mean", "median", "feather")


@st.composite
def deliveries(draw, rules=COMBINED):
    """A plan of scenes on one lattice that overlap and have gaps, and their samples by name."""
    blocks = from_corner(draw(st.lists(blocks_within(20), min_size=1, max_size=5)))
    dtype = draw(st.sampled_from(KINDS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scenes, images = [], {}
    for number, block in enumerate(blocks):
        name = f"s{number}.tif"
        most = min(2**32, np.iinfo(dtype).max) if dtype != "float32" else 1000
        image = rng.integers(1, most, (2, block.height, block.width)).astype(dtype)
        image = np.where(rng.random(image.shape[1:]) < 0.3, 0, image).astype(dtype)
        images[name] = image
        scenes.append(Lattice().cut(name, block, dtype=dtype, count=2))
    wanted = product(
        count=2, mosaic=draw(st.sampled_from(rules)), feather_px=draw(st.integers(1, 12))
    )
    return plan(recipe(wanted), "P", scenes), images


def stack_of(made: Plan, images: dict[str, Any]) -> np.ma.MaskedArray[Any, Any]:
    """Every scene on the whole grid, masked where it holds nothing: (scene, band, y, x)."""
    rows, cols = made.grid.shape_yx
    stack = np.zeros((len(made.scenes), 2, rows, cols), np.float64)
    for layer, one, seat in zip(stack, made.scenes, made.seats, strict=True):
        layer[:, *seat.block.yx] = images[one.id]
    empty = (stack == 0).all(axis=1, keepdims=True)
    return np.ma.masked_array(stack, np.broadcast_to(empty, stack.shape))


def rounded(values: Any, dtype: str) -> Any:
    """Half up, as integers are rounded."""
    return (np.floor(values + 0.5) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


@few
@given(delivery=deliveries(rules=("min", "max", "mean", "median")))
def test_a_combined_mosaic_is_what_numpy_makes_of_a_plain_stack(delivery):
    made, images = delivery
    stack = stack_of(made, images)
    wanted = getattr(np.ma, made.product.mosaic)(stack, axis=0)

    image, index = made_of(made, images)

    filled = rounded(np.ma.filled(wanted, 0.0), made.dtype)
    if made.dtype == "float32":
        np.testing.assert_allclose(image, filled, rtol=1e-6)
    else:
        np.testing.assert_array_equal(image, filled)
    np.testing.assert_array_equal(index > 0, ~np.ma.getmaskarray(stack).all(axis=(0, 1)))


def plain_weight(valid: Any, most_px: int) -> Any:
    """City block distance to the nearest pixel that is not valid or not there, pixel by pixel."""
    wide = np.pad(valid, 1)
    gaps = np.argwhere(~wide) - 1
    found = np.zeros(valid.shape, int)
    for row, col in np.argwhere(valid):
        found[row, col] = min(most_px, np.abs(gaps - (row, col)).sum(axis=1).min())
    return found


@few
@given(delivery=deliveries(rules=("feather",)))
def test_feathering_weighs_by_the_distance_from_each_scenes_edge(delivery):
    made, images = delivery
    stack = stack_of(made, images)
    weights = np.zeros((len(made.scenes), *made.grid.shape_yx))
    for weight, one, seat in zip(weights, made.scenes, made.seats, strict=True):
        valid = (images[one.id] != 0).any(axis=0)
        weight[seat.block.yx] = plain_weight(valid, made.product.feather_px)
    total = weights.sum(axis=0)
    wanted = (stack.data * weights[:, None]).sum(axis=0) / np.where(total, total, 1)

    image, index = made_of(made, images)

    if made.dtype == "float32":
        np.testing.assert_allclose(image, wanted, rtol=1e-6)
    else:
        np.testing.assert_array_equal(image, rounded(wanted, made.dtype))
    np.testing.assert_array_equal(index, np.where(total > 0, weights.argmax(axis=0) + 1, 0))


@few
@given(delivery=deliveries(), edge=st.integers(3, 40))
def test_units_of_any_size_combine_to_the_same_bits(delivery, edge):
    made, images = delivery
    for one, other in zip(made_of(made, images), made_of(made, images, edge), strict=True):
        np.testing.assert_array_equal(one, other)


@few
@given(delivery=deliveries())
def test_every_rule_leaves_a_single_scene_as_it_is_and_is_idempotent(delivery):
    made, images = delivery
    only = made.scenes[0]
    twin = replace(only, id="twin.tif")
    again = images | {"twin.tif": images[only.id]}

    alone, index = made_of(plan(recipe(made.product), "P", [only]), images)
    twice, _ = made_of(plan(recipe(made.product), "P", [only, twin]), again)

    np.testing.assert_array_equal(alone, images[only.id])
    np.testing.assert_array_equal(twice, images[only.id])
    np.testing.assert_array_equal(index > 0, (images[only.id] != 0).any(axis=0))


@few
@given(delivery=deliveries(rules=("min", "max", "mean", "median", "feather")))
def test_the_order_of_scenes_does_not_matter_where_they_are_combined(delivery):
    made, images = delivery
    if made.dtype == "float32":
        return
    names = [one.id for one in made.scenes]
    turned = dict(zip(names, names[::-1], strict=True))
    other = [replace(one, id=turned[one.id]) for one in made.scenes]

    image, _ = made_of(made, images)
    same, _ = made_of(plan(recipe(made.product), "P", other), {turned[n]: images[n] for n in names})

    np.testing.assert_array_equal(image, same)


@few
@given(delivery=deliveries(rules=("min", "max", "median")))
def test_source_index_names_a_scene_that_is_valid_there_and_majority_wins(delivery):
    made, images = delivery
    stack = stack_of(made, images)

    image, index = made_of(made, images)

    for row, col in np.argwhere(index > 0):
        here = stack[:, :, row, col]
        off = np.abs(here - image[:, row, col].astype(float))
        winners = [int(np.ma.argmin(off[:, band])) for band in range(2)]
        number = index[row, col] - 1
        assert not np.ma.getmaskarray(here)[number].any()
        assert winners.count(number) == max(winners.count(k) for k in winners)


@given(
    valid=st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).random((9, 11)) < 0.9),
    most=st.integers(1, 6),
)
def test_the_weight_of_a_block_with_its_margin_is_that_of_the_whole(valid, most):
    wide = np.pad(valid, most)
    whole = feather_weight(np.pad(valid, 20), most)

    assert (feather_weight(wide, most) == whole[20 - most : most - 20, 20 - most : most - 20]).all()
    np.testing.assert_array_equal(whole[20:-20, 20:-20], plain_weight(valid, most))


NAMES = (
    "16FEB29111913-M2AS_R1C1-1_01_P001.TIF",
    "15OCT22183656-M2AS_R1C2-1_01_P001.TIF",
    "15OCT22183656-M2AS_R1C3-1_01_P001.TIF",
)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"mosaic": "first"}, (1, 2, 3)),
        ({"mosaic": "last"}, (3, 2, 1)),
        ({"mosaic": "newest"}, (1, 2, 3)),
        ({"mosaic": "oldest"}, (2, 3, 1)),
        ({"mosaic": "order", "order": ("*R1C3*", "15OCT*")}, (3, 2, 1)),
        ({"mosaic": "order", "order": ("*R1C2*",)}, (2, 1, 3)),
    ],
)
def test_precedence_follows_the_rule_and_scene_order_among_equals(facts, expected):
    times = ("2016-02-29T11:19:13Z", "2015-10-22T18:36:56Z", "2015-10-22T18:36:56Z")
    scenes = [
        Lattice().cut(name, Block(0, 0, 4, 4), acquired=time)
        for name, time in zip(NAMES, times, strict=True)
    ]

    assert precedence(product(**facts), scenes) == expected


def test_the_newest_wins_and_numbers_stay_those_of_scene_order():
    times = ("2015-01-01T00:00:00Z", "2017-01-01T00:00:00Z", "2016-01-01T00:00:00Z")
    block = Block(0, 0, 4, 4)
    scenes = [
        Lattice().cut(f"{name}.tif", block, acquired=time, count=1)
        for name, time in zip("abc", times, strict=True)
    ]
    images = {f"{n}.tif": np.full((1, 4, 4), k, np.uint16) for k, n in enumerate("abc", start=1)}

    image, index = made_of(plan(recipe(product(count=1, mosaic="newest")), "P", scenes), images)

    assert (image == 2).all()
    assert (index == 2).all()


def test_a_rule_by_time_needs_the_time_of_every_scene():
    scenes = [Lattice().cut("a.tif", Block(0, 0, 4, 4))]

    with pytest.raises(
        RecipeError, match=r"needs the time .* a\.tif tells none; use mosaic: order"
    ):
        plan(recipe(product(mosaic="newest")), "P", scenes)


def layers(*planes: Sequence[int], dtype: str = "int16") -> list[Layer]:
    """Layers of one row and one band; 0 is not valid."""
    arrays = [np.array([[plane]], dtype) for plane in planes]
    return [Layer(k, array, array[0] != 0) for k, array in enumerate(arrays, start=1)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("min", [-5, 3, 7, 0]),
        ("max", [2, 8, 7, 0]),
        ("mean", [-1, 6, 7, 0]),
        ("median", [-1, 6, 7, 0]),
    ],
)
def test_halves_are_rounded_up_and_gaps_take_no_part(rule, expected):
    image, index = combine(rule, layers([2, 3, 0, 0], [-5, 8, 7, 0]), 0)

    assert image[0, 0].tolist() == expected
    assert index[0, 2] == 2
    assert index[0, 3] == 0


def test_sums_of_the_largest_integers_do_not_wrap():
    most = np.iinfo(np.uint32).max

    image, _ = combine("mean", layers(*[[most]] * 5, dtype="uint32"), 0)

    assert image.item() == most


def test_a_nan_in_one_band_of_a_valid_pixel_takes_no_part():
    nan = float("nan")
    planes = [np.array([[[4.0]], [[nan]]]), np.array([[[8.0]], [[2.0]]])]
    both = [Layer(k, p, np.array([[True]])) for k, p in enumerate(planes, start=1)]

    image, _ = combine("mean", both, nan)

    assert image[:, 0, 0].tolist() == [6.0, 2.0]


def test_a_combined_pixel_that_comes_out_as_nodata_is_moved_by_one():
    block = Block(0, 0, 1, 1)
    scenes = [Lattice().cut(f"{n}.tif", block, count=2) for n in "ab"]
    images = {
        "a.tif": np.array([[[0]], [[5]]], np.uint16),
        "b.tif": np.array([[[3]], [[0]]], np.uint16),
    }

    image, index = made_of(plan(recipe(product(count=2, mosaic="min")), "P", scenes), images)

    assert image[:, 0, 0].tolist() == [1, 0]
    assert index.item() > 0


def test_a_cutline_decides_where_a_scene_is_used():
    block = Block(0, 0, 20, 20)
    scenes = [Lattice().cut(f"{n}.tif", block, count=1) for n in "ab"]
    images = {f"{n}.tif": np.full((1, 20, 20), k, np.uint16) for k, n in enumerate("ab", start=1)}
    west, north = 500_000.0, 4_000_000.0
    # A triangle over the north-western half, in the scenes' own CRS.
    ring = f"{west} {north}, {west + 10} {north}, {west} {north - 10}, {west} {north}"
    line = {"scenes": "a*", "crs": "EPSG:32611", "polygon": f"POLYGON (({ring}))"}

    image, index = made_of(plan(recipe(product(count=1, cutlines=[line])), "P", scenes), images)

    row, col = np.indices((20, 20))
    inside = row + col < 19
    on_the_line = row + col == 19
    np.testing.assert_array_equal(index[~on_the_line], np.where(inside, 1, 2)[~on_the_line])
    np.testing.assert_array_equal(image[0], index)


def test_a_unit_opens_each_of_its_scenes_once():
    opened = []
    block = Block(0, 0, 40, 40)
    scenes = [Lattice().cut(f"{n}.tif", block, count=1) for n in "ab"]
    images = {f"{n}.tif": np.ones((1, 40, 40), np.uint16) for n in "ab"}
    inner = in_memory(images)

    def counting(scene, within):
        opened.append(scene.id)
        return inner(scene, within)

    made = plan(recipe(product(count=1, shard=32, mosaic="mean")), "P", scenes)
    mosaic(made, made.units[0], counting, resample)

    assert sorted(opened) == ["a.tif", "b.tif"]
