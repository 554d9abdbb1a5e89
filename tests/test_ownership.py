"""What belongs to people and other programs: no command removes, overwrites or reads through it."""

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.builds.build import check_target
from spacenet_cube.builds.state.first_step import begun
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.ownership import (
    Ownership,
    arrays_of,
    has_form,
    is_ledger,
    is_manifest,
    keys_of,
    occupied,
)
from spacenet_cube.builds.state.records import Record
from spacenet_cube.format.manifest import parse, place, with_manifest
from spacenet_cube.storage.base.entries import Entry
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import filesystem, moto
from tests.tiny_cubes import planned, recipe, scenes

KEY = "image/c/0/0/0"
STRAYS = [
    "../../../home/precious",
    "../../home/../home/precious",
    "{home}/precious",
    "..\\..\\home\\precious",
    "a//../../../../home/precious",
    "unit-0-000000/../../../../home/precious",
    "nul\0byte",
    "",
    ".",
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "owner")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")
        filesystem(url).mkdir("ground")
        yield url


class Ground:
    """A place on disk or on S3 for a cube, with a home folder that is nobody's business."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url, self.options = url, options
        self.home = {
            "home/precious.json": b"{}",
            "home/precious": b"p",
            "home/precious.jsonl": b"l",
        }
        for name, content in self.home.items():
            self.put(name, content)

    @property
    def cube(self) -> str:
        return f"{self.url}/cubes/AOI/P.zarr"

    def put(self, name: str, content: bytes) -> None:
        locate(f"{self.url}/{name}", self.options).write_bytes(content)

    def read(self, name: str) -> bytes:
        return bytes(locate(f"{self.url}/{name}", self.options).read_bytes())

    def held(self, name: str = "cubes") -> set[str]:
        return set(entries(locate(f"{self.url}/{name}", self.options)))

    def build(self, plan: sc.Plan, **more: Any) -> None:
        sc.build(plan, f"{self.url}/cubes", target_options=self.options, **more)

    def update(self, plan: sc.Plan) -> None:
        sc.update(plan, f"{self.url}/cubes", target_options=self.options)

    def publish(self, made: Path) -> None:
        """Put the cube that was built once."""
        for file in (made / "cubes").rglob("*"):
            if file.is_file():
                self.put(str(file.relative_to(made)), file.read_bytes())

    def check_home(self) -> None:
        for name, content in self.home.items():
            assert self.read(name) == content


@pytest.fixture(params=["disk", "s3"])
def ground(request: pytest.FixtureRequest, tmp_path: Path, endpoint: str) -> Ground:
    if request.param == "disk":
        return Ground(str(tmp_path / "ground"), {})
    options = {"endpoint_url": endpoint, "retries": 1}
    return Ground(f"s3://ground/{tmp_path.name}", options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source and the cube that is built of it, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    scenes(folder / "source", "cloud")
    sc.build(planned(folder / "source", "cloud"), folder / "cubes")
    return folder


@pytest.fixture
def source(tmp_path: Path, made: Path) -> Path:
    return Path(shutil.copytree(made / "source", tmp_path / "source"))


@pytest.fixture
def plan(source: Path) -> sc.Plan:
    return planned(source, "cloud")


@pytest.fixture
def cube(tmp_path: Path, made: Path) -> Path:
    """A published cube at ``cubes/AOI/P.zarr`` of the test's folder."""
    return Path(shutil.copytree(made / "cubes", tmp_path / "cubes")) / "AOI/P.zarr"


@pytest.mark.parametrize("replace", [False, True])
def test_a_record_that_names_a_task_elsewhere_removes_nothing(ground, plan, replace):
    done = "cubes/AOI/P.zarr.build/done"
    for number, stray in enumerate(STRAYS):
        record = Record(stray.format(home=f"{ground.url}/home"), "x", ())
        for name in (f"x{number}", f"unit-0-{number:06d}", f"overview-2-{number:06d}"):
            ground.put(f"{done}/{name}.json", record.content)
    ground.put(f"{done}/coordinates.json", Record("../../../../home/precious", "x", ()).content)

    ground.build(plan, replace=replace)

    ground.check_home()
    assert {f"AOI/P.zarr.build/done/x{n}.json" for n in range(len(STRAYS))} < ground.held()


def test_a_plan_and_an_update_that_name_arrays_and_tasks_elsewhere_remove_nothing(
    ground, plan, made
):
    strays = [stray.format(home=f"{ground.url}/home") for stray in STRAYS]
    ground.publish(made)
    root = ground.read("cubes/AOI/P.zarr/zarr.json")
    locate(f"{ground.cube}/zarr.json", ground.options).remove_object()
    ledger = Ledger(locate(ground.cube, ground.options))
    ledger.begin(begun(plan), plan)
    facts = json.loads(ground.read("cubes/AOI/P.zarr.build/plan.json"))
    facts["arrays"] = {path: [9] for stray in strays for path in (stray, f"{stray}/y", "mine")}
    ledger.write("plan.json", json.dumps(facts).encode())
    ledger.write_base(root, dict.fromkeys(strays, "unit"))
    ledger.write("failed.json", json.dumps(dict.fromkeys(strays, "why")).encode())
    ground.put("cubes/AOI/P.zarr/mine/c/0", b"mine")

    ground.build(plan, replace=True)

    ground.check_home()
    assert ground.read("cubes/AOI/P.zarr/mine/c/0") == b"mine"


def test_a_manifest_that_names_foreign_objects_removes_none(ground, plan, made):
    ground.publish(made)
    for name in ("mine/c/0", "NOTES.txt"):
        ground.put(f"cubes/AOI/P.zarr/{name}", b"mine")
    _rewrite_manifest(ground, "mine/c/0", "NOTES.txt", "../../../home/precious", *STRAYS)

    ground.build(plan, replace=True)

    ground.check_home()
    assert {"AOI/P.zarr/mine/c/0", "AOI/P.zarr/NOTES.txt"} <= ground.held()


@pytest.mark.parametrize("stray", ["../../../home/precious", "mine/c/0"])
def test_a_repair_refuses_a_manifest_that_names_what_no_build_writes(ground, plan, made, stray):
    ground.publish(made)
    _rewrite_manifest(ground, stray)

    with pytest.raises(sc.VerifyError, match="no build writes"):
        sc.repair(ground.cube, plan, storage_options=ground.options)

    ground.check_home()


@pytest.mark.parametrize(
    "stray", ["../../../../home/precious", "../../home/precious", "a/b", 1, None]
)
@pytest.mark.parametrize("verb", ["update", "replace"])
def test_a_root_that_names_a_manifest_elsewhere_reads_and_removes_nothing_there(
    ground, plan, made, stray, verb
):
    ground.publish(made)
    root = json.loads(ground.read("cubes/AOI/P.zarr/zarr.json"))
    root["attributes"]["spacenet_cube"]["manifest"]["sha256"] = stray
    ground.put("cubes/AOI/P.zarr/zarr.json", json.dumps(root).encode())

    if verb == "update":
        with pytest.raises(sc.StoreError, match="--replace"):
            ground.update(plan)
    else:
        ground.build(plan, replace=True)

    ground.check_home()


def _rewrite_manifest(ground: Ground, *strays: str) -> None:
    """Let a cube's manifest name more objects, and its root name that manifest."""
    root = json.loads(ground.read("cubes/AOI/P.zarr/zarr.json"))
    named = root["attributes"]["spacenet_cube"]["manifest"]["sha256"]
    old = ground.read(f"cubes/AOI/P.zarr{place(named)}")
    rows = [[stray, 4, sha256(b"mine").hexdigest()] for stray in strays]
    content = old + b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    digest = sha256(content).hexdigest()
    ground.put(f"cubes/AOI/P.zarr{place(digest)}", content)
    stored = json.dumps(with_manifest(root, parse(content)), indent=1)
    ground.put("cubes/AOI/P.zarr/zarr.json", stored.encode())


FOREIGN = {
    "AOI/P.zarr/NOTES.txt": b"n",
    "AOI/P.zarr/mine/zarr.json": b"{}",
    "AOI/P.zarr/mine/c/0": b"m",
    "AOI/P.zarr/ovr_2x/mine/zarr.json": b"{}",
    "AOI/P.zarr/image/readme.md": b"r",
    "AOI/P.zarr/image/c/0/0/data.tif.partial": b"d",
    "AOI/P.zarr/.notes.partial": b"p",
    "AOI/P.zarr/image/c/0/99/0": b"beyond",
    "AOI/P.zarr.manifest/mine/readme.txt": b"o",
    "AOI/P.zarr.manifest/list.jsonl": b"o",
    "AOI/P.zarr.build/todo.txt": b"t",
    "AOI/P.zarr.build/done/mine.json": b"{}",
}


@pytest.mark.parametrize("verb", ["build", "resume", "update", "replace", "repair"])
def test_foreign_files_stay_and_are_named(ground, source, plan, made, verb, caplog):
    if verb != "build":
        ground.publish(made)
    if verb == "resume":
        locate(f"{ground.cube}/zarr.json", ground.options).remove_object()
        Ledger(locate(ground.cube, ground.options)).begin(begun(plan), plan)
    for name, content in FOREIGN.items():
        ground.put(f"cubes/{name}", content)

    if verb == "repair":
        locate(f"{ground.cube}/{KEY}", ground.options).remove_object()
        told = str(sc.repair(ground.cube, plan, storage_options=ground.options).found.faults)
    elif verb == "update":
        scenes(source, "cloud", seed=2)
        ground.update(planned(source, "cloud"))
        told = caplog.text
    else:
        ground.build(plan, replace=verb == "replace")
        told = caplog.text

    assert {name: ground.read(f"cubes/{name}") for name in FOREIGN} == FOREIGN
    for name in ("NOTES.txt", "mine", "readme.md", "data.tif.partial", ".notes.partial"):
        assert name in told
    own = {name for name in ground.held() if name not in FOREIGN}
    usual = set(entries(locate(made / "cubes")))
    assert {name for name in own ^ usual if not name.endswith(".jsonl")} == set()
    assert sum(name.endswith(".jsonl") for name in own) == 1


@pytest.mark.parametrize("taken", [KEY, "image/zarr.json", "zarr.json"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_build_stops_where_a_foreign_file_has_its_place(ground, plan, taken, replace):
    ground.put(f"cubes/AOI/P.zarr/{taken}", b"{}")

    with pytest.raises(sc.CubeExistsError, match=taken):
        ground.build(plan, replace=replace)

    assert ground.held() == {f"AOI/P.zarr/{taken}"}
    assert ground.read(f"cubes/AOI/P.zarr/{taken}") == b"{}"


@pytest.mark.parametrize("taken", ["image", "ovr_2x", f"{KEY}/notes.txt", "zarr.json/notes.txt"])
def test_a_build_stops_where_a_file_is_in_place_of_a_folder(tmp_path, plan, taken):
    there = tmp_path / "cubes/AOI/P.zarr" / taken
    there.parent.mkdir(parents=True)
    there.write_text("mine")

    with pytest.raises(sc.StoreError):
        sc.build(plan, tmp_path / "cubes", replace=True)

    assert there.read_text() == "mine"


def _do(verb: str, folder: Path, source: Path, plan: sc.Plan) -> None:
    """Let a command loose on the cube in a folder."""
    if verb == "repair":
        sc.repair(folder / "cubes/AOI/P.zarr", plan)
    elif verb == "update":
        scenes(source, "cloud", seed=2)
        sc.update(planned(source, "cloud"), folder / "cubes")
    else:
        sc.build(plan, folder / "cubes", replace=verb == "replace")


LINKS = ["image", "image/c", "ovr_2x", KEY, "zarr.json", "band"]


@pytest.mark.parametrize("inside", LINKS)
@pytest.mark.parametrize("verb", ["build", "update", "replace", "repair"])
def test_nothing_is_written_or_removed_through_a_link_inside_a_cube(
    tmp_path, source, plan, cube, inside, verb
):
    outside = tmp_path / "outside"
    shutil.move(cube / inside, outside)
    (cube / inside).symlink_to(outside)
    if verb == "build" and inside != "zarr.json":
        (cube / "zarr.json").unlink()
        Ledger(locate(cube)).begin(begun(plan), plan)
    before = _tree(outside)

    with pytest.raises(sc.CubeError):
        _do(verb, tmp_path, source, plan)

    assert _tree(outside) == before


@pytest.mark.parametrize("linked", ["", ".build", ".manifest", ".build/done", ".build/lock"])
@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("verb", ["build", "update", "replace", "repair"])
def test_a_cube_or_ledger_that_is_a_link_is_refused_before_anything_is_touched(
    tmp_path, source, plan, cube, linked, dangling, verb
):
    outside, there = tmp_path / "outside", Path(f"{cube}{linked}")
    if there.exists():
        shutil.move(there, outside)
    elif not dangling:
        outside.mkdir()
        (outside / "unit-0-000000.json").write_bytes(b"{}")
        (outside / "000001.json").write_bytes(b"{}")
    if dangling:
        shutil.rmtree(outside, ignore_errors=True)
    there.parent.mkdir(exist_ok=True)
    there.symlink_to(outside)
    before = _tree(tmp_path / "cubes"), _tree(outside)

    with pytest.raises(sc.StoreError, match="symbolic link"):
        _do(verb, tmp_path, source, plan)

    assert (_tree(tmp_path / "cubes"), _tree(outside)) == before


def test_a_link_above_a_cube_is_followed(tmp_path, plan):
    (tmp_path / "big").mkdir()
    (tmp_path / "cubes").mkdir()
    (tmp_path / "cubes/AOI").symlink_to(tmp_path / "big")

    for replace in (False, True):
        assert sc.verify(sc.build(plan, tmp_path / "cubes", replace=replace)).is_sound

    assert (tmp_path / "big/P.zarr/zarr.json").is_file()


def _tree(folder: Path) -> dict[str, bytes | None]:
    if folder.is_file():
        return {"": folder.read_bytes()}
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("to", ["source", "source/cubes", "link", "link/deeper"])
@pytest.mark.parametrize("verb", ["build", "update"])
def test_a_target_inside_a_source_is_refused(tmp_path, source, plan, to, verb):
    (tmp_path / "link").symlink_to(source)
    before = _tree(source)

    with pytest.raises(sc.StoreError, match="inside the source"):
        getattr(sc, verb)(plan, tmp_path / to)

    assert _tree(source) == before


@pytest.mark.parametrize("below", ["", "/raw", ".build/raw", ".manifest"])
def test_a_target_that_is_or_contains_a_source_is_refused(tmp_path, below):
    source = tmp_path / f"cubes/AOI/P.zarr{below}"
    scenes(source, "cloud")
    before = _tree(tmp_path)

    with pytest.raises(sc.StoreError, match=r"(is|contains) the source"):
        sc.build(planned(source, "cloud"), tmp_path / "cubes", replace=True)

    assert _tree(tmp_path) == before


@pytest.mark.parametrize(
    ("where", "to", "refused"),
    [
        ("raw", "s3://ground/raw/cubes", True),
        ("raw", "s3://ground/raw", True),
        ("AOI/P.zarr/raw", "s3://ground", True),
        ("raw", "s3a://ground/raw/cubes", True),
        ("raw", "s3://ground/raw2", False),
        ("raw/deeper", "s3://ground/raw", False),
        ("raw", "s3://ground", False),
    ],
)
def test_on_s3_places_are_compared_by_bucket_and_key(tmp_path, endpoint, where, to, refused):
    place, options = f"{tmp_path.name}/{where}", {"endpoint_url": endpoint, "retries": 1}
    scenes(tmp_path / "local", "cloud")
    for file in (tmp_path / "local").iterdir():
        locate(f"s3://ground/{place}/{file.name}", options).write_bytes(file.read_bytes())
    url = to.replace("//ground", f"//ground/{tmp_path.name}", 1)
    wanted = recipe(tmp_path, "cloud")
    found = sc.survey(wanted, "P", source=f"s3://ground/{place}", source_options=options)
    plan = sc.plan(wanted, "P", found)

    if refused:
        with pytest.raises(sc.StoreError, match="the source"):
            sc.build(plan, url, target_options=options)
    else:
        check_target(plan, url, target_options=options)


def test_archives_are_not_unpacked_into_their_source(source):
    with pytest.raises(sc.StoreError, match="staging"):
        sc.survey(recipe(source, "cloud"), "P", staging=source / "staging")


def test_whether_a_plan_names_its_keys_by_counts_or_one_by_one_is_the_same(plan):
    owned = Ownership(frozenset({"zarr.json"}), arrays_of(plan))

    assert all(has_form(key) and owned.names(key) for key in keys_of(plan))
    assert not owned.names("image/c/0/99/0")
    assert not owned.names("ovr_64x/image/zarr.json")
    assert not Ownership(begun=arrays_of(plan)).names("zarr.json")


texts = st.text(st.sampled_from("./\\\0abc019c-_{}xzjson") | st.characters(), max_size=30)
bits = st.sampled_from(
    ["image", "c", "0", "1", "..", ".", "", "zarr.json", "ovr_2x", "y", "done", "lock", "~"]
)


@given(texts | st.lists(bits, max_size=6).map("/".join))
def test_a_key_that_leads_elsewhere_belongs_to_no_build(key):
    if {"", ".", ".."} & set(key.split("/")) or "\\" in key or "\0" in key:
        assert not has_form(key)
        assert not is_ledger(key)
        assert not is_manifest(key)
        assert not Ownership(frozenset({key, KEY}), {key: (1,)}, by_form=True).owns(key)


@given(st.lists(st.lists(bits.filter(bool), min_size=1, max_size=4).map("/".join), max_size=4))
def test_what_is_in_the_way_shares_a_path_with_what_is_needed(foreign):
    needed = [KEY, "image/zarr.json", "y/c/0", "zarr.json"]

    found = occupied(foreign, needed)

    def meets(one: str, other: str) -> bool:
        return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")

    assert found == sorted(key for key in foreign if any(meets(key, one) for one in needed))


def test_a_draft_belongs_to_a_build_only_next_to_an_object_of_one():
    owned = Ownership(frozenset({KEY, "y/zarr.json"}))
    tag = "0123456789abcdef" * 2
    drafts = [
        f"image/c/0/0/.0.{tag}.partial",
        f"image/c/0/0/0.{tag}.partial",
        f"y/zarr.{tag}.partial",
    ]
    foreign = ["image/c/0/0/0.tif.partial", f"mine/0.{tag}.partial", f"y/notes.{tag}.partial"]

    listing = {key: Entry(1) for key in [*drafts, *foreign]}

    assert owned.own(listing) == set(drafts)
    assert owned.own({key: Entry(1, is_link=True) for key in drafts}) == set()
