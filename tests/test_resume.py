"""Builds that are stopped: the same command goes on, and nothing else is mixed in or lost."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.builds.build import target_location
from spacenet_cube.builds.state.claims import Claim, Holder, claim_name
from spacenet_cube.builds.state.first_step import begun
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.lock import hold
from spacenet_cube.builds.state.records import Record, parse_record
from spacenet_cube.builds.tasks.inputs import inputs
from spacenet_cube.builds.tasks.keys import coordinate_keys, task_keys
from spacenet_cube.builds.tasks.tasks import Task, tasks
from spacenet_cube.builds.unit.task import do_coordinates, do_task
from spacenet_cube.format.manifest import parse, place
from spacenet_cube.storage.base.entries import Entry, Written
from spacenet_cube.storage.durable import create, entries
from spacenet_cube.storage.resolve import locate
from tests.torture.ground import SPOTS, content, deliver, deliver_all, opens, plan_of

SHARDS = {"inside": ("image", "c", "0", "0", "0"), "at the edge": ("image", "c", "0", "0", "5")}
digests = st.text("0123456789abcdef", min_size=4, max_size=4)
objects = st.lists(
    st.builds(Written, st.text(min_size=1), st.integers(0, 9), digests, st.none() | st.just("tag")),
    unique_by=lambda one: one.key,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return deliver_all(tmp_path / "source")


@pytest.fixture
def wanted(source: Path, tmp_path: Path) -> dict[str, bytes]:
    """What a build that nobody stops leaves."""
    return content(sc.build(plan_of(source), tmp_path / "whole"))


@contextmanager
def failing_after(tasks_done: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let so many tasks be done, and the next one fail; names of those done."""
    done: list[str] = []
    turns = itertools.count()

    def do(plan, cube, task, **more):
        if next(turns) >= tasks_done:
            raise sc.SourceError("the source is gone; bring it back", scene="d.tif")
        found = do_task(plan, cube, task, **more)
        done.append(task.name)
        return found

    with monkeypatch.context() as patch:
        patch.setattr("spacenet_cube.builds.build.do_task", do)
        yield done


def todo_of(plan: sc.Plan, to: Path, **more: object) -> int:
    """Build, and count the tasks that were done."""
    totals: dict[str, int] = {}
    sc.build(plan, to, progress=lambda stage, _, n: totals.update({stage: n}), **more)  # type: ignore[arg-type]
    return sum(totals.values())


@given(objects)
def test_a_record_is_read_back_equal_and_stands_where_all_is_as_it_was_written(found):
    made = Record("unit-0-000001", "ab", tuple(sorted(found, key=lambda one: one.key)))
    listing = {one.key: Entry(one.size_bytes, one.etag) for one in found}

    back = parse_record(made.content)

    assert back is not None
    assert set(back.objects) == set(made.objects)
    assert back.stands(listing)
    for one in found:
        assert not back.stands({**listing, one.key: Entry(one.size_bytes + 1, one.etag)})
        assert not back.stands({k: v for k, v in listing.items() if k != one.key})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2}', b"\xff", b"null"])
def test_what_is_no_record_is_a_task_to_be_done(content):
    assert parse_record(content) is None


@pytest.mark.parametrize("profile", ["cloud", "gdal312"])
def test_tasks_name_every_object_of_a_cube_once(source, tmp_path, profile):
    plan = plan_of(source)
    plan = replace(plan, product=plan.product.with_profile(profile))
    named = [key for task in tasks(plan) for key in task_keys(plan, task)]
    named += coordinate_keys(plan)

    url = sc.build(plan, tmp_path / "out")

    held = {key for key in entries(locate(url)) if not key.endswith("zarr.json")}
    assert sorted(named) == sorted(held)


def test_the_manifest_names_every_object_but_the_root_with_its_digest(wanted):
    root = json.loads(wanted["/zarr.json"])
    digest = root["attributes"]["spacenet_cube"]["manifest"]["sha256"]

    found = parse(wanted[f".manifest/{place(digest).removeprefix('.manifest/')}"])

    assert found.digest == digest
    stored = {k.removeprefix("/"): v for k, v in wanted.items() if k.startswith("/")}
    stored.pop("zarr.json")
    assert {one.key for one in found.objects} == set(stored)
    assert all(one == type(one).of(one.key, stored[one.key]) for one in found.objects)


@pytest.mark.parametrize("done", [0, 3, 9])
def test_a_build_that_failed_goes_on_and_equals_one_that_did_not(
    done, source, wanted, tmp_path, monkeypatch
):
    plan = plan_of(source)
    with failing_after(done, monkeypatch) as finished, pytest.raises(sc.SourceError):
        sc.build(plan, tmp_path / "out", workers=1)
    assert not opens(str(tmp_path / "out" / plan.cube_path))

    redone = todo_of(plan, tmp_path / "out")

    assert redone == len(tasks(plan)) - len(finished)
    assert content(str(tmp_path / "out" / plan.cube_path)) == wanted


@pytest.mark.parametrize("where", ["inside", "at the edge"])
@pytest.mark.parametrize("damage", ["lost", "shorter"])
def test_what_was_lost_since_is_done_again(damage, where, source, wanted, tmp_path, monkeypatch):
    plan = plan_of(source)
    with failing_after(5, monkeypatch) as finished, pytest.raises(sc.SourceError):
        sc.build(plan, tmp_path / "out", workers=1)
    victim = (tmp_path / "out" / plan.cube_path).joinpath(*SHARDS[where])
    if damage == "lost":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-1])

    redone = todo_of(plan, tmp_path / "out")

    assert redone == len(tasks(plan)) - len(finished) + 1
    assert content(str(tmp_path / "out" / plan.cube_path)) == wanted


def test_after_a_scene_was_mended_only_what_it_touches_is_done_again(source, tmp_path, monkeypatch):
    with failing_after(9, monkeypatch), pytest.raises(sc.SourceError):
        sc.build(plan_of(source), tmp_path / "out", workers=1)
    deliver(source, "h.tif", seed=77)
    plan = plan_of(source)

    redone = todo_of(plan, tmp_path / "out")

    # Rows 5 to 35 and columns 70 to 90 lie in two of the nine units.
    assert len(tasks(plan)) - 9 <= redone < len(tasks(plan))
    whole = sc.build(plan, tmp_path / "anew")
    assert content(str(tmp_path / "out" / plan.cube_path)) == content(whole)


def test_inputs_differ_exactly_where_a_scene_lies(source):
    before = inputs(plan_of(source))
    deliver(source, "h.tif", seed=77)
    plan = plan_of(source)
    after = inputs(plan)

    changed = {name for name in before if before[name] != after[name]}

    touched = {
        task.name
        for task in tasks(plan)
        if task.kind == "unit" and task.block.intersection(SPOTS["h.tif"])
    }
    assert {name for name in changed if name.startswith("unit")} == touched
    assert touched
    assert "coordinates" not in changed


def test_another_recipe_never_mixes_and_loses_nothing_unasked(source, tmp_path, monkeypatch):
    plan = plan_of(source)
    with failing_after(5, monkeypatch), pytest.raises(sc.SourceError):
        sc.build(plan, tmp_path / "out", workers=1)
    held = content(str(tmp_path / "out" / plan.cube_path))
    other = replace(plan, product=plan.product.model_copy(update={"mosaic": "last"}))

    with pytest.raises(sc.StoreError, match=r"unfinished build of another plan .*--replace"):
        sc.build(other, tmp_path / "out")

    assert content(str(tmp_path / "out" / plan.cube_path)) == held
    url = sc.build(other, tmp_path / "out", replace=True)
    assert content(url) == content(sc.build(other, tmp_path / "anew"))


def test_a_replacement_that_was_stopped_goes_on_by_the_same_command(
    source, wanted, tmp_path, monkeypatch
):
    plan = plan_of(source)
    sc.build(plan, tmp_path / "out")
    with failing_after(4, monkeypatch), pytest.raises(sc.SourceError):
        sc.build(plan, tmp_path / "out", workers=1, replace=True)
    assert not opens(str(tmp_path / "out" / plan.cube_path))

    assert todo_of(plan, tmp_path / "out", replace=True) == len(tasks(plan)) - 4
    assert content(str(tmp_path / "out" / plan.cube_path)) == wanted


def test_an_update_that_was_stopped_goes_on_and_keeps_what_it_did(source, tmp_path, monkeypatch):
    url = sc.build(plan_of(source), tmp_path / "out")
    deliver(source, "b.tif", seed=55)
    (source / "h.tif").rename(source / "c.tif")
    plan = plan_of(source)
    with failing_after(4, monkeypatch) as done, pytest.raises(sc.SourceError):
        sc.update(plan, tmp_path / "out", workers=1)
    assert not opens(url)
    totals: dict[str, int] = {}

    sc.update(plan, tmp_path / "out", progress=lambda stage, _, n: totals.update({stage: n}))

    assert len(done) == 4
    assert sum(totals.values()) == len(tasks(plan)) - 4  # every scene got another number
    assert content(url) == content(sc.build(plan, tmp_path / "anew"))


def test_scenes_renumbered_half_way_are_not_renumbered_twice(source, tmp_path, monkeypatch):
    url = sc.build(plan_of(source), tmp_path / "out")
    (source / "h.tif").rename(source / "a.tif")
    plan = plan_of(source)

    def forgets(_self: Ledger, record: Record) -> None:
        if record.task == "unit-0-000003":
            raise sc.StoreError("the record is lost; run the same command again")
        real(_self, record)

    real = Ledger.record
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", forgets)
        with pytest.raises(sc.StoreError, match="record is lost"):
            sc.update(plan, tmp_path / "out", workers=1)

    sc.update(plan, tmp_path / "out")

    assert content(url) == content(sc.build(plan, tmp_path / "anew"))


def test_an_update_of_a_cube_whose_manifest_is_lost_is_refused(source, tmp_path):
    url = sc.build(plan_of(source), tmp_path / "out")
    deliver(source, "b.tif", seed=55)
    next(Path(f"{url}.manifest").iterdir()).unlink()

    with pytest.raises(sc.StoreError, match=r"no manifest .*--replace"):
        sc.update(plan_of(source), tmp_path / "out")

    assert opens(url)


def test_a_build_that_was_stopped_after_publishing_is_tidied_up(source, wanted, tmp_path):
    plan = plan_of(source)
    url = sc.build(plan, tmp_path / "out")
    ledger = Ledger(locate(url))
    ledger.begin(begun(plan), plan)
    (Path(url) / f"image/c/0/0/0.{'a' * 32}.partial").write_bytes(b"draft")
    (Path(f"{url}.manifest") / f"{'a' * 64}.jsonl").write_bytes(b"")

    assert sc.build(plan, tmp_path / "out") == url
    assert content(url) == wanted
    with pytest.raises(sc.CubeExistsError):
        sc.build(plan, tmp_path / "out")


def test_an_object_lost_before_publishing_is_an_error_and_mended_by_the_same_command(
    source, wanted, tmp_path, monkeypatch
):
    plan, cube = plan_of(source), tmp_path / "out" / "AOI" / "P.zarr"

    def loses(*arguments):
        next((cube / "image").rglob("c/0/1/1")).unlink()
        return do_coordinates(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("spacenet_cube.builds.build.do_coordinates", loses)
        with pytest.raises(sc.StoreError, match=r"image/c/0/1/1 is gone.* not published"):
            sc.build(plan, tmp_path / "out")
    assert not opens(str(cube))

    sc.build(plan, tmp_path / "out")

    assert content(str(cube)) == wanted


def test_a_second_builder_is_told_who_builds_since_when(source, tmp_path):
    plan = plan_of(source)
    cube = target_location(tmp_path / "out") / plan.cube_path

    with (
        hold(cube),
        pytest.raises(
            sc.StoreError, match=rf"is being built by .*@.* \(process {os.getpid()}\) since 20.*UTC"
        ),
    ):
        sc.build(plan, tmp_path / "out")

    sc.build(plan, tmp_path / "out")
    assert not Path(f"{cube.url}.build").exists()


def claim(**facts: object) -> Claim:
    """A claim of a process elsewhere that was alive just now."""
    usual = {
        "id": "abc",
        "holder": Holder("me@elsewhere", "elsewhere", 1, "1"),
        "since_s": time.time(),
        "beat_s": time.time(),
    }
    return Claim(**usual | facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("gone", ["expired", "dead", "damaged"])
def test_a_lock_whose_holder_is_gone_is_taken_over(gone, source, wanted, tmp_path):
    plan = plan_of(source)
    cube = target_location(tmp_path / "out") / plan.cube_path
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with hold(cube) as mine:
        me = mine.holder
    dead = replace(me, pid=ended.pid)
    found = {"expired": claim(beat_s=time.time() - 100), "dead": claim(holder=dead)}
    written = found[gone].content if gone in found else b"{"
    create(cube.beside(".build") / "lock" / claim_name(7), written)

    url = sc.build(plan, tmp_path / "out")

    assert content(url) == wanted


def test_a_claim_left_beside_a_published_cube_goes_but_not_one_that_lives(source, wanted, tmp_path):
    plan = plan_of(source)
    url = sc.build(plan, tmp_path / "out")
    lock = target_location(tmp_path / "out") / plan.cube_path
    place = lock.beside(".build") / "lock" / claim_name(1)

    create(place, claim().content)
    with pytest.raises(sc.CubeExistsError):
        sc.build(plan, tmp_path / "out")
    assert place.exists()
    place.remove_object()

    create(place, claim(beat_s=time.time() - 100).content)
    with pytest.raises(sc.CubeExistsError):
        sc.build(plan, tmp_path / "out")
    assert content(url) == wanted


def test_a_lock_is_broken_when_asked_and_its_holder_stops(source, tmp_path, monkeypatch):
    monkeypatch.setattr("spacenet_cube.builds.state.lock.BEAT_S", 0.05)
    plan = plan_of(source)
    cube = target_location(tmp_path / "out") / plan.cube_path

    with hold(cube) as former:
        url = sc.build(plan, tmp_path / "out", break_lock=True)
        time.sleep(0.5)
        with pytest.raises(sc.StoreError, match=r"was taken over by .*@"):
            former.check()

    assert opens(url)


def test_status_tells_what_is_done_in_flight_and_failed(source, tmp_path, monkeypatch):
    plan = plan_of(source)
    cube = tmp_path / "out" / plan.cube_path
    with failing_after(5, monkeypatch), pytest.raises(sc.SourceError):
        sc.build(plan, tmp_path / "out", workers=1)

    found = sc.build_status(cube)

    assert (found.published, found.plan, found.holder) == (False, plan.digest, None)
    assert (found.levels["native"].done, found.levels["native"].of) == (5, 9)
    assert "source is gone" in next(iter(found.failed.values()))
    assert found.stored_bytes == sum(e.size_bytes for e in entries(locate(cube)).values()) > 0
    sc.build(plan, tmp_path / "out")
    after = sc.build_status(cube)
    assert (after.published, after.levels, after.failed) == (True, {}, {})


def test_status_of_nothing_says_what_to_give(tmp_path):
    with pytest.raises(sc.StoreError, match="neither a cube nor a build"):
        sc.build_status(tmp_path / "none.zarr")


def test_tasks_in_flight_are_done_and_recorded_when_another_fails(source, tmp_path, monkeypatch):
    plan, failed = plan_of(source), threading.Event()

    def do(plan, cube, task: Task, **more):
        if task.number == 0:
            failed.set()
            raise sc.SourceError("no; bring it back", scene="b.tif")
        failed.wait(30)
        return do_task(plan, cube, task, **more)

    with monkeypatch.context() as patch:
        patch.setattr("spacenet_cube.builds.build.do_task", do)
        with pytest.raises(sc.SourceError):
            sc.build(plan, tmp_path / "out", workers=3)

    done = Ledger(locate(tmp_path / "out" / plan.cube_path)).done()
    assert {"unit-0-000001", "unit-0-000002"} <= done


SLOW = """
import sys, time
from spacenet_cube import cli
from spacenet_cube.builds import build as building
real = building.do_task
def slow(*arguments, **more):
    found = real(*arguments, **more)
    print("done", file=sys.stderr, flush=True)
    time.sleep({pause})
    return found
building.do_task = slow
sys.argv = ["spacenet-cube", "build", {recipe!r}, "--to", {to!r}, "--workers", "1"]
cli.main()
"""

RECIPE = """
name: AOI
source: {source}
licence: {{spdx: CC0-1.0, attribution: nobody}}
products:
  - {{name: P, sources: ["*.tif"], bands: [red, nir], encoding: {{chunk: 16, shard: 16}}}}
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("pause", [0.3, 60])
def test_a_build_stopped_by_a_signal_ends_soon_and_goes_on(number, code, pause, source, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(source=source))
    to = str(tmp_path / "out")
    program = SLOW.format(pause=pause, recipe=str(recipe), to=to)
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "done\n"
        process.send_signal(number)
        said = process.communicate(timeout=50)[1]

    assert process.returncode == code
    assert "the same command goes on" in said
    done = Ledger(locate(f"{to}/AOI/P.zarr")).done()
    assert done
    assert not opens(f"{to}/AOI/P.zarr")
    plan = sc.load_recipe(recipe)
    planned = sc.plan(plan, "P", sc.survey(plan, "P"))
    redone = todo_of(planned, Path(to))
    assert redone == len(tasks(planned)) - len(done)
    assert content(f"{to}/AOI/P.zarr") == content(sc.build(planned, tmp_path / "anew"))


def test_a_listing_leaves_out_a_draft_that_is_renamed_while_it_looks(tmp_path, monkeypatch):
    (tmp_path / "stays").write_bytes(b"abc")
    (tmp_path / "draft#1").write_bytes(b"x")
    looked = Path.lstat

    def renamed(path: Path) -> os.stat_result:
        if path.name == "draft#1":
            path.rename(path.with_name("draft"))
        return looked(path)

    monkeypatch.setattr(Path, "lstat", renamed)

    assert {key for key in entries(locate(tmp_path)) if key != "draft"} == {"stays"}
