"""Publishing: the step that makes a cube visible, once every shard of it is written.

A cube is published when the root's ``zarr.json`` is there.  It is stored last, and
removed first when a cube is replaced.
"""

import json

from spacenet_cube.core.documents import group_documents
from spacenet_cube.core.plan import Plan
from spacenet_cube.errors import CubeExistsError, StoreError
from spacenet_cube.storage import FAULTS, Location

ROOT = "zarr.json"


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


def refuse_overwriting(cube: Location, *, replace: bool) -> None:
    """Refuse to build where something stands that no build left unfinished.

    Parameters
    ----------
    cube
        Where the cube will be.
    replace
        Whether what stands there may be removed.

    Raises
    ------
    CubeExistsError
        If a cube, or anything else but an unfinished build, stands there and may not be
        replaced.
    StoreError
        If the store refuses to say.
    """
    if replace:
        return
    if is_published(cube):
        raise CubeExistsError(
            f"{cube.url} is a published cube, and building would overwrite it; "
            "add --replace (replace=True) to do so, or name another target"
        )
    if cube.exists() and not unfinished(cube).exists():
        raise CubeExistsError(
            f"{cube.url} holds something that no build left there, and building would remove "
            "it; add --replace (replace=True) to do so, or name another target"
        )


def unfinished(cube: Location) -> Location:
    """Where a build keeps its plan until the cube is published: beside it, in ``.build``."""
    return cube.beside(".build") / "plan.json"


def make_way(plan: Plan, cube: Location, *, replace: bool) -> None:
    """Make a location ready to be built into, unpublishing what stands there first.

    Parameters
    ----------
    plan
        What will be built; it is kept beside the cube until that is published.
    cube
        Where the cube will be.
    replace
        Whether a published cube may be removed.

    Raises
    ------
    CubeExistsError
        If a published cube stands there and may not be replaced.
    StoreError
        If the store refuses or fails.
    """
    refuse_overwriting(cube, replace=replace)
    try:
        unfinished(cube).write_bytes(json.dumps(plan.to_dict()).encode())
        (cube / ROOT).remove()
        cube.remove()
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} cannot be cleared: {cube.told(error)}; then build again"
        ) from error


def unpublish(plan: Plan, cube: Location) -> None:
    """Take a published cube's documents away, the root's first, and leave its pixels.

    Parameters
    ----------
    plan
        What will stand there next, on the same levels; it is kept beside the cube until then.
    cube
        Where the cube is.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    try:
        unfinished(cube).write_bytes(json.dumps(plan.to_dict()).encode())
        for path in reversed(list(group_documents(plan))):
            (cube / path / ROOT if path else cube / ROOT).remove()
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} cannot be unpublished: {cube.told(error)}; then build again"
        ) from error


def publish(plan: Plan, cube: Location) -> None:
    """Store a cube's documents, the root's last: from then on it can be opened.

    Parameters
    ----------
    plan
        The plan whose every unit is written.
    cube
        Where it was written.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    try:
        for path, document in group_documents(plan).items():
            place = cube / path / ROOT if path else cube / ROOT
            place.write_bytes(json.dumps(document, indent=1, allow_nan=False).encode())
    except FAULTS as error:
        raise StoreError(
            f"publishing {cube.url} failed: {cube.told(error)}; then build again"
        ) from error
    try:
        cube.beside(".build").remove()
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} is published, but {unfinished(cube).url} beside it cannot be removed: "
            f"{cube.told(error)}; remove it"
        ) from error
