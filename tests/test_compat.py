"""Private parts of other libraries that the package uses: each test says what breaks without it.

`make next` runs this file with the newest pre-releases.
"""

import inspect
import io
import logging
import os
import sys
import threading
from contextlib import redirect_stderr

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from distributed import Client
from fsspec.implementations.local import LocalFileSystem
from rasterio.warp import reproject
from s3fs import S3FileSystem
from xbatcher import BatchGenerator
from zarr.abc.buffer import Buffer
from zarr.abc.store import Store
from zarr.buffer import cpu, default_buffer_prototype
from zarr.storage import MemoryStore, WrapperStore

from spacenet_cube import compat

ARRAY = np.arange(64, dtype="uint16").reshape(8, 8)


def sharded(store: Store) -> zarr.Array:  # type: ignore[type-arg]
    """An array of one shard of four chunks."""
    found = zarr.create_array(store, shape=(8, 8), chunks=(4, 4), shards=(8, 8), dtype="uint16")
    found[:] = ARRAY
    return found


@pytest.mark.parametrize("name", sorted(compat.HOMES))
def test_what_is_handed_on_is_still_where_it_was(name):
    """Else importing the module that uses it fails, and with it every command."""
    assert getattr(compat, name).__name__ == name


def test_what_is_not_handed_on_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'spam'"):
        _ = compat.spam


def test_zarr_reads_and_writes_shards_through_the_fused_pipeline():
    """Else a build writes shards chunk by chunk, several times as slowly, in other bytes."""
    store = MemoryStore()
    with zarr.config.set({"codec_pipeline.path": compat.FUSED_PIPELINE}):
        array = sharded(store)
        pipeline = type(array._async_array.codec_pipeline)  # noqa: SLF001 - what is tested

        assert f"{pipeline.__module__}.{pipeline.__name__}" == compat.FUSED_PIPELINE
        np.testing.assert_array_equal(array[:], ARRAY)


class Counted(compat.SynchronousStore, WrapperStore[Store]):
    """Counts the synchronous writes that go through it."""

    writes = 0

    def get_sync(self, key: str, *, prototype=None, byte_range=None) -> Buffer | None:
        return compat.sync(
            self._store.get(key, prototype or default_buffer_prototype(), byte_range)
        )

    def set_sync(self, key: str, value: Buffer) -> None:
        self.writes += 1
        compat.sync(self._store.set(key, value))


def test_zarr_asks_a_wrapping_store_whether_it_is_synchronous():
    """Else shards of versioned cubes are encoded in another way than those of plain cubes."""
    store = Counted(MemoryStore())
    with zarr.config.set({"codec_pipeline.path": compat.FUSED_PIPELINE}):
        sharded(store)

    assert store.writes > 0


def test_a_memory_store_gives_its_objects():
    """Else `plan` cannot sample how well pixels compress, and estimates no size."""
    store = MemoryStore()
    compat.sync(store.set("a/b", cpu.Buffer.from_bytes(b"seven b")))

    assert {key: len(value) for key, value in compat.objects_in(store).items()} == {"a/b": 7}


def test_sync_runs_a_coroutine_of_a_store_outside_its_loop():
    """Else versioned cubes are neither written nor listed."""
    assert compat.sync(MemoryStore().exists("a")) is False


def test_fsspec_names_a_url_as_its_filesystem_does():
    """Else every location but one on S3 is not found."""
    assert compat.path_in(LocalFileSystem, "file:///a/b") == "/a/b"


def test_s3fs_sends_a_request_of_any_kind():
    """Else sources on S3 whose keys obstore would change (``a//b``) cannot be read."""
    send = compat.requests_of(S3FileSystem(anon=True, skip_instance_cache=True))

    assert inspect.iscoroutinefunction(send)
    assert next(iter(inspect.signature(send).parameters)) == "method"


def test_gdal_errors_of_rasterio_are_of_one_class():
    """Else a damaged source ends a build with a traceback, without the name of the file."""
    from rasterio._err import CPLE_AppDefinedError  # noqa: PLC0415 - what is tested

    assert issubclass(CPLE_AppDefinedError, compat.CPLE_BaseError)
    assert issubclass(compat.CPLE_BaseError, Exception)


def test_rasterio_logs_what_gdal_says_under_one_name():
    """Else each block that is warped prints a warning."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, handler = logging.getLogger(compat.GDAL_LOG), Keep()
    log.addHandler(handler)
    try:
        with redirect_stderr(io.StringIO()), rasterio.Env():
            reproject(
                np.zeros((8, 8), "uint8"), np.zeros((8, 8), "uint8"),
                src_crs="EPSG:4326", dst_crs="EPSG:3857", no_such_option="x",
                src_transform=rasterio.Affine(1, 0, 0, 0, -1, 0),
                dst_transform=rasterio.Affine(1e5, 0, 0, 0, -1e5, 0),
            )  # fmt: skip
    finally:
        log.removeHandler(handler)
    assert any("no_such_option" in each.casefold() for each in said)


def test_xarray_reads_a_zarr_array_through_a_wrapper_that_can_be_extended():
    """Else a damaged chunk is reported in the words of zarr's codecs, without the cube's name."""
    seen: list[object] = []

    class Watched(compat.ZarrArrayWrapper):
        __slots__ = ()

        def __getitem__(self, key: object) -> object:
            seen.append(key)
            return super().__getitem__(key)

    lazy = compat.LazilyIndexedArray(Watched(sharded(MemoryStore())))
    found = xr.DataArray(xr.Variable(("y", "x"), lazy, fastpath=True))[2:4, 1:3]

    assert not seen
    np.testing.assert_array_equal(found, ARRAY[2:4, 1:3])
    assert len(seen) == 1


def test_a_lazy_array_tells_what_it_selects():
    """Else `chips` reads every chip through dask, and overviews are not used to find chips."""
    lazy = compat.LazilyIndexedArray(compat.ZarrArrayWrapper(sharded(MemoryStore())))
    array = xr.DataArray(xr.Variable(("y", "x"), lazy, fastpath=True))

    found = compat.lazy_selection(array[2:4, 1:3])
    blocks = compat.selections(array.chunk({"y": 4, "x": 8})[2:6, 1:3].data)

    assert found is not None
    assert found.shape == (8, 8)
    assert blocks is not None
    assert [place for place, _ in blocks] == [(0, 0), (1, 0)]
    for _, selection in blocks:
        assert selection.shape == (8, 8)


@pytest.mark.parametrize("change", [lambda a: a + 1, lambda a: a.persist(), lambda a: a.T])
def test_a_dask_array_that_does_more_than_select_is_known_as_that(change):
    """Else chips of a computed array would have the stored pixels."""
    lazy = compat.LazilyIndexedArray(compat.ZarrArrayWrapper(sharded(MemoryStore())))
    array = xr.DataArray(xr.Variable(("y", "x"), lazy, fastpath=True)).chunk(4)

    assert compat.selections(array.data) is not None
    assert compat.selections(change(array.data)) is None


def test_xbatcher_gives_windows_of_our_choice():
    """Else `to_xbatcher` gives windows side by side, and not the chips."""
    cube = xr.Dataset({"image": (("y", "x"), ARRAY)})
    windows = [{"y": slice(1, 3), "x": slice(5, 7)}, {"y": slice(6, 8), "x": slice(0, 2)}]

    made = compat.with_windows(
        BatchGenerator(cube.isel(y=slice(0, 2), x=slice(0, 2)), {"y": 2, "x": 2}), cube, windows
    )

    assert len(made) == 2
    for batch, window in zip(made, windows, strict=True):
        np.testing.assert_array_equal(batch["image"], ARRAY[window["y"], window["x"]])


def test_an_executor_of_distributed_knows_its_client():
    """Else a build on a Dask cluster cannot start."""
    with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
        found, options = compat.client_of(client.get_executor(pure=False))

        assert found is client
        assert options == {"pure": False}
        assert compat.scheduler_address(client) == client.scheduler.address
        client.scheduler, kept = None, client.scheduler
        assert compat.scheduler_address(client) == client._start_arg  # noqa: SLF001
        client.scheduler = kept


def test_a_forked_process_has_free_locks_and_its_own_pools():
    """Else workers of a DataLoader that are forked wait for ever."""
    da.ones(4, chunks=2).sum().compute()
    lock = compat.free_in_forks(threading.Lock())
    with lock:
        child = os.fork()
        if child == 0:
            pools = sys.modules["dask.threaded"]
            is_new = pools.default_pool is None and not pools.pools
            is_free = lock.acquire(blocking=False) and dask.config.config_lock.acquire(timeout=5)
            os._exit(0 if is_new and is_free else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
