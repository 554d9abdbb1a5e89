"""Distributing: a build on the workers of a Dask cluster.

What all tasks share, the plan above all, goes to each worker once, and to those that join
later: as a plugin of the scheduler's.  A task is then a name and a few numbers.  None of it
holds a secret.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pyproj
import rasterio
from distributed import Client, Worker, WorkerPlugin, get_worker
from distributed.cfexecutor import ClientExecutor
from distributed.comm.core import CommClosedError

from spacenet_cube.builds.cluster.cluster_faults import told
from spacenet_cube.builds.cluster.executor import PATIENCE_S, Dealer
from spacenet_cube.builds.cluster.kept_mirrors import KeptStage
from spacenet_cube.builds.cluster.scheduler import ANSWER_S, check_scheduler, normalised
from spacenet_cube.builds.tasks.tasks import Task
from spacenet_cube.builds.unit.task import Here
from spacenet_cube.compat import client_of
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.plans.plan import Plan
from spacenet_cube.version import __version__

Do = Callable[..., Any]
"""Does a task, given it and, as ``here``, what is shared on the worker that it runs on."""

_DECIDES_BYTES = ("numpy", "numcodecs", "rasterio", "pyproj", "zarr")
_PREFIX = "spacenet-cube"
_ENVIRONMENT_S, _ASK_EVERY_S = 60.0, 0.05
_TELLINGS, _TELL_AGAIN_S = 5, 0.5
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_OPEN_SCHEMES = {"tcp", "ws", "ucx", "ucxx"}
_GIVEN: set[str] = set()
"""Variables that this process, a worker's, was given."""


class ClusterExecutor(ClientExecutor):
    """An executor of a Dask cluster that also gives workers some variables of this environment."""

    def __init__(self, client: Client, worker_env: Sequence[str] = ()) -> None:
        super().__init__(client)  # type: ignore[no-untyped-call]
        self.worker_env = tuple(worker_env)


@contextmanager
def connect(
    address: str, *, worker_env: Sequence[str] = (), timeout_s: float = ANSWER_S
) -> Iterator[ClusterExecutor]:
    """Reach a Dask cluster that builds run on.

    Parameters
    ----------
    address
        Of its scheduler, such as ``tcp://10.0.0.1:8786``; without a scheme it is ``tcp://``.
    worker_env
        Names of variables of this environment that workers are given, for the time that
        their processes live; nothing else of it is sent.  They pass through the scheduler
        and stay in no state of its.
    timeout_s
        Seconds to wait for the scheduler's first answer.

    Yields
    ------
    ClusterExecutor
        To be given to `build` and `update` as ``executor``.

    Raises
    ------
    RecipeError
        If a variable is not set, or would be sent in the clear.
    StoreError
        If no scheduler is there.
    """
    where = normalised(address)
    _check_environment(where, worker_env)
    check_scheduler(where, timeout_s)
    try:
        # The client's limit is also how long it looks for a scheduler that it has lost.
        client = Client(where, timeout=max(timeout_s, PATIENCE_S), set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise StoreError(
            f"the Dask scheduler at {where} refuses this client or is gone again: {error}; give "
            "client and workers one environment, then run the same command again"
        ) from error
    with client:
        yield ClusterExecutor(client, worker_env)


def _check_environment(address: str, names: Iterable[str]) -> None:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise RecipeError(
            f"{', '.join(missing)} is to be given to workers but is not set here; set it, or "
            "leave out --worker-env"
        )
    parts = urlsplit(address)
    if names and parts.scheme in _OPEN_SCHEMES and parts.hostname not in _LOOPBACK:
        raise RecipeError(
            f"{', '.join(names)} would go to {address} in the clear; use a scheduler at tls://..., "
            "or give workers their own credentials and leave out --worker-env"
        )


@dataclass(frozen=True)
class _Values:
    """Variables on their way to workers; never shown."""

    by_name: Mapping[str, str] = field(repr=False)


class Job(WorkerPlugin):
    """What the tasks of one build share on a worker.

    Parameters
    ----------
    name
        Of the build, one a run.
    do
        Does a task.
    plan
        The plan.
    versions
        Of what decides the bytes that are written, as the client has it.
    environment
        Names of variables that the worker waits for.
    """

    def __init__(
        self,
        name: str,
        do: Do,
        plan: Plan,
        versions: Mapping[str, str],
        environment: Sequence[str] = (),
    ) -> None:
        self.name, self.do, self.plan, self.versions = name, do, plan, dict(versions)
        self.environment = tuple(environment)

    def setup(self, worker: Worker) -> None:
        """Make a place for mirrors below the worker's own folder, which Dask clears after it."""
        self._folder = Path(worker.local_directory) / self.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stage: KeptStage | None = None
        self._lock = threading.Lock()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's
        """Remove the mirrors."""
        with self._lock:
            if self._stage is not None:
                self._stage.__exit__()
            rmtree(self._folder, ignore_errors=True)

    @property
    def stage(self) -> KeptStage:
        """The mirrors of this worker, made when they are first needed."""
        with self._lock:
            if self._stage is None:
                self._stage = KeptStage(self.plan, self._folder)
            return self._stage

    def refuse_other_versions(self, where: str) -> None:
        """Refuse to write bytes that other workers would write otherwise.

        Parameters
        ----------
        where
            Address of the worker.

        Raises
        ------
        StoreError
            If the worker has another version of something that decides them.
        """
        here = versions()
        unlike = [
            f"{name} {here.get(name)} where {wanted} is wanted"
            for name, wanted in self.versions.items()
            if here.get(name) != wanted
        ]
        if unlike:
            raise StoreError(
                f"worker {where} has {', '.join(unlike)}, so the same pixels could become other "
                "bytes there; give client and workers one environment (constraints.txt pins it)"
            )


@cache
def versions() -> Mapping[str, str]:
    """Versions of what decides the bytes of a cube."""
    libraries = {"GDAL": rasterio.__gdal_version__, "PROJ": pyproj.proj_version_str}
    found = {name: version(name) for name in _DECIDES_BYTES}
    return {"spacenet_cube": __version__, **found, **libraries}


def do_there(name: str, task: Task) -> Any:  # noqa: ANN401 - whatever a task gives
    """Do a task on the worker this is called on.

    Parameters
    ----------
    name
        Of the build.
    task
        What to do.

    Returns
    -------
    Any
        What doing it gives.

    Raises
    ------
    StoreError
        If the worker was not given the build, has other versions, or waits in vain for
        its environment.
    """
    worker = get_worker()
    job = worker.plugins.get(name)
    if not isinstance(job, Job):
        raise StoreError(
            f"worker {worker.address} was not given the build {name}: its log says why (search "
            "for 'failed to setup'); mend that, then run the same command again"
        )
    job.refuse_other_versions(worker.address)
    if not _given(job.environment):
        raise StoreError(
            f"worker {worker.address} was not given {', '.join(job.environment)} within "
            f"{_ENVIRONMENT_S:.0f} s; run the same command again"
        )
    return job.do(task, here=Here(job.stage))


def _given(names: Iterable[str]) -> bool:
    """Whether this process was given some variables; it may take a moment."""
    until_s = time.monotonic() + _ENVIRONMENT_S
    while not _GIVEN.issuperset(names):
        if time.monotonic() > until_s:
            return False
        time.sleep(_ASK_EVERY_S)
    return True


def _take(values: _Values) -> None:
    """Give this process some variables."""
    os.environ.update(values.by_name)
    _GIVEN.update(values.by_name)


@contextmanager
def on_cluster(
    executor: Executor, plan: Plan, do: Do, place: str
) -> Iterator[tuple[Dealer, Callable[[Task], Any]]]:
    """Let the workers of a cluster do the tasks of a build.

    Parameters
    ----------
    executor
        Of a `distributed.Client`, as its ``get_executor`` or `connect` gives it.
    plan
        The plan.
    do
        Does a task; it is sent to each worker once.
    place
        URL of what is built: one plan may be built to several places on one cluster.

    Yields
    ------
    (Dealer, callable)
        The executor, and the function of a task that it is to run.

    Raises
    ------
    LostClusterError
        If the scheduler is lost.
    """
    assert isinstance(executor, ClientExecutor)
    client, options = client_of(executor)
    names: Sequence[str] = getattr(executor, "worker_env", ())
    started = f"{_PREFIX}-{plan.digest[:12]}-{sha256(place.encode()).hexdigest()[:8]}-"
    job = Job(started + uuid4().hex[:8], do, plan, versions(), names)

    def welcome(addresses: Sequence[str]) -> None:
        if names:
            values = _Values({name: os.environ[name] for name in names})
            client.run(_take, values, workers=list(addresses), on_error="ignore")

    def join() -> None:
        _persisting(lambda: client.register_plugin(job, job.name), client)

    with _in_words(client):
        _forget(client, started)
        join()
    dealer = Dealer(
        client,
        partial(_remote_scenes, plan),
        options=options,
        needs_bytes=plan.peak_memory_bytes,
        welcome=welcome,
        rejoin=join,
    )
    try:
        yield dealer, partial(do_there, job.name)
    finally:
        dealer.shutdown()
        _leave(client, job.name)


@contextmanager
def _in_words(client: Client) -> Iterator[None]:
    """Name a scheduler that is lost."""
    try:
        yield
    except OSError as error:
        raise told(error, client) from error


def _persisting(tell_workers: Callable[[], Any], client: Client) -> None:
    """Tell workers something; it fails where one of them dies at that moment, and is told again."""
    for _ in range(_TELLINGS):
        try:
            tell_workers()
        except (OSError, CommClosedError) as error:
            failure = error
            time.sleep(_TELL_AGAIN_S)
        else:
            return
    raise told(failure, client) from failure


def _leave(client: Client, name: str) -> None:
    """Take a build from the workers; where the scheduler is gone, the next run of it does so."""
    if client.status != "running":
        return
    with suppress(StoreError, ValueError):
        _persisting(lambda: client.unregister_worker_plugin(name), client)


def _remote_scenes(plan: Plan, task: Task) -> frozenset[int]:
    """Numbers of the scenes that a task makes a worker mirror."""
    pieces = plan.units[task.number].pieces if task.kind == "unit" else ()
    return frozenset(p.scene for p in pieces if plan.scenes[p.scene - 1].is_remote)


def _plugins(dask_worker: Worker) -> list[str]:
    """Names of a worker's plugins."""
    return list(dask_worker.plugins)


def _forget(client: Client, started: str) -> None:
    """Remove what runs of the same build left that were cut off from the scheduler."""
    there: dict[str, Any] = client.run(_plugins, on_error="ignore")
    names = {name for plugins in there.values() if plugins for name in plugins}
    for name in sorted(names):
        if name.startswith(started):
            _leave(client, name)
