"""Keeping: the mirrors of one worker of a cluster, which outlive the units that filled them.

A worker does not know which units it will be given, so a scene is filled unit by unit and
kept until the disk is wanted for another.  Its threads share what is there.
"""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spacenet_cube.builds.unit.stage import Stage
from spacenet_cube.plans.plan import Plan
from spacenet_cube.plans.units import Unit

_DISK_SHARE = 4


class KeptStage(Stage):
    """Mirrors that are kept, the least recently used of them going first.

    Parameters
    ----------
    plan
        The plan.
    folder
        Where mirrors are kept; it must be there.
    limit_bytes
        Bytes that mirrors may hold beside those of units at work; by default a quarter of
        what is free on the disk.
    """

    def __init__(self, plan: Plan, folder: Path, limit_bytes: int | None = None) -> None:
        super().__init__(plan, folder, ())
        free_bytes = shutil.disk_usage(folder).free
        self._limit_bytes = free_bytes // _DISK_SHARE if limit_bytes is None else limit_bytes
        self._guard = threading.Lock()
        self._at_work: Counter[str] = Counter()
        self._used: dict[str, None] = {}

    @contextmanager
    def using(self, unit: Unit) -> Iterator[Stage]:
        """Hold the scenes of a unit while it runs; none of them goes before its end."""
        pieces = [(self._plan.scenes[piece.scene - 1].id, piece.window) for piece in unit.pieces]
        with self._guard:
            for name, window in pieces:
                self._windows[name] = [*self._windows.get(name, ()), window]
                self._at_work[name] += 1
                self._used.pop(name, None)
                self._used[name] = None
        try:
            yield self
        finally:
            with self._guard:
                for name, window in pieces:
                    self._windows[name].remove(window)
                    self._at_work[name] -= 1
                self._make_room()

    def _make_room(self) -> None:
        for name in [name for name in self._used if not self._at_work[name]]:
            if self.fetched_bytes <= self._limit_bytes:
                return
            del self._used[name]
            if name in self._held:
                self._held.pop(name)[0].remove()
