"""A dealer: tasks handed to the workers of a Dask cluster, few at a time, by what they hold.

It is an executor, so builds run on it as they do on threads.  What is waiting stays here;
the scheduler sees two tasks a thread of its workers, each a name and a few numbers.
Workers may come and go: what one of them had is done by another.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, KilledWorker
from distributed import Future as Remote
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from spacenet_cube.compat import scheduler_address
from spacenet_cube.core.dealing import choose
from spacenet_cube.errors import CubeError, LostClusterError, SourceError, StoreError

PER_THREAD = 2
"""Tasks that a thread of a worker has: one that runs, and one that waits for it to end."""

TRIES = 2
"""Times a task is tried, on one worker and then on another, before its failure ends a build."""

PATIENCE_S = 60.0
"""How long a scheduler may be out of reach before a build gives up."""

_LOOK_EVERY_S = 0.5
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
    """Address of the worker it was meant for; empty where there was none."""

    avoid: str = ""
    """Address of the worker on which it failed."""


def _nothing(*_: Any) -> None:  # noqa: ANN401 - whatever it is told
    """Do nothing."""


class Dealer(Executor):
    """Runs tasks on a Dask cluster.

    Parameters
    ----------
    client
        Of the cluster.
    scenes_of
        Numbers of the scenes that the task at hand reads, told from its arguments.
    options
        Keyword arguments of `distributed.Client.submit`, such as ``resources``.
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
        welcome: Callable[[Sequence[str]], None] = _nothing,
        rejoin: Callable[[], None] = _nothing,
    ) -> None:
        self._client, self._scenes_of = client, scenes_of
        self._welcome, self._rejoin = welcome, rejoin
        self._options = dict(options or {})
        self._only = self._options.pop("workers", None)
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waiting: list[_Entry] = []
        self._running: dict[Remote[Any], _Entry] = {}
        self._threads: dict[str, int] = {}
        self._held: dict[str, Counter[int]] = {}
        self._lost_s: float | None = None
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
        try:
            there = _threads_of(self._client)
            if self._lost_s is not None:
                self._rejoin()
            self._lost_s = None
        except (OSError, CommClosedError):
            self._lost_s = self._lost_s or time.monotonic()
            if self._client.status == "closed" or time.monotonic() - self._lost_s > PATIENCE_S:
                raise
            self._threads = {}
            return
        if self._only is not None:
            there = {address: n for address, n in there.items() if address in self._only}
        new = sorted(there.keys() - self._threads.keys())
        if new:
            self._welcome(new)
        self._threads = there
        for address in self._held.keys() - there.keys():
            del self._held[address]
        for address in new:
            self._held[address] = Counter()

    def _deal(self) -> None:
        if self._lost_s is not None:
            return
        self._waiting = [e for e in self._waiting if not e.future.cancelled()]
        most = max(PER_THREAD * sum(self._threads.values()), _WITHOUT_WORKERS)
        while self._waiting and len(self._running) < most:
            address = self._free()
            entry = self._waiting.pop(self._chosen(address))
            if entry.future.running() or entry.future.set_running_or_notify_cancel():
                self._send(entry, address)

    def _free(self) -> str:
        """The worker that has the least to do for its threads; empty where there is none."""
        load = Counter(entry.where for entry in self._running.values())
        return min(
            sorted(self._threads),
            key=lambda address: load[address] / self._threads[address],
            default="",
        )

    def _chosen(self, address: str) -> int:
        """Place of the waiting task that suits a worker; not one that has just failed there."""
        fit = [k for k, e in enumerate(self._waiting) if e.avoid != address]
        if not fit or not address:
            return 0
        return fit[choose([self._waiting[k].scenes for k in fit], self._held, address)]

    def _send(self, entry: _Entry, address: str) -> None:
        entry.tries += 1
        entry.where = address
        self._held.get(address, Counter[int]()).update(entry.scenes)
        preferred = {"workers": [address], "allow_other_workers": True} if address else {}
        if self._only is not None and not address:
            preferred = {"workers": self._only}
        remote = self._client.submit(
            entry.function, *entry.arguments, pure=False, **{**self._options, **preferred}
        )
        self._running[remote] = entry
        remote.add_done_callback(lambda done: self._events.put(lambda: self._finish(done)))

    def _finish(self, remote: Remote[Any]) -> None:
        entry = self._running.pop(remote, None)
        if entry is None:
            return
        try:
            value = remote.result()
        except (SourceError, StoreError) as error:
            self._failed(entry, error)
        except (FutureCancelledError, CommClosedError):
            # The scheduler was lost, and what it had is forgotten.
            self._waiting.insert(0, entry)
        except OSError as error:
            self._failed(entry, _failed_there(entry, error))
        except Exception as error:  # noqa: BLE001 - of a task, of the cluster, or a fault of ours
            entry.future.set_exception(told(error, self._client))
        else:
            entry.future.set_result(value)

    def _failed(self, entry: _Entry, error: CubeError) -> None:
        """Try on another worker what failed on one: its disk or its credentials may be at fault."""
        if entry.tries < TRIES and len(self._threads) > 1:
            entry.avoid = entry.where
            self._waiting.insert(0, entry)
        else:
            entry.future.set_exception(error)


def _failed_there(entry: _Entry, error: OSError) -> StoreError:
    """An error of a worker's system, in words."""
    where = f" {entry.where}" if entry.where else ""
    return StoreError(
        f"worker{where} could not do its task: {type(error).__name__}: {error}; see that its disk "
        "has space and that it reaches what the build reads and writes, then run the same command "
        "again"
    )


def _wait_for(remotes: Sequence[Remote[Any]]) -> None:
    for remote in remotes:
        with suppress(Exception):
            remote.exception()


def _threads_of(client: Client) -> dict[str, int]:
    """Threads of each worker, by its address; an OSError where the scheduler is out of reach."""
    try:
        return dict(client.nthreads())
    except AttributeError as error:
        # Dask closes a client when it has looked for a lost scheduler for long enough.
        if client.scheduler is not None:
            raise
        message = "the client is closed"
        raise CommClosedError(message) from error


def told(error: Exception, client: Client) -> Exception:
    """What to tell of an error that a task or the cluster raised.

    Parameters
    ----------
    error
        What was raised.
    client
        Of the cluster.

    Returns
    -------
    Exception
        A `StoreError` where the cluster is at fault, a `LostClusterError` where its scheduler is
        gone; the error itself otherwise.
    """
    if isinstance(error, KilledWorker):
        return StoreError(
            f"{error.task} was on {error.allowed_failures + 1} workers as they died, so it is more "
            "likely to kill them than to be unlucky; give workers more memory or fewer threads "
            "('spacenet-cube plan --workers THREADS' shows what they need), then run the same "
            "command again"
        )
    if isinstance(error, (OSError, CommClosedError)):
        address = scheduler_address(client)
        where = f" at {address}" if isinstance(address, str) else ""
        return LostClusterError(
            f"the Dask scheduler{where} was lost during the build ({type(error).__name__}), so "
            "nothing is published yet; what was finished is kept: see that the scheduler and its "
            "workers run, then run the same command again to go on"
        )
    return error
