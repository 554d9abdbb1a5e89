"""Updating: a published cube brought up to its sources, without building it anew.

What changed is known before anything is touched.  The cube is unpublished first, its
documents removed, and published last; an update that is killed leaves an unfinished build,
which the next build or update makes anew.
"""

import json
import os
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from spacenet_cube.building import (
    build,
    build_overview,
    build_unit,
    half,
    overview_blocks,
    pool_of,
    run_all,
    target_location,
)
from spacenet_cube.core.access import StorageOptions
from spacenet_cube.core.difference import Difference, difference, touched_above
from spacenet_cube.core.foreign import unsound
from spacenet_cube.core.grid import Block
from spacenet_cube.core.plan import Plan
from spacenet_cube.core.progress import Progress
from spacenet_cube.errors import StoreError
from spacenet_cube.publish import ROOT, is_published, publish, unpublish
from spacenet_cube.scratch import scratch_folder
from spacenet_cube.staging import Stage
from spacenet_cube.storage import FAULTS, Location
from spacenet_cube.write import level_arrays, write_coordinates

_IN_FLIGHT_PER_WORKER = 2


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did."""

    url: str
    """Where the cube is."""

    units: int
    """Units that were built."""

    of: int
    """Units that the cube has."""

    added: tuple[str, ...]
    """Ids of scenes that are new."""

    changed: tuple[str, ...]
    """Ids of scenes that were delivered again."""

    removed: tuple[str, ...]
    """Ids of scenes that are gone."""

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.url}: {self.units} of {self.of} units rebuilt ({len(self.added)} scenes added, "
            f"{len(self.changed)} changed, {len(self.removed)} removed)"
        )


def update(
    plan: Plan,
    to: str | Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    target_options: StorageOptions | Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Updated:
    """Bring a published cube up to a plan; build it whole where none is published.

    The result equals a full build byte for byte.  Where scenes got other numbers, as one
    that is added in the middle gives to all after it, `source_index` is renumbered in the
    units that are not built.

    Parameters
    ----------
    plan
        What the cube shall be.
    to
        Folder or URL below which the cube lies.
    workers
        Units at once; the number of processors by default.
    executor
        Runs the units; a thread pool of ``workers`` by default.
    target_options
        How the target is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.
    scratch
        Folder in which remote scenes are mirrored while they are needed; the system's
        temporary one by default.
    progress
        Told the stage, how many of its units are done, and how many there are.

    Returns
    -------
    Updated
        How many units of how many were built, and why.

    Raises
    ------
    RecipeError
        If more than sources changed; the cube stays as it is.
    SourceError
        If a scene cannot be read; the cube stays unpublished.
    StoreError
        If the target refuses or fails; the cube stays unpublished.
    """
    cube = target_location(to, target_options) / plan.cube_path
    count = workers or os.cpu_count() or 1
    if not is_published(cube):
        url = build(
            plan,
            to,
            workers=count,
            executor=executor,
            target_options=target_options,
            scratch=scratch,
            progress=progress,
        )
        names = tuple(scene.id for scene in plan.scenes)
        return Updated(url, len(plan.units), len(plan.units), names, (), ())
    held = _attributes(cube)
    found = difference(plan, held)
    if not found.is_empty or held["spacenet_cube"].get("plan") != plan.digest:
        unpublish(plan, cube)
        with (
            pool_of(executor, count) as pool,
            scratch_folder(scratch) as folder,
            Stage(plan, folder, found.units) as stage,
        ):
            in_flight = count * _IN_FLIGHT_PER_WORKER
            run = partial(run_all, pool=pool, in_flight=in_flight, progress=progress)
            _work(plan, cube, found, run, stage if executor is None else None)
        write_coordinates(plan, cube)
        publish(plan, cube)
    return Updated(
        cube.url, len(found.units), len(plan.units), found.added, found.changed, found.removed
    )


def _attributes(cube: Location) -> dict[str, Any]:
    """Attributes of a published cube's root."""
    try:
        attributes: dict[str, Any] = json.loads((cube / ROOT).read_bytes())["attributes"]
        told = unsound(attributes)
        if told:
            raise ValueError(told)  # noqa: TRY301 - told as whatever else may be wrong
    except (*FAULTS, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{cube.url} does not say what it was built from ({type(error).__name__}: {error}), so "
            "it cannot be updated; build it with --replace"
        ) from error
    return attributes


def _work(
    plan: Plan,
    cube: Location,
    found: Difference,
    run: Any,  # noqa: ANN401 - run_all
    stage: Stage | None,
) -> None:
    """Build what is touched, and renumber the rest where numbers moved."""
    mine = {unit.number for unit in found.units}
    rest = [unit.block for unit in plan.units if unit.number not in mine]
    run("build", partial(build_unit, plan, cube, stage=stage), found.units)
    touched = [unit.block for unit in found.units]
    if found.numbers is not None:
        run("renumber", partial(_renumber, plan, cube, found.numbers, 0), rest)
    if len(plan.levels) > 1:
        touched = [half(block) for block in touched]
        if found.numbers is not None:
            halves = [half(block) for block in rest]
            run("renumber", partial(_renumber, plan, cube, found.numbers, 1), halves)
    for level in range(2, len(plan.levels)):
        every = overview_blocks(plan, level)
        touched = list(
            touched_above(plan.levels[level].shape_yx, plan.product.encoding.shard, touched)
        )
        name = f"overview {level} of {len(plan.levels) - 1}"
        run(name, partial(build_overview, plan, cube, level), touched)
        if found.numbers is not None:
            others = [block for block in every if block not in touched]
            run("renumber", partial(_renumber, plan, cube, found.numbers, level), others)


def _renumber(
    plan: Plan, cube: Location, numbers: tuple[int, ...], level: int, block: Block
) -> None:
    """Give the scenes of a block their new numbers."""
    level_arrays(plan, level, cube).renumber(block, numbers)
