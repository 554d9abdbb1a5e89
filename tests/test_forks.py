"""Forked processes: local cubes are read as ever, remote ones are refused at once."""

import multiprocessing as mp
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask
import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
from distributed import Client

import spacenet_cube as sc
from spacenet_cube.cube.chips import labels as burning
from spacenet_cube.cube.chips.chips import Chips
from spacenet_cube.cube.chips.samples import ChipSamples, ChipStream
from spacenet_cube.errors import StoreError
from spacenet_cube.storage.stores import settings
from tests.fake_cube import write_cube
from tests.s3_servers import filesystem, moto
from tests.torture.ground import deliver_all, plan_of

LONGEST_S = 30
"""Far more than a sample takes; what waits for a thread that is gone waits for ever."""


def in_fork[T](ask: Callable[[], T]) -> T:
    """What a function returns or raises in a real fork of this process."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writes, "wb") as out:
            out.write(_answer(ask))
        os._exit(0)
    os.close(writes)
    timer = threading.Timer(LONGEST_S, os.kill, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(reads, "rb") as answer:
        said = answer.read()
    timer.cancel()
    os.waitpid(child, 0)
    assert said, f"the forked process gave no answer within {LONGEST_S} s"
    answer_of_child: tuple[BaseException | None, T] = pickle.loads(said)  # noqa: S301 - ours
    error, found = answer_of_child
    if error is not None:
        raise error
    return found


def _answer(ask: Callable[[], object]) -> bytes:
    try:
        return pickle.dumps((None, ask()))
    except BaseException as error:  # noqa: BLE001 - raised again by the parent
        return pickle.dumps((error, None))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url: str) -> xr.Dataset:
    """A cube whose parent process has computed with dask, so that it has a pool of threads."""
    found = sc.open_cube(url)
    found["source_index"].max().compute()
    assert dask.threaded.default_pool is not None
    return found


@pytest.fixture
def chips(cube: xr.Dataset) -> Chips:
    found: Chips = cube.spacenet.chips(16, valid=0.1)
    return found


def labelled(cube: xr.Dataset) -> xr.DataArray:
    """Lazy labels: the western half of a cube's ground."""
    west, south, east, north = cube.rio.bounds()
    half = shapely.box(west, south, (west + east) / 2, north)
    table = geopandas.GeoDataFrame(geometry=[half], crs=cube.rio.crs)
    found: xr.DataArray = cube.spacenet.rasterize(table)
    assert found.chunks is not None
    return found


def streamed(stream: ChipStream) -> list[Any]:
    return list(stream)


def same(found: Any, expected: Any) -> bool:
    return all(map(np.array_equal, found, expected)) and len(found) == len(expected)


def test_a_forked_process_reads_what_its_parent_reads(cube, chips):
    mask = labelled(cube)
    asked: dict[str, Callable[[], Any]] = {
        "samples": lambda: [ChipSamples(chips)[0]],
        "samples with lazy labels": lambda: ChipSamples(chips, target=mask)[1],
        "a stream": lambda: streamed(ChipStream(chips, window=1)),
        "a stream with lazy labels": lambda: ChipStream(chips, target=mask).__iter__().__next__(),
        "pixels": lambda: [chips.load(0)],
        "a chip": lambda: [chips[0]["image"].values],
        "labels": lambda: [mask.values],
        "a mean": lambda: [cube["image"].mean("band").values],
        "a cube opened there": lambda: [sc.open_cube(cube.encoding["source"])["image"].values],
    }

    for what, ask in asked.items():
        expected = ask()
        assert same(in_fork(ask), expected), what


def test_a_fork_of_a_fork_reads(chips):
    samples = ChipStream(chips)

    assert same(in_fork(lambda: in_fork(lambda: next(iter(samples)))), next(iter(samples)))


def test_a_fork_from_a_thread_reads(chips):
    stream, found = ChipStream(chips), list[Any]()

    thread = threading.Thread(target=lambda: found.append(in_fork(lambda: next(iter(stream)))))
    thread.start()
    thread.join()

    assert same(found[0], next(iter(stream)))


@contextmanager
def held(*locks: Any) -> Iterator[None]:
    """Locks that another thread holds."""
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        ready.set()
        done.wait()
        for lock in locks:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_lock_that_another_thread_held_does_not_block_a_fork(cube, chips):
    samples = ChipSamples(chips, target=labelled(cube))
    expected = samples[0]

    locks = (
        settings._LOCK,  # noqa: SLF001
        burning._ONE_AT_A_TIME,  # noqa: SLF001
        dask.config.config_lock,
        dask.tokenize.tokenize_lock,
        dask.threaded.pools_lock,
    )
    with held(*locks):
        found = in_fork(lambda: (*ChipSamples(chips, target=samples.target)[0], opened(cube)))

    assert same(found[:2], expected)


def opened(cube: xr.Dataset) -> int:
    """Open a cube anew, burn labels and compute on threads: what takes all those locks."""
    found = sc.open_cube(cube.encoding["source"])
    with dask.config.set({"array.slicing.split-large-chunks": False}):
        return int(labelled(found).sum().compute(scheduler="threads"))


def test_a_fork_asks_no_pool_or_cluster_of_its_parent(cube, chips):
    samples = ChipSamples(chips, target=labelled(cube))
    expected = samples[0]

    with ThreadPoolExecutor(1) as pool, dask.config.set(pool=pool):
        pool.submit(int).result()
        assert same(in_fork(lambda: samples[0]), expected)
    with Client(processes=False, n_workers=1, dashboard_address=":0"):
        assert same(in_fork(lambda: samples[0]), expected)
        assert in_fork(lambda: int(cube["source_index"].max().values)) > 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_share_a_stream_however_they_are_started(cube, chips, method):
    samples = ChipSamples(chips, target=labelled(cube))
    stream = ChipStream(chips)

    with mp.get_context(method).Pool(2) as pool:
        found = pool.map_async(partial(samples.__getitem__), range(4)).get(120)
        first_pools = pool.map_async(streamed, [stream, stream]).get(120)

    for index, sample in enumerate(found):
        assert same(sample, samples[index])
    for shown in first_pools:
        assert same(shown, list(stream))


def remote_asks(cube: xr.Dataset, url: str, options: Any = None) -> list[Callable[[], Any]]:
    chips = cube.spacenet.chips(8, valid=0.1)
    mask = labelled(cube)
    chips.load(0)
    return [
        lambda: ChipSamples(chips, target=mask)[0],
        lambda: next(iter(ChipStream(chips))),
        lambda: chips.load(0),
        lambda: chips[0]["image"].values,
        lambda: cube["image"].values,
        lambda: sc.open_cube(url, storage_options=options),
    ]


def assert_refused(asks: list[Callable[[], Any]]) -> None:
    for number, ask in enumerate(asks):
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"forked.*spawn.*forkserver"):
            pytest.fail(f"ask {number} gave {in_fork(ask)!r:.100}")
        assert time.monotonic() - began < LONGEST_S / 3


@pytest.fixture(scope="module")
def server(url: str) -> Iterator[str]:
    """The address of a server of S3 that has a cube."""
    with moto() as endpoint:
        bucket = filesystem(endpoint)
        bucket.mkdir("cubes")
        bucket.put(url, "cubes/one.zarr", recursive=True)
        yield endpoint


def test_a_cube_on_s3_is_refused_at_once_in_a_fork(server, cube, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")
    options = {"endpoint_url": server}
    there = sc.open_cube("s3://cubes/one.zarr", storage_options=options)

    assert_refused(remote_asks(there, "s3://cubes/one.zarr", options))
    # A local cube is read all the same.
    assert in_fork(lambda: int(cube["source_index"].max().values)) > 0


def test_a_cube_behind_fsspec_is_read_or_refused_in_a_fork(server):
    # Credentials as arguments go to s3fs, which is asynchronous.
    options = {"key": "owner", "secret": "ownersecret", "endpoint_url": server}
    there = sc.open_cube("s3://cubes/one.zarr", storage_options=options)
    chips = there.spacenet.chips(16, valid=0.1)

    assert_refused([lambda: next(iter(ChipStream(chips))), lambda: chips[0]["image"].values])
    # What a fork opens anew is its own.
    assert same(in_fork(lambda: [chips.load(0)]), [chips.load(0)])


def test_a_versioned_cube_is_refused_at_once_in_a_fork(tmp_path: Path, cube):
    source = deliver_all(tmp_path / "source")
    built = sc.build(plan_of(source), f"icechunk+file://{tmp_path}/versions", workers=1)
    there = sc.open_cube(built)

    assert_refused(remote_asks(there, built))
    assert in_fork(lambda: int(cube["source_index"].max().values)) > 0
