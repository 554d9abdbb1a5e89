"""Tasks: each once, each after what it needs, whatever order they finish in."""

import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spacenet_cube.builds.tasks.difference import Difference
from spacenet_cube.builds.tasks.runner import run_all
from spacenet_cube.builds.tasks.tasks import Ready, Task, half, tasks, update_tasks, without
from spacenet_cube.plans.plan import Plan, plan
from spacenet_cube.raster.grid import Block
from tests.scenes import Lattice, product, recipe

SHARD = 16
sizes = st.tuples(st.integers(1, 280), st.integers(1, 280))


class Counting(Executor):
    """A pool of two threads that counts how many tasks it was handed and has not ended."""

    def __init__(self) -> None:
        self._pool, self._lock = ThreadPoolExecutor(2), threading.Lock()
        self._in_flight = self.most = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._lock:
            self._in_flight += 1
            self.most = max(self.most, self._in_flight)
        return self._pool.submit(self._counted, fn, *args, **kwargs)

    def _counted(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            # Long enough for whoever hands out tasks to hand out all it dares to.
            time.sleep(0.005)
            return fn(*args, **kwargs)
        finally:
            with self._lock:
                self._in_flight -= 1


def planned(shape_yx):
    wanted = product(chunk=16, shard=SHARD)
    return plan(recipe(wanted), "P", [Lattice().cut("a.tif", Block(0, 0, *shape_yx))])


class Levels:
    """How often each pixel of each level was written."""

    def __init__(self, a_plan: Plan) -> None:
        self.painted = [np.zeros(grid.shape_yx, int) for grid in a_plan.levels]

    def write(self, task: Task) -> None:
        self.painted[task.level][task.block.yx] += 1
        if task.level == 0 and len(self.painted) > 1:
            self.painted[1][half(task.block).yx] += 1

    def below(self, task: Task) -> NDArray[Any]:
        """How often what an overview reads was written."""
        rows, cols = task.block.yx
        wide = slice(2 * rows.start, 2 * rows.stop), slice(2 * cols.start, 2 * cols.stop)
        return self.painted[task.level - 1][wide]

    def once(self) -> bool:
        return all(bool((level == 1).all()) for level in self.painted)


@given(shape=sizes, data=st.data())
def test_whatever_finishes_first_a_task_is_taken_once_and_after_all_pixels_it_reads(shape, data):
    a_plan = planned(shape)
    listed = tasks(a_plan)
    ready, levels = Ready(listed), Levels(a_plan)
    running: list[Task] = []

    while True:
        taken = ready.take(data.draw(st.integers(1, 3)))
        assert all(levels.below(task).all() for task in taken if task.kind == "overview")
        running += taken
        if not running:
            break
        task = running.pop(data.draw(st.integers(0, len(running) - 1)))
        ready.done(task)
        levels.write(task)

    assert levels.once()


@given(shape=sizes, data=st.data())
def test_an_update_builds_or_renumbers_every_pixel_of_every_level_once(shape, data):
    a_plan = planned(shape)
    chosen = data.draw(st.sets(st.sampled_from(range(len(a_plan.units)))))
    touched = tuple(unit for unit in a_plan.units if unit.number in chosen)
    levels = Levels(a_plan)

    listed = update_tasks(a_plan, Difference((), ("a.tif",), (), touched, (0, 1)))
    for task in listed:
        levels.write(task)

    assert levels.once()
    assert {task.number for task in listed if task.kind == "unit"} == chosen


def test_an_update_without_new_numbers_leaves_alone_what_is_not_touched():
    a_plan = planned((256, 256))
    found = Difference((), ("a.tif",), (), a_plan.units[:1], None)

    listed = update_tasks(a_plan, found)

    assert [task.name for task in listed] == [
        "unit-0-000000",
        *(f"overview-{level}-000000" for level in range(2, len(a_plan.levels))),
    ]


def test_tasks_that_are_done_already_are_waited_for_by_none():
    listed = tasks(planned((256, 256)))
    units = {task.name for task in listed if task.kind == "unit"}

    left = without(listed, units)

    assert {task.level for task in Ready(left).take(1000)} == {2}


def test_a_bounded_number_of_tasks_is_in_flight_and_all_are_done():
    listed = tasks(planned((256, 256)))
    pool = Counting()
    told: list[tuple[str, int, int]] = []
    seen: list[Task] = []

    run_all(listed, seen.append, pool=pool, workers=2, progress=lambda *n: told.append(n))

    assert sorted(task.name for task in seen) == sorted(task.name for task in listed)
    assert 2 <= pool.most <= 4
    units = sum(task.kind == "unit" for task in listed)
    assert ("units", units, units) in told


def test_the_first_failure_ends_the_run_and_nothing_more_is_begun():
    listed = tasks(planned((256, 256)))
    seen: list[Task] = []

    def fails(task: Task) -> None:
        seen.append(task)
        if len(seen) == 3:
            raise OSError("no more")

    with ThreadPoolExecutor(1) as pool, pytest.raises(OSError, match="no more"):
        run_all(listed, fails, pool=pool, workers=1, progress=None)

    assert len(seen) <= 4
    assert len(seen) < len(listed)
