"""Roster: the workers of a Dask cluster as its scheduler knows them, asked with a limit."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Client
from distributed.comm.core import CommClosedError

SILENT_S = 30.0
"""Seconds without a sign of life after which a worker's tasks are given to others."""

_ANSWER_S = 30.0
CLOSED = {"closing", "closed"}
"""States of a client that reaches nothing any more."""

_CLIENT_CLOSED = "the client is closed"


@dataclass(frozen=True, slots=True)
class Member:
    """A worker, as it was when the scheduler was asked last."""

    threads: int
    """Tasks that it does at once."""

    names: frozenset[str]
    """Its address, its name and its host."""

    resources: Mapping[str, float]
    """Abstract resources that it offers, by name."""

    limit_bytes: int
    """Memory at which Dask ends it; 0 without a limit."""

    used_bytes: int
    """Memory that it took."""

    seen_s: float
    """Its last sign of life, by the scheduler's clock."""

    def offers(self, wanted: Mapping[str, float]) -> bool:
        """Whether it has some resources."""
        return all(self.resources.get(name, 0) >= much for name, much in wanted.items())


class Roster:
    """The workers of a cluster.

    Parameters
    ----------
    client
        Of the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._heard: dict[str, tuple[float, float]] = {}
        self.scheduler = ""
        """Id of the scheduler that answered last; another one after it was started again."""

        self.members: dict[str, Member] = {}
        """Every worker that was ever there, by its address."""

    def look(self) -> dict[str, Member]:
        """Ask the scheduler which workers there are.

        Returns
        -------
        dict of str to Member
            By address, without those that have been silent for `SILENT_S`.

        Raises
        ------
        CommClosedError
            If the scheduler is out of reach, or the client was closed, which Dask does itself
            when it has looked for a lost scheduler for long enough.
        """
        found = self._ask()
        self.scheduler = str(found["id"])
        there = {address: _member(address, one) for address, one in found["workers"].items()}
        self.members |= there
        return {address: there[address] for address in self._awake(there)}

    def _ask(self) -> dict[str, Any]:
        """What the scheduler says of itself and its workers."""
        try:
            if self._client.status in CLOSED or self._client.scheduler is None:
                raise CommClosedError(_CLIENT_CLOSED)
            found: dict[str, Any] = self._client.sync(
                self._client.scheduler.identity, callback_timeout=_ANSWER_S
            )
        except (AttributeError, RuntimeError) as error:
            if self._client.status not in CLOSED:
                raise
            # It was closed at this very moment.
            raise CommClosedError(_CLIENT_CLOSED) from error
        return found

    def _awake(self, there: Mapping[str, Member]) -> Iterable[str]:
        """Workers that gave a sign of life lately, by this machine's clock."""
        now_s = time.monotonic()
        for address, member in there.items():
            seen_s, since_s = self._heard.get(address, (-1.0, now_s))
            if seen_s != member.seen_s:
                since_s = now_s
            self._heard[address] = member.seen_s, since_s
            if now_s - since_s < SILENT_S:
                yield address


def _member(address: str, told: Mapping[str, Any]) -> Member:
    names = {address, str(told.get("name", "")), str(told.get("host", ""))}
    return Member(
        threads=int(told["nthreads"]),
        names=frozenset(names),
        resources=dict(told.get("resources") or {}),
        limit_bytes=int(told.get("memory_limit") or 0),
        used_bytes=int((told.get("metrics") or {}).get("memory") or 0),
        seen_s=float(told.get("last_seen") or 0),
    )
