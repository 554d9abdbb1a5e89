"""Builds that were begun: what stands at a place, and what may be done about it.

Pure.  Nothing that a build made is lost unasked, and no two plans are mixed: what may stay
of another plan's work is what is made from the same inputs (`builds.tasks.inputs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spacenet_cube.builds.tasks.inputs import settings_of
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.errors import CubeExistsError, StoreError
from spacenet_cube.format.manifest import root_digest
from spacenet_cube.plans.documents import group_documents
from spacenet_cube.plans.plan import Plan

Step = Literal["begin", "continue", "discard", "finish"]
"""What a build does first: ``begin`` where nothing is; ``continue`` what was begun;
``discard`` what is there; ``finish`` what was published but not tidied up."""

NATIVE = "native"
"""What the native level is called where tasks are counted."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A build that was begun and is not published."""

    build: str
    """Digest of the root document that will publish it, see `root_digest`: it tells plan,
    software and when local scenes were changed."""

    plan: str
    """Digest of its plan."""

    settings: str
    """Digest of what decides pixels beside the scenes, see `settings_of`."""

    replaces: bool
    """Whether it was begun to replace what stood there."""

    tasks: Mapping[str, int]
    """How many tasks each level has, by its name; units count for the native one."""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands where a cube shall be built."""

    root: str | None
    """Digest of its root document, see `root_digest`; None where nothing is published."""

    begun: Begun | None
    """What was begun beside it."""

    ledger: bool
    """Whether anything of a ledger is beside it."""

    objects: bool
    """Whether objects of a cube are there without a root document and a ledger."""


def begun(plan: Plan, *, replaces: bool = False) -> Begun:
    """Describe a build that begins.

    Parameters
    ----------
    plan
        What is built.
    replaces
        Whether it was asked to replace what stands there.

    Returns
    -------
    Begun
        The same for the same plan, but for the last.
    """
    counts: dict[str, int] = {}
    for task in tasks(plan):
        name = level_label(task.level)
        counts[name] = counts.get(name, 0) + 1
    root = group_documents(plan)[""]
    return Begun(root_digest(root), plan.digest, settings_of(plan), replaces, counts)


def level_label(level: int) -> str:
    """What a level is called where tasks are counted.

    Examples
    --------
    >>> level_label(0), level_label(2)
    ('native', 'ovr_4x')
    """
    return f"ovr_{2**level}x" if level else NATIVE


def first_step(url: str, wanted: Begun, found: Found) -> Step:
    """Decide what a build does first.

    Parameters
    ----------
    url
        Where the cube shall be, for messages.
    wanted
        The build that was asked for.
    found
        What stands there.

    Returns
    -------
    Step
        ``--replace`` goes on with what it began itself, and discards anything else.

    Raises
    ------
    CubeExistsError
        If a published cube, or something that no build left, may not be replaced.
    StoreError
        If a build with other settings was begun there and may not be discarded.
    """
    mine = found.begun is not None and found.begun.replaces
    if found.root is not None:
        if found.ledger and found.root == wanted.build and (mine or not wanted.replaces):
            return "finish"
        return _discard(wanted, f"{url} is a published cube, and building would overwrite it")
    if found.begun is not None:
        same = found.begun.settings == wanted.settings
        if same and (mine or not wanted.replaces):
            return "continue"
        if wanted.replaces:
            return "discard"
        raise StoreError(
            f"an unfinished build of another plan ({found.begun.plan[:12]}) stands at {url}, with "
            "another grid or other settings, so none of it can stay; finish it with the recipe "
            "it was begun with, or add --replace (replace=True) to discard it"
        )
    if found.objects:
        return _discard(
            wanted,
            f"{url} holds objects of a cube whose root document is gone, and building would "
            "remove them",
        )
    return "begin"


def _discard(wanted: Begun, why: str) -> Step:
    if wanted.replaces:
        return "discard"
    raise CubeExistsError(f"{why}; add --replace (replace=True) to do so, or name another target")
