"""What tasks of one process share: halves handed on, and room for so many to compute at once."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.builds.tasks.schedule import schedule
from spacenet_cube.builds.unit.mosaic import mosaic, new_pixels
from spacenet_cube.builds.unit.overview_cache import Carried
from spacenet_cube.builds.unit.write import LevelArrays
from spacenet_cube.raster.grid import Block
from tests.scenes import Lattice, product, recipe
from tests.tiny_cubes import KINDS
from tests.tiny_cubes import recipe as tiny
from tests.tiny_cubes import scenes as write_tiny
from tests.torture.ground import content

PLAN = sc.plan(recipe(product()), "P", [Lattice().cut("a.tif", Block(0, 0, 9, 9))])


def block(number):
    return Block(16 * number, 0, 16, 16)


@given(most=st.integers(1, 5), kept=st.lists(st.integers(0, 9), max_size=20, unique=True))
def test_the_newest_are_held_and_each_is_given_once(most, kept):
    carried, pixels = Carried(most), {number: new_pixels(PLAN, (16, 16)) for number in kept}

    for number in kept:
        carried.keep(2, block(number), pixels[number])

    assert all(carried.fetch(1, block(number)) is None for number in kept)
    for number in kept[:-most]:
        assert carried.fetch(2, block(number)) is None
    for number in kept[-most:]:
        assert carried.fetch(2, block(number)) is pixels[number]
        assert carried.fetch(2, block(number)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_cube_is_the_same_whether_halves_are_handed_on_or_read_back(kind, tmp_path, monkeypatch):
    plan = plan_of(tmp_path / "scenes", kind)
    read_back, read = [], LevelArrays.read

    def reading(arrays, part, out):
        read_back.append(part)
        read(arrays, part, out)

    monkeypatch.setattr(LevelArrays, "read", reading)
    handed_on = content(sc.build(plan, tmp_path / "one", workers=2))
    assert not read_back
    monkeypatch.setattr("spacenet_cube.builds.build.halves_held", lambda _workers: 0)
    again = content(sc.build(plan, tmp_path / "two", workers=2))

    assert bool(read_back) == (len(plan.levels) > 2)
    assert again == handed_on


def plan_of(folder, kind="cloud"):
    write_tiny(folder, kind)
    wanted = tiny(folder, kind)
    return sc.plan(wanted, "P", sc.survey(wanted, "P"))


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_tasks_compute_at_once_than_there_are_workers(workers, tmp_path, monkeypatch):
    at_once, most, lock, original = [0], [0], threading.Lock(), mosaic

    def watched(*given, **named):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        try:
            return original(*given, **named)
        finally:
            with lock:
                at_once[0] -= 1

    monkeypatch.setattr("spacenet_cube.builds.unit.task.mosaic", watched)
    sc.build(plan_of(tmp_path / "scenes"), tmp_path / "cubes", workers=workers)

    assert most[0] == workers


def test_one_task_computes_while_another_waits_for_the_disk(tmp_path, monkeypatch):
    computing, overlapped, original = threading.Event(), [], mosaic

    def slow_disk(*_):
        computing.clear()
        overlapped.append(computing.wait(0.5))

    def watched(*given, **named):
        computing.set()
        return original(*given, **named)

    monkeypatch.setattr("spacenet_cube.builds.unit.task.settle", slow_disk)
    monkeypatch.setattr("spacenet_cube.builds.unit.task.mosaic", watched)
    sc.build(plan_of(tmp_path / "scenes"), tmp_path / "cubes", workers=1)

    assert any(overlapped)


def test_units_come_in_fours_that_make_one_shard_of_the_second_overview():
    block = Block(0, 0, 16 * 2 * 4, 16 * 2 * 6)
    made = sc.plan(recipe(product()), "P", [Lattice().cut("a.tif", block)])

    ordered = schedule(made.units[::-1], made.scenes).units

    assert sorted(unit.number for unit in ordered) == [unit.number for unit in made.units]
    for first in range(0, len(ordered), 4):
        four = {(unit.block.row // 64, unit.block.col // 64) for unit in ordered[first : first + 4]}
        assert len(four) == 1
