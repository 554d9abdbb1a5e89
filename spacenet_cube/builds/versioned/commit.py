"""Versioning: a build whose result is one commit, on top of what was published before.

The work goes to a branch that no reader looks at, and is saved there as it is done; `main` is
moved at the end, in one conditional step.  So a cube can be replaced or updated while it is
read, and every version stays.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from spacenet_cube.builds.state.belongings import tell_foreign
from spacenet_cube.builds.state.first_step import Begun, Found, Step, begun
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.lock import Lock, hold
from spacenet_cube.builds.state.ownership import Ownership, arrays_of
from spacenet_cube.builds.state.publish import (
    as_stored,
    begun_beside,
    published_manifest,
    read_root,
    refuse_lost,
    root_attributes,
    root_digest_of,
)
from spacenet_cube.builds.state.records import Record
from spacenet_cube.builds.state.resume import Job, job
from spacenet_cube.builds.tasks.difference import Difference, difference
from spacenet_cube.builds.tasks.inputs import COORDINATES
from spacenet_cube.builds.tasks.runner import Watch
from spacenet_cube.builds.unit.task import Recorder, do_coordinates
from spacenet_cube.builds.versioned.branches import (
    BUILDING,
    branch_of,
    facts_of,
    message_of,
    version_step,
)
from spacenet_cube.builds.versioned.draft import Draft
from spacenet_cube.builds.versioned.saver import UNFINISHED, Desk, in_words
from spacenet_cube.errors import CubeError
from spacenet_cube.format.manifest import manifest, place, with_manifest
from spacenet_cube.plans.documents import group_documents
from spacenet_cube.plans.plan import Plan
from spacenet_cube.storage.base.entries import ROOT, Stored, Written
from spacenet_cube.storage.durable import write_durably
from spacenet_cube.storage.icechunk.repository import Repository
from spacenet_cube.storage.location import Location

Run = Callable[[Location, Job, Watch, Recorder], dict[str, Record]]
"""Does what is left of a build: given where it is read, what to do, who watches, and what gives
each task what it writes through."""


@dataclass(frozen=True, slots=True)
class _State:
    """What stands at the place of a versioned cube."""

    repository: Repository | None
    """Where there is one."""

    tip: str | None
    """Snapshot that readers see."""

    root: bytes | None
    """Root document that it holds."""

    branch: str | None
    """Branch of what was begun."""

    begun: Begun | None
    """A build that can be gone on with."""

    published: Begun | None
    """A build that was published, and not tidied up after."""

    ledger: bool
    """Whether anything of a ledger is there."""

    @property
    def found(self) -> Found:
        """The same, for those who decide."""
        return Found(root_digest_of(self.root), self.begun, self.ledger, objects=False)


def check_version(plan: Plan, cube: Location, *, replaces: bool) -> None:
    """Refuse a build that would make a version unasked, before any work is done.

    Parameters
    ----------
    plan
        What would be built.
    cube
        Where it would be built.
    replaces
        Whether a new version was asked for.

    Raises
    ------
    CubeExistsError
        If a published cube stands there and no new version was asked for.
    StoreError
        If the store refuses or fails, or a build with other settings was begun there.
    """
    _step(cube, begun(plan, replaces=replaces), _state(cube, replaces=replaces))


def build_version(
    plan: Plan, cube: Location, *, replaces: bool, break_lock: bool, run: Run
) -> None:
    """Build a version of a cube and publish it, or go on with a build that was stopped.

    Parameters
    ----------
    plan
        What to build.
    cube
        Where to build it.
    replaces
        Whether a new version may be made of a cube that is published.
    break_lock
        Whether to take over from another builder that seems to be at work.
    run
        Does the tasks.

    Raises
    ------
    CubeExistsError
        If a published cube stands there and no new version was asked for.
    SourceError
        If a scene cannot be read; readers see what they saw before, and what is done is kept.
    StoreError
        If the target refuses or fails, or another builder is at work or was quicker.
    """
    wanted = begun(plan, replaces=replaces)
    with hold(cube, break_lock=break_lock) as lock:
        cube = lock.cube
        state = _state(cube, replaces=replaces)
        step = _step(cube, wanted, state)
        if step != "finish":
            _make(plan, cube, _draft(plan, cube, state, wanted, step, lock), lock, run)
        _tidy(cube)


def update_version(plan: Plan, cube: Location, *, break_lock: bool, run: Run) -> Difference | None:
    """Make a version of a cube that is up to a plan, from the one that is published.

    Parameters
    ----------
    plan
        What the cube shall be.
    cube
        Where it is.
    break_lock
        Whether to take over from another builder that seems to be at work.
    run
        Does the tasks.

    Returns
    -------
    Difference or None
        What differed; None where nothing was published, and all of it was built.

    Raises
    ------
    RecipeError
        If more than sources changed.
    SourceError
        If a scene cannot be read; readers see what they saw before, and what is done is kept.
    StoreError
        If the target refuses or fails, or another builder is at work or was quicker.
    """
    with hold(cube, break_lock=break_lock) as lock:
        cube = lock.cube
        state = _state(cube, replaces=False)
        found = None if state.root is None else difference(plan, root_attributes(cube, state.root))
        draft = _updated(plan, cube, state, found, lock)
        if draft is not None:
            _make(plan, cube, draft, lock, run)
        _tidy(cube)
    return found


def _updated(
    plan: Plan, cube: Location, state: _State, found: Difference | None, lock: Lock
) -> Draft | None:
    """The draft of an update; None where the cube is what the plan would make."""
    wanted = begun(plan)
    if state.root is None or found is None:
        step = _step(cube, wanted, state)
        return None if step == "finish" else _draft(plan, cube, state, wanted, step, lock)
    told = root_attributes(cube, state.root)["spacenet_cube"].get("plan")
    if found.is_empty and told == plan.digest:
        return None
    published_manifest(cube, state.root)
    mine = state.begun is not None and not state.begun.replaces
    how: Step = "continue" if mine else "begin"
    return _draft(plan, cube, state, wanted, how, lock, base=state.root)


def _state(cube: Location, *, replaces: bool) -> _State:
    ledger = Ledger(cube)
    former = begun_beside(ledger, replace=replaces)
    with in_words(cube, "reached"):
        try:
            repository = Repository(cube.plain.url, cube.options)
        except FileNotFoundError:
            return _State(None, None, None, None, None, None, ledger.is_there)
        tip = repository.tip()
        branches = [] if former is None else repository.branches(branch_of(former))
        mine = repository.tip(branches[-1]) if branches else None
        # A branch has a commit of its own before the ledger tells of it.
        published = mine is not None and mine == tip
        lives = mine is not None and not published and repository.parent(mine) == tip
    return _State(
        repository,
        tip,
        read_root(cube.at(tip)),
        branches[-1] if branches else None,
        former if lives else None,
        former if published else None,
        ledger.is_there,
    )


def _step(cube: Location, wanted: Begun, state: _State) -> Step:
    done = state.published
    if done is not None and done.build == wanted.build and done.replaces == wanted.replaces:
        return "finish"
    return version_step(cube.url, wanted, state.found)


def _draft(
    plan: Plan,
    cube: Location,
    state: _State,
    wanted: Begun,
    step: Step,
    lock: Lock,
    *,
    base: bytes | None = None,
) -> Draft:
    """What a build works on: what was begun, or a branch on top of what is published.

    Parameters
    ----------
    plan
        The plan.
    cube
        Where the cube is.
    state
        What stands there.
    wanted
        The build.
    step
        ``continue`` to go on with what was begun.
    lock
        Names the branch: whoever had the lock before writes to another, which is removed.
    base
        Root document of the version that is updated; None to begin with nothing.
    """
    ledger, former, branch = Ledger(cube), state.begun, branch_of(wanted, lock.id)
    with in_words(cube, "written"):
        cube.check()
        repository = state.repository or Repository(cube.plain.url, cube.options, create=True)
        if step == "continue" and former is not None and state.branch is not None:
            repository.begin(branch, repository.snapshot(state.branch))
            repository.drop(BUILDING, but=branch)
            if former.build != wanted.build:
                ledger.begin(replace(wanted, replaces=former.replaces), plan)
            return Draft(cube, repository, branch)
        ledger.clear()
        repository.drop(BUILDING)
        repository.begin(branch, repository.snapshot(None))
        draft = Draft(cube, repository, branch)
        if base is None:
            draft.clear()
        draft.put(_documents(plan))
        draft.begin(UNFINISHED)
        if base is not None:
            ledger.write_base(base, {})
        ledger.begin(wanted, plan)
    return draft


def _documents(plan: Plan) -> dict[str, bytes]:
    """Every document of a cube by key, the root's without its manifest."""
    return {
        f"{path}/{ROOT}".lstrip("/"): as_stored(document)
        for path, document in group_documents(plan).items()
    }


def _make(plan: Plan, cube: Location, draft: Draft, lock: Lock, run: Run) -> None:
    """Do what is left of a build, and publish it."""
    ledger, saved = Ledger(cube), cube.at(draft.branch)
    left = job(plan, saved, ledger)
    ledger.fail({})
    watch = Watch(lock.check)
    lock.in_flight = watch.in_flight
    desk = Desk(draft, ledger)
    try:
        done = run(saved, left, watch, desk.recorded)
    except BaseException:
        with suppress(CubeError):
            desk.save()
        if watch.failures:
            with suppress(CubeError):
                ledger.fail(watch.failures)
        raise
    records = {**left.kept, **done}
    if COORDINATES not in records:
        records[COORDINATES] = do_coordinates(plan, saved, left.coordinates, recorder=desk.recorded)
    _publish(plan, draft, [one for record in records.values() for one in record.objects])


def _publish(plan: Plan, draft: Draft, objects: list[Written]) -> None:
    """Compare what was written with what is there, and let readers see it."""
    cube, root = draft.cube, group_documents(plan)[""]
    documents = _documents(plan)
    del documents[ROOT]
    wanted = {one.key: one for one in objects}
    with in_words(cube, "published"):
        draft.put(documents)
        for key, content in documents.items():
            stored = Stored.of(key, content)
            wanted[key] = Written(stored.key, stored.size_bytes, stored.sha256)
        listing = draft.entries()
        refuse_lost(cube.url, wanted, listing)
        owned = Ownership(frozenset({ROOT}), arrays_of(plan))
        draft.remove(owned.own(listing) - set(wanted) - {ROOT})
        tell_foreign(cube, owned, listing)
        made = manifest(plan.digest, root, (one.stored for one in wanted.values()))
        write_durably(cube.beside(place(made.digest)), made.content)
        draft.put({ROOT: as_stored(with_manifest(root, made))})
        draft.publish(draft.save(message_of(plan), facts_of(plan)))


def _tidy(cube: Location) -> None:
    """Remove the branch and the ledger of a build that is published, and nothing else."""
    Ledger(cube).clear()
    cube.check()
    with in_words(cube, "tidied up"):
        Repository(cube.plain.url, cube.options).drop(BUILDING)
