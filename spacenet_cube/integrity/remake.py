"""Remaking: the least work of a plan that makes some objects of its cube once more.

Pure.  Native pixels are made by the units they lie in, and an overview from the level below
it, which needs no source; a level is sound before the next one is made from it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from spacenet_cube.format.layout import Layout, layout, level_of
from spacenet_cube.format.levels import level_name
from spacenet_cube.plans.documents import group_documents, pixel_arrays
from spacenet_cube.plans.plan import SHARDS_PER_UNIT, Plan
from spacenet_cube.raster.grid import Block

_COORDINATES = -1


@dataclass(frozen=True, slots=True)
class Remake:
    """One piece of work, and the objects that it is done for."""

    kind: Literal["coordinates", "unit", "overview"]
    """``coordinates``: the small arrays of all levels; ``unit``: native pixels; ``overview``:
    one shard of a level."""

    level: int
    """Level of its objects; -1 for coordinates."""

    number: int
    """Number of the unit; 0 for others."""

    block: Block
    """Pixels of the level that it makes."""

    keys: tuple[str, ...]
    """Objects to put into the cube; others that it makes are not."""


def remakes(plan: Plan, keys: Iterable[str]) -> tuple[Remake, ...]:
    """Find the least work that makes some objects once more.

    Parameters
    ----------
    plan
        The plan that the cube was built by.
    keys
        Chunks and shards of the cube; documents are not among them.

    Returns
    -------
    tuple of Remake
        Each key once; finest level first, and every level after those it is made from.
    """
    found: dict[tuple[int, Block], list[str]] = defaultdict(list)
    for key in sorted(keys):
        place = _pixels(plan, key)
        if place is None:
            found[_COORDINATES, Block(0, 0, 0, 0)].append(key)
        else:
            found[level_of(key), _made_with(plan, level_of(key), place)].append(key)
    return tuple(
        _remake(plan, level, block, tuple(found[level, block])) for level, block in sorted(found)
    )


def _pixels(plan: Plan, key: str) -> Block | None:
    """Pixels that a key holds; None for a coordinate's."""
    for one in layouts(plan, level_of(key)):
        index = one.index(key)
        if index is not None:
            return one.place(index).block
    return None


def layouts(plan: Plan, level: int) -> tuple[Layout, ...]:
    """How ``image`` and ``source_index`` of a level are cut."""
    return tuple(
        layout(f"{level_name(level)}/{name}".lstrip("/"), spec.document())
        for name, spec in pixel_arrays(plan, level).items()
    )


def _made_with(plan: Plan, level: int, place: Block) -> Block:
    """The block of a level that is made at once, and holds a place."""
    edge = plan.product.encoding.shard * (1 if level else SHARDS_PER_UNIT)
    rows, cols = plan.levels[level].shape_yx
    row, col = place.row // edge * edge, place.col // edge * edge
    return Block(row, col, min(edge, rows - row), min(edge, cols - col))


def _remake(plan: Plan, level: int, block: Block, keys: tuple[str, ...]) -> Remake:
    if level == _COORDINATES:
        return Remake("coordinates", level, 0, block, keys)
    if level:
        return Remake("overview", level, 0, block, keys)
    number = next(unit.number for unit in plan.units if unit.block == block)
    return Remake("unit", 0, number, block, keys)


def documents(plan: Plan) -> dict[str, dict[str, object]]:
    """Every document of a cube by its key, the root's last and without its manifest."""
    return {f"{path}/zarr.json".lstrip("/"): each for path, each in group_documents(plan).items()}
