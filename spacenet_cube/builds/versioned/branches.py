"""Versions: what a repository tells of each state that a cube was in.

Pure.  A version is one snapshot; a build, an update and a replacement make one each.
"""

from collections.abc import Mapping
from typing import Any

from spacenet_cube.builds.state.first_step import Begun, Found, Step, first_step
from spacenet_cube.errors import CubeExistsError
from spacenet_cube.plans.plan import Plan
from spacenet_cube.version import __version__

BUILDING = "build-"
"""What the names of branches begin with that builds work on."""


def branch_of(build: Begun, claim: str = "") -> str:
    """Name of the branch that a builder works on; no two builders work on one.

    Parameters
    ----------
    build
        What is built; builds that may go on with each other's work share what the name begins
        with.
    claim
        Letters that name the builder; none for what the names of all of them begin with.

    Examples
    --------
    >>> branch_of(Begun("", "", "0123456789abcdef" * 4, False, {}), "xyz")
    'build-0123456789ab-xyz'
    """
    return f"{BUILDING}{build.settings[:12]}-{claim}"


def repository_path(plan: Plan) -> str:
    """Where the repository of a plan's cube lies below the target."""
    return f"{plan.cube_path.removesuffix('.zarr')}.icechunk"


def message_of(plan: Plan) -> str:
    """Message of the commit that publishes a plan."""
    return f"{plan.aoi} {plan.product.name}, plan {plan.digest[:12]}"


def facts_of(plan: Plan) -> Mapping[str, Any]:
    """What the commit that publishes a plan tells besides."""
    return {
        "plan": plan.digest,
        "aoi": plan.aoi,
        "product": plan.product.name,
        "scenes": len(plan.scenes),
        "software": f"spacenet_cube {__version__}",
    }


def version_step(url: str, wanted: Begun, found: Found) -> Step:
    """Decide what a build does first where every version is kept.

    Parameters
    ----------
    url
        Where the cube is, for messages.
    wanted
        The build that was asked for.
    found
        What stands there; a build that was begun is told of only where it can be gone on with.

    Returns
    -------
    Step
        As `first_step` says where nothing is published.  What is published is never
        discarded: ``begin`` and ``continue`` make a new version on top of it.

    Raises
    ------
    CubeExistsError
        If a cube is published there and no new version was asked for.
    StoreError
        If a build with other settings was begun there and may not be discarded.
    """
    if found.root is None:
        return first_step(url, wanted, found)
    if not wanted.replaces:
        raise CubeExistsError(
            f"{url} is a published cube; add --replace (replace=True) to build a new version of "
            "it (those before it are kept), or --update to build what changed"
        )
    mine = found.begun is not None and found.begun.replaces
    same = found.begun is not None and found.begun.settings == wanted.settings
    return "continue" if mine and same else "begin"
