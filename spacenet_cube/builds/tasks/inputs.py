"""Inputs: a digest of all that a task's objects are made from.

Pure.  Two tasks of one name whose digests are equal write the same bytes, whatever else
changed between their plans.  So a build that was interrupted goes on after a scene was
mended, and does again only what that scene touches.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple
from hashlib import sha256
from typing import Any

from spacenet_cube.builds.tasks.tasks import Task, tasks
from spacenet_cube.plans.plan import Plan, scene_facts
from spacenet_cube.plans.units import Unit
from spacenet_cube.version import __version__

COORDINATES = "coordinates"
"""Name of the task that writes the small arrays of every level."""


def inputs(plan: Plan) -> dict[str, str]:
    """What each task of a plan is made from.

    Parameters
    ----------
    plan
        The plan.

    Returns
    -------
    dict of str to str
        SHA-256 by name of the task, `COORDINATES` among them.
    """
    common = _digest({"software": __version__, "settings": plan.settings, "grid": _grid(plan)})
    scenes = [_scene(plan, number) for number in range(1, len(plan.scenes) + 1)]
    units = {unit.number: unit for unit in plan.units}
    found = {COORDINATES: _digest([common, "coordinates"])}
    for task in tasks(plan):
        found[task.name] = _digest(
            [common, _unit(units[task.number], scenes)]
            if task.kind == "unit"
            else [common, task.name, _below(task, found)]
        )
    return found


def settings_of(plan: Plan) -> str:
    """Digest of what all plans have in common whose tasks can be told apart by their inputs."""
    return _digest([plan.settings, _grid(plan)])


def _grid(plan: Plan) -> Any:  # noqa: ANN401 - any JSON
    grid = plan.grid
    return [grid.crs, list(grid.shape_yx), list(tuple(grid.transform)[:6])]


def _scene(plan: Plan, number: int) -> str:
    """A scene, its number, its place on the grid and when it was changed.

    Values only, no names of classes: a build that was begun goes on after a class is renamed.
    """
    scene, seat = plan.scenes[number - 1], plan.seats[number - 1]
    # A digest of the bytes says all that a time of change could.
    changed = None if scene.sha256 else scene.modified_ns or scene.modified
    return _digest([number, scene_facts(scene), changed, astuple(seat)])


def _unit(unit: Unit, scenes: list[str]) -> Any:  # noqa: ANN401 - any JSON
    pieces = [[scenes[p.scene - 1], astuple(p.window), astuple(p.target)] for p in unit.pieces]
    return [astuple(unit.block), pieces]


def _below(task: Task, found: Mapping[str, str]) -> list[str]:
    return [found[name] for name in task.after if name in found]


def _digest(value: Any) -> str:  # noqa: ANN401 - any JSON
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
