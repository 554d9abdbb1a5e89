"""Status: how far the build of a cube has come, without touching it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spacenet_cube.builds.state.first_step import Begun, level_label
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.lock import holder_of, told
from spacenet_cube.builds.state.publish import is_published
from spacenet_cube.builds.tasks.tasks import level_of
from spacenet_cube.errors import StoreError
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import from_environment, locate


@dataclass(frozen=True, slots=True)
class Done:
    """How much of a level is done."""

    done: int
    """Tasks that have a record."""

    of: int
    """Tasks that the level has."""


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """What is known of a cube and of its build."""

    cube: str
    """Where the cube is or will be."""

    published: bool
    """Whether it can be opened."""

    plan: str | None
    """Digest of the plan that is being built; None where nothing is."""

    levels: Mapping[str, Done]
    """Tasks by level; units, which make the first overview too, count for ``native``."""

    in_flight: tuple[str, ...]
    """Tasks that were being done at the builder's last sign of life."""

    failed: Mapping[str, str]
    """Why tasks failed in the last run, by name."""

    stored_bytes: int
    """Bytes of all that is there."""

    holder: str | None
    """Who builds, since when, and how long ago that was last seen; None where nobody does."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def build_status(
    cube: str | Path, *, target_options: StorageOptions | Mapping[str, Any] | None = None
) -> BuildStatus:
    """Tell how far the build of a cube has come.

    Parameters
    ----------
    cube
        Path or URL of the cube.
    target_options
        How it is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.

    Returns
    -------
    BuildStatus
        What is done, in flight, failed and why, and who is at work.

    Raises
    ------
    StoreError
        If nothing is there, or the store refuses or fails.
    """
    where = locate(cube, from_environment("target").over(target_options))
    ledger, published = Ledger(where), is_published(where)
    begun = ledger.begun()
    try:
        held, objects = holder_of(where), entries(where)
    except FAULTS as error:
        raise StoreError(f"{where.url} cannot be reached: {where.told(error)}") from error
    if not published and begun is None and held is None:
        raise StoreError(
            f"there is neither a cube nor a build at {where.url}; give the path or URL that "
            "'build' told, such as cubes/AOI_2_Vegas/MUL.zarr"
        )
    return BuildStatus(
        cube=where.url,
        published=published,
        plan=None if begun is None else begun.plan,
        levels={} if begun is None else _levels(ledger, begun),
        in_flight=() if held is None else held.in_flight,
        failed=ledger.failures(),
        stored_bytes=sum(entry.size_bytes for entry in objects.values()),
        holder=None if held is None else told(held),
    )


def _levels(ledger: Ledger, begun: Begun) -> dict[str, Done]:
    done: dict[str, int] = {}
    for name in ledger.done():
        level = level_of(name)
        if level is not None:
            done[level_label(level)] = done.get(level_label(level), 0) + 1
    return {name: Done(done.get(name, 0), total) for name, total in begun.tasks.items()}
