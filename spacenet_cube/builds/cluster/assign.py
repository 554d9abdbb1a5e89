"""Dealing: which task a worker of a cluster gets next, so that sources are fetched once.

Pure.  A worker keeps mirrors of the scenes it has read.  It is given units of those scenes
while there are any; then units of scenes that nobody has touched; and only when none are left
does it help another.  Workers begin far apart, so that their parts of the area meet late.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

LOOK_AHEAD = 4096
"""Tasks that are looked at before one is chosen; it bounds the time a choice takes."""


def choose(
    waiting: Sequence[frozenset[int]],
    held: Mapping[str, Mapping[int, int]],
    worker: str,
) -> int:
    """Choose the task that a worker does next.

    Parameters
    ----------
    waiting
        Scenes that each waiting task reads, in the order of the build; empty where a task
        reads none.
    held
        Scenes that each worker has mirrored, by its address, and how many tasks of each it
        was given.
    worker
        Who is free.

    Returns
    -------
    int
        Place in ``waiting``.

    Notes
    -----
    A task without scenes (an overview, say) goes first, anywhere.  Then the task with the
    fewest scenes that are not here yet, among those that have one here; then one whose
    scenes nobody holds, the search beginning at the worker's own share of the list; then the
    one that others hold least of.  Who helps with a scene takes its tasks from the last one
    on, so that it meets whoever has it once, and not in every row of strips.

    Examples
    --------
    >>> waiting = [frozenset({1}), frozenset({1, 2}), frozenset({3})]
    >>> choose(waiting, {"a": {2: 1}, "b": {1: 1}}, "a")
    1
    >>> choose(waiting, {"a": {}, "b": {1: 1, 2: 1}}, "a")
    2
    >>> choose(waiting[:1] * 4, {"a": {}, "b": {1: 2}}, "a")
    3
    """
    looked = waiting[:LOOK_AHEAD]
    mine: Mapping[int, int] = held.get(worker, {})
    others = Counter[int]()
    for who, scenes in held.items():
        if who != worker:
            others |= Counter(scenes)
    for place, wanted in enumerate(looked):
        if not wanted:
            return place
    near = [place for place, wanted in enumerate(looked) if not wanted.isdisjoint(mine)]
    if near:
        ranked = ((len(looked[k] - mine.keys()), *_turn(k, looked[k], mine, others)) for k in near)
        return min(ranked)[-1]
    start = _own_share(len(looked), sorted({*held, worker}), worker)
    turned = [*range(start, len(looked)), *range(start)]
    overlaps = [len(looked[place] & others.keys()) for place in turned]
    least = min(overlaps)
    fit: list[int] = [place for place, n in zip(turned, overlaps, strict=True) if n == least]
    return max(fit) if least else fit[0]


def _turn(
    place: int, wanted: frozenset[int], mine: Mapping[int, int], others: Mapping[int, int]
) -> tuple[int, int]:
    """Where a task comes among those of its kind: from the last on for one who helps."""
    helps = any(others.get(scene, 0) > mine.get(scene, 0) for scene in wanted)
    return (-place if helps else place), place


def _own_share(count: int, workers: Sequence[str], worker: str) -> int:
    """Where a worker's share of a list begins, if all had equal ones."""
    return count * workers.index(worker) // len(workers)
