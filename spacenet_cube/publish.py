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
    """Refuse to build where a published cube stands, unless it may be replaced.

    Parameters
    ----------
    cube
        Where the cube will be.
    replace
        Whether a published cube may be removed.

    Raises
    ------
    CubeExistsError
        If a published cube stands there and may not be replaced.
    StoreError
        If the store refuses to say.
    """
    if not replace and is_published(cube):
        raise CubeExistsError(
            f"{cube.url} is a published cube, and building would overwrite it; "
            "add --replace (replace=True) to do so, or name another target"
        )


def make_way(cube: Location, *, replace: bool) -> None:
    """Make a location ready to be built into, unpublishing what stands there first.

    Parameters
    ----------
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
        (cube / ROOT).remove()
        cube.remove()
    except FAULTS as error:
        raise StoreError(
            f"{cube.url} cannot be cleared: {cube.told(error)}; then build again"
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
