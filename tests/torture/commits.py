"""Commits: a process that makes a version of a cube is killed, and the same command goes on."""

import multiprocessing as mp
import os
import random
import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import spacenet_cube as sc
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import filesystem, moto
from tests.torture.ground import content as plain_content
from tests.torture.ground import deliver_all, plan_of, signed
from tests.torture.score import Score

WORKERS = 2
PER_S3 = 4
"""One trial in so many goes to S3."""

Options = dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Trial:
    """One kill and what came of it."""

    fault: str
    """What did not hold; empty where all did."""

    recorded: int
    """Tasks on record when the process was killed."""

    alive: bool
    """Whether the process was still building when it was killed."""


def run(n: int, seed: int) -> Score:
    """Kill n builds, half of them on top of a version that is published.

    Parameters
    ----------
    n
        How many.
    seed
        Of the moments.

    Returns
    -------
    Score
        A trial holds where readers saw the version before, or nothing, and the same command
        then makes one commit that equals a cube built at once, byte for byte, doing no task
        again that is on record.
    """
    rng, trials = random.Random(seed), []
    with ExitStack() as held:
        held.enter_context(signed())
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        server = held.enter_context(moto())
        filesystem(server).mkdir("commits")
        place = Place(plan_of(deliver_all(folder / "source")), folder)
        targets: tuple[tuple[str, Options], ...] = (
            (f"icechunk+file://{folder}/versions", None),
            ("icechunk+s3://commits", {"endpoint_url": server}),
        )
        took_s: dict[str, float] = {}
        for number in range(n):
            to, options = targets[number % PER_S3 == PER_S3 - 1]
            if to not in took_s:
                took_s[to] = place.time_s(f"{to}/timed", options)
            moment_s = rng.uniform(0, took_s[to])
            trials.append(place.trial(f"{to}/{number}", options, moment_s, again=number % 2 == 1))
    failures = [f"trial {k}: {one.fault}" for k, one in enumerate(trials) if one.fault]
    figures = {
        "killed while it built": sum(one.alive for one in trials),
        "on record when killed, mean": round(sum(one.recorded for one in trials) / n, 1),
    }
    if not figures["killed while it built"]:
        failures.append("no process was killed while it built")
    said = "kill -9 of versioned builds, then the same command: one commit, nothing seen before"
    good = n - sum(bool(one.fault) for one in trials)
    return Score("commits", said, good, n, seed, figures, tuple(failures))


class Place:
    """Where one plan is built again and again."""

    def __init__(self, a_plan: sc.Plan, folder: Path) -> None:
        self._plan = a_plan
        whole = plain_content(sc.build(a_plan, folder / "whole", workers=WORKERS))
        self._wanted = {key[1:]: held for key, held in whole.items() if key.startswith("/")}
        # icechunk cannot be used after a fork, so nothing of it is loaded before.
        self._processes = mp.get_context("spawn")

    def time_s(self, to: str, options: Options) -> float:
        """Seconds that a process needs to build, once it is ready to begin."""
        process = self._start(to, options, replace=False)
        begun = time.perf_counter()
        process.join()
        assert process.exitcode == 0, "the build that is timed failed"
        return time.perf_counter() - begun

    def trial(self, to: str, options: Options, moment_s: float, *, again: bool) -> Trial:
        """Kill a build after some seconds, and go on."""
        cube = f"{to}/AOI/P.icechunk"
        if again:
            sc.build(self._plan, to, workers=WORKERS, target_options=options)
        before = _tip(cube, options)
        process = self._start(to, options, replace=again)
        time.sleep(moment_s)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        alive = process.exitcode == -signal.SIGKILL
        moved = _tip(cube, options) != before
        if moved and _seen(cube, options) != self._wanted:
            return Trial("readers saw a version that is not whole", 0, alive)
        records = len(Ledger(locate(cube, options)).done() - {"coordinates"})
        done = 0 if moved else self._go_on(to, options, replace=again)
        versions = sc.history(cube, target_options=options)
        if _seen(cube, options) != self._wanted:
            return Trial("the cube is not the one that was built at once", records, alive)
        if len(versions) != 1 + again:
            return Trial(f"there are {len(versions)} versions", records, alive)
        if not moved and done != len(tasks(self._plan)) - records:
            return Trial(f"{done} tasks were done with {records} on record", records, alive)
        return Trial("", records, alive)

    def _go_on(self, to: str, options: Options, *, replace: bool) -> int:
        """Run the same command again; how many tasks it did."""
        totals: dict[str, int] = {}
        sc.build(
            self._plan,
            to,
            workers=WORKERS,
            replace=replace,
            target_options=options,
            progress=lambda stage, _done, total: totals.update({stage: total}),
        )
        return sum(totals.values())

    def _start(self, to: str, options: Options, *, replace: bool) -> mp.context.SpawnProcess:
        """A process that builds, once it is about to begin."""
        here, there = self._processes.Pipe()
        given = (self._plan, to, options, replace, there)
        process = self._processes.Process(target=_build, args=given)
        process.start()
        here.recv()
        return process


def _tip(cube: str, options: Options) -> str | None:
    try:
        return next(v.id for v in sc.history(cube, target_options=options) if v.current)
    except (sc.StoreError, StopIteration):
        return None


def _seen(cube: str, options: Options) -> dict[str, bytes]:
    place = locate(cube, options)
    return {key: bytes((place / key).read_bytes()) for key in entries(place)}


def _build(a_plan: sc.Plan, to: str, options: Options, replace: bool, told: Connection) -> None:  # noqa: FBT001 - given by position
    told.send("ready")
    sc.build(a_plan, to, workers=WORKERS, target_options=options, replace=replace)
