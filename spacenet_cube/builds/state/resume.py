"""Resuming: which tasks of a plan are done already, and which are left.

A task is kept where its record tells of the same inputs and every object it names is there as
it was written; or where an update does not touch it, and the published cube's manifest
tells of its objects.  All others are done, as if they never had been.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.publish import published_manifest
from spacenet_cube.builds.state.records import Record
from spacenet_cube.builds.tasks.difference import difference
from spacenet_cube.builds.tasks.inputs import COORDINATES, inputs
from spacenet_cube.builds.tasks.keys import coordinate_keys, task_keys
from spacenet_cube.builds.tasks.tasks import Task, tasks, update_tasks
from spacenet_cube.errors import StoreError
from spacenet_cube.plans.plan import Plan
from spacenet_cube.storage.base.entries import Entry, Stored, Written
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.location import Location


@dataclass(frozen=True)
class Job:
    """What is left of a build."""

    todo: tuple[Task, ...]
    """Tasks to do."""

    kept: Mapping[str, Record]
    """Records of tasks that need not be done, by name; `COORDINATES` may be among them."""

    coordinates: str
    """Digest of what the coordinates are made from."""


def job(plan: Plan, cube: Location, ledger: Ledger) -> Job:
    """Find out what is left to do, and forget what cannot be kept.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube will be.
    ledger
        What is known of its build.

    Returns
    -------
    Job
        Every task of the plan is either left to do or kept.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    records, listing, made_from = ledger.records(), _listing(cube), inputs(plan)
    base = _base(plan, cube, ledger)
    todo, kept = [], {}
    for each in tasks(plan):
        task = replace(each, inputs=made_from[each.name])
        keys = task_keys(plan, task)
        found = _kept(records.get(task.name), task.inputs, keys, listing)
        found = found or (base and base.kept(task, keys, listing)) or None
        if found is None:
            todo.append(base.changed(task, keys, listing) if base else task)
        else:
            kept[task.name] = found
    small = _kept(records.get(COORDINATES), made_from[COORDINATES], coordinate_keys(plan), listing)
    if small is not None:
        kept[COORDINATES] = small
    if base:
        base.spoil(ledger, {task.name: task.kind for task in todo})
    ledger.forget(set(records) - set(kept))
    return Job(tuple(todo), kept, made_from[COORDINATES])


def _listing(cube: Location) -> dict[str, Entry]:
    try:
        return entries(cube)
    except FAULTS as error:
        raise StoreError(f"{cube.url} cannot be listed: {cube.told(error)}") from error


def _kept(
    record: Record | None, made_from: str, keys: tuple[str, ...], listing: Mapping[str, Entry]
) -> Record | None:
    """A record that tells of a task whose objects stand; None where it does not."""
    if record is None or record.inputs != made_from:
        return None
    if {one.key for one in record.objects} != set(keys) or not record.stands(listing):
        return None
    return record


@dataclass(frozen=True)
class _Base:
    """The published cube that an update began from."""

    root: bytes
    """Its root document."""

    held: Mapping[str, Stored]
    """Its objects, by key."""

    changes: Mapping[str, Task]
    """What the update does, by name."""

    spoilt: Mapping[str, str]
    """Tasks whose objects may not be that cube's any more, and what was done to them: where
    it was more than new numbers, new numbers are not enough."""

    def kept(
        self, task: Task, keys: tuple[str, ...], listing: Mapping[str, Entry]
    ) -> Record | None:
        """A record of a task that no update touches."""
        if task.name in self.changes or task.name in self.spoilt or set(keys) - set(self.held):
            return None
        objects = (self.held[key] for key in keys)
        written = tuple(Written(one.key, one.size_bytes, one.sha256) for one in objects)
        record = Record(task.name, task.inputs, written)
        return record if record.stands(listing) else None

    def changed(self, task: Task, keys: tuple[str, ...], listing: Mapping[str, Entry]) -> Task:
        """The task as the update does it: new numbers alone where that is enough."""
        change = self.changes.get(task.name)
        if change is None or change.kind != "renumber" or set(keys) - set(self.held):
            return task
        held = tuple(self.held[key] for key in keys)
        sizes = all(key in listing for key in keys)
        if self.spoilt.get(task.name, "renumber") != "renumber" or not sizes:
            return task
        return replace(task, kind="renumber", numbers=change.numbers, held=held)

    def spoil(self, ledger: Ledger, kinds: Mapping[str, str]) -> None:
        """Say which tasks' objects are the old cube's no longer, before any is touched."""
        worst = {**kinds, **{n: k for n, k in self.spoilt.items() if k != "renumber"}}
        spoilt = {**self.spoilt, **worst}
        if spoilt != self.spoilt:
            ledger.write_base(self.root, spoilt)


def _base(plan: Plan, cube: Location, ledger: Ledger) -> _Base | None:
    found = ledger.read_base()
    if found is None:
        return None
    root, spoilt = found
    attributes = json.loads(root)["attributes"]
    changes = update_tasks(plan, difference(plan, attributes))
    held = published_manifest(cube, root).by_key
    return _Base(root, held, {task.name: task for task in changes}, spoilt)
