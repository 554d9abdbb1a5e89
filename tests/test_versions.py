"""Versioned cubes: one commit a build, every version kept, readers never in between."""

import importlib
import json
import multiprocessing as mp
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import spacenet_cube as sc
from spacenet_cube.builds.build import check_target
from spacenet_cube.builds.state.claims import Claim, Holder, claim_name
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.builds.unit.task import Recording
from spacenet_cube.builds.versioned import saver
from spacenet_cube.builds.versioned.draft import Draft
from spacenet_cube.cli.app import app
from spacenet_cube.storage.durable import create, entries
from spacenet_cube.storage.icechunk.address import Address, parse_address
from spacenet_cube.storage.icechunk.repository import MovedError, Repository, library
from spacenet_cube.storage.resolve import locate
from tests.places import ROOT
from tests.s3_servers import filesystem, moto
from tests.torture.ground import deliver, deliver_all, plan_of

SECRET = "canary-of-a-secret-4712"  # noqa: S105 - a canary


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return deliver_all(tmp_path / "source")


@pytest.fixture
def to(tmp_path: Path) -> str:
    return f"icechunk+file://{tmp_path}/versions"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        filesystem(url).mkdir("versions")
        yield url


def content(cube: str, options: dict[str, str] | None = None) -> dict[str, bytes]:
    """Every object of the cube that readers see, by key."""
    place = locate(cube, options)
    return {key: (place / key).read_bytes() for key in entries(place)}


def manifests(cube: str, options: dict[str, str] | None = None) -> dict[str, bytes]:
    place = locate(cube, options).beside(".manifest")
    return {key: bytes((place / key).read_bytes()) for key in entries(place)}


def commits(cube: str) -> list[str]:
    """Messages of what icechunk itself says `main` is made of, oldest first."""
    found = [each.message for each in repository(cube).ancestry(branch="main")]
    return found[::-1]


def repository(cube: str) -> icechunk.Repository:
    """The repository of a local cube, opened without this project."""
    path = cube.removeprefix("icechunk+file://")
    return icechunk.Repository.open(icechunk.local_filesystem_storage(path))


def changed(source: Path) -> sc.Plan:
    """A plan after a scene was delivered anew and another was added in front."""
    deliver(source, "d.tif", 77)
    deliver(source, "a.tif", 78, block=sc_block(60, 3, 20, 20))
    return plan_of(source)


def sc_block(*sides: int) -> Any:
    return importlib.import_module("spacenet_cube.raster.grid").Block(*sides)


class Stop(BaseException):
    """What ends a build as a signal would."""


def stop_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writing of an object fail, after so many were written."""
    left = [writes]
    write = Recording.set_sync

    def set_sync(self: Recording, key: str, value: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stop
        write(self, key, value)

    monkeypatch.setattr(Recording, "set_sync", set_sync)


@pytest.mark.parametrize("profile", ["cloud", "gdal312"])
def test_the_version_is_the_plain_cube_byte_for_byte(source, to, tmp_path, profile):
    recipe = plan_of(source)
    planned = sc.plan(
        sc.Recipe(name="AOI", licence=recipe.licence, products=(recipe.product,)),
        recipe.product.with_profile(profile),
        recipe.scenes,
    )

    plain = sc.build(planned, tmp_path / "plain", workers=2)
    cube = sc.build(planned, to, workers=2)

    assert cube == f"{to}/AOI/P.icechunk"
    assert content(cube) == content(plain)
    assert manifests(cube) == manifests(plain)
    xr.testing.assert_identical(sc.open_cube(cube), sc.open_cube(plain))
    xr.testing.assert_identical(sc.open_cube(cube, level=1), sc.open_cube(plain, level=1))


def test_a_shard_is_one_object_of_the_repository(source, to):
    planned = plan_of(source)

    cube = sc.build(planned, to)

    found = entries(locate(cube))
    # What is no larger than 512 bytes lies in the repository's own tables.
    large = [key for key, one in found.items() if "/c" in key and one.size_bytes > 512]
    assert len(list(locate(cube).plain.fs.find(f"{locate(cube).plain.path}/chunks"))) == len(large)


def test_xarray_opens_it_as_the_page_says(source, to, tmp_path):
    cube = sc.build(plan_of(source), to)
    plain = sc.build(plan_of(source), tmp_path / "plain")
    page = (ROOT / "spacenet_cube" / "docs" / "versions.md").read_text()
    (program,) = (each for each in page.split("```python\n") if each.startswith("import icechunk"))
    folder = cube.removeprefix("icechunk+file://")
    shown: dict[str, Any] = {}

    exec(  # noqa: S102 - what the page tells people to run
        program.partition("```")[0].replace("/data/cubes/AOI_2_Vegas/MUL.icechunk", folder), shown
    )

    xr.testing.assert_identical(shown["cube"].load(), xr.open_zarr(plain).load())
    xr.testing.assert_identical(
        xr.open_zarr(shown["session"].store, consolidated=False, group="ovr_2x").load(),
        xr.open_zarr(plain, group="ovr_2x").load(),
    )


def test_a_build_is_one_commit_and_each_new_version_one_more(source, to, tmp_path):
    first = plan_of(source)
    cube = sc.build(first, to)
    begun = commits(cube)
    before = content(cube)

    sc.build(first, to, replace=True)
    replaced = commits(cube)
    second = changed(source)
    done = sc.update(second, to)

    assert begun == ["Repository initialized", f"AOI P, plan {first.digest[:12]}"]
    assert replaced == [*begun, begun[1]]
    assert commits(cube) == [*replaced, f"AOI P, plan {second.digest[:12]}"]
    assert 0 < done.units < done.of
    assert content(cube) == content(sc.build(second, tmp_path / "anew"))
    newest, *_, oldest = sc.history(cube)
    assert (newest.current, newest.plan, oldest.plan) == (True, second.digest, first.digest)
    assert content(f"{cube}#{oldest.id}") == before
    assert len(manifests(cube)) == 2
    assert repository(cube).list_branches() == {"main"}
    assert not Path(cube.removeprefix("icechunk+file://") + ".build").exists()
    told = next(iter(repository(cube).ancestry(branch="main"))).metadata
    assert (told["plan"], told["scenes"], told["product"]) == (second.digest, 5, "P")
    assert told["software"] == f"spacenet_cube {sc.__version__}"


def test_a_version_may_have_another_grid_and_other_chunks(source, to, tmp_path):
    cube = sc.build(plan_of(source), to)
    (source / "f.tif").unlink()
    smaller = plan_of(source)
    other = sc.plan(
        sc.Recipe(name="AOI", licence=smaller.licence, products=(smaller.product,)),
        smaller.product.with_profile("gdal312"),
        smaller.scenes,
    )

    with pytest.raises(sc.RecipeError, match="--replace"):
        sc.update(other, to)
    sc.build(other, to, replace=True)

    assert content(cube) == content(sc.build(other, tmp_path / "anew"))
    assert sc.verify(f"{cube}#{sc.history(cube)[1].id}").is_sound


def test_what_another_task_is_writing_does_not_disturb_saving(source, to):
    chunks = Path(to.removeprefix("icechunk+file://"), "AOI", "P.icechunk", "chunks")

    def begin_a_file(stage: str, done: int, _: int) -> None:
        # Its name is in the listing, and gone when it is opened.
        if (stage, done) == ("units", 1):
            (chunks / "QVG1EC9T8YJG1FWA50R0#1").symlink_to("nowhere")

    cube = sc.build(plan_of(source), to, progress=begin_a_file)

    assert sc.verify(cube).is_sound


def test_where_saving_is_dear_it_is_done_seldom(source, to, tmp_path, monkeypatch):
    planned, cube = plan_of(source), f"{to}/AOI/P.icechunk"
    monkeypatch.setattr(saver, "_DEAR_S", -1.0)
    monkeypatch.setattr(saver, "_SHARE", 1e9)
    seen: list[int] = []

    sc.build(planned, to, progress=lambda *_: seen.append(len(Ledger(locate(cube)).done())))

    assert 1 <= max(seen) < len(tasks(planned)) / 2
    assert content(cube) == content(sc.build(planned, tmp_path / "anew"))


def test_an_update_that_changes_nothing_makes_no_version(source, to):
    cube = sc.build(plan_of(source), to)

    done = sc.update(plan_of(source), to)

    assert (done.units, len(sc.history(cube))) == (0, 1)


def test_a_published_cube_is_not_replaced_unasked(source, to):
    cube = sc.build(plan_of(source), to)

    with pytest.raises(sc.CubeExistsError, match="add --replace"):
        sc.build(plan_of(source), to)
    assert len(sc.history(cube)) == 1


def test_a_dead_builders_claim_on_a_published_cube_goes_when_the_next_is_refused(source, to):
    planned = plan_of(source)
    cube = sc.build(planned, to)
    gone = Claim("abc", Holder("me@elsewhere", "elsewhere", 1, "1"), since_s=0.0, beat_s=0.0)
    place = locate(cube).beside(".build") / "lock" / claim_name(1)
    create(place, gone.content)

    with pytest.raises(sc.CubeExistsError):
        check_target(planned, to)

    assert not place.exists()


def test_nothing_partial_is_ever_seen(source, to):
    planned, seen = plan_of(source), []
    cube = f"{to}/AOI/P.icechunk"

    def look(*_: object) -> None:
        with pytest.raises(sc.StoreError, match="unfinished build; run the same"):
            sc.open_cube(cube)
        session = repository(cube).readonly_session("main")
        with pytest.raises(FileNotFoundError):
            xr.open_zarr(session.store, consolidated=False)
        seen.append(session.snapshot_id)

    sc.build(planned, to, progress=look)

    assert len(seen) > len(planned.units)
    assert len(set(seen)) == 1
    assert sc.open_cube(cube).image.shape == (2, 93, 95)


def test_readers_go_on_with_their_version_while_another_is_made(source, to):
    cube = sc.build(plan_of(source), to)
    pinned, before = sc.open_cube(cube), content(cube)
    held = pinned.load(scheduler="synchronous").copy(deep=True)
    lazily, looks = sc.open_cube(cube), []

    def look(*_: object) -> None:
        assert content(cube) == before
        looks.append(int(lazily.image[:, :20, :20].sum().compute(scheduler="synchronous")))

    sc.update(changed(source), to, progress=look)

    assert len(set(looks)) == 1
    assert content(cube) != before
    xr.testing.assert_identical(lazily.load(), held)
    assert sc.open_cube(cube).encoding["source"] != lazily.encoding["source"]


@pytest.mark.parametrize("kind", ["build", "replace", "update"])
def test_a_build_that_is_stopped_goes_on_with_what_is_on_record(
    source, to, tmp_path, kind, monkeypatch
):
    planned, cube = plan_of(source), f"{to}/AOI/P.icechunk"
    before: dict[str, bytes] = {}
    if kind != "build":
        sc.build(planned, to)
        before, planned = content(cube), changed(source)
    again = {"replace": True} if kind == "replace" else {}
    verb: Any = sc.update if kind == "update" else sc.build

    with monkeypatch.context() as patched:
        stop_after(45, patched)
        with pytest.raises(Stop):
            verb(planned, to, workers=2, **again)
    recorded = Ledger(locate(cube)).done() - {"coordinates"}
    seen = content(cube)
    totals: dict[str, int] = {}
    verb(
        planned,
        to,
        workers=2,
        progress=lambda stage, _, total: totals.update({stage: total}),
        **again,
    )

    assert seen == before
    assert recorded
    if kind != "update":
        assert sum(totals.values()) == len(tasks(planned)) - len(recorded)
    assert content(cube) == content(sc.build(planned, tmp_path / "anew"))
    assert len(sc.history(cube)) == (1 if kind == "build" else 2)


def test_a_process_that_is_killed_loses_only_what_was_in_flight(source, to, tmp_path):
    planned, cube = plan_of(source), f"{to}/AOI/P.icechunk"
    processes = mp.get_context("spawn")
    here, there = processes.Pipe()
    process = processes.Process(target=_build_slowly, args=(planned, to, there))
    process.start()
    while here.recv() < 5:
        continue

    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    recorded = Ledger(locate(cube)).done()
    with pytest.raises(sc.StoreError, match="unfinished build"):
        sc.open_cube(cube)
    totals: dict[str, int] = {}
    sc.build(planned, to, progress=lambda stage, _, total: totals.update({stage: total}))

    assert process.exitcode == -signal.SIGKILL
    assert len(recorded) >= 5
    assert sum(totals.values()) == len(tasks(planned)) - len(recorded)
    assert content(cube) == content(sc.build(planned, tmp_path / "anew"))
    assert len(commits(cube)) == 2


def _build_slowly(planned: sc.Plan, to: str, told: Connection) -> None:
    def progress(stage: str, done: int, _: int) -> None:
        if stage == "units":
            told.send(done)
            time.sleep(0.05)

    sc.build(planned, to, workers=1, progress=progress)


def test_of_two_builders_one_wins(source, to):
    planned, cube = plan_of(source), f"{to}/AOI/P.icechunk"
    others: list[str] = []

    def intrude(stage: str, done: int, _: int) -> None:
        if stage == "units" and done == 4 and not others:
            with pytest.raises(sc.StoreError, match="is being built by"):
                sc.build(planned, to)
            others.append(sc.build(planned, to, break_lock=True))

    with pytest.raises(sc.StoreError):
        sc.build(planned, to, workers=1, progress=intrude)

    assert others == [cube]
    assert len(commits(cube)) == 2
    assert sc.open_cube(cube).image.shape == (2, 93, 95)


def test_a_version_that_is_published_meanwhile_is_not_lost(source, to, monkeypatch):
    cube = sc.build(plan_of(source), to)
    planned, publish = changed(source), Draft.publish

    def intruded(draft: Draft, snapshot: str) -> None:
        # Not while tasks are saved: on a local disk icechunk has no way to keep two commits apart.
        repository(cube).writable_session("main").commit("by someone else", allow_empty=True)
        publish(draft, snapshot)

    with monkeypatch.context() as patch:
        patch.setattr(Draft, "publish", intruded)
        with pytest.raises(sc.CubeExistsError, match="published meanwhile"):
            sc.update(planned, to, workers=1)
    assert commits(cube)[-1] == "by someone else"

    sc.update(planned, to)
    assert commits(cube)[-2:] == ["by someone else", f"AOI P, plan {planned.digest[:12]}"]


def test_an_answer_that_is_lost_at_the_last_step_is_settled_by_looking(source, to, monkeypatch):
    reset = icechunk.Repository.reset_branch
    lost = []

    def reset_branch(self: icechunk.Repository, *given: Any, **named: Any) -> None:
        reset(self, *given, **named)
        lost.append(given)
        reset(self, *given, **named)

    monkeypatch.setattr(icechunk.Repository, "reset_branch", reset_branch)

    cube = sc.build(plan_of(source), to)

    assert len(lost) == 1
    assert len(sc.history(cube)) == 1


def test_main_is_moved_only_from_where_it_is_thought_to_be(source, to):
    cube = sc.build(plan_of(source), to)
    held = Repository(locate(cube).plain.url, locate(cube).options)
    (version,) = sc.history(cube)

    with pytest.raises(MovedError):
        held.move(held.parent(version.id) or "", held.parent(version.id) or "")


def test_a_version_is_named_gone_back_to_and_nothing_is_deleted(source, to):
    cube = sc.build(plan_of(source), to)
    before = content(cube)
    named = sc.tag(cube, "delivered")
    sc.update(changed(source), to)
    newest, after = sc.history(cube)[0], content(cube)

    back = sc.rollback(cube, "delivered")
    seen, known = content(cube), [(one.id, one.current) for one in sc.history(cube)]
    again = sc.rollback(cube, newest.id)

    assert (named.tags, back.id, back.current) == (("delivered",), named.id, True)
    assert seen == before
    assert known == [(newest.id, False), (named.id, True)]
    assert (again.id, content(cube)) == (newest.id, after)
    assert [(one.id, one.current) for one in sc.history(cube)] == [
        (newest.id, True),
        (named.id, False),
    ]
    opened = sc.open_cube(cube, version="delivered")
    assert opened.encoding["source"] == f"{cube}#{named.id}"
    xr.testing.assert_identical(opened, sc.open_cube(f"{cube}#{named.id}"))


def test_a_version_is_found_by_tag_branch_snapshot_and_time(source, to):
    cube = sc.build(plan_of(source), to)
    (first,) = sc.history(cube)
    sc.tag(cube, "v1")
    time.sleep(1.1)  # Times of versions are told in whole seconds.
    sc.update(changed(source), to)
    second = sc.history(cube)[0]
    between = repository(cube).lookup_snapshot(first.id).written_at

    found = {
        asked: sc.open_cube(cube, version=asked).encoding["source"].partition("#")[2]
        for asked in ("v1", "main", first.id, between)
    }

    assert found == {"v1": first.id, "main": second.id, first.id: first.id, between: first.id}
    assert sc.cube_info(f"{cube}#v1").plan == first.plan
    assert sc.cube_info(cube).plan == second.plan


def test_what_is_no_version_is_told_with_what_there_is(source, to, tmp_path):
    cube = sc.build(plan_of(source), to)
    sc.tag(cube, "v1")
    plain = sc.build(plan_of(source), tmp_path / "plain")

    for asked in ("v2", "1999-01-01", "NKE1QF5S4B4TXRCW1EX0"):
        with pytest.raises(sc.StoreError, match=rf"no version '{asked}'.*there are v1"):
            sc.open_cube(cube, version=asked)
    with pytest.raises(sc.RecipeError, match="not a versioned cube"):
        sc.open_cube(plain, version="v1")
    with pytest.raises(sc.RecipeError, match="no versioned cube"):
        sc.history(plain)
    with pytest.raises(sc.StoreError, match="choose another; nothing was done"):
        sc.tag(cube, "v1")
    with pytest.raises(sc.StoreError, match="holds no cube"):
        sc.rollback(cube, repository(cube).lookup_snapshot(sc.history(cube)[0].id).parent_id or "")
    with pytest.raises(sc.StoreError, match="no repository"):
        sc.history(f"{to}/AOI/Q.icechunk")
    with pytest.raises(sc.StoreError, match="no cube at"):
        sc.open_cube("AOI", "Q", root=to)


def test_a_cube_is_found_by_name(source, to):
    sc.build(plan_of(source), to)

    assert sc.open_cube("AOI", "P", root=to).image.shape == (2, 93, 95)
    corpus = sc.open_corpus(to)
    assert {aoi: list(products) for aoi, products in corpus.items()} == {"AOI": ["P"]}
    assert corpus["AOI"]["P"].image.shape == (2, 93, 95)


@pytest.mark.parametrize("damage", ["flip", "loss"])
def test_a_damaged_chunk_is_an_error(source, to, damage):
    cube = sc.build(plan_of(source), to)
    chunks = Path(cube.removeprefix("icechunk+file://"), "chunks")
    for file in chunks.iterdir():
        held = bytearray(file.read_bytes())
        held[len(held) // 2] ^= 1
        file.write_bytes(held) if damage == "flip" else file.unlink()

    told = r"missing or damaged .*(checksum|gone).* run 'spacenet-cube verify icechunk\+file"
    with pytest.raises(sc.StoreError, match=told):
        sc.open_cube(cube).image.load(scheduler="synchronous")
    found = sc.verify(cube)
    assert not found.is_sound
    with pytest.raises(sc.StoreError, match="rollback"):
        sc.repair(cube, plan_of(source))


def test_every_version_is_verified_by_a_manifest_of_its_own(source, to):
    cube = sc.build(plan_of(source), to)
    first = sc.tag(cube, "v1")
    sc.update(changed(source), to)

    newest, oldest = sc.verify(cube), sc.verify(f"{cube}#{first.id}")

    assert (newest.is_sound, newest.faults, oldest.is_sound) == (True, (), True)
    assert newest.manifest != oldest.manifest


def test_a_versioned_build_is_not_shared_with_other_processes(source, to):
    pool = ProcessPoolExecutor(1, mp.get_context("spawn"))

    with pytest.raises(sc.StoreError, match="leave it out"), pool:
        sc.build(plan_of(source), to, executor=pool)


def test_status_tells_of_a_version_that_is_being_made(source, to, monkeypatch):
    cube = f"{to}/AOI/P.icechunk"
    with monkeypatch.context() as patched:
        stop_after(45, patched)
        with pytest.raises(Stop):
            sc.build(plan_of(source), to)

    found = sc.build_status(cube)

    assert (found.published, found.plan) == (False, plan_of(source).digest)


def test_what_is_no_repository_is_not_built_into(source, to, tmp_path):
    there = tmp_path / "versions" / "AOI" / "P.icechunk"
    there.mkdir(parents=True)
    (there / "somebody's").write_text("file")

    for replace in (False, True):
        with pytest.raises(sc.StoreError, match="move it away"):
            sc.build(plan_of(source), to, replace=replace)

    assert [path.name for path in there.iterdir()] == ["somebody's"]


def test_the_command_line_has_the_same_verbs(source, to, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = {
        "name": "AOI",
        "source": str(source),
        "licence": {"spdx": "CC0-1.0", "attribution": "nobody"},
        "products": [{"name": "P", "sources": ["*.tif"], "bands": ["red", "nir"]}],
    }
    Path("recipe.yaml").write_text(json.dumps(recipe))
    run = CliRunner()

    def told(*words: str) -> str:
        done = run.invoke(app, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    shown = json.loads(told("plan", "recipe.yaml", "--to", to, "--json"))["plans"][0]
    cube = told("build", "recipe.yaml", "--to", to).splitlines()[-1]
    told("build", "recipe.yaml", "--to", to, "--replace")
    newest, oldest = json.loads(told("history", cube, "--json"))["versions"]
    tagged = told("tag", cube, "v1", oldest["id"])
    back = told("rollback", cube, "v1")

    assert (shown["to"], shown["cost"]["target_requests"]["put"]) == (cube, 0)
    assert (newest["current"], oldest["current"]) == (True, False)
    assert tagged == f"v1 is {oldest['id']}\n"
    assert back.startswith(f"readers see {oldest['id']}")
    assert "v1" in told("history", cube)
    assert json.loads(told("info", f"{cube}#v1", "--json"))["plan"] == oldest["plan"]
    told("quicklook", cube, "-o", "look.png", "--size", "64")
    assert Path("look.png").stat().st_size > 0


def test_without_icechunk_the_extra_is_named(source, to, monkeypatch):
    monkeypatch.setitem(sys.modules, "icechunk", None)
    library.cache_clear()
    try:
        with pytest.raises(sc.MissingExtraError, match=r"spacenet-cube\[icechunk\]"):
            sc.build(plan_of(source), to)
        with pytest.raises(sc.MissingExtraError):
            sc.open_cube(f"{to}/AOI/P.icechunk")
    finally:
        library.cache_clear()


names = st.text("abcxyz-_.0123456789", min_size=1, max_size=8).filter(lambda n: ".ice" not in n)


@given(
    place=st.lists(names, min_size=1).map("/".join),
    scheme=st.sampled_from(["s3://", "/"]),
    key=st.lists(names).map("/".join),
    version=st.none() | names,
)
def test_an_address_is_taken_apart_and_put_together_again(place, scheme, key, version):
    address = Address(f"{scheme}{place}/P.icechunk", key, version)

    assert parse_address(address.url) == address
    assert parse_address(address.url).below("x").key.endswith("x")
    assert parse_address(f"icechunk+{scheme}{place}").below("P.icechunk").place == address.place


def test_a_versioned_cube_lies_in_a_folder_or_on_s3_and_takes_no_secrets():
    with pytest.raises(sc.StoreError, match="cannot lie at memory"):
        locate("icechunk+memory://x")
    with pytest.raises(sc.StoreError, match="carries credentials"):
        locate("icechunk+s3://me:secret@bucket/x")
    with pytest.raises(sc.RecipeError, match="use profile"):
        locate("icechunk+s3://bucket/x", {"key": "a", "client_kwargs": {}})
    assert locate("icechunk+cubes").address == Address(str(Path.cwd() / "cubes"))


class TestOnS3:
    """The same over a server."""

    @pytest.fixture(autouse=True)
    def _signed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)

    def test_it_is_the_plain_cube_byte_for_byte(self, source, server, tmp_path):
        planned, options = plan_of(source), {"endpoint_url": server}

        cube = sc.build(planned, "icechunk+s3://versions/same", target_options=options)
        plain = sc.build(planned, tmp_path)

        assert cube == "icechunk+s3://versions/same/AOI/P.icechunk"
        assert content(cube, options) == content(plain)
        assert manifests(cube, options) == manifests(plain)

    def test_it_is_stopped_resumed_updated_and_rolled_back(
        self, source, server, tmp_path, monkeypatch
    ):
        options: dict[str, Any] = {"target_options": {"endpoint_url": server}}
        to = "icechunk+s3://versions/more"
        cube = f"{to}/AOI/P.icechunk"
        with monkeypatch.context() as patched:
            stop_after(45, patched)
            with pytest.raises(Stop):
                sc.build(plan_of(source), to, workers=2, **options)
        done = Ledger(locate(cube, options["target_options"])).done()
        sc.build(plan_of(source), to, **options)
        (first,) = sc.history(cube, **options)
        sc.tag(cube, "v1", **options)
        planned = changed(source)
        sc.update(planned, to, **options)
        after = content(cube, options["target_options"])
        back = sc.rollback(cube, "v1", **options)

        assert done
        assert after == content(sc.build(planned, tmp_path))
        assert (back.id, len(sc.history(cube, **options))) == (first.id, 2)

    def test_no_pickle_and_no_message_holds_the_secret(self, source, server):
        planned, options = plan_of(source), {"endpoint_url": server}
        cube = sc.build(planned, "icechunk+s3://versions/dark", target_options=options)
        opened = sc.open_cube(cube, storage_options=options)
        before = int(opened.image.sum().compute())
        where = locate(cube, options)
        told = [repr(where), repr(where.store()), cube]

        pickles = [pickle.dumps(one) for one in (opened, where, where.store(), opened.image.data)]
        with pytest.raises(sc.StoreError) as caught:
            sc.build(planned, "icechunk+s3://nowhere/dark", target_options=options)

        assert [SECRET.encode() in one for one in pickles] == [False] * 4
        assert SECRET not in "".join([*told, str(caught.value), repr(caught.value.__cause__)])
        assert "no such bucket" in str(caught.value)
        assert int(pickle.loads(pickles[0]).image.sum().compute()) == before  # noqa: S301

    def test_another_process_reads_it_with_credentials_of_its_own(self, source, server):
        planned, options = plan_of(source), {"endpoint_url": server}
        cube = sc.build(planned, "icechunk+s3://versions/there", target_options=options)
        opened = sc.open_cube(cube, storage_options=options)

        with ProcessPoolExecutor(1, mp.get_context("spawn")) as pool:
            found = pool.submit(_sum, opened.image).result()

        assert found == int(np.asarray(opened.image).sum())

    def test_a_server_that_does_not_answer_is_told(self):
        options = {"endpoint_url": "http://127.0.0.1:9", "retries": 0}
        with pytest.raises(sc.StoreError, match=r"nothing answers at http://127.0.0.1:9"):
            sc.open_cube("icechunk+s3://versions/P.icechunk", storage_options=options)


def _sum(image: xr.DataArray) -> int:
    return int(image.sum().compute(scheduler="synchronous"))
