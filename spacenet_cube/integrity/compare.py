"""Comparing: units of a published cube made once more from their sources, and held against it.

What is made goes to scratch, so the cube is only read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spacenet_cube.builds.tasks.difference import Difference, difference
from spacenet_cube.builds.tasks.runner import each_of
from spacenet_cube.builds.unit.stage import Stage
from spacenet_cube.builds.unit.task import build_unit
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.integrity.check_object import Samples, decoded
from spacenet_cube.integrity.expected import ROOT, Holdings
from spacenet_cube.integrity.findings import Fault, Sampling
from spacenet_cube.integrity.inventory import read_or_none
from spacenet_cube.plans.plan import Plan
from spacenet_cube.plans.units import Unit
from spacenet_cube.progress import Progress
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.scratch import scratch_folder

_MEND = (
    "find out which of the two is right: the sources changed without another size or etag, or "
    "the cube was written wrongly; then build it again with --replace"
)
_UPDATE = "build with --update"


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparing a cube with its sources came to."""

    faults: tuple[Fault, ...]
    """Scenes that are not those of the cube, and objects whose pixels differ."""

    notes: tuple[str, ...]
    """What differs and is no fault."""

    units: int
    """Units that were compared."""

    of: int
    """Units that the cube has."""


def compare(
    plan: Plan,
    cube: Location,
    held: Holdings,
    *,
    sampling: Sampling,
    workers: int,
    scratch: Path | None,
    progress: Progress | None,
) -> Compared:
    """Compare a cube with the sources of a plan.

    Parameters
    ----------
    plan
        Made anew from the sources.
    cube
        Where the cube is.
    held
        What is known of it.
    sampling
        Chooses the units to compare.
    workers
        Units at once.
    scratch
        Folder for what is made; the system's temporary one by default.
    progress
        Told how many units are done.

    Returns
    -------
    Compared
        Units that scenes touch which are not those of the cube are left out.

    Raises
    ------
    RecipeError
        If the plan is of another cube: another grid or other settings.
    SourceError
        If a source cannot be read.
    StoreError
        If the cube or the scratch folder cannot be read or written.
    """
    other = _difference(plan, held)
    touched = {unit.number for unit in other.units}
    names = sampling.of(str(unit.number) for unit in plan.units)
    units = [u for u in plan.units if str(u.number) in names and u.number not in touched]
    faults = list(_scene_faults(other))
    with scratch_folder(scratch) as folder, Stage(plan, folder, units) as stage:
        do = partial(_unit_faults, plan, cube, held, folder, stage)
        for found in each_of(do, units, workers=workers, stage="compare", progress=progress):
            faults += found
    return Compared(tuple(faults), tuple(_notes(plan, held, other)), len(units), len(plan.units))


def _difference(plan: Plan, held: Holdings) -> Difference:
    """How the sources differ from those that the cube says it was built from."""
    root = held.documents.get("")
    try:
        return difference(plan, root["attributes"]) if root else _same(plan, held)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if held.manifest is not None and held.manifest.plan == plan.digest:
            return _same(plan, held)
        raise RecipeError(
            f"the root of {plan.cube_path} does not say what it was built from "
            f"({type(error).__name__}: {error}); repair the cube before it is compared"
        ) from error


def _same(plan: Plan, held: Holdings) -> Difference:
    if held.manifest is None or held.manifest.plan != plan.digest:
        raise RecipeError(
            f"{plan.cube_path} has no root that says what it was built from, and its manifest is "
            "not of this plan; give the recipe, profile and area it was built with"
        )
    return Difference((), (), (), (), None)


def _scene_faults(other: Difference) -> Iterator[Fault]:
    for said, names in (
        ("is new", other.added),
        ("was delivered again", other.changed),
        ("is gone", other.removed),
    ):
        for name in names:
            yield Fault(ROOT, "source", f"scene {name} as it was surveyed", f"it {said}", _UPDATE)


def _notes(plan: Plan, held: Holdings, other: Difference) -> Iterator[str]:
    if other.is_empty and held.manifest is not None and held.manifest.plan != plan.digest:
        yield (
            f"the cube's plan is {held.manifest.plan[:12]} and this is {plan.digest[:12]}, though "
            "grid, settings and scenes are the same: what they are called differs, or the software"
        )


def _unit_faults(
    plan: Plan, cube: Location, held: Holdings, folder: Path, stage: Stage, unit: Unit
) -> list[Fault]:
    """Make a unit once more, and name the objects of the cube that hold other pixels."""
    with scratch_folder(folder) as own:
        there = locate(own)
        build_unit(plan, there, unit, there.store(), stage=stage)
        try:
            return [
                fault
                for key in sorted(entries(there))
                if (fault := _object_fault(cube, held, key, (there / key).read_bytes()))
            ]
        except FAULTS as error:
            raise StoreError(
                f"{cube.url} cannot be compared: {cube.told(error)}; then verify again"
            ) from error


def _object_fault(cube: Location, held: Holdings, key: str, wanted: bytes) -> Fault | None:
    found = read_or_none(cube, key)
    place = held.locate(key)
    if found in {None, wanted} or place is None:
        return None
    layout, index = place
    document = held.arrays[layout.path]
    try:
        ours = decoded(layout, document, index, wanted)
        theirs = decoded(layout, document, index, found or b"")
    except Exception:  # noqa: BLE001 - told as a damaged chunk already
        return None
    told = _first(ours, theirs, held.places(key)[0].spans)
    if told is None:
        return None
    return Fault(key, "pixels", told["expected"], told["found"], _MEND, held.places(key))


def _first(ours: Samples, theirs: Samples, spans: Any) -> Mapping[str, str] | None:  # noqa: ANN401
    """The first sample that differs, and how many do."""
    unlike = (ours != theirs) & ~((ours != ours) & (theirs != theirs))  # noqa: PLR0124 - NaN
    if not unlike.any():
        return None
    at = tuple(int(axis[0]) for axis in np.nonzero(unlike))
    where = tuple(one + first for one, (first, _) in zip(at, spans, strict=True))
    return {
        "expected": f"{ours[at]} at {where}, as the sources have it",
        "found": f"{theirs[at]}; {int(unlike.sum()):,} of {unlike.size:,} samples differ",
    }
