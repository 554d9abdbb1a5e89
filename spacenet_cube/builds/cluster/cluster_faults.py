"""Cluster faults: what to say of errors that tasks, workers and schedulers of Dask cause."""

from collections.abc import Callable, Collection, Mapping

from distributed import Client, KilledWorker
from distributed.comm.core import CommClosedError

from spacenet_cube.builds.cluster.roster import CLOSED, Member
from spacenet_cube.compat import scheduler_address
from spacenet_cube.errors import CubeError, LostClusterError, StoreError

_GB = 1e9


def told(error: Exception, client: Client) -> Exception:
    """What to say of an error that a task or the cluster raised.

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
    closed = client.status in CLOSED and not isinstance(error, CubeError)
    if closed or isinstance(error, (OSError, CommClosedError)):
        why = "the client is closed" if closed else f"{type(error).__name__}: {error}"
        address = scheduler_address(client)
        where = f" at {address}" if isinstance(address, str) else ""
        return LostClusterError(
            f"the Dask scheduler{where} was lost during the build ({why}), so "
            "nothing is published yet; what was finished is kept: see that the "
            "scheduler and its workers run, then run the same command again to go on"
        )
    return error


def failed_there(worker: str, error: OSError) -> StoreError:
    """An error of a worker's system, in words.

    Parameters
    ----------
    worker
        Its address; empty where it is not known.
    error
        What the task raised.

    Returns
    -------
    StoreError
        Names the worker.
    """
    where = f" {worker}" if worker else ""
    return StoreError(
        f"worker{where} could not do its task: {type(error).__name__}: {error}; see that its disk "
        "has space and that it reaches what the build reads and writes, then run the same command "
        "again"
    )


def named(error: CubeError, workers: Collection[str]) -> CubeError:
    """An error that also names the workers on which it was met.

    Parameters
    ----------
    error
        Of a task.
    workers
        Their addresses.

    Returns
    -------
    CubeError
        The same error.
    """
    if workers:
        error.args = (f"{error} (on worker {' and on '.join(sorted(workers))})",)
    return error


def deadly(died: Mapping[str, Member], needs_bytes: Callable[[int], int]) -> StoreError:
    """What to say of a task whose workers die.

    Parameters
    ----------
    died
        The workers, by address.
    needs_bytes
        Memory that a worker needs for so many threads.

    Returns
    -------
    StoreError
        With the memory that they had, and what the build needs.
    """
    had = ", ".join(
        f"{address} ({one.threads} threads, {one.used_bytes / _GB:.2f} of "
        f"{one.limit_bytes / _GB:.2f} GB used when last seen)"
        for address, one in died.items()
    )
    threads = max(one.threads for one in died.values())
    return StoreError(
        f"the same task was on {len(died)} workers that died or fell silent: {had}; the build "
        f"needs about {needs_bytes(threads) / _GB:.2f} GB for {threads} threads: give workers more "
        "memory or fewer threads, or look into their logs, then run the same command again"
    )
