"""A version of a cube that keeps versions.

Pure.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

MAIN = "main"
"""The branch that readers see."""


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a cube."""

    id: str
    """Name of the snapshot."""

    time: str
    """When it was written, UTC, ISO 8601."""

    message: str
    """Message of the commit."""

    plan: str | None
    """Digest of the plan it was built by; None where it was not built by a plan."""

    tags: tuple[str, ...]
    """Names it was given."""

    current: bool
    """Whether `main` is there."""


def as_time(text: str) -> datetime | None:
    """A version read as a time; None where it is none.

    Parameters
    ----------
    text
        ISO 8601; without an offset it is UTC.

    Returns
    -------
    datetime.datetime or None
        With its offset.

    Examples
    --------
    >>> as_time("2026-11-24").isoformat()
    '2026-11-24T00:00:00+00:00'
    >>> as_time("delivered") is None
    True
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
