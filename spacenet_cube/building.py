"""Building: the stages joined, unit by unit, on any executor.

Units are values; each is done by anyone, any number of times, in any order.  A bounded
number is in flight, so memory does not grow with the area.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from spacenet_cube.core.access import StorageOptions
from spacenet_cube.core.grid import Block, blocks
from spacenet_cube.core.mosaic import mosaic
from spacenet_cube.core.overview import halve, stacked
from spacenet_cube.core.plan import Plan
from spacenet_cube.core.progress import Progress
from spacenet_cube.core.schedule import schedule
from spacenet_cube.core.units import Unit
from spacenet_cube.publish import make_way, publish, refuse_overwriting
from spacenet_cube.read import reader
from spacenet_cube.resampling import resample
from spacenet_cube.scratch import scratch_folder
from spacenet_cube.staging import Stage
from spacenet_cube.storage import Location, from_environment, locate
from spacenet_cube.write import level_arrays, write_coordinates

_IN_FLIGHT_PER_WORKER = 2


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
        Told the stage, how many of its units are done, and how many there are.

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
    count = workers or os.cpu_count() or 1
    with pool_of(executor, count) as pool:
        in_flight = count * _IN_FLIGHT_PER_WORKER
        run = partial(run_all, pool=pool, in_flight=in_flight, progress=progress)
        with scratch_folder(scratch) as folder, Stage(plan, folder) as stage:
            # Other machines do not share this one's mirrors: their units stage for themselves.
            shared = stage if executor is None else None
            ordered = schedule(plan.units, plan.scenes).units
            run("build", partial(build_unit, plan, cube, stage=shared), ordered)
        for level in range(2, len(plan.levels)):
            name = f"overview {level} of {len(plan.levels) - 1}"
            run(name, partial(build_overview, plan, cube, level), overview_blocks(plan, level))
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


def half(block: Block) -> Block:
    """Where a block lies in the next overview."""
    return Block(block.row // 2, block.col // 2, (block.height + 1) // 2, (block.width + 1) // 2)


def overview_blocks(plan: Plan, level: int) -> tuple[Block, ...]:
    """The shards of an overview."""
    return tuple(blocks(plan.levels[level].shape_yx, plan.product.encoding.shard))


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


@contextmanager
def pool_of(executor: Executor | None, workers: int) -> Iterator[Executor]:
    """The caller's executor, or threads that are gone afterwards."""
    if executor is not None:
        yield executor
        return
    with ThreadPoolExecutor(workers, "build") as pool:
        yield pool


def run_all[T](
    stage: str,
    task: Callable[[T], None],
    items: Iterable[T],
    *,
    pool: Executor,
    in_flight: int,
    progress: Progress | None,
) -> None:
    """Run a task on every item, a bounded number at once; the first failure ends it."""
    waiting = tuple(items)
    told = progress or _silent
    told(stage, 0, len(waiting))
    rest = iter(waiting)
    running: set[Future[None]] = set()
    done = 0
    try:
        while True:
            running |= {pool.submit(task, item) for item in islice(rest, in_flight - len(running))}
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                done += 1
                told(stage, done, len(waiting))
    finally:
        for future in running:
            future.cancel()


def _silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
