"""A builder that lost its claim writes and removes nothing more, on whatever store."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from distributed.protocol.pickle import dumps, loads
from zarr.core.buffer import default_buffer_prototype

import spacenet_cube as sc
from spacenet_cube.builds.state import lock
from spacenet_cube.builds.state.claims import RECHECK_S, claim_name
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.lock import Lock, hold
from spacenet_cube.builds.unit.task import recorded
from spacenet_cube.storage.durable import create, entries, remove_keys, write_durably
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import filesystem, moto
from tests.torture.ground import deliver, deliver_all, plan_of, signed


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url, signed():
        filesystem(url).mkdir("claims")
        yield url


@pytest.fixture(params=["local", "S3"])
def cube(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where a cube is built; some objects are there."""
    if request.param == "local":
        found = locate(tmp_path / "P.zarr")
    else:
        options = {"endpoint_url": request.getfixturevalue("server")}
        found = locate(f"s3://claims/{tmp_path.name}/P.zarr", options)
    for key in ("kept", "image/c/0/0/0"):
        (found / key).write_bytes(b"of the new holder")
    Ledger(found).write("done/unit-0-000009.json", b"{}")
    return found


@pytest.fixture
def successor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Location], Lock]]:
    """Takes a cube over twice: the second claim has the number of the one that was lost."""
    monkeypatch.setattr(lock, "RECHECK_S", 0.0)
    with ExitStack() as stack:

        def succeed(place: Location) -> Lock:
            with hold(place, break_lock=True):
                pass
            return stack.enter_context(hold(place))

        yield succeed


def state(cube: Location) -> dict[str, bytes]:
    """Every object of a cube and of what is kept next to it, but claims."""
    found: dict[str, bytes] = {}
    for suffix in ("", ".manifest", ".build"):
        place = locate(cube.url + suffix, cube.options)
        found |= {
            f"{suffix}/{key}": bytes((place / key).read_bytes())
            for key in entries(place)
            if not key.startswith("lock/")
        }
    return found


def held_by(cube: Location) -> str:
    """Id of the only claim that is there."""
    folder = cube.beside(".build") / "lock"
    assert list(entries(folder)) == [claim_name(1)]
    return str(json.loads((folder / claim_name(1)).read_bytes())["id"])


def record(cube: Location, key: str) -> None:
    """Write a shard and its record, as a task does."""
    with recorded(cube, "unit-0-000001", "ab") as store:
        value = default_buffer_prototype().buffer.from_array_like(np.frombuffer(b"x", "B"))
        store.set_sync(key, value)


def record_only(cube: Location) -> None:
    """Store the record of a task whose shards were written before."""
    with recorded(cube, "unit-0-000001", "ab"):
        pass


def uploaded(cube: Location) -> None:
    """Store a file."""
    (cube / "kept").upload(Path(__file__))


WRITES: dict[str, Callable[[Location], object]] = {
    "an object": lambda cube: (cube / "kept").write_bytes(b"x"),
    "a document": lambda cube: write_durably(cube / "kept", b"x"),
    "the root": lambda cube: create(cube / "zarr.json", b"x"),
    "a manifest": lambda cube: write_durably(cube.beside(".manifest") / "a.json", b"x"),
    "a shard": lambda cube: record(cube, "image/c/0/0/0"),
    "a new shard": lambda cube: record(cube, "image/c/0/0/1"),
    "a record": record_only,
    "a file": uploaded,
    "a plan": lambda cube: Ledger(cube).write("plan.json", b"{}"),
    "what failed": lambda cube: Ledger(cube).fail({"a": "b"}),
    "removal of records": lambda cube: Ledger(cube).forget(["unit-0-000009"]),
    "removal of the ledger": lambda cube: Ledger(cube).clear(),
    "removal of an object": lambda cube: (cube / "kept").remove_object(),
    "removal of objects": lambda cube: remove_keys(cube, ["kept"]),
    "removal of the cube": lambda cube: cube.remove_tree(),
}


@pytest.mark.parametrize("what", WRITES)
def test_nothing_is_written_or_removed_once_the_claim_is_lost(what, cube, successor):
    with hold(cube) as former:
        held = successor(cube)
        before = state(cube)

        with pytest.raises(sc.StoreError, match=r"was taken over by .*@"):
            WRITES[what](former.cube)

    assert state(cube) == before
    assert held_by(cube) == held.id


@pytest.mark.parametrize("what", WRITES)
def test_who_holds_the_claim_may_write_and_remove(what, cube, monkeypatch):
    monkeypatch.setattr(lock, "RECHECK_S", 0.0)
    with hold(cube) as mine:
        before = state(cube)

        WRITES[what](mine.cube)

        assert state(cube) != before
        assert held_by(cube) == mine.id


def test_a_claim_travels_with_its_cube_to_other_processes(cube, successor):
    with hold(cube) as former:
        (loads(dumps(former.cube)) / "kept").write_bytes(b"of the former holder")
        successor(cube)
        far = loads(dumps(former.cube))

        with pytest.raises(sc.StoreError, match="was taken over by"):
            (far / "kept").write_bytes(b"x")

    assert (cube / "kept").read_bytes() == b"of the former holder"


def test_a_sign_of_life_never_overwrites_the_claim_of_another(cube, successor, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    with hold(cube) as former:
        held = successor(cube)
        time.sleep(0.5)

        with pytest.raises(sc.StoreError, match="was taken over by"):
            former.check()

    assert held_by(cube) == held.id


def test_a_claim_that_is_gone_allows_nothing(cube, monkeypatch):
    monkeypatch.setattr(lock, "RECHECK_S", 0.0)
    with hold(cube) as mine:
        remove_keys(cube.beside(".build") / "lock", [claim_name(1)])

        with pytest.raises(sc.StoreError, match="is gone, so another builder may have been here"):
            (mine.cube / "kept").write_bytes(b"x")

    assert (cube / "kept").read_bytes() == b"of the new holder"


def test_a_claim_that_cannot_be_read_allows_nothing(cube, monkeypatch):
    monkeypatch.setattr(lock, "RECHECK_S", 0.0)
    monkeypatch.setattr(lock, "EXPIRES_S", 0.5)
    monkeypatch.setattr(lock, "_AGAIN_S", 0.05)
    with hold(cube) as mine:
        (cube.beside(".build") / "lock" / claim_name(1)).write_bytes(b"{")

        with pytest.raises(sc.StoreError, match="could not be read for"):
            (mine.cube / "kept").write_bytes(b"x")

    assert (cube / "kept").read_bytes() == b"of the new holder"


WRITER = """
import itertools, sys, time
from spacenet_cube.builds.state.lock import hold
from spacenet_cube.storage.resolve import locate
with hold(locate(sys.argv[1])) as lock:
    for turn in itertools.count():
        (lock.cube / "kept").write_bytes(str(turn).encode())
        time.sleep(0.05)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_process_that_was_stopped_reads_its_claim_before_it_writes(tmp_path):
    cube = locate(tmp_path / "P.zarr")
    command = [sys.executable, "-c", WRITER, cube.url]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as former:
        try:
            while not (cube / "kept").exists():
                time.sleep(0.05)
            os.kill(former.pid, signal.SIGSTOP)
            with hold(cube, break_lock=True):
                pass
            with hold(cube) as mine:
                time.sleep(RECHECK_S + 0.3)
                (mine.cube / "kept").write_bytes(b"of the new holder")
                os.kill(former.pid, signal.SIGCONT)

                _, said = former.communicate(timeout=60)

                assert b"was taken over by" in said
                assert (cube / "kept").read_bytes() == b"of the new holder"
                assert held_by(cube) == mine.id
        finally:
            former.kill()


def changed(source: Path) -> sc.Plan:
    deliver(source, "d.tif", seed=9)
    return plan_of(source)


def damaged(plan: sc.Plan, to: Path) -> Path:
    """A cube every shard of whose image is damaged."""
    cube = Path(sc.build(plan, to))
    for path in (cube / "image").rglob("*"):
        if path.is_file():
            path.write_bytes(b"x")
    return cube


COMMANDS: dict[str, Callable[..., object]] = {
    "build": lambda plan, to, told: sc.build(plan, to, workers=1, progress=told),
    "build of a version": lambda plan, to, told: sc.build(
        plan, f"icechunk+file://{to}", workers=1, progress=told
    ),
    "build over a cube": lambda plan, to, told: (
        sc.build(plan, to),
        sc.build(plan, to, replace=True, workers=1, progress=told),
    ),
    "update": lambda plan, to, told: (
        sc.build(plan, to),
        sc.update(changed(to.parent / "source"), to, workers=1, progress=told),
    ),
    "repair": lambda plan, to, told: sc.repair(damaged(plan, to), plan, workers=1, progress=told),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stops_where_its_claim_is_lost(command, tmp_path, successor):
    plan, to = plan_of(deliver_all(tmp_path / "source")), tmp_path / "cubes"
    name = "P.icechunk" if "version" in command else "P.zarr"
    cube = locate(to / "AOI" / name)
    held: list[Lock] = []
    before: dict[str, bytes] = {}

    def intrude(stage: str, done: int, _total: int) -> None:
        if stage in {"units", "repair"} and done == 1 and not held:
            held.append(successor(cube))
            time.sleep(0.3)  # what was on its way to the disk arrives
            before.update(state(cube))

    # A task may look just when the first of the two others is gone.
    with pytest.raises(
        sc.StoreError, match=r"was taken over by|another builder may have been here"
    ):
        COMMANDS[command](plan, to, intrude)

    after = state(cube)
    assert {key for key in after if "chunks/" not in key} == {
        key for key in before if "chunks/" not in key
    }
    assert all(after[key] == content for key, content in before.items())
    assert held_by(cube) == held[0].id
