"""Every use of another library's private parts, each with a test that explains what breaks.

`make next` runs the tests with the newest pre-releases.  A library is imported when one of its
parts is first used, and not before.
"""

import operator
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasterio._err import CPLE_BaseError as CPLE_BaseError  # noqa: PLC0414 - handed on
    from xarray.backends.zarr import ZarrArrayWrapper as ZarrArrayWrapper  # noqa: PLC0414
    from xarray.core.indexing import LazilyIndexedArray as LazilyIndexedArray  # noqa: PLC0414
    from zarr.core.sync import sync as sync  # noqa: PLC0414

HOMES = {
    "CPLE_BaseError": "rasterio._err",
    "LazilyIndexedArray": "xarray.core.indexing",
    "ZarrArrayWrapper": "xarray.backends.zarr",
    "sync": "zarr.core.sync",
}
"""Modules of what this one hands on as it is."""

FUSED_PIPELINE = "zarr.core.codec_pipeline.FusedCodecPipeline"
"""Encodes and decodes a shard in one pass; a setting of zarr names it by its path."""

GDAL_LOG = "rasterio._env"
"""Where rasterio logs what GDAL says."""

_CLIENTS = (None, "dask.distributed", "distributed")
"""What ``dask.config`` names as scheduler where a distributed client computes."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the library has
    """Import a private part of a library.

    Raises
    ------
    AttributeError
        If there is no such part.
    """
    if name not in HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(HOMES[name]), name)


class SynchronousStore:
    """A Zarr store whose methods ``get_sync``, ``set_sync`` and ``delete_sync`` zarr may call.

    Zarr asks a wrapping store whether the wrapped one has them.
    """

    @property
    def _supports_sync_io(self) -> bool:
        return True


def objects_in(store: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a store of zarr
    """Objects of a `zarr.storage.MemoryStore` by key, without an event loop."""
    found: Mapping[str, Any] = store._store_dict  # noqa: SLF001
    return found


def path_in(fs: Any, url: str) -> str:  # noqa: ANN401 - fsspec ships no types
    """A URL as a filesystem of fsspec names it."""
    return str(fs._strip_protocol(url))  # noqa: SLF001


def requests_of(fs: Any) -> Any:  # noqa: ANN401 - s3fs ships no types
    """The coroutine by which an `s3fs.S3FileSystem` signs, sends and retries a request."""
    return fs._call_s3  # noqa: SLF001


def client_of(executor: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - distributed is an extra
    """The client of an executor of distributed, and options that its tasks are submitted with."""
    return executor._client, executor._kwargs  # noqa: SLF001


def scheduler_address(client: Any) -> Any:  # noqa: ANN401 - distributed is an extra
    """Address of a client's scheduler, also after the client was closed; else what it was given."""
    return client._start_arg if client.scheduler is None else client.scheduler.address  # noqa: SLF001


def with_windows(generator: Any, ds: Any, windows: Sequence[Mapping[str, slice]]) -> Any:  # noqa: ANN401 - xbatcher is an extra
    """Let an xbatcher generator give windows of our choice, which it cannot choose itself.

    Parameters
    ----------
    generator
        Of any windows.
    ds
        The dataset that the windows are counted in.
    windows
        Rows and columns of each.

    Returns
    -------
    xbatcher.BatchGenerator
        The same generator; a batch is a window.
    """
    generator.ds = ds
    generator._batch_selectors.selectors = {  # noqa: SLF001
        number: [dict(window)] for number, window in enumerate(windows)
    }
    return generator


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


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A selection from an array that is not read yet."""

    source: Any
    """The array at the bottom, as xarray or dask holds it."""

    shape: tuple[int, ...]
    """Its shape."""

    indices: tuple[tuple[Any, ...], ...]
    """Index tuples that are applied one after the other: numbers, slices, 1-d arrays."""


def lazy_selection(array: Any) -> Selection | None:  # noqa: ANN401 - an xarray.DataArray
    """Find what an array that xarray has not read yet selects.

    Parameters
    ----------
    array
        An ``xarray.DataArray``.

    Returns
    -------
    Selection or None
        None where the array is in memory, is dask's, or selects in another way than by
        numbers, slices and one list.
    """
    return _unwrapped(array.variable._data)  # noqa: SLF001 - `.data` would read the pixels


def _unwrapped(data: Any) -> Selection | None:  # noqa: ANN401 - one of xarray's wrappers
    from xarray.core import indexing as lazy  # noqa: PLC0415 - slow, and only wanted here

    shells = (
        lazy.ImplicitToExplicitIndexingAdapter, lazy.MemoryCachedArray, lazy.CopyOnWriteArray,
    )  # fmt: skip
    while isinstance(data, shells):
        data = data.array
    if not isinstance(data, lazy.LazilyIndexedArray):
        return None
    key = data.key
    if not isinstance(key, lazy.BasicIndexer | lazy.OuterIndexer):
        return None
    if sum(not isinstance(each, int | slice) for each in key.tuple) > 1:
        return None
    return Selection(data.array, tuple(data.array.shape), (tuple(key.tuple),))


def selections(array: Any) -> list[tuple[tuple[int, ...], Selection]] | None:  # noqa: ANN401 - a dask array
    """Find what each block of a dask array selects from an array that is not read yet.

    Parameters
    ----------
    array
        A ``dask.array.Array``.

    Returns
    -------
    list of (place, Selection), or None
        ``place`` is the block's number along each axis.  None where any step of the graph does
        more than select: arithmetic, joining, values in memory (as after ``persist``).
    """
    graph, found = array.dask, []
    for place in _places(array.numblocks):
        one = _selection_of(graph, (array.name, *place))
        if one is None:
            return None
        found.append((place, one))
    return found


def _places(counts: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    import numpy as np  # noqa: PLC0415 - slow, and only wanted here

    return np.ndindex(*counts)


def _selection_of(graph: Any, key: Any) -> Selection | None:  # noqa: ANN401 - dask's graph and key
    """Follow one block down to the array that it reads."""
    from dask._task_spec import Alias, DataNode, Task, TaskRef  # noqa: PLC0415 - slow

    indices: list[tuple[Any, ...]] = []
    while True:
        node = graph[key]
        if isinstance(node, Alias):
            key = node.target
        elif isinstance(node, Task):
            index = _index_of(graph, node)
            if index is None or not isinstance(node.args[0], TaskRef):
                return None
            indices.append(index)
            key = node.args[0].key
        else:
            below = _unwrapped(node.value if isinstance(node, DataNode) else node)
            if below is None:
                return None
            return Selection(below.source, below.shape, (*below.indices, *reversed(indices)))


def _index_of(graph: Any, task: Any) -> tuple[Any, ...] | None:  # noqa: ANN401 - dask's graph and task
    """The index of a task that only selects; None of any other."""
    from dask._task_spec import DataNode, TaskRef  # noqa: PLC0415 - slow
    from dask.array import _shuffle, chunk, core  # noqa: PLC0415 - slow

    plain = {operator.getitem, chunk.getitem, core.getter, core.getter_nofancy}
    if task.func not in {*plain, _shuffle._getitem} or len(task.args) < 2:  # noqa: PLR2004, SLF001
        return None
    index = task.args[1]
    if isinstance(index, TaskRef):
        index = graph[index.key]
    if isinstance(index, DataNode):
        index = index.value
    if task.func is _shuffle._getitem:  # noqa: SLF001 - it takes a pair
        index = index[1]
    return tuple(index) if isinstance(index, tuple | list) else (index,)
