"""Every use of another library's private parts, each with a test that explains what breaks."""

import os
import sys
import threading
from typing import Any

_CLIENTS = (None, "dask.distributed", "distributed")
"""What ``dask.config`` names as scheduler where a distributed client computes."""


def free_in_forks(lock: Any) -> Any:  # noqa: ANN401 - the type of a lock is private
    """Let a forked process find a lock free, whichever thread of its parent held it.

    Parameters
    ----------
    lock
        A `threading.Lock` or `threading.RLock` that lasts as long as the process.

    Returns
    -------
    lock
        The same lock.

    Notes
    -----
    Python's own modules (``logging``, ``concurrent.futures``) call ``_at_fork_reinit`` for this.
    """
    os.register_at_fork(after_in_child=lock._at_fork_reinit)  # noqa: SLF001
    return lock


def renew_dask() -> None:
    """Give a forked process thread pools of its own, and dask's locks free.

    Dask keeps its thread pools for the life of the process.  A fork copies the pools without
    their threads, so a computation on one waits for ever; so does one that asks a distributed
    client, whose event loop ran in a thread.
    """
    threaded: Any = sys.modules.get("dask.threaded")
    if threaded is not None:
        threaded.default_pool = None
        threaded.pools.clear()
        threaded.main_thread = threading.current_thread()
        threaded.pools_lock._at_fork_reinit()  # noqa: SLF001
    for module, name in (("dask.config", "config_lock"), ("dask.tokenize", "tokenize_lock")):
        lock = getattr(sys.modules.get(module), name, None)
        if lock is not None:
            lock._at_fork_reinit()  # noqa: SLF001
    clients = sys.modules.get("distributed.client")
    config = sys.modules.get("dask.config")
    if clients is None or config is None or not clients._global_clients:  # noqa: SLF001
        return
    if config.get("scheduler", None) in _CLIENTS:
        config.set(scheduler="threads")


def renew_zarr() -> None:
    """Free the lock under which zarr starts its event loop; zarr itself renews the rest."""
    module = sys.modules.get("zarr.core.sync")
    if module is not None:
        module._lock = None  # type: ignore[attr-defined]  # noqa: SLF001


os.register_at_fork(after_in_child=renew_dask)
os.register_at_fork(after_in_child=renew_zarr)
