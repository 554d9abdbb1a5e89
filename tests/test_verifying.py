"""Verifying: every fault named with its pixels, and no fault where there is none."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import spacenet_cube as sc
from spacenet_cube.cli.app import app
from spacenet_cube.format.manifest import ENTRY
from spacenet_cube.raster.grid import Block
from spacenet_cube.storage.location import Location
from tests.s3_servers import fault_answer, filesystem, moto, proxy
from tests.scenes import Lattice, write_geotiff
from tests.shares import count
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


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_fault_names_object_array_level_chunk_window_expectation_and_mend(cube):
    # Chunks of 16 in shards of 32; the first byte is in the first chunk: band 0, corner.
    flip(cube / "ovr_2x" / "image" / "c" / "0" / "1" / "0", 0)

    (fault,) = sc.verify(cube).faults

    (place,) = fault.places
    assert fault.key == "ovr_2x/image/c/0/1/0"
    assert (place.array, place.level, place.chunk) == ("ovr_2x/image", 1, (0, 2, 0))
    assert place.block == Block(32, 0, 13, 16)
    assert "bands 0-0, rows 32-44, columns 0-15" in str(fault)
    assert "sha256" in fault.expected
    assert "checksum" in fault.found
    assert "spacenet-cube repair" in fault.mend
    assert json.loads(json.dumps(fault.to_dict()))["places"][0]["rows"] == [32, 44]


def test_a_damaged_index_names_all_of_its_shard(cube):
    flip(cube / "source_index" / "c" / "2" / "1", -1)

    (fault,) = sc.verify(cube, "index").faults

    assert fault.kind == "index"
    assert [place.block for place in fault.places] == [Block(64, 32, 26, 32)]


def test_a_shard_from_elsewhere_decodes_and_is_found_by_its_digest(cube):
    shard = cube / "image" / "c" / "0"
    content = (shard / "0" / "1").read_bytes(), (shard / "1" / "1").read_bytes()
    for file, swapped in zip(("1/1", "0/1"), content, strict=True):
        (shard / file).write_bytes(swapped)

    faults = sc.verify(cube).faults

    assert [fault.key for fault in faults] == ["image/c/0/0/1", "image/c/0/1/1"]
    assert all(fault.places[0].block for fault in faults)


def test_what_no_build_left_is_named(cube):
    (cube / "image" / "c" / "0" / "9").mkdir()
    (cube / "image" / "c" / "0" / "9" / "9").write_bytes(b"?")
    (cube / ".DS_Store").write_bytes(b"?")

    faults = sc.verify(cube, "list").faults

    assert [(f.key, f.kind) for f in faults] == [
        (".DS_Store", "unknown"),
        ("image/c/0/9/9", "unknown"),
    ]


def test_verifying_changes_nothing(cube):
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in cube.parent.rglob("*")}

    for level in sc.LEVELS:
        assert sc.verify(cube, level).is_sound

    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in cube.parent.rglob("*")} == before


def test_each_level_reads_more_than_the_one_before(cube):
    few = sc.Sampling(0.3, seed=3)
    read = [sc.verify(cube, level, sampling=few).bytes_read for level in sc.LEVELS]

    assert read == sorted(set(read))
    assert read[-1] == sum(len(content) for content in tree(str(cube)).values())


def test_a_sample_finds_what_it_looks_at_and_another_seed_looks_elsewhere(cube):
    flip(cube / "image" / "c" / "0" / "0" / "0", 0)

    found = [not sc.verify(cube, "sample", sampling=sc.Sampling(0.3, s)).is_sound for s in range(9)]

    assert True in found
    assert False in found
    assert not sc.verify(cube, "sample", sampling=sc.Sampling(1.0)).is_sound


papers = ["zarr.json", "image/zarr.json", "ovr_2x/zarr.json", "band/zarr.json"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
@settings(max_examples=count(12, of=40))
def test_whatever_a_document_holds_it_is_named_and_nothing_crashes(made, data):
    cube = made / "cubes" / "AOI" / "P.zarr"
    path = cube / data.draw(st.sampled_from(papers))
    sound = path.read_bytes()
    document = json.loads(sound)
    node = data.draw(st.sampled_from([document, document["attributes"]]))
    node[data.draw(st.sampled_from(sorted(node) or ["x"]))] = data.draw(json_values)
    text = json.dumps(document, indent=1).encode()
    content = data.draw(st.just(text) | st.binary(max_size=9) | json_values.map(_dumped))
    try:
        path.write_bytes(content)
        found = sc.verify(cube, data.draw(st.sampled_from(["list", "full"])), workers=1)
    finally:
        path.write_bytes(sound)

    assert found.is_sound == (content == sound)
    assert {fault.key for fault in found.faults} <= {path.relative_to(cube).as_posix()}


def _dumped(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
def former(cube: Path) -> Path:
    """A cube as builds left it before there were manifests."""
    shutil.rmtree(f"{cube}.manifest")
    root = json.loads((cube / "zarr.json").read_bytes())
    del root["attributes"]["spacenet_cube"][ENTRY]
    (cube / "zarr.json").write_text(json.dumps(root, indent=1))
    return cube


def test_a_cube_without_a_manifest_says_so_and_is_looked_at_as_far_as_can_be(former):
    sound = sc.verify(former)
    (former / "image" / "c" / "0" / "0" / "1").unlink()
    flip(former / "ovr_2x" / "image" / "c" / "0" / "0" / "0", 3)
    flip(former / "source_index" / "c" / "0" / "0", -2)

    found = sc.verify(former)

    assert sound.is_sound
    assert sound.manifest is None
    assert "no manifest" in str(sound)
    assert "no manifest" in sound.notes[0]
    assert [(fault.key, fault.kind) for fault in found.faults] == [
        ("image/c/0/0/1", "lost"),
        ("ovr_2x/image/c/0/0/0", "chunk"),
        ("source_index/c/0/0", "index"),
    ]


@pytest.mark.parametrize(
    ("path", "change", "kind"),
    [
        ("image", {"shape": [2, 90, 71]}, "copy"),
        ("image", {"shape": [2, 10**9, 10**9]}, "document"),
        ("image", {"shape": "wide"}, "document"),
        ("image", {"fill_value": 7}, "copy"),
    ],
)
def test_an_edit_is_found_without_a_manifest_where_a_copy_differs(former, path, change, kind):
    document = json.loads((former / path / "zarr.json").read_bytes())
    (former / path / "zarr.json").write_text(json.dumps(document | change))

    found = sc.verify(former, "list")

    assert kind in {fault.kind for fault in found.faults}
    assert f"{path}/zarr.json" in " ".join(map(str, found.faults))


def test_what_is_no_cube_and_what_is_not_published_are_errors(made, tmp_path):
    with pytest.raises(sc.StoreError, match="holds no cube"):
        sc.verify(tmp_path / "nothing.zarr")
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr" / "zarr.json").write_text('{"attributes": {}}')
    with pytest.raises(sc.StoreError, match="none of spacenet_cube's"):
        sc.verify(tmp_path / "other.zarr")
    (tmp_path / "begun.zarr.build").mkdir()
    (tmp_path / "begun.zarr.build" / "plan.json").write_text("{}")
    (tmp_path / "begun.zarr.manifest").mkdir()
    (tmp_path / "begun.zarr.manifest" / "a.jsonl").write_text("")
    with pytest.raises(sc.StoreError, match="unfinished build"):
        sc.verify(tmp_path / "begun.zarr")
    with pytest.raises(sc.RecipeError, match="no level 'deep'"):
        sc.verify(made / "cubes" / "AOI" / "P.zarr", "deep")


def test_a_bit_that_flips_on_its_way_is_no_damage(cube, monkeypatch):
    read, flipped = Location.read_range, []

    def once_wrong(self, start, size_bytes, etag=None):
        content = bytearray(read(self, start, size_bytes, etag))
        if self.url not in flipped:
            flipped.append(self.url)
            content[0] ^= 1
        return bytes(content)

    monkeypatch.setattr(Location, "read_range", once_wrong)

    assert sc.verify(cube).is_sound
    assert len(flipped) > 20


def test_a_store_that_refuses_or_fails_is_an_error_and_no_damage(cube, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")
    denied = fault_answer("AccessDenied", 403)
    with moto() as server, proxy(server) as between:
        fs = filesystem(server)
        fs.mkdir("cubes")
        fs.put(str(cube.parent), "cubes", recursive=True)
        url = "s3://cubes/AOI/P.zarr"
        options = {"endpoint_url": between.url, "retries": 1}
        assert sc.verify(url, storage_options=options).is_sound

        for part in ("image/c/0/0/0", "/cubes", "band/zarr.json", ".jsonl"):

            def refuse(_method: str, path: str, part: str = part) -> tuple[int, bytes] | None:
                return denied if path.rstrip("/").endswith(part) else None

            between.fault = refuse
            with pytest.raises(sc.StoreError, match=r"403|denied"):
                sc.verify(url, storage_options=options)


def test_sources_that_still_hold_the_pixels_are_told_how_many_units_were_compared(made):
    plan = planned(made / "source", "cloud")

    some = sc.verify(made / "cubes" / "AOI" / "P.zarr", "list", plan=plan)
    every = sc.verify(
        made / "cubes" / "AOI" / "P.zarr", "list", plan=plan, sampling=sc.Sampling(1.0)
    )

    assert some.compared == {"units": 1, "of": 4}
    assert str(every).endswith("4 of 4 units as their sources")
    assert every.is_sound


def test_pixels_that_are_not_those_of_the_sources_are_named(made, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(made / "source", source)
    cube = Path(sc.build(planned(source, "cloud"), tmp_path / "cubes", workers=1))
    # The same size and time: nothing but the pixels tells.
    image = np.full((2, 90, 47), 5, np.uint16)
    held = (source / "b.tif").stat()
    write_geotiff(source / "b.tif", image, transform=Lattice().transform(0, 23))
    os.utime(source / "b.tif", ns=(held.st_atime_ns, held.st_mtime_ns))
    assert (source / "b.tif").stat().st_size == held.st_size

    found = sc.verify(cube, plan=planned(source, "cloud"), sampling=sc.Sampling(1.0))

    assert {fault.kind for fault in found.faults} == {"pixels"}
    assert "image/c/0/0/1" in {fault.key for fault in found.faults}
    assert "5 at (0, " in " ".join(fault.expected for fault in found.faults)


def test_sources_that_changed_are_named_and_other_settings_refused(made, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(made / "source", source)
    cube = sc.build(planned(source, "cloud"), tmp_path / "cubes", workers=1)
    os.utime(source / "a.tif", ns=(1, 1))

    found = sc.verify(cube, "list", plan=planned(source, "cloud"), sampling=sc.Sampling(1.0))

    assert [(fault.key, fault.kind) for fault in found.faults] == [("zarr.json", "source")]
    assert "a.tif" in str(found.faults[0])
    assert found.compared is not None
    assert found.compared["units"] < found.compared["of"]
    wanted = recipe(source, "cloud")
    other = sc.plan(wanted, wanted.products[0].with_profile("gdal312"), sc.survey(wanted, "P"))
    with pytest.raises(sc.RecipeError, match="other settings"):
        sc.verify(cube, "list", plan=other)


def test_the_command_leaves_with_0_where_all_is_sound_and_with_1_where_not(cube):
    run = CliRunner().invoke

    sound = run(app, ["verify", str(cube)])
    flip(cube / "image" / "c" / "0" / "0" / "0", 0)
    damaged = run(app, ["verify", str(cube)])
    index = run(app, ["verify", str(cube), "--level", "index", "--json"])
    told = run(app, ["verify", str(cube), "--json"])

    assert sound.exit_code == 0
    assert sound.stdout.strip().startswith("sound: 75 objects")
    assert sound.stdout.count("\n") == 1
    assert damaged.exit_code == told.exit_code == 1
    assert "image/c/0/0/0" in damaged.stdout
    assert index.exit_code == 0
    assert json.loads(index.stdout)["sound"] is True
    assert json.loads(told.stdout)["faults"][0]["object"] == "image/c/0/0/0"
