"""A dealer: tasks handed to the workers of a Dask cluster, few at a time, by what they hold.

It is an executor, so builds run on it as they do on threads.  What is waiting stays here;
the scheduler sees two tasks a thread of its workers, each a name and a few numbers.  Each goes
to one worker and to no other, so it is known where it failed.  Workers may come and go: what was
meant for one that is gone, or silent, is sent to another.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client
from distributed import Future as Remote
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from spacenet_cube.builds.cluster.assign import choose
from spacenet_cube.builds.cluster.cluster_faults import deadly, failed_there, named, told
from spacenet_cube.builds.cluster.roster import Member, Roster
from spacenet_cube.builds.cluster.trust import Trust
from spacenet_cube.errors import CubeError, SourceError, StoreError

PER_THREAD = 2
"""Tasks that a thread of a worker has: one that runs, and one that waits for it to end."""

TRIES = 2
"""Times a task is tried, on one worker and then on another, before its failure ends a build."""

PATIENCE_S = 60.0
"""How long a scheduler may be out of reach before a build gives up."""

DEATHS = 3
"""Workers that may die while they have a task; with one more it counts as their cause."""

WAIT_S = 600.0
"""How long a build waits for workers while there are none."""

_LOOK_EVERY_S, _RESULT_S = 0.5, 5.0
_LOOKS_A_MEMBER_S = 0.01
_WITHOUT_WORKERS = 2


@dataclass(eq=False, slots=True)
class _Entry:
    """A task, from when it was handed in until it is done."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    scenes: frozenset[int]
    future: Future[Any] = field(default_factory=Future)
    tries: int = 0
    where: str = ""
    """Address of the worker it was sent to; empty where there was none."""

    avoid: set[str] = field(default_factory=set)
    """Addresses of the workers on which it failed."""

    deaths: list[str] = field(default_factory=list)
    """Addresses of the workers that died or fell silent while they had it."""


def _nothing(*_: Any) -> int:  # noqa: ANN401 - whatever it is given
    """Do nothing."""
    return 0


class Dealer(Executor):
    """Runs tasks on a Dask cluster.

    Parameters
    ----------
    client
        Of the cluster.
    scenes_of
        Numbers of the scenes that the task at hand reads, told from its arguments.
    options
        Of the executor: ``workers`` (addresses, names or hosts), ``allow_other_workers``,
        ``resources`` and ``retries``.  ``pure`` is without effect, as each task is done once.
    needs_bytes
        Memory that a worker needs for so many threads.
    welcome
        Called with the addresses of workers that are new, before they are given anything.
    rejoin
        Called when the scheduler is reached again after it was lost.
    """

    def __init__(
        self,
        client: Client,
        scenes_of: Callable[..., Iterable[int]],
        *,
        options: Mapping[str, Any] | None = None,
        needs_bytes: Callable[[int], int] = _nothing,
        welcome: Callable[[Sequence[str]], object] = _nothing,
        rejoin: Callable[[], object] = _nothing,
    ) -> None:
        self._client, self._scenes_of = client, scenes_of
        self._welcome, self._rejoin = welcome, rejoin
        self._needs_bytes = needs_bytes
        self._options = dict(options or {})
        self._options.pop("pure", None)
        self._only = _listed(self._options.pop("workers", None))
        self._others = bool(self._options.pop("allow_other_workers", False))
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waiting: list[_Entry] = []
        self._running: dict[Remote[Any], _Entry] = {}
        self._threads: dict[str, int] = {}
        self._held: dict[str, Counter[int]] = {}
        self._roster, self._trust = Roster(client), Trust()
        self._joined, self._looked_s = "", 0.0
        self._lost_s: float | None = None
        self._alone_s: float | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._deal_all, name="dealer", daemon=True)
        self._thread.start()

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand a task in.

        Parameters
        ----------
        fn
            Does the task; it must be small.
        *args
            Its arguments.
        **kwargs
            None are taken.

        Returns
        -------
        concurrent.futures.Future
            Of what it gives.
        """
        assert not kwargs, "tasks are told by their arguments"
        entry = _Entry(fn, args, frozenset(self._scenes_of(*args)))
        self._events.put(lambda: self._waiting.append(entry))
        return entry.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as executors have it
        """Deal nothing more, and wait for what runs.

        Parameters
        ----------
        wait
            Whether to wait for tasks that workers have begun.
        cancel_futures
            Whether tasks that wait here are given up; they always are.
        """
        self._ending.set()
        self._events.put(lambda: None)
        self._thread.join()
        for entry in self._waiting:
            entry.future.cancel()
        self._waiting.clear()
        if wait and not cancel_futures:
            _wait_for(list(self._running))

    def _deal_all(self) -> None:
        """Take what happens, one thing after another, until it ends."""
        try:
            while not self._ending.is_set():
                with suppress(Empty):
                    self._events.get(timeout=_LOOK_EVERY_S)()
                    while True:
                        self._events.get_nowait()()
                self._look()
                self._deal()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Tell everyone who waits, and who comes to wait, until it ends."""
        found = told(error, self._client)
        while True:
            with suppress(Empty):
                while True:
                    self._events.get_nowait()()
            for entry in [*self._waiting, *self._running.values()]:
                if not entry.future.done():
                    entry.future.set_exception(found)
            self._waiting.clear()
            self._running.clear()
            if self._ending.wait(_LOOK_EVERY_S):
                return

    def _look(self) -> None:
        """See which workers there are; none where the scheduler is out of reach."""
        now_s = time.monotonic()
        if now_s - self._looked_s < max(_LOOK_EVERY_S, _LOOKS_A_MEMBER_S * len(self._threads)):
            return
        self._looked_s = now_s
        try:
            there = self._roster.look()
            if self._lost_s is not None or self._joined not in {"", self._roster.scheduler}:
                self._start_again()
            self._joined, self._lost_s = self._roster.scheduler, None
        except (OSError, CommClosedError):
            self._lost_s = self._lost_s or now_s
            if self._client.status == "closed" or now_s - self._lost_s > PATIENCE_S:
                raise
            self._threads = {}
            return
        self._meet({address: member.threads for address, member in self._fit(there).items()})
        self._wait_or_raise(len(there))

    def _start_again(self) -> None:
        """Send everything once more: a scheduler that was started again knows of nothing."""
        self._rejoin()
        for remote in list(self._running):
            self._take_back(remote)

    def _take_back(self, remote: Remote[Any]) -> None:
        """Let a task wait once more, whatever becomes of it where it was sent."""
        self._waiting.insert(0, self._running.pop(remote))
        with suppress(Exception):
            self._client.cancel([remote], force=True)

    def _fit(self, there: Mapping[str, Member]) -> dict[str, Member]:
        """Those workers that the executor's options allow."""
        wanted = self._options.get("resources") or {}
        fit = {address: one for address, one in there.items() if one.offers(wanted)}
        if self._only is None:
            return fit
        named = {address: one for address, one in fit.items() if one.names & self._only}
        return fit if self._others and not named else named

    def _meet(self, there: dict[str, int]) -> None:
        """Take note of workers that came and went."""
        new = sorted(there.keys() - self._threads.keys())
        if new:
            self._welcome(new)
        self._threads = there
        for address in self._held.keys() - there.keys():
            del self._held[address]
        for address in new:
            self._held[address] = Counter()
        gone = [r for r, e in self._running.items() if e.where and e.where not in there]
        for remote in gone:
            entry = self._running[remote]
            if remote.status in {"finished", "error"}:
                continue
            entry.deaths.append(entry.where)
            self._take_back(remote)
            if len(entry.deaths) > DEATHS:
                self._waiting.remove(entry)
                died = {address: self._roster.members[address] for address in entry.deaths}
                entry.future.set_exception(deadly(died, self._needs_bytes))

    def _wait_or_raise(self, there: int) -> None:
        """Refuse to wait for workers for ever."""
        if self._threads or not (self._waiting or self._running):
            self._alone_s = None
            return
        self._alone_s = self._alone_s or time.monotonic()
        if time.monotonic() - self._alone_s > WAIT_S:
            unfit = f" (the executor's workers= and resources= exclude {there})" if there else ""
            message = (
                f"no worker came within {WAIT_S:.0f} s{unfit}; start workers, then run the same "
                "command again to go on"
            )
            raise StoreError(message)

    def _deal(self) -> None:
        if self._lost_s is not None:
            return
        self._waiting = [e for e in self._waiting if not e.future.cancelled()]
        while self._waiting and not self._threads and len(self._running) < _WITHOUT_WORKERS:
            self._send(self._waiting.pop(0), "")
        while self._waiting:
            found = self._next()
            if found is None:
                return
            place, address = found
            entry = self._waiting.pop(place)
            if entry.future.running() or entry.future.set_running_or_notify_cancel():
                self._send(entry, address)

    def _next(self) -> tuple[int, str] | None:
        """Place of a waiting task, and the worker that does it; None where all have enough."""
        load = Counter(entry.where for entry in self._running.values())
        trusted = self._trust.among(sorted(self._threads))
        free = [w for w in trusted if load[w] < PER_THREAD * self._threads[w]]
        for address in sorted(free, key=lambda w: (load[w] / self._threads[w], w)):
            fit = [k for k, e in enumerate(self._waiting) if address not in e.avoid]
            if fit:
                scenes = [self._waiting[k].scenes for k in fit]
                return fit[choose(scenes, self._held, address)], address
        if free and not self._running:
            # Only workers are left on which these tasks failed: they are tried there again.
            for entry in self._waiting:
                entry.avoid.clear()
            return 0, free[0]
        return None

    def _send(self, entry: _Entry, address: str) -> None:
        entry.tries += 1
        entry.where = address
        self._held.get(address, Counter[int]()).update(entry.scenes)
        only = [address] if address else None if self._others else _sorted(self._only)
        try:
            remote = self._client.submit(
                entry.function, *entry.arguments, pure=False, **{**self._options, "workers": only}
            )
        except Exception as error:
            entry.future.set_exception(told(error, self._client))
            raise
        self._running[remote] = entry
        remote.add_done_callback(lambda done: self._events.put(lambda: self._finish(done)))

    def _finish(self, remote: Remote[Any]) -> None:
        entry = self._running.pop(remote, None)
        if entry is None:
            return
        try:
            value = remote.result(timeout=_RESULT_S)
        except (SourceError, StoreError) as error:
            self._failed(entry, error)
        except (FutureCancelledError, CommClosedError):
            # The scheduler was lost, and what it had is forgotten.
            self._waiting.insert(0, entry)
        except OSError as error:
            if isinstance(error, TimeoutError) and remote.status != "error":
                # What it gave went with its worker, and Dask waits for that worker to come back.
                self._running[remote] = entry
                self._take_back(remote)
                return
            self._failed(entry, failed_there(entry.where, error))
        except Exception as error:  # noqa: BLE001 - of a task, of the cluster, or a fault of ours
            entry.future.set_exception(told(error, self._client))
        else:
            self._trust.succeeded(id(entry))
            entry.future.set_result(value)

    def _failed(self, entry: _Entry, error: CubeError) -> None:
        """Try on another worker what failed on one: its disk or its credentials may be at fault."""
        if entry.where:
            entry.avoid.add(entry.where)
            self._trust.failed(id(entry), entry.where)
        if len(entry.avoid) < TRIES and self._threads.keys() - entry.avoid:
            self._waiting.insert(0, entry)
        else:
            entry.future.set_exception(named(error, entry.avoid))


def _listed(workers: Any) -> frozenset[str] | None:  # noqa: ANN401 - what executors take
    """Workers that an executor is limited to, as names; None where it is not."""
    if workers is None:
        return None
    return frozenset({workers} if isinstance(workers, str) else map(str, workers))


def _sorted(names: Collection[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _wait_for(remotes: Sequence[Remote[Any]]) -> None:
    for remote in remotes:
        with suppress(Exception):
            remote.exception()
