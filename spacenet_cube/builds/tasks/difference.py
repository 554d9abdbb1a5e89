"""Differences: what a plan changes of a cube that is published.

Pure.  A cube records the sources it was built from and a digest of everything else that
decides its pixels.  Where only sources differ, the units that they touch are enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np

from spacenet_cube.errors import RecipeError
from spacenet_cube.plans.georeference import cube_attributes
from spacenet_cube.plans.placement import grown
from spacenet_cube.plans.plan import Plan
from spacenet_cube.plans.units import Unit
from spacenet_cube.raster.grid import Block, blocks
from spacenet_cube.raster.polygons import bounds, on_grid

_SPARE_PX = 2

Facts = Mapping[str, Any]
"""What a cube records of one scene."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What an update has to do."""

    added: tuple[str, ...]
    """Ids of scenes that the cube does not hold yet."""

    changed: tuple[str, ...]
    """Ids of scenes that were delivered again."""

    removed: tuple[str, ...]
    """Ids of scenes that are gone."""

    units: tuple[Unit, ...]
    """Units that any of them touches, before or now."""

    numbers: tuple[int, ...] | None
    """New number of each scene by its old one, from 0; None where none has another."""

    @property
    def is_empty(self) -> bool:
        """Whether the cube holds what the plan would make."""
        return not (self.added or self.changed or self.removed)


def difference(plan: Plan, attributes: Mapping[str, Any]) -> Difference:
    """Compare a plan with the cube that is published where it would be built.

    Parameters
    ----------
    plan
        What the cube shall be.
    attributes
        Of the cube's root.

    Returns
    -------
    Difference
        What differs, and the units to build.

    Raises
    ------
    RecipeError
        If more than sources differ: the grid, or what the recipe says of the product.

    Examples
    --------
    See ``tests/test_update.py``: a plan takes many fields.
    """
    wanted = cube_attributes(plan)
    _refuse_other_grid(plan, attributes, wanted)
    held, own = attributes["spacenet_cube"], wanted["spacenet_cube"]
    if held.get("settings") != own["settings"]:
        raise RecipeError(
            f"{plan.cube_path} was built with other settings (bands, nodata, grid, mosaic, "
            "cutlines, area or encoding), so no part of it can stay; build it with --replace"
        )
    before, after = _by_id(held["scenes"]), _by_id(own["scenes"])
    added = tuple(name for name in after if name not in before)
    removed = tuple(name for name in before if name not in after)
    changed = tuple(n for n in after if n in before and _differ(after[n], before[n]))
    touched = [*_now(plan, {*added, *changed}), *_then(plan, before, {*removed, *changed})]
    return Difference(
        added,
        changed,
        removed,
        tuple(unit for unit in plan.units if meets(unit.block, touched)),
        _numbers(before, after),
    )


def _refuse_other_grid(
    plan: Plan, attributes: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    keys = ("spatial:shape", "spatial:transform", "proj:code", "proj:wkt2")
    for key in keys:
        if attributes.get(key) != wanted.get(key):
            raise RecipeError(
                f"the scenes of {plan.cube_path} now make another grid ({key} "
                f"{wanted.get(key)}, but the cube has {attributes.get(key)}), so no pixel would "
                "keep its place; build it with --replace, or give it a grid that stays: "
                "grid: {like: <the cube>}, or an area"
            )


def _by_id(scenes: Iterable[Facts]) -> dict[str, Facts]:
    return {str(scene["id"]): scene for scene in scenes}


def _differ(one: Facts, other: Facts) -> bool:
    """Whether a scene is another than it was, its number apart.

    Where both are pinned by a digest, it says more than the time of change does; where one
    is, it says nothing.
    """
    both = "sha256" in one and "sha256" in other
    silent = {"index", "modified"} if both else {"index", "sha256"}
    kept = ({k: v for k, v in each.items() if k not in silent} for each in (one, other))
    return next(kept) != next(kept)


def _now(plan: Plan, names: set[str]) -> list[Block]:
    """Where scenes of the plan lie."""
    pairs = zip(plan.scenes, plan.seats, strict=True)
    return [seat.block for scene, seat in pairs if scene.id in names]


def _then(plan: Plan, before: Mapping[str, Facts], names: set[str]) -> list[Block]:
    """Where scenes of the cube lay, by the bounds that it records."""
    found = []
    for name in sorted(names):
        west, south, east, north = before[name]["bbox"]
        ring = ((west, south), (east, south), (east, north), (west, north), (west, south))
        left, top, right, bottom = bounds(on_grid(((ring,),), plan.scenes[0].crs, plan.grid))
        row, col = floor(top), floor(left)
        block = Block(row, col, ceil(bottom) - row, ceil(right) - col)
        found.append(grown(block, _SPARE_PX))
    return found


def meets(block: Block, others: Sequence[Block]) -> bool:
    """Whether a block has a pixel of any of the others."""
    return any(block.intersection(other) for other in others)


def _numbers(before: Mapping[str, Facts], after: Mapping[str, Facts]) -> tuple[int, ...] | None:
    most = max((int(scene["index"]) for scene in before.values()), default=0)
    found = np.zeros(most + 1, int)
    for name, scene in before.items():
        found[scene["index"]] = after[name]["index"] if name in after else 0
    moved = [
        n for n, scene in before.items() if n in after and scene["index"] != found[scene["index"]]
    ]
    return tuple(found.tolist()) if moved else None


def touched_above(
    shape_yx: tuple[int, int], edge_px: int, below: Sequence[Block]
) -> tuple[Block, ...]:
    """The shards of an overview that are made of any of the blocks below.

    Parameters
    ----------
    shape_yx
        Rows and columns of the overview.
    edge_px
        Edge of a shard, pixels.
    below
        Pixels of the level below it.

    Returns
    -------
    tuple of Block
        North to south, then west to east.

    Examples
    --------
    >>> touched_above((8, 8), 4, [Block(0, 7, 1, 2)])
    (Block(row=0, col=0, height=4, width=4), Block(row=0, col=4, height=4, width=4))
    """
    return tuple(
        block
        for block in blocks(shape_yx, edge_px)
        if meets(Block(2 * block.row, 2 * block.col, 2 * block.height, 2 * block.width), below)
    )
