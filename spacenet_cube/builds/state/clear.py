"""Clearing: a cube's own objects removed, and nothing else.

An object is removed only if a listing shows it and a manifest, a ledger or a draft's name says
that a build wrote it (`builds.state.ownership`).
"""

from collections.abc import Callable
from pathlib import Path

from spacenet_cube.builds.state.belongings import ownership, tell_foreign
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.ownership import ROOT, Ownership, is_manifest
from spacenet_cube.builds.state.publish import published_manifest, read_root
from spacenet_cube.errors import StoreError
from spacenet_cube.format.manifest import Manifest, place
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import entries, remove_empty, remove_keys
from spacenet_cube.storage.location import Location


def discard(cube: Location, begin: Callable[[], None]) -> None:
    """Remove a cube and what its builds left next to it but the lock, the root's document first.

    Parameters
    ----------
    cube
        Where the cube is.
    begin
        Records what is built instead, before what manifests name is removed: so that a
        process that stops in the middle leaves a build that was begun, whose objects are known.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    try:
        owned = ownership(cube, read_root(cube))
        own = owned.own(entries(cube))
        remove_keys(cube, own & {ROOT})
        # Nothing but the ledger names these, and it goes now.
        _remove(cube, own - owned.named)
        Ledger(cube).clear()
        begin()
        _remove(cube, own & owned.named)
        _remove_manifests(cube, but=None)
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} cannot be cleared: {cube.told(error)}; then build again"
        ) from error


def _remove(cube: Location, keys: set[str]) -> None:
    """Remove objects of a cube, and the local folders that are empty then."""
    remove_keys(cube, keys)
    if not cube.is_local:
        return
    folders = {above for key in keys for above in Path(key).parents}
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        remove_empty(cube / folder.as_posix())


def _remove_manifests(cube: Location, *, but: str | None) -> None:
    """Remove manifests and drafts of them, but the one of this name."""
    beside = cube.beside(".manifest")
    found = entries(beside).items()
    own = {name for name, entry in found if is_manifest(name) and not entry.is_link}
    remove_keys(beside, own - {but})
    remove_empty(beside)


def unpublish(cube: Location) -> None:
    """Take every document of a cube away, the root's first, and leave its pixels.

    Parameters
    ----------
    cube
        Where the cube is.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    try:
        own = ownership(cube, read_root(cube)).own(entries(cube))
        remove_keys(cube, own & {ROOT})
        remove_keys(cube, [key for key in own if key.split("/")[-1] == ROOT])
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} cannot be unpublished: {cube.told(error)}; then build again"
        ) from error


def drop_drafts(cube: Location, known: Manifest) -> bool:
    """Remove drafts that a build or repair which was killed left next to a cube's objects.

    Parameters
    ----------
    cube
        Where the cube is; this process holds its lock.
    known
        What belongs to it.

    Returns
    -------
    bool
        Whether there were any.

    Raises
    ------
    FAULTS
        If the store refuses or fails.
    """
    owned = _owned(known)
    drafts = {key for key in owned.own(entries(cube)) if not owned.names(key)}
    remove_keys(cube, drafts)
    return bool(drafts)


def _owned(known: Manifest) -> Ownership:
    return Ownership(frozenset({*known.by_key, ROOT}))


def tidy(cube: Location) -> None:
    """Remove what a published cube has no use for: old manifests, drafts, and the ledger.

    Parameters
    ----------
    cube
        Where the cube is.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    root = read_root(cube)
    assert root is not None, "only a published cube is tidied"
    known = published_manifest(cube, root)
    try:
        drop_drafts(cube, known)
        tell_foreign(cube, _owned(known), entries(cube))
        _remove_manifests(cube, but=place(known.digest).removeprefix(".manifest/"))
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} is published, but what is left of its build cannot be removed: "
            f"{cube.told(error)}; run the same command again to do so"
        ) from error
    Ledger(cube).clear()
