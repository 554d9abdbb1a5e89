"""Updating: a published cube brought up to its sources, without building it anew.

What changed is known before anything is touched.  The cube is unpublished first, its
documents removed, and published last; an update that is killed leaves an unfinished build,
which the next build or update makes anew.
"""

import os
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacenet_cube.builds.build import (
    Means,
    carry_out,
    check_place,
    cube_location,
    make_way,
    runner,
)
from spacenet_cube.builds.state.belongings import ownership, refuse_occupied
from spacenet_cube.builds.state.clear import tidy, unpublish
from spacenet_cube.builds.state.first_step import begun
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.lock import hold
from spacenet_cube.builds.state.publish import published_manifest, read_root, root_attributes
from spacenet_cube.builds.tasks.difference import Difference, difference
from spacenet_cube.builds.versioned.commit import update_version
from spacenet_cube.errors import StoreError
from spacenet_cube.plans.plan import Plan
from spacenet_cube.progress import Progress
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.location import Location


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did."""

    url: str
    """Where the cube is."""

    units: int
    """Units that were built."""

    of: int
    """Units that the cube has."""

    added: tuple[str, ...]
    """Ids of scenes that are new."""

    changed: tuple[str, ...]
    """Ids of scenes that were delivered again."""

    removed: tuple[str, ...]
    """Ids of scenes that are gone."""

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.url}: {self.units} of {self.of} units rebuilt ({len(self.added)} scenes added, "
            f"{len(self.changed)} changed, {len(self.removed)} removed)"
        )


def update(
    plan: Plan,
    to: str | Path,
    *,
    workers: int | None = None,
    break_lock: bool = False,
    executor: Executor | None = None,
    target_options: StorageOptions | Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Updated:
    """Bring a published cube up to a plan; build it where none is published.

    An update that was stopped is gone on with, as a build is.

    The result equals a full build byte for byte.  Where scenes got other numbers, as one
    that is added in the middle gives to all after it, `source_index` is renumbered in the
    units that are not built.

    Parameters
    ----------
    plan
        What the cube shall be.
    to
        Folder or URL below which the cube lies.
    workers
        Units at once; the number of processors by default.
    break_lock
        Whether to take over from another builder that seems to be at work.
    executor
        Runs the units; a thread pool of ``workers`` by default.
    target_options
        How the target is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.
    scratch
        Folder in which remote scenes are mirrored while they are needed; the system's
        temporary one by default.
    progress
        Told the kind of task, how many of it are done, and how many there are.

    Returns
    -------
    Updated
        How many units of how many were built, and why.

    Raises
    ------
    RecipeError
        If more than sources changed; the cube stays as it is.
    SourceError
        If a scene cannot be read; the cube stays unpublished, and what is done is kept.
    StoreError
        If the target refuses or fails, or another builder is at work there; the cube stays
        unpublished, and what is done is kept.
    """
    cube = cube_location(plan, to, target_options)
    check_place(plan, cube)
    means = Means(workers or os.cpu_count() or 1, executor, scratch, progress)
    if cube.address is not None:
        run = runner(plan, cube, means)
        return _told(plan, cube, update_version(plan, cube, break_lock=break_lock, run=run))
    with hold(cube, break_lock=break_lock) as lock:
        cube = lock.cube
        found = _begin(plan, cube)
        if found is None or not _is_current(plan, cube, found):
            carry_out(plan, cube, means, lock)
        tidy(cube)
    return _told(plan, cube, found)


def _begin(plan: Plan, cube: Location) -> Difference | None:
    """Begin an update, or go on with one, or with a build.

    Returns
    -------
    Difference or None
        What differs from the cube that was published; None where none was.
    """
    ledger, root = Ledger(cube), read_root(cube)
    if root is None:
        make_way(plan, cube, begun(plan))
        base = ledger.read_base()
        return None if base is None else difference(plan, root_attributes(cube, base[0]))
    found = difference(plan, root_attributes(cube, root))
    published_manifest(cube, root)
    if not _is_current(plan, cube, found):
        _refuse_occupied(plan, cube, root)
        ledger.clear()
        ledger.write_base(root, {})
        ledger.begin(begun(plan), plan)
        unpublish(cube)
    return found


def _refuse_occupied(plan: Plan, cube: Location, root: bytes) -> None:
    try:
        refuse_occupied(plan, cube, ownership(cube, root), entries(cube))
    except FAULTS as error:
        raise StoreError(f"{cube.url} cannot be listed: {cube.told(error)}") from error


def _is_current(plan: Plan, cube: Location, found: Difference) -> bool:
    """Whether the cube that is published is what the plan would make."""
    root = read_root(cube)
    if root is None or not found.is_empty:
        return False
    return bool(root_attributes(cube, root)["spacenet_cube"].get("plan") == plan.digest)


def _told(plan: Plan, cube: Location, found: Difference | None) -> Updated:
    if found is None:
        names = tuple(scene.id for scene in plan.scenes)
        return Updated(cube.url, len(plan.units), len(plan.units), names, (), ())
    changed = found.added, found.changed, found.removed
    return Updated(cube.url, len(found.units), len(plan.units), *changed)
