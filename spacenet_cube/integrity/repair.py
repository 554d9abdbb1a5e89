"""Repairing: what verifying named is made once more, and nothing else is touched.

Every object is made in scratch and put into the cube only where its digest is the one that
the manifest tells.  So a repair cannot make a cube worse, and readers see each object as it
was or as it should be.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from spacenet_cube.builds.state.belongings import ownership, refuse_links, refuse_taken
from spacenet_cube.builds.state.clear import drop_drafts
from spacenet_cube.builds.state.lock import hold
from spacenet_cube.builds.state.ownership import has_form, occupied
from spacenet_cube.builds.tasks.difference import difference
from spacenet_cube.builds.tasks.runner import each_of
from spacenet_cube.builds.unit.stage import Stage
from spacenet_cube.builds.unit.task import build_overview, build_unit
from spacenet_cube.builds.unit.write import write_coordinates
from spacenet_cube.errors import RecipeError, StoreError, VerifyError
from spacenet_cube.format.manifest import Manifest, manifest, parsed_object, place, with_manifest
from spacenet_cube.integrity.expected import ROOT, Holdings, is_root_of, manifest_entry, stored_form
from spacenet_cube.integrity.findings import Verification
from spacenet_cube.integrity.inventory import read_or_none, take_inventory
from spacenet_cube.integrity.remake import Remake, documents, remakes
from spacenet_cube.integrity.verify import located, verify
from spacenet_cube.plans.plan import Plan
from spacenet_cube.progress import Progress
from spacenet_cube.storage.base.entries import Stored
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.durable import entries, write_durably
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.scratch import scratch_folder

_KEPT = frozenset({"unknown", "source", "pixels"})
_REPLACE = "build the cube again with --replace"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did."""

    url: str
    """Where the cube is."""

    rewritten: tuple[str, ...]
    """Keys of the objects that were made once more; a manifest is named by its whole URL."""

    size_bytes: int
    """Bytes that were written."""

    found: Verification
    """What verifying finds afterwards."""

    def __str__(self) -> str:
        """One line for people."""
        done = f"{len(self.rewritten)} objects rewritten, {self.size_bytes:,} bytes"
        return f"{self.url}: {done}; {self.found}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, ready for JSON."""
        return {
            "cube": self.url,
            "rewritten": list(self.rewritten),
            "size_bytes": self.size_bytes,
            "after": self.found.to_dict(),
        }


def repair(
    cube: str | os.PathLike[str],
    plan: Plan,
    *,
    level: str = "full",
    workers: int | None = None,
    break_lock: bool = False,
    storage_options: StorageOptions | Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Repaired:
    """Make the damaged and lost objects of a published cube once more, byte for byte.

    Parameters
    ----------
    cube
        Path or URL of the cube.
    plan
        Made anew from the sources and the recipe that the cube was built from.
    level
        How closely to look for damage, as `verify` takes it.
    workers
        Objects or units at once; the number of processors by default.
    break_lock
        Whether to take over from a builder, or another repair, that seems to be at work.
    storage_options
        How the storage is reached, as fsspec takes it; by default as
        ``SPACENET_CUBE_TARGET_OPTIONS`` says.
    scratch
        Folder in which objects are made; the system's temporary one by default.
    progress
        Told the stage, how much of it is done, and how much there is.

    Returns
    -------
    Repaired
        What was rewritten, and what verifying finds afterwards.  Objects that no build knows
        stay where they are, but for drafts of a build or repair that was killed.

    Raises
    ------
    RecipeError
        If the plan is not the one that the cube was built by, with what differs.
    SourceError
        If a source cannot be read.
    StoreError
        If no published cube of ours is there, a builder is at work there, or the store refuses
        or fails.
    VerifyError
        If no manifest says what the bytes should be, or what is made has other bytes.

    Notes
    -----
    A lost manifest is made once more from the objects, and is right where it has the digest
    that the root names: that also proves every object.  Where it has not, an object or the
    root is damaged as well, and nothing says which: then the cube has to be built again.
    """
    where, count = located(cube, storage_options), workers or os.cpu_count() or 1
    if where.address is not None:
        raise StoreError(
            f"{where.url} is a versioned cube, whose versions never change; let readers see a "
            "sound one by 'spacenet-cube rollback', or make a new one by 'build --replace'"
        )
    refuse_links(where)
    look = partial(
        verify, cube, level, workers=count, storage_options=storage_options, progress=progress
    )
    before = look()
    if before.is_sound and before.manifest is not None:
        return Repaired(where.url, (), 0, before)
    with hold(where, break_lock=break_lock) as lock:
        where = lock.cube
        held = take_inventory(where, count).holdings
        drafts = _drop_drafts(where, held)
        if held.manifest is None:
            written = _manifest_anew(where, held)
        else:
            _refuse_other_plan(plan, held)
            written = _objects_anew(plan, where, held, before, count, scratch, progress)
        after = look() if written or drafts else before
    return Repaired(where.url, tuple(written), sum(written.values()), after)


def _manifest_anew(cube: Location, held: Holdings) -> dict[str, int]:
    """Make a lost manifest once more, where what is there proves it right."""
    root = held.documents.get("")
    entry = manifest_entry(root)
    if root is None or entry is None:
        raise VerifyError(
            f"{cube.url} has no manifest, and no root that names one, so nothing says what its "
            f"bytes should be; {_REPLACE}"
        )
    keys = [key for key in held.sizes if key != ROOT and (key in held.papers or held.locate(key))]
    try:
        objects = [Stored.of(key, (cube / key).read_bytes()) for key in keys]
        made = manifest(str(root["attributes"]["spacenet_cube"].get("plan")), root, objects)
        if made.digest != entry.get("sha256") or not is_root_of(held.papers[ROOT], made):
            raise VerifyError(
                f"{cube.url} has lost its manifest, and what is there makes one of digest "
                f"{made.digest} where the root names {entry.get('sha256')}: an object is damaged "
                f"as well, and nothing says which; {_REPLACE}"
            )
        there = cube.beside(place(made.digest))
        write_durably(there, made.content)
    except FAULTS as error:
        raise _failed(cube, error) from error
    return {there.url: len(made.content)}


def _drop_drafts(cube: Location, held: Holdings) -> bool:
    """Remove what a repair that was killed had begun to write."""
    if held.manifest is None:
        return False
    try:
        return drop_drafts(cube, held.manifest)
    except FAULTS as error:
        raise _failed(cube, error) from error


def _failed(cube: Location, error: BaseException) -> StoreError:
    return StoreError(f"repairing {cube.url} failed: {cube.told(error)}; then repair it again")


def _refuse_other_plan(plan: Plan, held: Holdings) -> None:
    assert held.manifest is not None, "asked of a cube with a manifest"
    if held.manifest.plan == plan.digest:
        return
    try:
        other = difference(plan, held.documents[""]["attributes"])
    except (KeyError, TypeError, ValueError, AttributeError):
        said = "the root does not say in what"
    else:
        names = {"new": other.added, "other": other.changed, "gone": other.removed}
        told = [f"{', '.join(each)} {word}" for word, each in names.items() if each]
        said = "; ".join(told) or "names, or the software that planned it"
    raise RecipeError(
        f"{plan.cube_path} was built by plan {held.manifest.plan[:12]} and this is "
        f"{plan.digest[:12]} ({said}), so what it makes does not fit; give the recipe and sources "
        "that the cube was built from, or build with --update or --replace"
    )


def _objects_anew(
    plan: Plan,
    cube: Location,
    held: Holdings,
    before: Verification,
    workers: int,
    scratch: Path | None,
    progress: Progress | None,
) -> dict[str, int]:
    """Make damaged objects once more, pixels before documents and the root last."""
    assert held.manifest is not None, "asked of a cube with a manifest"
    damaged = {fault.key for fault in before.faults if fault.kind not in _KEPT}
    strange = sorted(key for key in held.manifest.by_key if not has_form(key))
    if strange:
        raise VerifyError(
            f"the manifest of {cube.url} names {strange[0][:80]!a}, which no build writes, so it "
            f"was changed; {_REPLACE}"
        )
    _refuse_taken(cube, held, damaged)
    chunks = [k for k in damaged if k in held.manifest.by_key and not k.endswith(ROOT)]
    # Told before anything is written: a document that cannot be made is no reason to begin.
    papers = dict(_documents(plan, held, damaged))
    work = remakes(plan, chunks)
    units = [plan.units[each.number] for each in work if each.kind == "unit"]
    written: dict[str, int] = {}
    with scratch_folder(scratch) as folder, Stage(plan, folder, units) as stage:
        do = partial(_remade, plan, cube, held.manifest, folder, stage)
        for _, level in groupby(work, key=lambda each: each.level):
            for made in each_of(do, level, workers=workers, stage="repair", progress=progress):
                written |= made
    for key, content in papers.items():
        _put(cube, key, content)
        written[key] = len(content)
    return written


def _refuse_taken(cube: Location, held: Holdings, damaged: set[str]) -> None:
    """Refuse to write where a foreign object is in the way."""
    try:
        foreign = ownership(cube, held.papers.get(ROOT)).foreign(entries(cube))
    except FAULTS as error:
        raise _failed(cube, error) from error
    assert held.manifest is not None, "asked of a cube with a manifest"
    refuse_taken(cube, occupied(foreign, damaged & {*held.manifest.by_key, ROOT}))


def _documents(plan: Plan, held: Holdings, damaged: set[str]) -> Iterator[tuple[str, bytes]]:
    """Documents to store, each as the manifest tells it."""
    assert held.manifest is not None, "asked of a cube with a manifest"
    for key, document in documents(plan).items():
        if key not in damaged:
            continue
        if key == ROOT:
            yield ROOT, _root(document, held, held.manifest)
            continue
        content = stored_form(document)
        _refuse_other_bytes(plan, held.manifest.by_key[key], key, content)
        yield key, content


def _root(document: Mapping[str, Any], held: Holdings, found: Manifest) -> bytes:
    """The root as it was published: as it is but for its manifest, or as the plan has it."""
    own = parsed_object(held.papers.get(ROOT, b"")) or {}
    for each in (own, document):
        if isinstance((each.get("attributes") or {}).get("spacenet_cube"), dict):
            content = stored_form(with_manifest(each, found))
            if is_root_of(content, found):
                return content
    raise VerifyError(
        "the root's zarr.json cannot be made as it was: the version of spacenet_cube or the time "
        "at which a local source changed is another, and both stand in it; repair with the "
        f"version that built the cube and untouched sources, or {_REPLACE}"
    )


def _refuse_other_bytes(plan: Plan, wanted: Stored, key: str, content: bytes) -> None:
    made = Stored.of(key, content)
    if made != wanted:
        raise VerifyError(
            f"{key} of {plan.cube_path} comes out with sha256 {made.sha256} where the manifest has "
            f"{wanted.sha256}, so a source or the software has changed since the cube was built; "
            f"{_REPLACE}"
        )


def _remade(
    plan: Plan, cube: Location, found: Manifest, folder: Path, stage: Stage, each: Remake
) -> dict[str, int]:
    """Make some objects in scratch and put them into the cube where they are right."""
    with scratch_folder(folder) as own:
        there = locate(own)
        _make(plan, cube, there, stage, each)
        made = {}
        for key in each.keys:
            content = read_or_none(there, key)
            if content is None:
                raise VerifyError(
                    f"the manifest of {plan.cube_path} has {key}, which this plan does not make; "
                    f"{_REPLACE}"
                )
            _refuse_other_bytes(plan, found.by_key[key], key, content)
            made[key] = content
    for key, content in made.items():
        _put(cube, key, content)
    return {key: len(content) for key, content in made.items()}


def _make(plan: Plan, cube: Location, there: Location, stage: Stage, each: Remake) -> None:
    """Make objects in scratch; an overview is made of what the cube holds below it."""
    match each.kind:
        case "coordinates":
            write_coordinates(plan, there, there.store())
        case "unit":
            build_unit(plan, there, plan.units[each.number], there.store(), stage=stage)
        case "overview":
            build_overview(
                plan, cube, each.level, each.block, there.store(), below_store=cube.store()
            )


def _put(cube: Location, key: str, content: bytes) -> None:
    """Store an object, and read it back."""
    try:
        write_durably(cube / key, content)
        if (cube / key).read_bytes() != content:
            raise StoreError(
                f"{key} of {cube.url} reads back with other bytes than were stored; the storage "
                "is at fault: mend it, then repair again"
            )
    except FAULTS as error:
        raise _failed(cube, error) from error
