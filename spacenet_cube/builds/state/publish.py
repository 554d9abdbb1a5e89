"""Publishing: the step that makes a cube visible, once every object of it is on record.

A cube is published when the root's ``zarr.json`` is there.  It is created last, after what
was written was compared with what is there, and removed first when a cube is replaced.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from spacenet_cube.builds.state.belongings import ownership, refuse_occupied, refuse_taken
from spacenet_cube.builds.state.first_step import Begun, Found
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.ownership import Ownership, is_digest
from spacenet_cube.errors import CubeExistsError, StoreError, VerifyError
from spacenet_cube.format.manifest import (
    ENTRY,
    Manifest,
    manifest,
    parse,
    place,
    root_digest,
    with_manifest,
)
from spacenet_cube.format.validate import unsound
from spacenet_cube.plans.documents import group_documents
from spacenet_cube.plans.plan import Plan
from spacenet_cube.storage.base.entries import ROOT, Entry, Stored, Written
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import create, entries, remove_keys, write_durably
from spacenet_cube.storage.location import Location

_NAMED = 3
_WRITERS = 8


def is_published(cube: Location) -> bool:
    """Whether a cube, or any other Zarr hierarchy, can be opened at a location.

    Raises
    ------
    StoreError
        If the store refuses to say.
    """
    try:
        return (cube / ROOT).exists()
    except FAULTS as error:
        raise StoreError(f"{cube.url} cannot be reached: {cube.told(error)}") from error


def what_stands(plan: Plan, cube: Location, *, replace: bool) -> Found:
    """Look at a place where a cube shall be built.

    Parameters
    ----------
    plan
        What shall be built.
    cube
        Where the cube shall be.
    replace
        Whether what is there may be discarded, so that it need not be understood.

    Returns
    -------
    Found
        What is there.

    Raises
    ------
    CubeExistsError
        If an object that no build wrote is where this one has to write.
    StoreError
        If the store refuses to say, or a build was begun there by another version.
    """
    root, ledger = read_root(cube), Ledger(cube)
    try:
        objects = False
        owned = ownership(cube, root)
        if root is None or replace:
            listing = entries(cube)
            refuse_occupied(plan, cube, owned, listing)
            objects = root is None and bool(owned.own(listing))
        elif not owned.names(ROOT):
            refuse_taken(cube, [ROOT])
    except FAULTS as error:
        raise StoreError(f"{cube.url} cannot be reached: {cube.told(error)}") from error
    return Found(
        root_digest_of(root), begun_beside(ledger, replace=replace), ledger.is_there, objects
    )


def read_root(cube: Location) -> bytes | None:
    """The root document of a cube as it is stored; None where there is none.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    try:
        return bytes((cube / ROOT).read_bytes())
    except FileNotFoundError:
        return None
    except FAULTS as error:
        raise StoreError(f"{cube.url} cannot be reached: {cube.told(error)}") from error


def root_digest_of(root: bytes | None) -> str | None:
    """Digest of a root document as it is stored, of whatever kind it is; None of none."""
    if root is None:
        return None
    try:
        return root_digest(json.loads(root))
    except (ValueError, AttributeError, TypeError):
        return "none of ours"


def begun_beside(ledger: Ledger, *, replace: bool) -> Begun | None:
    """The build that a ledger tells of.

    Parameters
    ----------
    ledger
        Beside a cube.
    replace
        Whether it may be discarded, so that it need not be understood.

    Returns
    -------
    Begun or None
        None where there is none, or none that is understood.

    Raises
    ------
    StoreError
        If the store fails, or it cannot be understood and must be.
    """
    try:
        return ledger.begun()
    except StoreError:
        if not replace:
            raise
        return None


def root_attributes(cube: Location, root: bytes) -> dict[str, Any]:
    """Attributes of a published cube's root, which tell what it was built from.

    Parameters
    ----------
    cube
        Where the cube is, for messages.
    root
        Its root document as it is stored.

    Returns
    -------
    dict
        With the list of its scenes.

    Raises
    ------
    StoreError
        If they do not tell.
    """
    fault: Exception | None = None
    try:
        attributes: dict[str, Any] = json.loads(root)["attributes"]
        told = unsound(attributes)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        fault, told = error, f"{type(error).__name__}: {error}"
    if told:
        raise StoreError(
            f"{cube.url} does not say what it was built from ({told}), so it cannot be updated; "
            "build it with --replace"
        ) from fault
    return attributes


def published_manifest(cube: Location, root: bytes) -> Manifest:
    """The manifest that a cube's root names.

    Parameters
    ----------
    cube
        Where the cube is.
    root
        Its root document as it is, or was, stored.

    Returns
    -------
    Manifest
        Its digest is the one that the root names.

    Raises
    ------
    StoreError
        If it is not there, or not the one that was named.
    """
    try:
        named = json.loads(root)["attributes"]["spacenet_cube"][ENTRY]["sha256"]
        # Nothing but a digest is looked for: it becomes part of a path.
        digest = named if is_digest(named) else "no digest"
        found = parse(cube.beside(place(digest)).read_bytes())
    except (*FAULTS, ValueError, KeyError, TypeError, VerifyError) as error:
        raise StoreError(
            f"{cube.url} has no manifest that can be read ({type(error).__name__}), so what of it "
            "may stay cannot be told; build it with --replace"
        ) from error
    if found.digest != digest:
        raise StoreError(
            f"the manifest of {cube.url} is not the one that its root names, so one of them was "
            "changed; build it with --replace"
        )
    return found


def publish(plan: Plan, cube: Location, objects: Iterable[Written]) -> None:
    """Compare what was written with what is there, and create the root's document.

    Parameters
    ----------
    plan
        The plan whose every task is done.
    cube
        Where it was written.
    objects
        All that tasks wrote, as their records tell.

    Raises
    ------
    CubeExistsError
        If another cube was published there meanwhile.
    StoreError
        If the store refuses or fails, or an object is not there as it was written.
    """
    written = tuple(objects)
    *documents, (_, root) = group_documents(plan).items()
    small = {f"{path}/{ROOT}": as_stored(document) for path, document in documents}
    try:
        wanted = {one.key: one for one in written}
        owned = ownership(cube, None)
        _compare(cube, owned, wanted, also=small)
        with ThreadPoolExecutor(_WRITERS, "documents") as pool:
            done = pool.map(lambda key: write_durably(cube / key, small[key]), small)
            deque(done, maxlen=0)
        for key, content in small.items():
            stored = Stored.of(key, content)
            wanted[key] = Written(stored.key, stored.size_bytes, stored.sha256)
        _compare(cube, owned, wanted)
        made = manifest(plan.digest, root, (one.stored for one in wanted.values()))
        write_durably(cube.beside(place(made.digest)), made.content)
        stands = create(cube / ROOT, as_stored(with_manifest(root, made)))
    except FAULTS as error:
        raise StoreError(
            f"publishing {cube.url} failed: {cube.told(error)}; run the same command again to go on"
        ) from error
    if not stands:
        raise CubeExistsError(
            f"another cube was published at {cube.url} meanwhile, so this one is not; look at "
            "that one, and add --replace (replace=True) to build over it"
        )


def as_stored(document: object) -> bytes:
    """A document as the bytes that are stored."""
    return json.dumps(document, indent=1, allow_nan=False).encode()


def _compare(
    cube: Location, owned: Ownership, wanted: Mapping[str, Written], *, also: Iterable[str] = ()
) -> None:
    """Compare records with a listing, and remove what builds wrote that no record knows."""
    listing = entries(cube)
    refuse_lost(cube.url, wanted, listing)
    remove_keys(cube, owned.own(listing) - set(wanted) - set(also) - {ROOT})


def refuse_lost(url: str, wanted: Mapping[str, Written], listing: Mapping[str, Entry]) -> None:
    """Refuse to publish where an object is not as it was written.

    Parameters
    ----------
    url
        Where the cube is, for messages.
    wanted
        What was written, by key.
    listing
        What is there, by key.

    Raises
    ------
    StoreError
        If one is gone or another.
    """
    lost = sorted(key for key, one in wanted.items() if not one.stands(listing))
    if lost:
        told = ", ".join(_difference(wanted[key], listing.get(key)) for key in lost[:_NAMED])
        raise StoreError(
            f"{len(lost)} objects of {url} are not as they were written ({told}), so it is "
            "not published; run the same command again: it does again what they belong to"
        )


def _difference(wanted: Written, found: Entry | None) -> str:
    if found is None:
        return f"{wanted.key} is gone"
    if found.size_bytes != wanted.size_bytes:
        return f"{wanted.key} has {found.size_bytes:,} bytes and not {wanted.size_bytes:,}"
    return f"{wanted.key} has the tag {found.etag} and not {wanted.etag}"
