"""Plans: all of the work, once, and the same for the same input."""

import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.errors import RecipeError
from spacenet_cube.format.levels import level_name
from spacenet_cube.plans.plan import Plan, plan, summary
from spacenet_cube.plans.units import units
from spacenet_cube.raster.grid import Block
from spacenet_cube.recipe.files import load_recipe
from spacenet_cube.recipe.grids import NativeGrid
from spacenet_cube.recipe.model import Encoding, Licence, Product
from spacenet_cube.sources.scene import Layout
from tests.scenes import (
    LICENCE,
    NAMES,
    Lattice,
    blocks_within,
    coordinates,
    from_corner,
    product,
    recipe,
    scene,
)

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
cuts = st.lists(blocks_within(30), min_size=1, max_size=5).map(from_corner)
edges = st.integers(1, 70)


def whole(blocks):
    """Rows and columns that hold every block."""
    return (max(b.row + b.height for b in blocks), max(b.col + b.width for b in blocks))


def planned(**facts):
    scenes = [
        Lattice().cut("b.tif", Block(0, 40, 40, 40), **facts),
        Lattice().cut("a.tif", Block(0, 0, 40, 40)),
    ]
    return plan(recipe(), "P", scenes)


@given(shape=sizes, edge=edges)
def test_units_cover_every_pixel_exactly_once(shape, edge):
    painted = np.zeros(shape, int)

    found = units(shape, edge, [])

    for unit in found:
        painted[unit.block.yx] += 1
        assert unit.block.row % edge == unit.block.col % edge == 0
    assert (painted == 1).all()
    assert [unit.number for unit in found] == list(range(len(found)))


@given(blocks=cuts, edge=edges)
def test_pieces_cover_every_pixel_of_every_scene_exactly_once(blocks, edge):
    painted = [np.zeros((block.height, block.width), int) for block in blocks]

    for unit in units(whole(blocks), edge, blocks):
        for piece in unit.pieces:
            painted[piece.scene - 1][piece.window.yx] += 1

    assert all((scene == 1).all() for scene in painted)


@given(blocks=cuts, edge=edges)
def test_windows_and_targets_name_the_same_pixels_of_the_ground(blocks, edge):
    shape = whole(blocks)
    ground = coordinates(Block(0, 0, *shape))

    for unit in units(shape, edge, blocks):
        for piece in unit.pieces:
            scene = ground[:, *blocks[piece.scene - 1].yx]
            there = ground[:, *unit.block.yx][:, *piece.target.yx]
            np.testing.assert_array_equal(scene[:, *piece.window.yx], there)
            assert piece.window.pixels == piece.target.pixels > 0


@given(blocks=cuts, edge=edges)
def test_pieces_of_a_unit_keep_the_order_of_the_scenes(blocks, edge):
    for unit in units(whole(blocks), edge, blocks):
        numbers = [piece.scene for piece in unit.pieces]
        assert numbers == sorted(set(numbers))


def test_a_unit_without_scenes_is_still_a_unit_and_has_no_pieces():
    found = units((8, 8), 4, [Block(0, 0, 4, 4), Block(4, 4, 4, 4)])

    assert [len(unit.pieces) for unit in found] == [1, 0, 0, 1]


def test_units_are_two_shards_wide_so_that_their_overview_fills_one():
    found = plan(recipe(product(chunk=16, shard=32)), "P", [scene(shape_yx=(100, 130))])

    assert {unit.block.row for unit in found.units} == {0, 64}
    assert {unit.block.col for unit in found.units} == {0, 64, 128}


@given(order=st.permutations(range(6)))
def test_the_digest_is_the_same_for_any_order_of_scenes(order):
    lattice = Lattice()
    scenes = [
        lattice.cut(f"x_R{row + 1}C{col + 1}.TIF", Block(row * 20, col * 20, 20, 20))
        for row in range(2)
        for col in range(3)
    ]

    straight = plan(recipe(), "P", scenes)
    shuffled = plan(recipe(), "P", [scenes[place] for place in order])

    assert shuffled == straight
    assert shuffled.digest == straight.digest


def test_scenes_are_numbered_by_tile_then_by_name():
    names = ["R10C1", "R2C1", "R1C2", "R1C1"]
    scenes = [
        Lattice().cut(f"{name}.TIF", Block(0, 20 * place, 20, 20), row_col=row_col)
        for place, (name, row_col) in enumerate(
            zip(names, [(10, 1), (2, 1), (1, 2), (1, 1)], strict=True)
        )
    ]

    found = plan(recipe(), "P", [*scenes, Lattice().cut("a.tif", Block(0, 80, 20, 20))])

    assert [one.id for one in found.scenes] == [
        "a.tif",
        "R1C1.TIF",
        "R1C2.TIF",
        "R2C1.TIF",
        "R10C1.TIF",
    ]


def test_the_digest_is_the_same_in_another_process():
    program = (
        "from tests.test_plan import planned\n"
        "import pickle, sys\n"
        "made = planned()\n"
        "print(made.digest, pickle.loads(bytes.fromhex(sys.argv[1])).digest)"
    )
    made = planned()

    for seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program, pickle.dumps(made).hex()],
            capture_output=True,
            check=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.stdout.split() == [made.digest, made.digest]


SCENE_CHANGES = [
    {"key": "elsewhere/b.tif"},
    {"size_bytes": 1235},
    {"etag": "changed"},
    {"shape_yx": (40, 41)},
    {"transform": Lattice(west=500_000.5).transform(0, 40)},
    {"transform": Affine(0.5, 0.0, 500_020.0000001, 0.0, -0.5, 4_000_000.0)},
    {"count": 4},
    {"nodata": 7.0},
    {"layout": Layout((16, 16), tiled=True, interleave="band", compression="deflate")},
    {"acquired": "2015-10-22T18:36:56Z"},
    {"row_col": (1, 2)},
]


@pytest.mark.parametrize("change", SCENE_CHANGES, ids=str)
def test_the_digest_changes_with_every_fact_of_a_scene(change):
    east, west = Lattice().cut("b.tif", Block(0, 40, 40, 40)), scene(shape_yx=(40, 40))

    wanted = recipe(product(nodata=0))
    before = plan(wanted, "P", [east, west])
    after = plan(wanted, "P", [replace(east, **change), west])

    assert after.digest != before.digest


PRODUCT_CHANGES = [
    {"bands": NAMES[:2]},
    {"bands": ("green", "red", "blue")},
    {"bands": ("red", "green", {"name": "blue", "index": 1})},
    {"sensor": "WorldView-2"},
    {"catalog_id": "104"},
    {"title": "another"},
    {"nodata": 1},
    {"mosaic": "last"},
    {"encoding": Encoding(chunk=16, shard=32)},
    {"encoding": Encoding(chunk=16, shard=16, profile="gdal312")},
    {"grid": NativeGrid(tolerance_px=0.1)},
]


@pytest.mark.parametrize("change", PRODUCT_CHANGES, ids=str)
def test_the_digest_changes_with_every_choice_of_a_product(change):
    scenes = [scene()]

    before = plan(recipe(product()), "P", scenes)
    after = plan(recipe(product(**change)), "P", scenes)

    assert after.digest != before.digest


def test_the_digest_changes_with_the_name_and_the_licence():
    made = [
        plan(one, "P", [scene()])
        for one in (
            recipe(),
            recipe(name="OTHER"),
            recipe().model_copy(update={"licence": Licence(spdx="MIT", attribution="nobody")}),
            recipe().model_copy(update={"licence": LICENCE.model_copy(update={"url": "x"})}),
        )
    ]

    assert len({one.digest for one in made}) == len(made)


@pytest.mark.parametrize("nodata", [float("nan"), float("inf"), float("-inf")])
def test_the_digest_changes_with_nodata_that_json_has_no_number_for(nodata):
    scenes = [scene(dtype="float32")]

    made = {plan(recipe(product(nodata=one)), "P", scenes).digest for one in (0.0, nodata, 1e9)}
    others = {
        plan(recipe(product(nodata=one)), "P", scenes).digest
        for one in (float("nan"), float("inf"), float("-inf"))
    }

    assert len(made) == 3
    assert len(others) == 3


def test_the_digest_does_not_depend_on_where_the_scenes_were_found():
    assert planned(href="/elsewhere/b.tif").digest == planned().digest
    assert "/somewhere" not in json.dumps(planned().to_dict())


def test_a_plan_pickles_and_is_equal_afterwards():
    made = planned()
    assert made.digest
    assert made.levels

    again = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own

    assert again == made
    assert again.digest == made.digest
    assert again.levels == made.levels


def test_a_plan_is_the_same_after_json():
    text = json.dumps(planned().to_dict(), allow_nan=False)

    assert json.dumps(json.loads(text)) == text


def test_a_plan_with_nan_as_nodata_is_json_that_any_reader_takes():
    scenes = [scene(dtype="float32", nodata=float("nan"))]

    made = plan(recipe(product(nodata=float("nan"))), "P", scenes)

    assert json.dumps(made.to_dict(), allow_nan=False)


def test_no_scenes_are_refused_with_the_mend():
    with pytest.raises(RecipeError, match=r"AOI P has no scenes.*check the product's sources"):
        plan(recipe(), "P", [])


def test_a_product_is_planned_by_name_by_alias_or_as_it_is():
    known = recipe(product(aliases=("MS",)))

    by_name, by_alias = plan(known, "p", [scene()]), plan(known, "ms", [scene()])

    assert by_name == by_alias == plan(known, known.products[0], [scene()])
    with pytest.raises(RecipeError, match="has no product 'Q'; it has P"):
        plan(known, "Q", [scene()])


def test_source_index_numbers_more_scenes_than_sixteen_bits_hold():
    made = planned()

    most, more = ([made.scenes[0]] * count for count in (65_535, 65_536))

    assert replace(made, scenes=tuple(most)).source_index_dtype == "uint16"
    assert replace(made, scenes=tuple(more)).source_index_dtype == "uint32"


def test_levels_are_named_by_their_factor():
    assert [level_name(level) for level in range(4)] == ["", "ovr_2x", "ovr_4x", "ovr_8x"]


def test_the_figures_of_a_plan_are_those_of_its_pixels():
    figures = summary(planned(), workers=3)

    assert json.loads(json.dumps(figures)) == figures
    assert figures["shape_yx"] == [40, 80]
    assert figures["levels"] == [[40, 80], [20, 40], [10, 20], [5, 10]]
    assert figures["bytes_in"] == 40 * 80 * 3 * 2
    assert figures["bytes_out"] == (40 * 80 + 20 * 40 + 10 * 20 + 5 * 10) * (3 * 2 + 2)
    assert figures["bbox"] == [500_000.0, 3_999_980.0, 500_040.0, 4_000_000.0]
    assert (figures["units"], figures["units_with_data"]) == (6, 6)
    assert figures["cube"] == "AOI/P.zarr"


def test_the_memory_of_a_build_grows_with_workers_and_not_with_the_area():
    small, large = (plan(recipe(), "P", [scene(shape_yx=(size, size))]) for size in (100, 1000))

    one, two, three = (large.peak_memory_bytes(workers) for workers in (1, 2, 3))
    assert three - two == two - one > one // 2
    assert large.peak_memory_bytes(1) == small.peak_memory_bytes(1)
    assert large.peak_memory_bytes(1) > 32 * 32 * 8


def paris() -> Plan:
    """MUL-PanSharpen at its true size: 29 x 10 tiles of 8192 pixels, 277 GB of samples."""
    rows, cols = 232_417, 74_875
    lattice = Lattice(
        west=2.1109464, north=49.0767768, width=2.7e-6, height=2.7e-6, crs="EPSG:4326"
    )
    scenes = [
        lattice.cut(
            f"16FEB29111912-S2AS_R{r + 1:02d}C{c + 1:02d}-056155973010_01_P001.TIF",
            Block(r * 8192, c * 8192, min(8192, rows - r * 8192), min(8192, cols - c * 8192)),
            count=8,
            row_col=(r + 1, c + 1),
        )
        for r in range(29)
        for c in range(10)
    ]
    return plan(load_recipe("AOI_3_Paris"), "MUL-PanSharpen", scenes)


def test_all_of_paris_is_planned_at_its_true_size():
    begun = time.perf_counter()
    made = paris()
    digest = made.digest
    print(f"planned {made.grid.shape_yx} in {time.perf_counter() - begun:.2f} s")  # noqa: T201

    assert made.grid.shape_yx == (232_417, 74_875)
    assert len(made.units) == ceil(232_417 / 4096) * ceil(74_875 / 4096)
    assert sum(unit.block.pixels for unit in made.units) == 232_417 * 74_875
    assert sum(p.window.pixels for u in made.units for p in u.pieces) == 232_417 * 74_875
    assert all(unit.pieces for unit in made.units)
    assert made.bytes_in == 232_417 * 74_875 * 8 * 2
    assert made.levels[-1].shape_yx == (454, 147)
    text = json.dumps(made.to_dict(), allow_nan=False)
    assert json.dumps(json.loads(text)) == text
    assert pickle.loads(pickle.dumps(made)).digest == digest  # noqa: S301 - our own


def test_a_product_of_the_bundled_recipes_is_what_paris_is_planned_with():
    made = paris()

    assert isinstance(made.product, Product)
    assert [band.name for band in made.bands][0::7] == ["coastal", "nir2"]
    assert made.cube_path == "AOI_3_Paris/MUL-PanSharpen.zarr"
