"""Working: one task of a build, from pixels to its record, by whoever does it.

A task is done by anyone, any number of times.  Its record is stored by the same hands, after
all it wrote is durable, so no task is lost with the process that handed it out.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from zarr.abc.store import Store

from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.records import Record
from spacenet_cube.builds.tasks.inputs import COORDINATES
from spacenet_cube.builds.tasks.tasks import Task, half
from spacenet_cube.builds.unit.buffers import Memory, give_back
from spacenet_cube.builds.unit.mosaic import mosaic
from spacenet_cube.builds.unit.overview_cache import Carried
from spacenet_cube.builds.unit.read import reader
from spacenet_cube.builds.unit.stage import Stage
from spacenet_cube.builds.unit.write import level_arrays, write_coordinates
from spacenet_cube.errors import CubeError, StoreError
from spacenet_cube.plans.plan import SHARDS_PER_UNIT, UPLOADS, Plan
from spacenet_cube.plans.units import Unit
from spacenet_cube.raster.grid import Block, blocks
from spacenet_cube.raster.overview import halve
from spacenet_cube.raster.pixels import Pixels
from spacenet_cube.raster.resample import resample
from spacenet_cube.storage.base.entries import Stored, Written
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import settle
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.scratch import scratch_folder
from spacenet_cube.storage.stores.recording import RecordingStore
from spacenet_cube.storage.stores.uploads import Behind

_INDEX = "source_index"


def _go_on() -> None:
    """Nothing is against it."""


def both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    """One check of two."""

    def check() -> None:
        first()
        second()

    return check


class StoppedError(CubeError):
    """A task was told to stop; what it wrote has no record."""


class Here:
    """What tasks of this process share, and other machines do not.

    Parameters
    ----------
    stage
        Mirrors of remote scenes.
    workers
        How many tasks may compute at once; others wait for the disk meanwhile.
    halves
        How many halves of shards are held for tasks that follow.
    """

    def __init__(self, stage: Stage | None = None, workers: int = 1, halves: int = 0) -> None:
        give_back()
        self.stage, self._stopped, self.memory = stage, threading.Event(), Memory()
        self.carried, self._room = Carried(halves), threading.Semaphore(workers)

    def stop(self) -> None:
        """Let no task write or begin anything more."""
        self._stopped.set()

    @contextmanager
    def room(self) -> Iterator[None]:
        """Wait for a place among those who compute, and hold it for the time of a block."""
        with self._room:
            self.check()
            yield

    def check(self) -> None:
        """Refuse to go on after `stop`."""
        if self._stopped.is_set():
            message = "stopped; run the same command again to go on"
            raise StoppedError(message)


class Recording(RecordingStore):
    """What a task writes through, and its record afterwards."""

    record: Record


class Recorder(Protocol):
    """Gives a task what it writes through, and keeps the record of what it wrote."""

    def __call__(
        self,
        cube: Location,
        name: str,
        inputs: str,
        check: Callable[[], None] = _go_on,
        held: tuple[Stored, ...] = (),
    ) -> AbstractContextManager[Recording]:
        """As `recorded` does."""


def do_task(
    plan: Plan,
    cube: Location,
    task: Task,
    *,
    here: Here | None = None,
    recorder: Recorder | None = None,
) -> Record:
    """Do one task and store its record.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    task
        What to do.
    here
        What is shared with other tasks of this process; by default a unit has mirrors of its
        own.
    recorder
        Gives what it writes through; `recorded` by default.

    Returns
    -------
    Record
        What it wrote.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    StoreError
        If the target refuses or fails.
    StoppedError
        If it was told to stop.
    """
    mine = here or Here()
    mine.check()
    record = recorder or recorded
    with record(cube, task.name, task.inputs, mine.check, task.held) as store, mine.room():
        if task.kind == "renumber" and _are_as_held(cube, task):
            _renumber(plan, cube, task, store)
        elif task.level == 0:
            stage = mine.stage if task.kind == "unit" else None
            unit = _unit(plan, task.number)
            build_unit(plan, cube, unit, store, stage=stage, here=mine)
        else:
            build_overview(plan, cube, task.level, task.block, store, here=mine)
    return store.record


def _unit(plan: Plan, number: int) -> Unit:
    """The unit of a number; units need not stand in the order of their numbers."""
    return next(unit for unit in (plan.units[number], *plan.units) if unit.number == number)


def do_coordinates(
    plan: Plan, cube: Location, inputs: str, *, recorder: Recorder | None = None
) -> Record:
    """Write the small arrays of every level and store their record.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    inputs
        Digest of what they are made from.
    recorder
        Gives what they are written through; `recorded` by default.

    Returns
    -------
    Record
        What was written.

    Raises
    ------
    StoreError
        If the target refuses or fails.
    """
    record = recorder or recorded
    with record(cube, COORDINATES, inputs) as store:
        write_coordinates(plan, cube, store)
    return store.record


@contextmanager
def recorded(
    cube: Location,
    name: str,
    inputs: str,
    check: Callable[[], None] = _go_on,
    held: tuple[Stored, ...] = (),
) -> Iterator[Recording]:
    """Store the record of what is written in a block, once that is durable.

    Parameters
    ----------
    cube
        Where the cube is.
    name
        Name of the task.
    inputs
        Digest of what it is made from.
    check
        Called before each object is written; what it raises ends the task.
    held
        Objects that are there already, which the record tells of too.

    Yields
    ------
    RecordingStore
        To write through; its ``record`` is there afterwards.

    Raises
    ------
    StoreError
        If the target refuses or fails.
    """
    with Behind(UPLOADS) as behind:
        store = Recording(cube.store(), both(check, cube.check), None if cube.is_local else behind)
        yield store
        try:
            behind.wait()
            settle(cube, [one.key for one in store.written])
        except FAULTS as error:
            kept, mend = ("put on the disk", "disk") if cube.is_local else ("stored", "store")
            raise StoreError(
                f"what {name} wrote to {cube.url} cannot be {kept}: {cube.told(error)}; free space "
                f"or mend the {mend}, then run the same command again"
            ) from error
    record = record_of(name, inputs, store.written, held)
    Ledger(cube).record(record)
    store.record = record


def record_of(name: str, inputs: str, written: Iterable[Written], held: Iterable[Stored]) -> Record:
    """The record of a task.

    Parameters
    ----------
    name
        Name of the task.
    inputs
        Digest of what it is made from.
    written
        What it wrote.
    held
        What was there already and belongs to it.

    Returns
    -------
    Record
        What it wrote goes before what was there.
    """
    found = {one.key: Written(one.key, one.size_bytes, one.sha256) for one in held}
    found |= {one.key: one for one in written}
    return Record(name, inputs, tuple(sorted(found.values(), key=lambda one: one.key)))


def build_unit(
    plan: Plan,
    cube: Location,
    unit: Unit,
    store: Store,
    *,
    stage: Stage | None = None,
    here: Here | None = None,
) -> None:
    """Do one work unit: read, mosaic, encode and write it, and its first overview.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    unit
        Which part of it to do.
    store
        What is written through.
    stage
        Mirrors shared with other units; by default the unit has its own.
    here
        Lends the arrays that pixels are made in, takes what the second overview is made of, and
        may end the unit before each part of it; by default the unit has its own.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    StoreError
        If the target refuses or fails.
    """
    native, first = level_arrays(plan, 0, cube, store, anew=True), half(unit.block)
    mine, edge = here or Here(), plan.product.encoding.shard
    lend = mine.memory.lend
    with _staged(plan, unit, stage) as staged, lend(plan, (edge, edge), first) as above:
        read = reader(plan.product.band_indexes, staged.local)
        for part in unit.strips(edge, plan.window_of):
            mine.check()
            with lend(plan, (edge, SHARDS_PER_UNIT * edge), part.block) as lent:
                pixels = mosaic(plan, part, read, resample, out=lent)
                native.write(part.block, pixels)
                if len(plan.levels) > 1:
                    place = half(part.block).relative_to(first)
                    halve(pixels, plan.nodata, out=above.part(place), each_band=plan.each_band)
        if len(plan.levels) > 1:
            level_arrays(plan, 1, cube, store, anew=True).write(first, above)
            _carry(plan, 1, first, above, mine)


def _carry(plan: Plan, level: int, block: Block, pixels: Pixels, here: Here) -> None:
    """Halve a shard while its pixels are at hand, for whoever makes the next overview of it."""
    if here.carried.most and level + 1 < len(plan.levels):
        halved = halve(pixels, plan.nodata, each_band=plan.each_band)
        here.carried.keep(level + 1, half(block), halved)


@contextmanager
def _staged(plan: Plan, unit: Unit, shared: Stage | None) -> Iterator[Stage]:
    """Mirrors for a unit: the shared ones, or some of its own."""
    if shared is not None:
        with shared.using(unit) as held:
            yield held
        return
    with scratch_folder() as folder, Stage(plan, folder, [unit]) as own:
        yield own


def build_overview(
    plan: Plan,
    cube: Location,
    level: int,
    block: Block,
    store: Store,
    *,
    here: Here | None = None,
    below_store: Store | None = None,
) -> None:
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
    store
        What is written through.
    here
        Lends the arrays that pixels are made in, and has halves of shards that were made just
        now; by default the overview has its own, and reads all of the level below.
    below_store
        What the level below is read through; ``store`` by default.

    Raises
    ------
    StoreError
        If the target refuses or fails, or the level below is damaged.
    """
    rows, cols = plan.levels[level - 1].shape_yx
    top, left = block.row * 2, block.col * 2
    below = Block(top, left, min(block.height * 2, rows - top), min(block.width * 2, cols - left))
    source = level_arrays(plan, level - 1, cube, below_store or store)
    edge, mine = source.shard_px, here or Here()
    lend = mine.memory.lend
    with lend(plan, (edge, edge), block) as made:
        # A shard at a time, in memory that units use: so overviews need no more than they do.
        for shard in blocks((below.height, below.width), edge):
            part = Block(top + shard.row, left + shard.col, shard.height, shard.width)
            place = made.part(half(shard))
            carried = mine.carried.fetch(level, half(part))
            if carried is None:
                with lend(plan, (edge, SHARDS_PER_UNIT * edge), part) as lent:
                    source.read(part, lent)
                    halve(lent, plan.nodata, out=place, each_band=plan.each_band)
            else:
                place.image[...], place.source_index[...] = carried.image, carried.source_index
        level_arrays(plan, level, cube, store, anew=True).write(block, made)
        _carry(plan, level, block, made, mine)


def _renumber(plan: Plan, cube: Location, task: Task, store: Store) -> None:
    """Give the scenes of a unit and its first overview, or of an overview, new numbers."""
    level_arrays(plan, task.level, cube, store).renumber(task.block, task.numbers)
    if task.level == 0 and len(plan.levels) > 1:
        level_arrays(plan, 1, cube, store).renumber(half(task.block), task.numbers)


def _are_as_held(cube: Location, task: Task) -> bool:
    """Whether no `source_index` of a task was renumbered yet, by an update that was stopped."""
    try:
        return all(
            hashlib.sha256((cube / one.key).read_bytes()).hexdigest() == one.sha256
            for one in task.held
            if _INDEX in one.key.split("/")
        )
    except FileNotFoundError:
        return False
    except FAULTS as error:
        raise StoreError(
            f"reading {cube.url} back failed: {cube.told(error)}; run the same command again"
        ) from error
