"""Conditions: how far a build has come, as a value.

Pure.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
