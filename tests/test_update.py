"""Updates: what changed is built anew, and the result is what a full build gives."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.builds.tasks.difference import difference, touched_above
from spacenet_cube.raster.grid import Block
from tests.scenes import LICENCE, Lattice, write_geotiff
from tests.shares import count

WEST, NORTH = 500_000.0, 4_000_000.0


def deliver(folder: Path, name: str, block: Block, seed: int = 0) -> None:
    """Write a scene with gaps that lies on the common lattice."""
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 2000, (2, block.height, block.width)).astype(np.uint16)
    image[:, 3:9, 2:7] = 0
    transform = Lattice(WEST, NORTH).transform(block.row, block.col)
    write_geotiff(folder / name, image, transform=transform)


def recipe_of(folder: Path, **product: object) -> sc.Recipe:
    """A recipe of a folder, in units of 32 pixels."""
    usual = {
        "name": "P",
        "sources": ["*.tif"],
        "bands": ["red", "nir"],
        "encoding": {"chunk": 16, "shard": 16},
    }
    return sc.Recipe.model_validate(
        {
            "name": "AOI",
            "source": str(folder),
            "licence": LICENCE,
            "products": [usual | product],
        }
    )


def plan_of(recipe: sc.Recipe) -> sc.Plan:
    return sc.plan(recipe, "P", sc.survey(recipe, "P"))


def content(cube: str) -> dict[str, bytes]:
    """Every file of a cube by path."""
    root = Path(cube)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four scenes on 130 x 130 pixels; the outer two keep the grid what it is."""
    source = tmp_path / "source"
    source.mkdir()
    deliver(source, "b.tif", Block(0, 0, 50, 60), 1)
    deliver(source, "d.tif", Block(30, 40, 40, 50), 2)
    deliver(source, "f.tif", Block(90, 90, 40, 40), 3)
    deliver(source, "h.tif", Block(10, 100, 30, 20), 4)
    return source


def as_rebuilt(recipe: sc.Recipe, to: Path) -> dict[str, bytes]:
    return content(sc.build(plan_of(recipe), to, workers=2))


@pytest.mark.parametrize("rule", ["first", "last", "mean", "feather"])
@pytest.mark.parametrize("grid", ["native", {"crs": "EPSG:32611", "resolution": 0.7}])
def test_an_update_equals_a_rebuild_byte_for_byte(folder, tmp_path, rule, grid):
    recipe = recipe_of(folder, mosaic=rule, grid=grid, feather_px=5)
    sc.build(plan_of(recipe), tmp_path / "cubes")
    deliver(folder, "a.tif", Block(60, 3, 20, 20), 5)
    deliver(folder, "d.tif", Block(30, 40, 40, 50), 6)
    (folder / "h.tif").unlink()

    done = sc.update(plan_of(recipe), tmp_path / "cubes", workers=2)

    assert (done.added, done.changed, done.removed) == (("a.tif",), ("d.tif",), ("h.tif",))
    assert 0 < done.units < done.of
    assert content(done.url) == as_rebuilt(recipe, tmp_path / "anew")
    assert not Path(done.url + ".build").exists()


def test_an_update_says_how_many_of_how_many_units_it_built(folder, tmp_path):
    recipe = recipe_of(folder)
    sc.build(plan_of(recipe), tmp_path / "cubes")
    deliver(folder, "h.tif", Block(10, 100, 30, 20), 9)
    told = []

    done = sc.update(plan_of(recipe), tmp_path / "cubes", progress=lambda *a: told.append(a))

    # Columns 100 to 120 and rows 10 to 40 lie in the units at (0, 96) and (32, 96).
    assert (done.units, done.of) == (2, 25)
    assert ("units", 2, 2) in told
    assert str(done).endswith("2 of 25 units rebuilt (0 scenes added, 1 changed, 0 removed)")


def test_nothing_new_touches_nothing(folder, tmp_path):
    recipe = recipe_of(folder)
    url = sc.build(plan_of(recipe), tmp_path / "cubes")
    times = {p: p.stat().st_mtime_ns for p in Path(url).rglob("*")}

    done = sc.update(plan_of(recipe), tmp_path / "cubes")

    assert done.units == 0
    assert {p: p.stat().st_mtime_ns for p in Path(url).rglob("*")} == times


def test_a_scene_of_the_same_size_that_was_delivered_again_is_noticed(folder, tmp_path):
    recipe = recipe_of(folder)
    sc.build(plan_of(recipe), tmp_path / "cubes")
    before = (folder / "b.tif").stat()
    deliver(folder, "b.tif", Block(0, 0, 50, 60), 77)
    os.utime(folder / "b.tif", (before.st_atime, before.st_mtime + 1))
    assert (folder / "b.tif").stat().st_size == before.st_size

    done = sc.update(plan_of(recipe), tmp_path / "cubes")

    assert done.changed == ("b.tif",)
    assert content(done.url) == as_rebuilt(recipe, tmp_path / "anew")


def test_units_that_nothing_touched_keep_their_pixels_and_get_new_numbers(folder, tmp_path):
    recipe = recipe_of(folder)
    url = sc.build(plan_of(recipe), tmp_path / "cubes")
    far = Path(url, "image", "c", "0", "7", "7")
    kept = far.stat().st_mtime_ns
    deliver(folder, "a.tif", Block(0, 0, 10, 10), 5)

    done = sc.update(plan_of(recipe), tmp_path / "cubes")

    assert (done.units, done.of) == (1, 25)
    assert far.stat().st_mtime_ns == kept
    index = zarr.open_group(url, mode="r")["source_index"]
    assert isinstance(index, zarr.Array)
    assert set(np.unique(np.asarray(index[96:, 96:]))) == {0, 4}


def test_a_scene_beyond_the_grid_is_refused_and_the_cube_stays(folder, tmp_path):
    recipe = recipe_of(folder)
    url = sc.build(plan_of(recipe), tmp_path / "cubes")
    held = content(url)
    deliver(folder, "z.tif", Block(120, 120, 40, 40), 5)

    with pytest.raises(sc.RecipeError, match=r"now make another grid .*--replace"):
        sc.update(plan_of(recipe), tmp_path / "cubes")

    assert content(url) == held


def test_another_mosaic_rule_is_refused_and_the_cube_stays(folder, tmp_path):
    url = sc.build(plan_of(recipe_of(folder)), tmp_path / "cubes")
    held = content(url)

    with pytest.raises(sc.RecipeError, match=r"other settings .*--replace"):
        sc.update(plan_of(recipe_of(folder, mosaic="last")), tmp_path / "cubes")

    assert content(url) == held


def test_where_no_cube_is_published_all_is_built(folder, tmp_path):
    recipe = recipe_of(folder)

    done = sc.update(plan_of(recipe), tmp_path / "cubes")

    assert (done.units, done.of) == (25, 25)
    assert content(done.url) == as_rebuilt(recipe, tmp_path / "anew")


def test_an_update_that_fails_leaves_nothing_that_opens_and_the_next_one_mends_it(folder, tmp_path):
    recipe = recipe_of(folder)
    url = sc.build(plan_of(recipe), tmp_path / "cubes")
    deliver(folder, "d.tif", Block(30, 40, 40, 50), 6)
    planned = plan_of(recipe)
    whole = (folder / "d.tif").read_bytes()
    (folder / "d.tif").write_bytes(whole[:3000])

    with pytest.raises(sc.SourceError, match=r"d\.tif"):
        sc.update(planned, tmp_path / "cubes")

    assert not list(Path(url).rglob("zarr.json"))
    (folder / "d.tif").write_bytes(whole)
    done = sc.update(plan_of(recipe), tmp_path / "cubes")
    assert content(done.url) == as_rebuilt(recipe, tmp_path / "anew")


def test_a_cube_that_does_not_say_what_it_was_built_from_is_refused(folder, tmp_path):
    recipe = recipe_of(folder)
    url = sc.build(plan_of(recipe), tmp_path / "cubes")
    root = Path(url, "zarr.json")
    document = json.loads(root.read_text())
    del document["attributes"]["spacenet_cube"]
    root.write_text(json.dumps(document))

    with pytest.raises(sc.StoreError, match=r"does not say what it was built from .*--replace"):
        sc.update(plan_of(recipe), tmp_path / "cubes")


@settings(max_examples=count(10, of=30))
@given(
    blocks=st.lists(
        st.builds(
            Block, st.integers(0, 60), st.integers(0, 60), st.integers(1, 9), st.integers(1, 9)
        ),
        max_size=3,
    )
)
def test_a_shard_above_is_touched_where_a_pixel_below_it_is(blocks):
    painted = np.zeros((70, 70), bool)
    for block in blocks:
        painted[block.yx] = True
    above = np.zeros((35, 35), bool)
    for block in touched_above((35, 35), 8, blocks):
        above[block.yx] = True

    needed = painted.reshape(35, 2, 35, 2).any(axis=(1, 3))

    assert not (needed & ~above).any()
    for block in touched_above((35, 35), 8, blocks):
        assert needed[block.yx].any()


def test_a_plan_compared_with_its_own_cube_differs_in_nothing(folder, tmp_path):
    planned = plan_of(recipe_of(folder))
    url = sc.build(planned, tmp_path / "cubes")
    attributes = json.loads(Path(url, "zarr.json").read_text())["attributes"]

    found = difference(planned, attributes)

    assert found.is_empty
    assert found.units == ()
    assert found.numbers is None
