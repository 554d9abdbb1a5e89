"""Dealing: units go where their scenes are, and nobody waits while there is work."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.builds.cluster.assign import choose
from spacenet_cube.plans.units import units
from tests.scenes import blocks_within, from_corner

scene_sets = st.frozensets(st.integers(1, 12), max_size=4)
waitings = st.lists(scene_sets, min_size=1, max_size=20)
helds = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(st.integers(1, 12), st.integers(1, 9)), max_size=4
)


@given(waiting=waitings, held=helds, worker=st.sampled_from("abcd"))
def test_a_task_is_chosen_whatever_waits_and_whoever_asks(waiting, held, worker):
    assert 0 <= choose(waiting, held, worker) < len(waiting)


@given(waiting=waitings, held=helds, worker=st.sampled_from("abcd"))
def test_tasks_without_scenes_go_first_then_those_of_scenes_that_are_held(waiting, held, worker):
    chosen = waiting[choose(waiting, held, worker)]

    if frozenset() in waiting:
        assert chosen == frozenset()
    elif any(scenes & held.get(worker, {}).keys() for scenes in waiting):
        assert chosen & held[worker].keys()


@given(waiting=waitings, held=helds, worker=st.sampled_from("abcd"))
def test_a_scene_of_another_is_begun_only_where_no_other_is_left(waiting, held, worker):
    others = set().union(*(scenes for who, scenes in held.items() if who != worker))
    chosen = waiting[choose(waiting, held, worker)]

    untouched = [scenes for scenes in waiting if not scenes & others]
    if chosen & others and not chosen & held.get(worker, {}).keys():
        assert not untouched


def dealt(unit_scenes: list[frozenset[int]], workers: int) -> dict[str, set[int]]:
    """Scenes that workers hold in the end, where all take as long."""
    held: dict[str, Counter[int]] = {str(k): Counter() for k in range(workers)}
    waiting = list(unit_scenes)
    while waiting:
        for worker, scenes in held.items():
            if waiting:
                scenes.update(waiting.pop(choose(waiting, held, worker)))
    return {worker: set(scenes) for worker, scenes in held.items()}


def test_of_aligned_tiles_each_is_read_by_one_worker():
    tiles = {(row, col): row * 6 + col + 1 for row in range(6) for col in range(6)}
    listed = [frozenset({tiles[row // 2, col // 2]}) for row in range(12) for col in range(12)]

    held = dealt(listed, workers=3)

    assert sum(len(scenes) for scenes in held.values()) == 36


def test_who_helps_with_a_tile_shares_one_row_of_its_strips_at_most():
    """Units of a row read the same strips; two workers, one tile of 8 x 8 units."""
    rows: dict[str, set[int]] = {"a": set(), "b": set()}
    held: dict[str, Counter[int]] = {"a": Counter({1: 1}), "b": Counter()}
    waiting = [row for row in range(8) for _ in range(8)][1:]
    while waiting:
        for worker, seen in rows.items():
            if waiting:
                place = choose([frozenset({1})] * len(waiting), held, worker)
                seen.add(waiting.pop(place))
                held[worker][1] += 1

    assert len(rows["a"] & rows["b"]) <= 1


@given(blocks=st.lists(blocks_within(30), min_size=2, max_size=6).map(from_corner))
def test_no_scene_is_held_by_nobody_or_by_more_workers_than_there_are(blocks):
    shape = (max(b.row + b.height for b in blocks), max(b.col + b.width for b in blocks))
    listed = [frozenset(p.scene for p in unit.pieces) for unit in units(shape, 8, blocks)]

    held = dealt(listed, workers=3)

    assert set().union(*held.values()) == set().union(*listed)
