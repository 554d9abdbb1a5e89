"""Kills: a process that builds is killed at a random moment, and the same command goes on."""

import multiprocessing as mp
import random
import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import spacenet_cube as sc
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import filesystem, moto
from tests.torture.ground import MEMORY, content, deliver_all, opens, plan_of, signed
from tests.torture.score import Score

WORKERS = 2
PER_S3 = 4
"""One trial in so many goes to S3."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One kill and what came of it."""

    fault: str
    """What did not hold; empty where all did."""

    recorded: int
    """Tasks on record when the process was killed."""

    redone: int
    """Tasks that were done again although their record was there."""

    alive: bool
    """Whether the process was still building when it was killed."""


def run(n: int, seed: int) -> Score:
    """Kill n builds.

    Parameters
    ----------
    n
        How many.
    seed
        Of the moments.

    Returns
    -------
    Score
        A trial holds where nothing could be opened before, the cube equals one that was built
        at once, byte for byte, and no task on record was done again.
    """
    rng, trials = random.Random(seed), []
    with ExitStack() as held:
        held.enter_context(signed())
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        server = held.enter_context(moto())
        filesystem(server).mkdir("kills")
        a_plan = plan_of(deliver_all(folder / "source"))
        wanted = content(sc.build(a_plan, folder / "whole", workers=WORKERS))
        place = Place(a_plan, wanted)
        took = [place.time_s(folder / "timed"), place.time_s("s3://kills/timed", server)]
        for number in range(n):
            on_s3 = number % PER_S3 == PER_S3 - 1
            to = f"s3://kills/{number}" if on_s3 else str(folder / str(number))
            moment_s = rng.uniform(0, took[on_s3])
            trials.append(place.trial(to, server if on_s3 else None, moment_s))
    failures = [f"trial {k}: {one.fault}" for k, one in enumerate(trials) if one.fault]
    figures = {
        "killed while it built": sum(one.alive for one in trials),
        "tasks": len(tasks(a_plan)),
        "on record when killed, mean": round(sum(t.recorded for t in trials) / n, 1),
        "done again although on record": sum(one.redone for one in trials),
    }
    if not figures["killed while it built"]:
        failures.append("no process was killed while it built")
    said = "kill -9 at random moments, then the same command: byte-identical, nothing seen before"
    good = n - sum(bool(one.fault) for one in trials)
    return Score("kills", said, good, n, seed, figures, tuple(failures))


class Place:
    """Where one plan is built again and again."""

    def __init__(self, a_plan: sc.Plan, wanted: dict[str, bytes]) -> None:
        self._plan, self._wanted = a_plan, wanted
        self._processes = mp.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__])

    def time_s(self, to: str | Path, server: str | None = None) -> float:
        """Seconds that a process needs to build."""
        process = self._start(str(to), server)
        begun = time.perf_counter()
        process.join()
        assert process.exitcode == 0, "the build that is timed failed"
        return time.perf_counter() - begun

    def trial(self, to: str, server: str | None, moment_s: float) -> Trial:
        """Kill a build after some seconds, and go on."""
        process = self._start(to, server)
        time.sleep(moment_s)
        process.kill()
        process.join()
        alive = process.exitcode == -signal.SIGKILL
        options = None if server is None else {"endpoint_url": server}
        cube = f"{to}/{self._plan.cube_path}"
        published = "zarr.json" in entries(locate(cube, options))
        seen = opens(cube, options)
        if seen and not published:
            return Trial("something partial could be opened", 0, 0, alive)
        records = len(entries(locate(f"{cube}.build/done", options)))
        done = self._go_on(to, options)
        if isinstance(done, str):
            return Trial(done, records, 0, alive)
        redone = done - (len(tasks(self._plan)) - records) if done else 0
        found = content(cube, options)
        other = {key for key in found | self._wanted if found.get(key) != self._wanted.get(key)}
        fault = f"not as it was built at once: {sorted(other)[:4]}" if other else ""
        # Coordinates have a record too, and are no task of a level.
        fault = fault or ("tasks on record were done again" if redone > 1 else "")
        return Trial(fault, records, max(0, redone - 1), alive)

    def _go_on(self, to: str, options: dict[str, str] | None) -> int | str:
        """Run the same command again: how many tasks it did, or why it failed."""
        totals: dict[str, int] = {}
        try:
            sc.build(
                self._plan,
                to,
                workers=WORKERS,
                target_options=options,
                progress=lambda stage, _done, total: totals.update({stage: total}),
            )
        except sc.CubeExistsError:
            return 0
        except sc.CubeError as error:
            return str(error)
        return sum(totals.values())

    def _start(self, to: str, server: str | None) -> Any:
        """A process that builds, once it is about to begin."""
        here, there = self._processes.Pipe()
        process = self._processes.Process(target=_build, args=(self._plan, to, server, there))
        process.start()
        here.recv()
        return process


def _build(a_plan: sc.Plan, to: str, server: str | None, told: Connection) -> None:
    options = None if server is None else {"endpoint_url": server}
    told.send("ready")
    sc.build(a_plan, to, workers=WORKERS, target_options=options)
