"""Building: the stages joined, unit by unit, on any executor.

Units are values; each is done by anyone, any number of times, in any order.  A bounded
number is in flight, so memory does not grow with the area.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from spacenet_cube.core.access import StorageOptions
from spacenet_cube.core.grid import Block
from spacenet_cube.core.mosaic import mosaic
from spacenet_cube.core.overview import halve, stacked
from spacenet_cube.core.plan import Plan
from spacenet_cube.core.progress import Progress
from spacenet_cube.core.tasks import Task, half, tasks
from spacenet_cube.core.units import Unit
from spacenet_cube.publish import make_way, publish, refuse_overwriting
from spacenet_cube.read import reader
from spacenet_cube.resampling import resample
from spacenet_cube.running import pool_of, run_all
from spacenet_cube.scratch import scratch_folder
from spacenet_cube.staging import Stage
from spacenet_cube.storage import Location, from_environment, locate
from spacenet_cube.write import level_arrays, write_coordinates


def build(
    plan: Plan,
    to: str | Path,
    *,
    workers: int | None = None,
    replace: bool = False,
    executor: Executor | None = None,
    target_options: StorageOptions | Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> str:
    """Build a cube and publish it.

    Parameters
    ----------
    plan
        What to build.
    to
        Folder or URL below which the cube lands, at ``<aoi>/<product>.zarr``.
    workers
        Units at once; the number of processors by default.  `peak_memory_bytes` of the
        plan says what they take.
    replace
        Whether a published cube may be overwritten.
    executor
        Runs the units; a thread pool of ``workers`` by default.
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
        If a scene cannot be read; the cube stays unpublished.
    StoreError
        If the target refuses or fails; the cube stays unpublished.
    """
    cube = target_location(to, target_options) / plan.cube_path
    make_way(plan, cube, replace=replace)
    work(
        plan,
        cube,
        tasks(plan),
        workers=workers or os.cpu_count() or 1,
        executor=executor,
        scratch=scratch,
        progress=progress,
    )
    write_coordinates(plan, cube)
    publish(plan, cube)
    return cube.url


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
        If the target cannot be reached.
    """
    refuse_overwriting(target_location(to, target_options) / plan.cube_path, replace=replace)


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


def work(
    plan: Plan,
    cube: Location,
    listed: Sequence[Task],
    *,
    workers: int,
    executor: Executor | None,
    scratch: Path | None,
    progress: Progress | None,
) -> None:
    """Do tasks of a plan on a pool of threads, or on an executor of the caller's.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    listed
        What to do.
    workers
        Tasks at once.
    executor
        Runs them; a thread pool by default.
    scratch
        Folder in which remote scenes are mirrored while they are needed.
    progress
        Told what is done.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    StoreError
        If the target refuses or fails.
    """
    units = [plan.units[task.number] for task in listed if task.kind == "unit"]
    with (
        scratch_folder(scratch) as folder,
        Stage(plan, folder, units) as stage,
        # Ends before the stage does, so that no unit reads a mirror that is gone.
        pool_of(executor, workers) as pool,
    ):
        # Other machines do not share this one's mirrors: their units stage for themselves.
        shared = stage if executor is None else None
        do = partial(do_task, plan, cube, stage=shared)
        run_all(listed, do, pool=pool, workers=workers, progress=progress)


def do_task(plan: Plan, cube: Location, task: Task, *, stage: Stage | None = None) -> None:
    """Do one task.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    task
        What to do.
    stage
        Mirrors shared with other units; by default a unit has its own.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    StoreError
        If the target refuses or fails.
    """
    match task.kind:
        case "unit":
            build_unit(plan, cube, plan.units[task.number], stage=stage)
        case "overview":
            build_overview(plan, cube, task.level, task.block)
        case "renumber":
            level_arrays(plan, task.level, cube).renumber(task.block, task.numbers)


def build_unit(plan: Plan, cube: Location, unit: Unit, *, stage: Stage | None = None) -> None:
    """Do one work unit: read, mosaic, encode and write it, and its first overview.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    unit
        Which part of it to do.
    stage
        Mirrors shared with other units; by default the unit has its own.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    StoreError
        If the target refuses or fails.
    """
    native = level_arrays(plan, 0, cube)
    halves = []
    with _staged(plan, unit, stage) as staged:
        read = reader(plan.product.band_indexes, staged.local)
        for part in unit.strips(plan.product.encoding.shard, plan.window_of):
            pixels = mosaic(plan, part, read, resample)
            native.write(part.block, pixels)
            if len(plan.levels) > 1:
                halves.append(halve(pixels, plan.product.nodata))
    if halves:
        level_arrays(plan, 1, cube).write(half(unit.block), stacked(halves))


@contextmanager
def _staged(plan: Plan, unit: Unit, shared: Stage | None) -> Iterator[Stage]:
    """Mirrors for a unit: the shared ones, or some of its own."""
    if shared is not None:
        try:
            yield shared
        finally:
            shared.done(unit)
        return
    with scratch_folder() as folder, Stage(plan, folder, [unit]) as own:
        yield own


def build_overview(plan: Plan, cube: Location, level: int, block: Block) -> None:
    """Make one shard of an overview from the level below it.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    level
        2 or more: the first overview is made with the units.
    block
        One shard of the level.

    Raises
    ------
    StoreError
        If the target refuses or fails, or the level below is damaged.
    """
    rows, cols = plan.levels[level - 1].shape_yx
    top, left = block.row * 2, block.col * 2
    below = Block(top, left, min(block.height * 2, rows - top), min(block.width * 2, cols - left))
    source, nodata = level_arrays(plan, level - 1, cube), plan.product.nodata
    # Half of it at a time, as units do: so the overviews need no more memory than the units.
    halves = [halve(source.read(part), nodata) for part in below.strips(source.shard_px)]
    level_arrays(plan, level, cube).write(block, stacked(halves))
