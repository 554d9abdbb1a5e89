"""Findings: what verifying a cube came to.

Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from typing import Any

from spacenet_cube.errors import RecipeError
from spacenet_cube.format.layout import Place

LEVELS = ("list", "index", "sample", "full")
"""How closely to look, each level with all that those before it do."""

REPAIR = "run 'spacenet-cube repair'"
REBUILD = "build the cube again with --replace"


@dataclass(frozen=True, slots=True)
class Fault:
    """One object of a cube that is not what the cube's records say."""

    key: str
    """Where it lies below the cube; a manifest lies beside it and is named by its whole URL."""

    kind: str
    """``lost``, ``unknown``, ``size``, ``digest``, ``index``, ``chunk``, ``document``,
    ``copy``, ``manifest``, ``source`` or ``pixels``."""

    expected: str
    """What the records say."""

    found: str
    """What is there."""

    mend: str
    """What to do about it."""

    places: tuple[Place, ...] = ()
    """The pixels at fault: chunks where they are known, else all that the object holds."""

    def __str__(self) -> str:
        """One line for people."""
        where = f" ({'; '.join(map(str, self.places[:_MOST]))}{self._more})" if self.places else ""
        return (
            f"{self.key}{where}: {self.kind}: expected {self.expected}, found {self.found}; "
            f"{self.mend}"
        )

    @property
    def _more(self) -> str:
        rest = len(self.places) - _MOST
        return f"; and {rest} more" if rest > 0 else ""

    def to_dict(self) -> dict[str, Any]:
        """The fault as plain values."""
        return {
            "object": self.key,
            "kind": self.kind,
            "expected": self.expected,
            "found": self.found,
            "mend": self.mend,
            "places": [place.to_dict() for place in self.places],
        }


_MOST = 3


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look at a cube came to."""

    url: str
    """Where the cube lies."""

    level: str
    """How closely it was looked at, one of `LEVELS`."""

    faults: tuple[Fault, ...]
    """By key; none where the cube is sound."""

    objects: int
    """Objects that the cube has by its records, the manifest among them."""

    objects_read: int
    """Objects whose bytes were read whole."""

    size_bytes: int
    """Size of all objects that are there."""

    bytes_read: int
    """Bytes that were read."""

    manifest: str | None
    """Digest of the manifest that the objects were held against; None where there is none."""

    notes: tuple[str, ...] = ()
    """What could not be looked at, and why."""

    compared: Mapping[str, int] | None = None
    """``units`` compared with the sources and ``of`` how many; None where that was not asked."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found at fault."""
        return not self.faults

    def __str__(self) -> str:
        """One line for people."""
        seen = f"{self.objects} objects, {_size(self.size_bytes)}, level {self.level}"
        if self.compared is not None:
            seen += f", {self.compared['units']} of {self.compared['of']} units as their sources"
        if self.faults:
            count = len(self.faults)
            return f"damaged: {count} fault{'s' if count > 1 else ''} in {seen}"
        if self.manifest is None:
            return f"no fault found, but there is no manifest to hold it against: {seen}"
        return f"sound: {seen}"

    def to_dict(self) -> dict[str, Any]:
        """The findings as plain values, ready for JSON."""
        return {
            "cube": self.url,
            "level": self.level,
            "sound": self.is_sound,
            "objects": self.objects,
            "objects_read": self.objects_read,
            "size_bytes": self.size_bytes,
            "bytes_read": self.bytes_read,
            "manifest": self.manifest,
            "compared": None if self.compared is None else dict(self.compared),
            "notes": list(self.notes),
            "faults": [fault.to_dict() for fault in self.faults],
        }


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which part of many things to look at."""

    share: float = 0.05
    """Share of them, above 0 and at most 1; at least one is looked at."""

    seed: int = 1
    """Chooses them: another seed looks at others."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 < self.share <= 1:
            raise RecipeError(f"a share of {self.share} is none; give one above 0 and at most 1")

    def of(self, names: Iterable[str]) -> set[str]:
        """The names to look at, the same for the same names in any order.

        Examples
        --------
        >>> len(Sampling(0.05).of(map(str, range(100))))
        5
        """
        mixed = sorted(names, key=lambda name: sha256(f"{self.seed}:{name}".encode()).digest())
        return set(mixed[: ceil(len(mixed) * self.share)])


def _size(size_bytes: int) -> str:
    value, units = float(size_bytes), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while value >= 1000 and unit != "PB":  # noqa: PLR2004 - a kilo
        value, unit = value / 1000, next(units)
    return f"{value:.4g} {unit}"
