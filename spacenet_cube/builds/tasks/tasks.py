"""Tasks: a build as a list of named pieces of work, each with what must be done before it.

Pure.  A unit makes the native level and the first overview; a shard of a higher overview
needs the four below it and nothing else, so no level waits for another to be whole.
Names are stable, so a record of what is done can be read by another run.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from math import ceil
from typing import Literal

from spacenet_cube.builds.tasks.difference import Difference, touched_above
from spacenet_cube.builds.tasks.schedule import schedule
from spacenet_cube.plans.plan import SHARDS_PER_UNIT, Plan
from spacenet_cube.plans.units import Unit
from spacenet_cube.raster.grid import Block, blocks
from spacenet_cube.storage.base.entries import Stored

Kind = Literal["unit", "overview", "renumber"]


@dataclass(frozen=True, slots=True)
class Task:
    """Work that anyone may do, any number of times, once what it needs is done."""

    kind: Kind
    """``unit``: native pixels and their first overview; ``overview``: one shard of a higher
    level; ``renumber``: new numbers for the scenes of either, which is otherwise kept."""

    level: int
    """Level it writes; a unit writes 0 and 1."""

    number: int
    """Number of the unit, or of the shard in reading order, from 0."""

    block: Block
    """Pixels of the level."""

    after: tuple[str, ...] = ()
    """Names of tasks that must be done before; those that are not in a list are done."""

    numbers: tuple[int, ...] = ()
    """For ``renumber``: new number of each scene by its old one, from 0."""

    held: tuple[Stored, ...] = ()
    """For ``renumber``: its objects as the old cube's manifest tells them; where any is another
    by now, the task is done as if there were none."""

    inputs: str = ""
    """Digest of all that it is made from (`builds.tasks.inputs`); its record tells it."""

    @property
    def name(self) -> str:
        """Stable name; it says what is written, and not how.

        Examples
        --------
        >>> Task("overview", 2, 7, Block(0, 0, 1, 1)).name
        'overview-2-000007'
        """
        return _name(self.level, self.number)


def _name(level: int, number: int) -> str:
    return f"{'overview' if level else 'unit'}-{level}-{number:06d}"


def tasks(plan: Plan) -> tuple[Task, ...]:
    """Everything a build does, but for coordinates and documents.

    Parameters
    ----------
    plan
        The plan.

    Returns
    -------
    tuple of Task
        Units in the order that holds the fewest bytes of remote scenes, then overviews.
    """
    found = [_unit(unit) for unit in schedule(plan.units, plan.scenes).units]
    for level in range(2, len(plan.levels)):
        found += [_overview(plan, level, n, block) for n, block in enumerate(_shards(plan, level))]
    return tuple(found)


def update_tasks(plan: Plan, found: Difference) -> tuple[Task, ...]:
    """Everything an update does: what changed scenes touch, and new numbers for the rest.

    Parameters
    ----------
    plan
        What the cube shall be.
    found
        How that differs from the cube.

    Returns
    -------
    tuple of Task
        Level by level, finest first.
    """
    numbers = found.numbers
    mine = {unit.number for unit in found.units}
    listed = [_unit(unit) for unit in found.units]
    if numbers is not None:
        rest = (unit for unit in plan.units if unit.number not in mine)
        listed += [_renumbered(_unit(unit), numbers) for unit in rest]
    touched = [half(unit.block) for unit in found.units]
    for level in range(2, len(plan.levels)):
        shape_yx, edge = plan.levels[level].shape_yx, plan.product.encoding.shard
        touched = list(touched_above(shape_yx, edge, touched))
        for number, block in enumerate(_shards(plan, level)):
            if block in touched:
                listed.append(_overview(plan, level, number, block))
            elif numbers is not None:
                listed.append(_renumbered(_overview(plan, level, number, block), numbers))
    return tuple(listed)


def half(block: Block) -> Block:
    """Where a block lies in the next overview."""
    return Block(block.row // 2, block.col // 2, (block.height + 1) // 2, (block.width + 1) // 2)


def _shards(plan: Plan, level: int) -> Iterator[Block]:
    return iter(blocks(plan.levels[level].shape_yx, plan.product.encoding.shard))


def _unit(unit: Unit) -> Task:
    return Task("unit", 0, unit.number, unit.block)


def _renumbered(task: Task, numbers: tuple[int, ...]) -> Task:
    return replace(task, kind="renumber", numbers=numbers)


def _overview(plan: Plan, level: int, number: int, block: Block) -> Task:
    # The first overview is made with the units.
    maker = 0 if level - 1 == 1 else level - 1
    after = tuple(_name(maker, n) for n in _below(plan, level, number))
    return Task("overview", level, number, block, after)


def _below(plan: Plan, level: int, number: int) -> Iterator[int]:
    """Numbers of the shards of the level below that a shard is made of."""
    edge = plan.product.encoding.shard
    across = ceil(plan.levels[level].shape_yx[1] / edge)
    down_below, across_below = (ceil(size / edge) for size in plan.levels[level - 1].shape_yx)
    row, col = divmod(number, across)
    for y in range(row * SHARDS_PER_UNIT, min((row + 1) * SHARDS_PER_UNIT, down_below)):
        for x in range(col * SHARDS_PER_UNIT, min((col + 1) * SHARDS_PER_UNIT, across_below)):
            yield y * across_below + x


class Ready:
    """Which of a list of tasks can be done now: higher levels first, then in order.

    Parameters
    ----------
    listed
        The tasks, each name once.
    """

    def __init__(self, listed: Sequence[Task]) -> None:
        names = {task.name for task in listed}
        self._left: dict[str, int] = {}
        self._next: dict[str, list[tuple[int, int, Task]]] = defaultdict(list)
        self._heap: list[tuple[int, int, Task]] = []
        for turn, task in enumerate(listed):
            needs = [name for name in task.after if name in names]
            entry = (-task.level, turn, task)
            self._left[task.name] = len(needs)
            for name in needs:
                self._next[name].append(entry)
            if not needs:
                self._heap.append(entry)
        heapify(self._heap)

    def take(self, most: int) -> list[Task]:
        """Take up to so many tasks that can be done now."""
        return [heappop(self._heap)[2] for _ in range(min(most, len(self._heap)))]

    def done(self, task: Task) -> None:
        """Say that a task is done, so that others may follow."""
        for entry in self._next.pop(task.name, ()):
            self._left[entry[2].name] -= 1
            if not self._left[entry[2].name]:
                heappush(self._heap, entry)


def level_of(name: str) -> int | None:
    """Level that a task writes, by its name; None for what is no task of a level.

    Examples
    --------
    >>> level_of("overview-3-000001"), level_of("coordinates")
    (3, None)
    """
    kind, _, rest = name.partition("-")
    level = rest.partition("-")[0]
    return int(level) if kind in {"unit", "overview"} and level.isdecimal() else None


def without(listed: Iterable[Task], done: Collection[str]) -> tuple[Task, ...]:
    """Tasks that are left, where those of some names are done."""
    return tuple(task for task in listed if task.name not in done)
