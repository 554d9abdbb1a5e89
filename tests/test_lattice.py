"""Lattices: scenes are put back exactly where they were cut, or refused."""

import json
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.merge import merge
from rasterio.transform import from_bounds

from spacenet_cube.errors import RecipeError
from spacenet_cube.plans.lattice import place_on_lattice
from spacenet_cube.raster.grid import Block
from tests.places import SHARED
from tests.scenes import Lattice, blocks_within, from_corner, geotiff, scene
from tests.shares import count

FOOTPRINTS = SHARED / "footprints"
TOLERANCE_PX = 0.05
NOISE_PX = 0.01
"""Of each header; two of them may add up, and an edge has a corner at either end."""

lattices = st.builds(
    Lattice, west=st.floats(-180, 170), north=st.floats(-80, 80), width=st.just(2.7e-6)
).map(lambda lattice: replace(lattice, height=lattice.width, crs="EPSG:4326")) | st.builds(
    Lattice,
    west=st.floats(1e5, 9e5),
    north=st.floats(0, 9e6),
    width=st.sampled_from([0.3, 0.5, 1.2, 2.0]),
    height=st.sampled_from([0.3, 0.5, 1.2, 2.0]),
)
cuts = st.lists(blocks_within(60), min_size=1, max_size=6)


def cut(lattice, blocks):
    return [lattice.cut(f"s{number}.tif", block) for number, block in enumerate(blocks)]


def noisy(scene, shift_px, stretch_px):
    """The scene with its corner off by some pixels (x, y), and its far corner by some more."""
    a, _, c, _, e, f = tuple(scene.transform)[:6]
    rows, cols = scene.shape_yx
    a_, e_ = a * (1 + stretch_px[0] / cols), e * (1 + stretch_px[1] / rows)
    transform = Affine(a_, 0.0, c + a * shift_px[0], 0.0, e_, f + e * shift_px[1])
    return replace(scene, transform=transform)


noises = st.tuples(st.floats(-NOISE_PX, NOISE_PX), st.floats(-NOISE_PX, NOISE_PX))


@given(lattice=lattices, blocks=cuts)
def test_scenes_are_placed_exactly_where_they_were_cut(lattice, blocks):
    placement = place_on_lattice(cut(lattice, blocks), TOLERANCE_PX)

    assert list(placement.blocks) == from_corner(blocks)
    rows = max(block.row + block.height for block in placement.blocks)
    cols = max(block.col + block.width for block in placement.blocks)
    assert placement.grid.shape_yx == (rows, cols)
    assert placement.grid.crs == lattice.crs
    assert placement.deviation_px < 1e-4


@given(lattice=lattices, blocks=cuts, data=st.data())
def test_noise_in_corners_below_the_tolerance_moves_no_scene(lattice, blocks, data):
    scenes = [noisy(one, data.draw(noises), (0, 0)) for one in cut(lattice, blocks)]

    placement = place_on_lattice(scenes, TOLERANCE_PX)

    assert list(placement.blocks) == from_corner(blocks)
    assert placement.deviation_px <= TOLERANCE_PX


@given(lattice=lattices, corners=cuts, data=st.data())
def test_noise_in_pixel_sizes_below_the_tolerance_moves_no_scene(lattice, corners, data):
    # Every scene is 60 x 60, so that a stretch of its far corner is as small for all others.
    blocks = [Block(block.row, block.col, 60, 60) for block in corners]
    scenes = [
        noisy(one, data.draw(noises), tuple(n / 2 for n in data.draw(noises)))
        for one in cut(lattice, blocks)
    ]

    placement = place_on_lattice(scenes, TOLERANCE_PX)

    assert list(placement.blocks) == from_corner(blocks)
    widths = [one.transform.a for one in scenes]
    heights = [-one.transform.e for one in scenes]
    assert min(widths) <= placement.grid.resolution_xy[0] <= max(widths)
    assert min(heights) <= placement.grid.resolution_xy[1] <= max(heights)


@given(
    lattice=lattices,
    blocks=st.lists(blocks_within(60), min_size=2, max_size=6),
    shift_px=st.floats(0.06, 0.94),
    axis=st.sampled_from([0, 1]),
    data=st.data(),
)
def test_noise_above_the_tolerance_is_refused_with_the_mend(lattice, blocks, shift_px, axis, data):
    scenes = cut(lattice, blocks)
    number = data.draw(st.integers(0, len(scenes) - 1))
    shift = (shift_px, 0) if axis == 0 else (0, shift_px)
    scenes[number] = noisy(scenes[number], shift, (0, 0))

    with pytest.raises(RecipeError, match="pixels off the lattice") as caught:
        place_on_lattice(scenes, TOLERANCE_PX)

    assert "or exclude the scene" in str(caught.value)
    assert f"tolerance {TOLERANCE_PX}" in str(caught.value)


def test_the_scene_that_is_off_is_named():
    scenes = cut(Lattice(), [Block(0, 0, 4, 4), Block(0, 4, 4, 4), Block(4, 0, 4, 4)])
    scenes[1] = noisy(scenes[1], (0.3, 0), (0, 0))

    with pytest.raises(RecipeError, match=r"scene s1\.tif lies up to 0\.3 pixels off"):
        place_on_lattice(scenes, TOLERANCE_PX)


def test_a_stretched_scene_is_refused_although_its_corner_is_on_the_lattice():
    scenes = cut(Lattice(), [Block(0, 0, 40, 40), Block(0, 40, 40, 40), Block(40, 0, 40, 40)])
    scenes[2] = noisy(scenes[2], (0, 0), (0.4, 0))

    with pytest.raises(RecipeError, match="pixels off the lattice"):
        place_on_lattice(scenes, TOLERANCE_PX)


def test_rotation_terms_of_rounding_noise_are_within_the_tolerance():
    turned = Affine(0.5, 6.1e-17, 5e5, 6.1e-17, -0.5, 4e6)

    found = place_on_lattice([scene("a.tif", transform=turned)], TOLERANCE_PX)

    assert found.grid.transform.b == found.grid.transform.d == 0
    assert found.deviation_px < 1e-9


def test_a_deviation_of_just_the_tolerance_is_allowed():
    scenes = cut(Lattice(west=0, north=0), [Block(0, 0, 4, 4), Block(0, 8, 4, 4)])
    scenes[1] = noisy(scenes[1], (0.25, 0), (0, 0))

    assert place_on_lattice(scenes, 0.25).deviation_px == 0.25
    with pytest.raises(RecipeError):
        place_on_lattice(scenes, 0.2499)


@pytest.mark.parametrize(
    ("fault", "transform"),
    [
        ("rotated", Affine.translation(5e5, 4e6) @ Affine.rotation(1) @ Affine.scale(0.5, -0.5)),
        ("sheared", Affine(0.5, 0.1, 5e5, 0.0, -0.5, 4e6)),
        ("south-up", Affine(0.5, 0.0, 5e5, 0.0, 0.5, 4e6)),
        ("west-going", Affine(-0.5, 0.0, 5e5, 0.0, -0.5, 4e6)),
        ("swapped", Affine(0.0, 0.5, 5e5, -0.5, 0.0, 4e6)),
        ("flat", Affine(0.0, 0.0, 5e5, 0.0, 0.0, 4e6)),
    ],
)
def test_a_scene_that_is_not_north_up_is_refused_by_name(fault, transform):
    scenes = [scene("good.tif"), scene(f"{fault}.tif", transform=transform)]

    with pytest.raises(
        RecipeError, match=f"scene {fault}.tif is rotated or not north-up"
    ) as caught:
        place_on_lattice(scenes, TOLERANCE_PX)

    assert "or exclude the scene" in str(caught.value)


@given(
    width=st.floats(1e-6, 100),
    height=st.floats(1e-6, 100),
    west=st.floats(-180, 180),
    north=st.floats(-90, 90),
)
def test_a_single_scene_keeps_its_own_transform_exactly(width, height, west, north):
    only = scene(transform=Affine(width, 0.0, west, 0.0, -height, north), shape_yx=(7, 9))

    placement = place_on_lattice([only], TOLERANCE_PX)

    assert tuple(placement.grid.transform) == tuple(only.transform)
    assert placement.grid.shape_yx == (7, 9)
    assert placement.blocks == (Block(0, 0, 7, 9),)


@given(lattice=lattices, blocks=cuts, data=st.data())
def test_the_order_of_the_scenes_does_not_matter(lattice, blocks, data):
    scenes = [noisy(one, data.draw(noises), (0, 0)) for one in cut(lattice, blocks)]
    order = data.draw(st.permutations(range(len(scenes))))

    straight = place_on_lattice(scenes, TOLERANCE_PX)
    shuffled = place_on_lattice([scenes[place] for place in order], TOLERANCE_PX)

    assert shuffled.grid == straight.grid
    assert shuffled.deviation_px == straight.deviation_px
    assert shuffled.blocks == tuple(straight.blocks[place] for place in order)


def test_the_pixel_size_of_headers_that_differ_by_rounding_is_the_roundest():
    widths = [2.7000000040e-6, 2.6999999950e-6, 2.7000000003e-6]
    scenes = [
        scene(f"{width}.tif", transform=Affine(width, 0.0, 2.0, 0.0, -width, 49.0))
        for width in widths
    ]

    assert place_on_lattice(scenes, TOLERANCE_PX).grid.resolution_xy == (2.7e-6, 2.7e-6)


# A hundred merges take two seconds.
@settings(max_examples=count(8, of=25))
@given(blocks=st.lists(blocks_within(10), min_size=1, max_size=4))
def test_the_grid_is_the_one_that_rasterio_merges_onto(blocks):
    lattice = Lattice()
    scenes = cut(lattice, blocks)

    grid = place_on_lattice(scenes, TOLERANCE_PX).grid

    with ExitStack() as stack:
        files = [
            stack.enter_context(
                geotiff(np.ones((1, *one.shape_yx), np.uint8), transform=one.transform)
            )
            for one in scenes
        ]
        merged, transform = merge(files)
    assert grid.shape_yx == merged.shape[1:]
    assert tuple(grid.transform) == pytest.approx(tuple(transform), abs=1e-9)


@pytest.mark.parametrize(
    ("aoi", "shape_xy"),
    [
        ("AOI_2_Vegas", (57_374, 52_845)),
        ("AOI_3_Paris", (74_875, 232_417)),
        ("AOI_4_Shanghai", (58_616, 222_127)),
        ("AOI_5_Khartoum", (55_420, 161_256)),
    ],
)
def test_the_footprints_as_delivered_lie_on_the_lattice_of_the_whole_area(aoi, shape_xy):
    path = FOOTPRINTS / f"{aoi}_SrcTindex.geojson"
    if not path.exists():
        pytest.skip(f"no footprints at {path}")
    scenes = []
    for feature in json.loads(path.read_text())["features"]:
        corners = np.array(feature["geometry"]["coordinates"][0])
        (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
        cols, rows = round((east - west) / 2.7e-6), round((north - south) / 2.7e-6)
        transform = from_bounds(west, south, east, north, cols, rows)
        name = feature["properties"]["location"]
        scenes.append(scene(name, shape_yx=(rows, cols), transform=transform, crs="EPSG:4326"))

    placement = place_on_lattice(scenes, TOLERANCE_PX)

    painted = sum(block.pixels for block in placement.blocks)
    assert placement.grid.shape_yx == shape_xy[::-1]
    assert placement.grid.resolution_xy == pytest.approx((2.7e-6, 2.7e-6), rel=1e-8)
    assert placement.deviation_px < 0.01
    assert painted == sum(rows * cols for rows, cols in (one.shape_yx for one in scenes))
    for number, block in enumerate(placement.blocks):
        others = placement.blocks[:number]
        assert not any(block.intersection(other) for other in others), "tiles abut, never overlap"
