"""Scores: how often a row of the scoreboard held, with all that is needed to repeat it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

VERSIONS = ("zarr", "xarray", "obstore", "s3fs", "rasterio", "icechunk", "dask")
"""Packages whose versions a figure depends on."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one row of the scoreboard came to."""

    row: str
    """Name of the row."""

    said: str
    """What was asked of the software, in words."""

    good: int
    """Trials that held."""

    n: int
    """Trials."""

    seed: int
    """Seed of all that varied."""

    figures: Mapping[str, Any] = field(default_factory=dict)
    """Further figures, such as faults that fired, seconds and ratios."""

    failures: tuple[str, ...] = ()
    """One line for each trial that did not hold."""

    @property
    def held(self) -> bool:
        """Whether every trial held."""
        return self.good == self.n and not self.failures

    def to_dict(self) -> dict[str, Any]:
        """The score as plain values, with versions."""
        return {**asdict(self), "held": self.held, "versions": versions()}


Run = Callable[[int, int], Score]
"""Try a row n times from a seed."""


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    return {name: version(name) for name in VERSIONS}
