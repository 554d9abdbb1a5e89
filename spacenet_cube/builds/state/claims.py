"""Claims: who builds a cube, since when, and whether another may take over.

Pure.  A cube's claims are numbered; the highest one holds.  Taking over makes the next, so all
that a store must be able to do is to create an object only where there is none.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Self

EXPIRES_S = 60.0
"""Seconds after its last sign of life at which a claim may be taken over."""

BEAT_S = 10.0
"""Seconds between signs of life."""

RECHECK_S = 2.0
"""Seconds after which a builder reads its claim again before it writes anything more."""

_NAME = "{:06d}.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process on a machine."""

    owner: str
    """``user@host``, for people."""

    host: str
    """The machine as it was started this time, and the namespace of its process ids."""

    pid: int
    """Process id."""

    started: str
    """When the process started, in the machine's own count: ids are used again."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The contents of a lock file."""

    id: str
    """Random letters, by which a claim that was stored although no answer came is known."""

    holder: Holder
    """Who builds."""

    since_s: float
    """When it began, seconds since 1970 UTC."""

    beat_s: float
    """Last sign of life, seconds since 1970 UTC by the holder's clock."""

    expires_s: float = EXPIRES_S
    """Seconds after the last sign of life at which the claim ends."""

    in_flight: tuple[str, ...] = ()
    """Tasks that were being done then."""

    def beaten(self, now_s: float, in_flight: Iterable[str]) -> Self:
        """The claim with a new sign of life."""
        return replace(self, beat_s=now_s, in_flight=tuple(sorted(in_flight)))

    def is_expired(self, now_s: float) -> bool:
        """Whether its holder has given no sign of life for too long.

        Examples
        --------
        >>> claim = Claim("abc", Holder("me@here", "h", 1, ""), 0.0, 100.0, expires_s=60.0)
        >>> claim.is_expired(150.0), claim.is_expired(161.0)
        (False, True)
        """
        return now_s - self.beat_s > self.expires_s

    @property
    def content(self) -> bytes:
        """The claim as it is stored."""
        return json.dumps(asdict(self)).encode()


def parse_claim(content: bytes) -> Claim | None:
    """Read a claim back; None where it is none of this version."""
    try:
        facts = json.loads(content)
        holder = Holder(**facts.pop("holder"))
        return Claim(**{**facts, "holder": holder, "in_flight": tuple(facts["in_flight"])})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def claim_name(generation: int) -> str:
    """Name of a claim's file.

    Examples
    --------
    >>> claim_name(1)
    '000001.json'
    """
    return _NAME.format(generation)


def generation_of(name: str) -> int:
    """Number of a claim by the name of its file; 0 where it is none.

    Examples
    --------
    >>> generation_of("000012.json"), generation_of("plan.json")
    (12, 0)
    """
    number = name.removesuffix(".json")
    return int(number) if number.isdecimal() and name == _NAME.format(int(number)) else 0
