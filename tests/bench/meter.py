"""The meter: one build in a fresh process, its time and its private memory."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

from tests.bench.strips import Corpus
from tests.places import ROOT

EVERY_S = 0.05
"""Seconds between two looks at a process's memory."""

"""Where ``tests`` and ``spacenet_cube`` are found."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one build took."""

    seconds: float
    """From imported to written."""

    cpu_seconds: float
    """The same span, as time of all threads on the cores; other work on them disturbs it less."""

    wall_seconds: float
    """The whole process, with its imports."""

    private_bytes: int
    """Peak of memory that is the process's own and dirty, which nothing can take back."""

    unique_bytes: int
    """Peak of all memory only this process maps (USS): with pages of files it alone maps."""

    stages: dict[str, float] = field(default_factory=dict)
    """Seconds until each stage was done, where the contender tells."""


class BuildError(Exception):
    """A contender failed; its words are the message."""


def measure(name: str, corpus: Corpus, arguments: list[str], target: Path) -> Reading:
    """Run one contender in a fresh process.

    Parameters
    ----------
    name
        Key of `CONTENDERS`.
    corpus
        Its sources; their folder is passed on.
    arguments
        Size, overlap, rows and columns of the corpus, as text.
    target
        Where it writes; must not exist.

    Returns
    -------
    Reading
        Its time and memory.

    Raises
    ------
    BuildError
        If the process fails.
    """
    # What the last contender left unwritten must not slow this one down.
    os.sync()
    folder = str(corpus.strips[0].path.parent)
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.contenders"]
    begun = perf_counter()
    with subprocess.Popen(
        [*command, name, folder, *arguments, str(target)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        watch = _Watch(process.pid)
        told, complaint = process.communicate()
        wall = perf_counter() - begun
        peaks = watch.stop()
    if process.returncode:
        raise BuildError(f"{name} failed:\n{complaint}")
    figures: dict[str, Any] = json.loads(told.splitlines()[-1])
    return Reading(figures["seconds"], figures["cpu_seconds"], wall, *peaks, figures["stages"])


class _Watch:
    """Looks at a process's memory until told to stop."""

    def __init__(self, pid: int) -> None:
        self._rollup = Path(f"/proc/{pid}/smaps_rollup")
        self._done = Event()
        self._private = self._unique = 0
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        """Peaks of dirty private memory and of all private memory, bytes."""
        self._done.set()
        self._thread.join()
        return self._private, self._unique

    def _look(self) -> None:
        while not self._done.wait(EVERY_S):
            try:
                text = self._rollup.read_text(encoding="ascii")
            except OSError:
                return
            dirty = _kilobytes(text, "Private_Dirty:") * 1024
            clean = _kilobytes(text, "Private_Clean:") * 1024
            self._private = max(self._private, dirty)
            self._unique = max(self._unique, dirty + clean)


def _kilobytes(rollup: str, name: str) -> int:
    """Find one figure of ``smaps_rollup``; 0 where the process has just ended."""
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith(name)), 0)
