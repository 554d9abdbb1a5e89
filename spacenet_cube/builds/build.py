"""Building: the stages joined, task by task, on any executor.

Tasks are values; each is done by anyone, any number of times, in any order that their needs
allow.  A bounded number is in flight, so memory does not grow with the area.  What is done is on
record beside the cube, so the same command goes on where another was stopped.
"""

import os
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from spacenet_cube.builds.state.belongings import refuse_links
from spacenet_cube.builds.state.clear import discard, tidy, unpublish
from spacenet_cube.builds.state.first_step import Begun, begun, first_step
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.lock import Lock, drop_claims, hold
from spacenet_cube.builds.state.publish import publish, what_stands
from spacenet_cube.builds.state.records import Record
from spacenet_cube.builds.state.resume import Job, job
from spacenet_cube.builds.tasks.inputs import COORDINATES
from spacenet_cube.builds.tasks.runner import Watch, pool_of, run_all
from spacenet_cube.builds.unit.stage import Stage
from spacenet_cube.builds.unit.task import Here, Recorder, do_coordinates, do_task
from spacenet_cube.builds.versioned.branches import repository_path
from spacenet_cube.builds.versioned.commit import Run, build_version, check_version
from spacenet_cube.errors import CubeExistsError, StoreError
from spacenet_cube.plans.plan import Plan, halves_held
from spacenet_cube.progress import Progress
from spacenet_cube.sources.overlap import refuse_overlap
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import from_environment, locate
from spacenet_cube.storage.scratch import scratch_folder


@dataclass(frozen=True, slots=True)
class Means:
    """What a build is carried out with."""

    workers: int
    """Tasks at once."""

    executor: Executor | None
    """Runs them; a pool of threads where there is none."""

    scratch: Path | None
    """Folder in which remote scenes are mirrored while they are needed."""

    progress: Progress | None
    """Told what is done."""


def build(  # noqa: PLR0913 - each is a choice of its own
    plan: Plan,
    to: str | Path,
    *,
    workers: int | None = None,
    replace: bool = False,
    break_lock: bool = False,
    executor: Executor | None = None,
    target_options: StorageOptions | Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> str:
    """Build a cube and publish it, or go on with a build that was stopped.

    Parameters
    ----------
    plan
        What to build.
    to
        Folder or URL below which the cube lands, at ``<aoi>/<product>.zarr``; below one that
        begins with ``icechunk+`` every version is kept, at ``<aoi>/<product>.icechunk``.
    workers
        Units at once; the number of processors by default.  `peak_memory_bytes` of the
        plan says what they take.
    replace
        Whether what stands there may be discarded: a published cube, or the unfinished build
        of another plan.
    break_lock
        Whether to take over from another builder that seems to be at work.
    executor
        Runs the units; a thread pool of ``workers`` by default.  That of a Dask cluster
        decides itself how many run at once.
    target_options
        How the target is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.
    scratch
        Folder in which remote scenes are mirrored while they are needed; the system's
        temporary one by default.  It is emptied afterwards, even after a failure.
    progress
        Told the kind of task, how many of it are done, and how many there are.

    Returns
    -------
    str
        Where the cube is.

    Raises
    ------
    CubeExistsError
        If a published cube stands there and ``replace`` is false.
    SourceError
        If a scene cannot be read; the cube stays unpublished, and what is done is kept.
    StoreError
        If the target refuses or fails, or another builder is at work there; the cube stays
        unpublished, and what is done is kept.
    """
    cube, wanted = cube_location(plan, to, target_options), begun(plan, replaces=replace)
    means = Means(workers or os.cpu_count() or 1, executor, scratch, progress)
    _check(plan, cube, wanted)
    if cube.address is not None:
        run = runner(plan, cube, means)
        build_version(plan, cube, replaces=replace, break_lock=break_lock, run=run)
        return cube.url
    with hold(cube, break_lock=break_lock) as lock:
        cube = lock.cube
        if make_way(plan, cube, wanted):
            carry_out(plan, cube, means, lock)
        tidy(cube)
    return cube.url


def make_way(plan: Plan, cube: Location, wanted: Begun) -> bool:
    """Make a place ready to be built into, whatever stands there.

    Parameters
    ----------
    plan
        What is built.
    cube
        Where it is built; this process holds its lock.
    wanted
        The build.

    Returns
    -------
    bool
        Whether anything is left to be built.

    Raises
    ------
    CubeExistsError
        If a published cube stands there and may not be replaced.
    StoreError
        If the store refuses or fails, or a build with other settings was begun there.
    """
    ledger, found = Ledger(cube), what_stands(plan, cube, replace=wanted.replaces)
    step = first_step(cube.url, wanted, found)
    if step == "finish":
        return False
    former = found.begun if step == "continue" else None
    mine = wanted.replaces or (former is not None and former.replaces)
    begin = partial(ledger.begin, replace(wanted, replaces=mine), plan)
    if step == "discard":
        discard(cube, begin)
    elif former is None or former.build != wanted.build:
        begin()
    unpublish(cube)
    return True


def check_target(
    plan: Plan,
    to: str | Path,
    *,
    replace: bool = False,
    target_options: StorageOptions | Mapping[str, Any] | None = None,
) -> None:
    """Refuse a build that would overwrite a published cube, before any work is done.

    Parameters
    ----------
    plan
        What would be built.
    to
        Folder or URL below which the cube would land.
    replace
        Whether a published cube may be overwritten.
    target_options
        How the target is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.

    Raises
    ------
    CubeExistsError
        If a published cube stands there and ``replace`` is false.
    StoreError
        If the target cannot be reached, or a build of another plan was begun there.
    """
    cube = cube_location(plan, to, target_options)
    _check(plan, cube, begun(plan, replaces=replace))


def check_place(plan: Plan, cube: Location) -> None:
    """Refuse a place that a build may not touch, before anything there is.

    Parameters
    ----------
    plan
        What would be built.
    cube
        Where it would be built.

    Raises
    ------
    StoreError
        If it is, contains or lies inside a source, or is a symbolic link.
    """
    refuse_overlap(cube, plan.scenes)
    refuse_links(cube)


def _check(plan: Plan, cube: Location, wanted: Begun) -> None:
    """Refuse a build that may not begin; a dead builder's claim on what stands there goes."""
    check_place(plan, cube)
    try:
        if cube.address is not None:
            check_version(plan, cube, replaces=wanted.replaces)
        else:
            first_step(cube.url, wanted, what_stands(plan, cube, replace=wanted.replaces))
    except CubeExistsError:
        drop_claims(cube)
        raise


def target_location(
    to: str | Path, options: StorageOptions | Mapping[str, Any] | None = None
) -> Location:
    """Where cubes land, and how that is reached.

    Parameters
    ----------
    to
        Folder or URL.
    options
        Go before the environment's.

    Returns
    -------
    Location
        Nothing is opened yet.

    Raises
    ------
    RecipeError
        If the options cannot stand.
    """
    return locate(to, from_environment("target").over(options))


def cube_location(
    plan: Plan, to: str | Path, options: StorageOptions | Mapping[str, Any] | None = None
) -> Location:
    """Where the cube of a plan lands.

    Parameters
    ----------
    plan
        The plan.
    to
        Folder or URL below which it lands.
    options
        Go before the environment's.

    Returns
    -------
    Location
        Nothing is opened yet.

    Raises
    ------
    RecipeError
        If the options cannot stand.
    """
    target = target_location(to, options)
    return target / (plan.cube_path if target.address is None else repository_path(plan))


def runner(plan: Plan, cube: Location, means: Means) -> Run:
    """What does the tasks of a versioned build.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    means
        What to do it with.

    Returns
    -------
    callable
        As `versioning.Run` has it.

    Raises
    ------
    StoreError
        If tasks would be done by other processes, which cannot write to one session.
    """
    if means.executor is not None and not isinstance(means.executor, ThreadPoolExecutor):
        raise StoreError(
            f"{cube.url} is a versioned cube, whose tasks write through one session of this "
            "process, and the executor may run them in others; leave it out (threads), or build "
            "an unversioned cube, without icechunk+"
        )

    def run(saved: Location, left: Job, watch: Watch, recorder: Recorder) -> dict[str, Record]:
        return work(plan, saved, left, means, watch, recorder=recorder)

    return run


def carry_out(plan: Plan, cube: Location, means: Means, lock: Lock) -> None:
    """Do what is left of a build that was begun, and publish it.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    means
        What to do it with.
    lock
        Holds the cube.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    StoreError
        If the target refuses or fails, or another builder has taken over.
    """
    ledger = Ledger(cube)
    left = job(plan, cube, ledger)
    ledger.fail({})
    watch = Watch(lock.check)
    lock.in_flight = watch.in_flight
    try:
        done = work(plan, cube, left, means, watch)
    except BaseException:
        if watch.failures:
            with suppress(StoreError):
                ledger.fail(watch.failures)
        raise
    records = {**left.kept, **done}
    if COORDINATES not in records:
        records[COORDINATES] = do_coordinates(plan, cube, left.coordinates)
    publish(plan, cube, (one for record in records.values() for one in record.objects))


def _is_cluster(executor: Executor | None) -> TypeGuard[Executor]:
    """Whether an executor is that of a Dask cluster; found without importing Dask's."""
    return any(kind.__module__.startswith("distributed.") for kind in type(executor).__mro__)


def work(
    plan: Plan,
    cube: Location,
    left: Job,
    means: Means,
    watch: Watch,
    *,
    recorder: Recorder | None = None,
) -> dict[str, Record]:
    """Do tasks of a plan on a pool of threads, or on an executor of the caller's.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    left
        What to do.
    means
        What to do it with.
    watch
        Told what is in flight and what failed.
    recorder
        Gives each task what it writes through; tasks write into the cube by default.

    Returns
    -------
    dict of str to Record
        What each task wrote, by its name.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    StoreError
        If the target refuses or fails, or another builder has taken over.
    """
    if _is_cluster(means.executor):
        return _work_far(plan, cube, left, means.executor, means.progress, watch)
    mine = {task.number for task in left.todo if task.kind == "unit"}
    units = [unit for unit in plan.units if unit.number in mine]
    with (
        scratch_folder(means.scratch) as folder,
        Stage(plan, folder, units) as stage,
        # Ends before the stage does, so that no unit reads a mirror that is gone.
        pool_of(means.executor, means.workers) as pool,
    ):
        # Other machines do not share this one's mirrors: their units stage for themselves.
        here = None
        if means.executor is None:
            here = Here(stage, means.workers, halves_held(means.workers))
        do = partial(do_task, plan, cube, here=here, recorder=recorder)
        try:
            return run_all(
                left.todo,
                do,
                pool=pool,
                workers=means.workers,
                progress=means.progress,
                watch=watch,
            )
        finally:
            if here is not None:
                here.stop()


def _work_far(
    plan: Plan,
    cube: Location,
    left: Job,
    cluster: Executor,
    progress: Progress | None,
    watch: Watch,
) -> dict[str, Record]:
    """Do tasks of a plan on a cluster, whose dealer has all of them."""
    from spacenet_cube.builds.cluster.client import on_cluster  # noqa: PLC0415 - of an extra

    with on_cluster(cluster, plan, partial(do_task, plan, cube), cube.url) as (far, do_there):
        return run_all(
            left.todo,
            do_there,
            pool=far,
            workers=len(left.todo),
            progress=progress,
            watch=watch,
        )
