"""Dealing: which task a worker of a cluster gets next, so that sources are fetched once.

Pure.  A worker keeps mirrors of the scenes it has read.  It is given units of those scenes
while there are any; then units of scenes that nobody has touched; and only when none are left
does it help another.  Workers begin far apart, so that their parts of the area meet late.
"""

from collections.abc import Collection, Mapping, Sequence

LOOK_AHEAD = 4096
"""Tasks that are looked at before one is chosen; it bounds the time a choice takes."""


def choose(
    waiting: Sequence[frozenset[int]],
    held: Mapping[str, Collection[int]],
    worker: str,
) -> int:
    """Choose the task that a worker does next.

    Parameters
    ----------
    waiting
        Scenes that each waiting task reads, in the order of the build; empty where a task
        reads none.
    held
        Scenes that each worker has mirrored, by its address.
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
    one that others hold least of.

    Examples
    --------
    >>> waiting = [frozenset({1}), frozenset({1, 2}), frozenset({3})]
    >>> choose(waiting, {"a": {2}, "b": {1}}, "a")
    1
    >>> choose(waiting, {"a": (), "b": {1, 2}}, "a")
    2
    """
    looked = waiting[:LOOK_AHEAD]
    mine = frozenset(held.get(worker, ()))
    others = {number for who, scenes in held.items() if who != worker for number in scenes}
    for place, scenes in enumerate(looked):
        if not scenes:
            return place
    near = [place for place, scenes in enumerate(looked) if scenes & mine]
    if near:
        return min((len(looked[place] - mine), place) for place in near)[1]
    start = _own_share(len(looked), sorted({*held, worker}), worker)
    turned = [*range(start, len(looked)), *range(start)]
    chosen: int = min(turned, key=lambda place: len(looked[place] & others))
    return chosen


def _own_share(count: int, workers: Sequence[str], worker: str) -> int:
    """Where a worker's share of a list begins, if all had equal ones."""
    return count * workers.index(worker) // len(workers)
