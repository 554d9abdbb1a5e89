"""Staging: remote scenes mirrored on the local disk while the units that need them run.

Each byte is fetched once: a scene's mirror is filled with all that the units of a build
need of it when the first of them asks, shared by them, and removed after the last.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from spacenet_cube.errors import CubeError, SourceError
from spacenet_cube.plans.plan import Plan
from spacenet_cube.plans.units import Unit
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.upright import in_file
from spacenet_cube.sources.files.copies import LocalCopy
from spacenet_cube.sources.files.tiff import Structure, TiffError
from spacenet_cube.sources.mirror import Mirror
from spacenet_cube.sources.scene import Scene
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.resolve import locate

_Held = tuple[Mirror, Structure]


class Stage:
    """Local mirrors of the remote scenes of a build; threads may share one.

    Parameters
    ----------
    plan
        The plan.
    folder
        Where mirrors are kept.
    units
        The units that will run; all of the plan's by default.  A worker that does one unit
        names that one, and fetches no more than it needs.
    """

    def __init__(self, plan: Plan, folder: Path, units: Sequence[Unit] | None = None) -> None:
        self._plan, self._folder = plan, folder
        running = plan.units if units is None else units
        self._windows: dict[str, list[Block]] = {}
        self._left: Counter[str] = Counter()
        for unit in running:
            for piece in unit.pieces:
                name = plan.scenes[piece.scene - 1].id
                self._windows.setdefault(name, []).append(piece.window)
            self._left.update(self._names(unit))
        self._held: dict[str, _Held] = {}
        self._locks = {name: threading.Lock() for name in self._windows}
        workers = max((scene.access.concurrency for scene in plan.scenes), default=1)
        self._pool = ThreadPoolExecutor(workers, "stage")

    def __enter__(self) -> Self:
        """The stage itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the requests and remove the mirrors."""
        self._pool.shutdown(cancel_futures=True)
        for mirror, _structure in self._held.values():
            mirror.remove()

    @property
    def fetched_bytes(self) -> int:
        """Bytes fetched of the scenes that are held."""
        return sum(mirror.held_bytes for mirror, _ in list(self._held.values()))

    def _names(self, unit: Unit) -> set[str]:
        return {self._plan.scenes[piece.scene - 1].id for piece in unit.pieces}

    @contextmanager
    def local(self, scene: Scene, within: Block) -> Iterator[LocalCopy]:
        """A local file that holds the pixels of a window of a scene.

        Parameters
        ----------
        scene
            A scene of the plan.
        within
            Pixels of it that will be read; no others may be.

        Yields
        ------
        LocalCopy
            The scene itself where it is local, its mirror where it is not.

        Raises
        ------
        SourceError
            If the scene cannot be fetched or has changed.
        """
        if not scene.is_remote:
            yield LocalCopy(scene.href)
            return
        with self._locks.setdefault(scene.id, threading.Lock()):
            copy = self._filled(scene, within)
        yield copy

    def _filled(self, scene: Scene, within: Block) -> LocalCopy:
        origin = locate(scene.href, scene.access)
        try:
            mirror, found = self._held.get(scene.id) or self._mirror(scene)
            wanted = [*self._windows.get(scene.id, ()), within]
            windows = [in_file(window, scene.shape_yx, scene.flip) for window in wanted]
            mirror.fill(found.spans(windows, self._plan.product.band_indexes), self._pool)
        except TiffError as error:
            raise SourceError(
                f"scene {scene.id} at {scene.href} is not what was surveyed: {error}; survey and "
                "plan again",
                scene=scene.id,
            ) from error
        except CubeError:
            raise
        except FAULTS as error:
            raise SourceError(
                f"scene {scene.id} cannot be fetched from {scene.href}: {origin.told(error)}",
                scene=scene.id,
            ) from error
        return mirror.copy(found)

    def _mirror(self, scene: Scene) -> _Held:
        number = next(k for k, each in enumerate(self._plan.scenes, 1) if each.id == scene.id)
        path = self._folder / f"{number:05d}.tif"
        path.unlink(missing_ok=True)
        mirror = Mirror(locate(scene.href, scene.access), scene.size_bytes, scene.store_tag, path)
        try:
            held = (mirror, mirror.structure())
        except BaseException:
            mirror.remove()
            raise
        self._held[scene.id] = held
        return held

    @contextmanager
    def using(self, unit: Unit) -> Iterator["Stage"]:
        """The stage for the time that a unit runs.

        Parameters
        ----------
        unit
            One of those that were named.

        Yields
        ------
        Stage
            This one.
        """
        try:
            yield self
        finally:
            self.done(unit)

    def done(self, unit: Unit) -> None:
        """Say that a unit has run, so that mirrors which no other needs can go.

        Parameters
        ----------
        unit
            A unit that has run, or has failed.
        """
        for name in self._names(unit):
            with self._locks[name]:
                self._left[name] -= 1
                if self._left[name] <= 0 and name in self._held:
                    self._held.pop(name)[0].remove()
