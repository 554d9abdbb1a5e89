"""Schedules: the order in which units run, so that few remote scenes are held at once.

Pure.  A scene is held from the first unit that needs it to the last, so an order by tile
holds about one row of tiles, where the order of the units themselves may hold more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spacenet_cube.plans.units import Unit
from spacenet_cube.sources.scene import Scene


@dataclass(frozen=True, slots=True)
class Schedule:
    """Units in the order they run."""

    units: tuple[Unit, ...]
    """Every unit once."""

    staged_bytes: int
    """Most bytes of remote scenes that are held at once, by one unit after the other."""

    def staged_with(self, in_flight: int, scenes: Sequence[Scene]) -> int:
        """Most bytes of remote scenes held with some units in flight at once.

        Parameters
        ----------
        in_flight
            Units at once.
        scenes
            Of the plan.

        Returns
        -------
        int
            Bytes of scratch space.
        """
        return _most_held(self.units, scenes, in_flight)


def schedule(units: Sequence[Unit], scenes: Sequence[Scene]) -> Schedule:
    """Choose the order of units that needs the least scratch space.

    Parameters
    ----------
    units
        Units of a plan, or some of them.
    scenes
        Scenes of the plan.

    Returns
    -------
    Schedule
        Four by four where all scenes are local, or no other order holds less.
    """
    if not any(scene.is_remote for scene in scenes):
        return Schedule(_by_fours(units), 0)
    orders = [
        _by_fours(units),
        tuple(units),
        *(tuple(sorted(units, key=key)) for key in (_by_columns, _by_scene, _by_last)),
    ]
    held = [_most_held(order, scenes, 1) for order in orders]
    best = held.index(min(held))
    return Schedule(orders[best], held[best])


def _by_fours(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """The four that one shard of the second overview is made of, one after another."""
    size = max((max(unit.block.height, unit.block.width) for unit in units), default=1)

    def place(unit: Unit) -> tuple[int, int, int, int]:
        row, col = unit.block.row // size, unit.block.col // size
        return row // 2, col // 2, row % 2, col % 2

    return tuple(sorted(units, key=place))


_Key = Callable[[Unit], tuple[int, int]]


def _by_columns(unit: Unit) -> tuple[int, int]:
    return unit.block.col, unit.block.row


def _by_scene(unit: Unit) -> tuple[int, int]:
    return min((piece.scene for piece in unit.pieces), default=0), unit.number


def _by_last(unit: Unit) -> tuple[int, int]:
    return max((piece.scene for piece in unit.pieces), default=0), unit.number


def _most_held(units: Sequence[Unit], scenes: Sequence[Scene], in_flight: int) -> int:
    """Most bytes held, a scene counting from its first unit to its last."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for turn, unit in enumerate(units):
        for piece in unit.pieces:
            first.setdefault(piece.scene, turn)
            last[piece.scene] = turn
    change: dict[int, int] = {}
    for number, turn in first.items():
        scene = scenes[number - 1]
        if scene.is_remote:
            # Units in flight may be that far ahead of the one that is still running.
            change[turn] = change.get(turn, 0) + scene.size_bytes
            gone = last[number] + in_flight
            change[gone] = change.get(gone, 0) - scene.size_bytes
    held = most = 0
    for turn in sorted(change):
        held += change[turn]
        most = max(most, held)
    return most
