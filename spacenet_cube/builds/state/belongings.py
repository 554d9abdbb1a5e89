"""Belongings: which objects at a cube's place builds wrote, and which belong to somebody else.

What belongs to somebody else is never removed or overwritten.  A command names it, and stops
only if it is where the command has to write.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.ownership import (
    ROOT,
    Ownership,
    is_digest,
    is_ledger,
    is_manifest,
    keys_of,
    occupied,
    shown,
)
from spacenet_cube.errors import CubeExistsError, StoreError, VerifyError
from spacenet_cube.format.manifest import Manifest, parse, parsed_object
from spacenet_cube.plans.plan import Plan
from spacenet_cube.storage.base.entries import Entry
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.location import Location

_LOG = logging.getLogger("spacenet_cube")
_SUFFIX = ".jsonl"


def ownership(cube: Location, root: bytes | None) -> Ownership:
    """Find out which objects of a cube builds wrote.

    Parameters
    ----------
    cube
        Where the cube is or will be.
    root
        Its root document as it is stored; None if there is none.

    Returns
    -------
    Ownership
        From the manifests next to the cube and from its ledger.

    Raises
    ------
    FAULTS
        If the store refuses or fails.
    StoreError
        If the ledger cannot be read.
    """
    manifests, ledger = _manifests(cube), Ledger(cube)
    begun = ledger.arrays()
    evidence = bool(manifests) or begun is not None
    document = parsed_object(root or b"")
    # A root that cannot be parsed is a damaged one of ours where a manifest or ledger is there.
    ours = evidence if document is None else _is_ours(document)
    listed = bool(manifests) or bool(begun)
    named = {key for each in manifests for key in each.by_key}
    return Ownership(
        frozenset(named | {ROOT} if ours else named - {ROOT}),
        begun or {},
        by_form=not listed and ((ours and root is not None) or begun is not None),
    )


def _is_ours(document: Mapping[str, object]) -> bool:
    attributes = document.get("attributes")
    return isinstance(attributes, dict) and isinstance(attributes.get("spacenet_cube"), dict)


def _manifests(cube: Location) -> list[Manifest]:
    """The manifests next to a cube that have the digest that their name says."""
    folder, found = cube.beside(".manifest"), []
    for name, entry in entries(folder).items():
        digest = name.removesuffix(_SUFFIX)
        if entry.is_link or name != f"{digest}{_SUFFIX}" or not is_digest(digest):
            continue
        content = bytes((folder / name).read_bytes())
        if sha256(content).hexdigest() == digest:
            try:
                found.append(parse(content))
            except VerifyError:
                continue
    return found


def refuse_links(cube: Location) -> None:
    """Refuse a cube whose folder, ledger or manifests are reached by a symbolic link.

    The lock and the manifests lie next to the cube's name, so another process that reaches the
    folder by its own name would not see them.  Links above the cube are followed.

    Parameters
    ----------
    cube
        Where the cube is or will be; nothing is touched.

    Raises
    ------
    StoreError
        If one of them is a link, or the ledger or the manifests hold one under a name that a
        build needs.
    """
    if not cube.plain.is_local:
        return
    for place in (cube.plain, cube.beside(".build"), cube.beside(".manifest")):
        if Path(place.path).is_symlink():
            raise StoreError(
                f"{place.url} is a symbolic link (to {os.path.realpath(place.path)}), and a build "
                "would write behind it; move the folder here, or link the folder above it"
            )
    for suffix, is_own in ((".build", is_ledger), (".manifest", is_manifest)):
        folder = cube.beside(suffix)
        try:
            links = [key for key, entry in entries(folder).items() if entry.is_link]
        except FAULTS as error:
            raise StoreError(f"{folder.url} cannot be read: {cube.told(error)}") from error
        for key in links:
            if is_own(key) or key in {"done", "lock"}:
                raise StoreError(
                    f"{folder.url}/{key} is a symbolic link, and a build needs its place; remove "
                    "the link"
                )


def refuse_occupied(
    plan: Plan, cube: Location, owned: Ownership, listing: Mapping[str, Entry]
) -> None:
    """Refuse to build where a foreign object is in the way; nothing is touched.

    Parameters
    ----------
    plan
        What is built.
    cube
        Where it is built.
    owned
        What builds wrote there.
    listing
        What is there.

    Raises
    ------
    CubeExistsError
        If it is.
    """
    refuse_taken(cube, occupied(owned.foreign(listing), keys_of(plan)))


def refuse_taken(cube: Location, taken: Iterable[str]) -> None:
    """Refuse to write where foreign objects are, if there are any.

    Raises
    ------
    CubeExistsError
        If there are.
    """
    keys = tuple(taken)
    names = shown(keys, keys)
    if names:
        raise CubeExistsError(
            f"{cube.url} holds objects that no build left there, where this one has to write "
            f"({names}); move them away, or name another target"
        )


def tell_foreign(cube: Location, owned: Ownership, listing: Mapping[str, Entry]) -> None:
    """Name the foreign objects inside and next to a cube, by one warning in the log.

    Parameters
    ----------
    cube
        Where the cube is.
    owned
        What builds wrote into it.
    listing
        What it holds.

    Raises
    ------
    FAULTS
        If the store refuses or fails.
    """
    told = [shown(owned.foreign(listing), owned.own(listing))]
    for suffix, is_own in ((".build", is_ledger), (".manifest", is_manifest)):
        foreign = [key for key in entries(cube.beside(suffix)) if not is_own(key)]
        name = cube.beside(suffix).url.rpartition("/")[2]
        told += [f"{name}/{each}" for each in (shown(foreign, ["done/", "lock/"]),) if each]
    names = ", ".join(each for each in told if each)
    if names:
        _LOG.warning("%s holds objects that no build left there; they stay: %s", cube.url, names)
