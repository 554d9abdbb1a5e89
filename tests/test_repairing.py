"""Repairing: what was damaged comes back byte for byte, and what cannot is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import spacenet_cube as sc
from spacenet_cube.builds.state.lock import hold
from spacenet_cube.cli.app import app
from spacenet_cube.integrity import repair
from spacenet_cube.integrity.remake import remakes
from spacenet_cube.storage.durable import write_durably
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import filesystem, moto
from tests.scenes import Lattice, write_geotiff
from tests.tiny_cubes import planned, recipe, scenes, tree

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sources and the cube built of them."""
    folder = tmp_path_factory.mktemp("made")
    scenes(folder / "source", "cloud")
    sc.build(planned(folder / "source", "cloud"), folder / "cubes", workers=1)
    return folder


@pytest.fixture
def cube(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(made / "cubes", tmp_path / "cubes")
    return tmp_path / "cubes" / "AOI" / "P.zarr"


@pytest.fixture(scope="module")
def plan(made: Path) -> sc.Plan:
    return planned(made / "source", "cloud")


def test_many_damages_at_once_are_mended_and_the_tree_is_as_it_was(cube, plan):
    before = tree(str(cube))
    # A shard of every level above one another, a coordinate, a document and the root.
    for path in ("image/c/0/0/0", "ovr_2x/image/c/0/0/0", "ovr_4x/image/c/0/0/0"):
        (cube / path).unlink()
    (cube / "ovr_8x/source_index/c/0/0").write_bytes(b"")
    (cube / "ovr_2x/y/c/0").write_bytes(b"??")
    (cube / "image/zarr.json").write_text("{}")
    (cube / "zarr.json").unlink()

    done = sc.repair(cube, plan, workers=2)

    assert len(done.rewritten) == 7
    assert done.rewritten[-1] == "zarr.json"
    assert done.found.is_sound
    assert tree(str(cube)) == before
    assert not Path(f"{cube}.build").exists()


def test_overviews_are_mended_without_a_source(cube, made, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(made / "source", source)
    plan = planned(source, "cloud")
    shutil.rmtree(tmp_path / "cubes")
    cube = Path(sc.build(plan, tmp_path / "cubes", workers=1))
    before = tree(str(cube))
    for folder in ("ovr_2x", "ovr_4x", "ovr_8x"):
        shutil.rmtree(cube / folder / "image" / "c")
    shutil.rmtree(source)

    assert sc.repair(cube, plan, workers=2).found.is_sound
    assert tree(str(cube)) == before


def test_a_sound_cube_is_not_touched(cube, plan):
    before = {path: path.stat().st_mtime_ns for path in cube.parent.rglob("*")}

    done = sc.repair(cube, plan)

    assert done.rewritten == ()
    assert {path: path.stat().st_mtime_ns for path in cube.parent.rglob("*")} == before


def test_a_lost_manifest_is_made_again_where_the_root_proves_it_right(cube, plan):
    before = tree(str(cube))
    shutil.rmtree(f"{cube}.manifest")

    done = sc.repair(cube, plan)

    assert done.found.is_sound
    assert tree(str(cube)) == before


def test_a_lost_manifest_of_a_damaged_cube_is_not_made_up(cube, plan):
    shutil.rmtree(f"{cube}.manifest")
    (cube / "x" / "c" / "0").write_bytes(b"?")

    with pytest.raises(sc.VerifyError, match=r"nothing says which; build .*--replace"):
        sc.repair(cube, plan)

    assert not Path(f"{cube}.manifest").exists()


def test_what_no_build_left_stays_and_is_told(cube, plan):
    (cube / "notes.txt").write_text("the only copy")
    (cube / "image/c/0/0/0").unlink()

    done = sc.repair(cube, plan)

    assert done.rewritten == ("image/c/0/0/0",)
    assert [fault.key for fault in done.found.faults] == ["notes.txt"]
    assert (cube / "notes.txt").read_text() == "the only copy"


def test_another_recipe_or_other_sources_are_refused_by_what_differs(cube, made, tmp_path):
    (cube / "image/c/0/0/0").unlink()
    before = tree(str(cube))
    source = tmp_path / "source"
    shutil.copytree(made / "source", source)
    wanted = recipe(source, "cloud")
    other = sc.plan(wanted, wanted.products[0].with_profile("gdal312"), sc.survey(wanted, "P"))
    with pytest.raises(sc.RecipeError, match="other settings"):
        sc.repair(cube, other)
    shutil.copy(source / "a.tif", source / "c.tif")
    with pytest.raises(sc.RecipeError, match=r"c\.tif new.*--update or --replace"):
        sc.repair(cube, planned(source, "cloud"))

    assert tree(str(cube)) == before


def test_a_source_with_other_pixels_is_refused_before_anything_is_written(cube, made, tmp_path):
    (cube / "image/c/0/0/1").unlink()
    (cube / "ovr_2x/image/c/0/0/0").unlink()
    before = tree(str(cube))
    source = tmp_path / "source"
    shutil.copytree(made / "source", source)
    image = np.full((2, 90, 47), 5, np.uint16)
    write_geotiff(source / "b.tif", image, transform=Lattice().transform(0, 23))

    with pytest.raises(sc.VerifyError, match=r"image/c/0/0/1 .*a source or the software has"):
        sc.repair(cube, planned(source, "cloud"))

    assert tree(str(cube)) == before


def test_nobody_repairs_what_a_builder_is_at_work_on(cube, plan):
    (cube / "image/c/0/0/0").unlink()

    with hold(locate(cube)), pytest.raises(sc.StoreError, match="is being built by"):
        sc.repair(cube, plan)


def test_while_a_repair_runs_the_cube_opens_and_reads_as_it_did(cube, plan, monkeypatch):
    sound = sc.open_cube(cube).image.values
    (cube / "image/c/0/2/2").unlink()
    (cube / "ovr_2x/image/c/0/0/0").unlink()
    put, seen = write_durably, []

    def looked_at(where, content):
        now = sc.open_cube(cube).image[:, :64, :64].values
        seen.append(np.array_equal(now, sound[:, :64, :64]))
        put(where, content)

    monkeypatch.setattr(repair, "write_durably", looked_at)
    sc.repair(cube, plan, workers=2)

    assert seen == [True, True]
    np.testing.assert_array_equal(sc.open_cube(cube).image.values, sound)


def test_a_cube_on_s3_is_mended_byte_for_byte(cube, plan, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")
    with moto() as server:
        fs = filesystem(server)
        fs.mkdir("cubes")
        fs.put(str(cube.parent), "cubes", recursive=True)
        before = {path: fs.cat_file(path) for path in fs.find("cubes")}
        fs.rm_file("cubes/AOI/P.zarr/image/c/0/1/1")
        fs.pipe_file("cubes/AOI/P.zarr/ovr_2x/source_index/c/0/0", b"?" * 90)
        fs.rm_file("cubes/AOI/P.zarr/zarr.json")

        done = sc.repair("s3://cubes/AOI/P.zarr", plan, storage_options={"endpoint_url": server})

        assert done.found.is_sound
        assert len(done.rewritten) == 3
        assert {path: fs.cat_file(path) for path in fs.find("cubes")} == before


@given(st.data())
def test_the_work_of_a_repair_holds_every_key_once_and_finest_levels_first(made, plan, data):
    root = made / "cubes" / "AOI" / "P.zarr"
    every = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    keys = data.draw(st.sets(st.sampled_from([key for key in every if "zarr.json" not in key])))

    work = remakes(plan, keys)

    assert sorted(key for each in work for key in each.keys) == sorted(keys)
    assert [each.level for each in work] == sorted(each.level for each in work)
    assert len({(each.level, each.block) for each in work}) == len(work)


def test_the_command_mends_and_says_how_much(cube, made, tmp_path):
    told = json.loads(recipe(made / "source", "cloud").model_dump_json())
    (tmp_path / "recipe.yaml").write_text(json.dumps(told))
    (cube / "image/c/0/0/0").unlink()
    run = CliRunner().invoke

    done = run(app, ["repair", str(cube), "--recipe", str(tmp_path / "recipe.yaml"), "--json"])
    same = run(app, ["verify", str(cube), "--recipe", str(tmp_path / "recipe.yaml")])

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rewritten"] == ["image/c/0/0/0"]
    assert same.exit_code == 0
    assert same.stdout.strip().endswith("1 of 4 units as their sources")
