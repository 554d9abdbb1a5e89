"""Builds and analysis on a Dask cluster of real processes, S3 between them."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import geopandas
import numpy as np
import pytest
import xarray as xr
from distributed import Client
from distributed.protocol.pickle import dumps, loads
from shapely.geometry import box

import spacenet_cube as sc
from spacenet_cube.builds.cluster.client import ClusterExecutor, Job, do_there, versions
from spacenet_cube.builds.cluster.kept_mirrors import KeptStage
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.builds.unit.task import do_task
from spacenet_cube.errors import (
    CubeError,
    CubeExistsError,
    MissingExtraError,
    RecipeError,
    SourceError,
    StoreError,
    VerifyError,
)
from spacenet_cube.recipe.grids import TargetGrid
from spacenet_cube.recipe.model import Encoding, Product
from spacenet_cube.storage.resolve import locate
from tests.clusters import Cluster, cluster
from tests.s3_servers import Proxy, filesystem, moto, proxy
from tests.test_plan import paris

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
SECRET = "canary-of-a-secret-4711"  # noqa: S105 - a canary


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(scope="module")
def counted(server: str) -> Iterator[Proxy]:
    with proxy(server) as found:
        yield found


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers whose environment has no credentials."""
    home = tmp_path_factory.mktemp("cluster")
    with cluster(home, {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}) as found:
        yield found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    sc.write_sample(folder, aois=["AOI_2_Vegas"], products=["PAN", "MUL"], tile_size=48)
    sc.write_sample(folder, aois=["AOI_1_Rio"], products=["3-Band"], tile_size=48)
    return folder


@pytest.fixture(scope="module")
def remote(server: str, corpus: Path) -> str:
    fs = filesystem(server)
    for bucket in ("spacenet", "cubes", "unpacked"):
        fs.mkdir(bucket)
    fs.put(f"{corpus}/", "spacenet/", recursive=True, batch_size=32)
    return "s3://spacenet"


@pytest.fixture(autouse=True)
def _signed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("SPACENET_CUBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def small(aoi: str, name: str, **changes: object) -> tuple[sc.Recipe, Product]:
    recipe = sc.load_recipe(aoi)
    encoding = Encoding(chunk=16, shard=32)
    return recipe, recipe.product(name).model_copy(update={"encoding": encoding} | changes)


def planned(remote: str, endpoint: str, recipe: sc.Recipe, product: Product) -> sc.Plan:
    options = {"endpoint_url": endpoint}
    staging = locate("s3://unpacked", options)
    scenes = sc.survey(recipe, product, source=remote, source_options=options, staging=staging)
    return sc.plan(recipe, product, scenes)


def objects(endpoint: str, cube: str) -> dict[str, bytes]:
    fs, base = filesystem(endpoint), cube.removeprefix("s3://")
    return {path.removeprefix(f"{base}/"): fs.cat_file(path) for path in fs.find(base)}


PRODUCTS = {
    "strips, overviews of several levels": ("AOI_2_Vegas", "PAN", {}),
    "an archive on a shared staging place": ("AOI_1_Rio", "3-Band", {}),
    "warped": ("AOI_2_Vegas", "MUL", {"grid": TargetGrid(crs="utm", resolution=0.5)}),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_a_cube_built_on_a_cluster_equals_the_local_one_byte_for_byte(
    case, server, remote, workers
):
    aoi, name, changes = PRODUCTS[case]
    made = planned(remote, server, *small(aoi, name, **changes))
    options = {"endpoint_url": server}
    told: list[tuple[str, int, int]] = []

    here = sc.build(made, "s3://cubes/here", target_options=options, workers=2)
    with sc.connect(workers.address, worker_env=NAMES) as executor:
        there = sc.build(
            made,
            "s3://cubes/there",
            target_options=options,
            executor=executor,
            progress=lambda *each: told.append(each),
        )

    assert objects(server, there) == objects(server, here) != {}
    assert told[-1][1] == told[-1][2]
    assert len(made.units) > 3


def test_each_byte_of_an_aligned_tile_is_fetched_by_one_worker(counted, remote, workers):
    made = planned(remote, counted.url, *small("AOI_2_Vegas", "PAN"))
    counted.seen.clear()

    with sc.connect(workers.address, worker_env=NAMES) as executor:
        sc.build(
            made,
            "s3://cubes/metered",
            target_options={"endpoint_url": counted.url},
            executor=executor,
        )

    fetched = [one for one in counted.of("GET") if one.path.startswith("/spacenet")]
    needed = sum(scene.size_bytes for scene in made.scenes)
    assert needed <= sum(one.size_bytes for one in fetched) <= 1.05 * needed + 4 * 65536


def test_a_cube_is_finished_though_workers_are_killed(server, remote, workers):
    made = planned(remote, server, *small("AOI_2_Vegas", "PAN", title="killed"))
    options = {"endpoint_url": server}
    here = sc.build(made, "s3://cubes/here2", target_options=options, workers=2)
    killed: list[int] = []

    def kill_one(_stage: str, done: int, _total: int) -> None:
        if done and done % 3 == 0 and len(killed) < 2:
            killed.append(workers.pids()[0])
            os.kill(killed[-1], signal.SIGKILL)

    with sc.connect(workers.address, worker_env=NAMES) as executor:
        there = sc.build(
            made,
            "s3://cubes/there2",
            target_options=options,
            executor=executor,
            progress=kill_one,
        )

    assert len(killed) == 2
    assert objects(server, there) == objects(server, here)


def test_a_build_whose_client_was_killed_is_finished_by_the_same_command(server, remote, workers):
    recipe, product = small("AOI_2_Vegas", "PAN")
    made = planned(remote, server, recipe, product)
    program = (
        "import sys, pickle, os, signal, spacenet_cube as sc\n"
        "plan, to, options, address, names = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "def die(stage, done, total):\n"
        "    if done == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with sc.connect(address, worker_env=names) as executor:\n"
        "    sc.build(plan, to, target_options=options, executor=executor, progress=die)\n"
    )
    options = {"endpoint_url": server}
    said = (made, "s3://cubes/cut", options, workers.address, NAMES)
    cut = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, pickle.dumps(said).hex()],
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert cut.returncode == -signal.SIGKILL, cut.stderr.decode()

    kept = len(filesystem(server).find(f"cubes/cut/{made.cube_path}.build/done"))
    seen: list[tuple[str, int, int]] = []
    with sc.connect(workers.address, worker_env=NAMES) as executor:
        there = sc.build(
            made,
            "s3://cubes/cut",
            target_options=options,
            executor=executor,
            progress=lambda *each: seen.append(each),
        )
    here = sc.build(made, "s3://cubes/here3", target_options=options, workers=2)

    assert kept >= 4
    assert sum(total for stage, done, total in seen if done == 0) <= len(tasks(made)) - 4
    assert objects(server, there) == objects(server, here)
    with Client(workers.address, set_as_default=False) as client:
        plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert not [name for each in plugins.values() for name in each if "spacenet" in name]


def test_a_source_that_fails_ends_the_build_with_its_own_error(server, remote, workers):
    made = planned(remote, server, *small("AOI_2_Vegas", "MUL"))
    fs, key = filesystem(server), made.scenes[3].href.removeprefix("s3://")
    content = fs.cat_file(key)
    fs.pipe(key, content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with (
            pytest.raises(SourceError, match="has changed") as caught,
            sc.connect(workers.address, worker_env=NAMES) as executor,
        ):
            sc.build(
                made,
                "s3://cubes/broken",
                target_options={"endpoint_url": server},
                executor=executor,
            )
    finally:
        fs.pipe(key, content)

    assert caught.value.scene == made.scenes[3].id
    assert len(str(caught.value).splitlines()) == 1


def test_neither_scheduler_nor_logs_nor_tasks_hold_a_secret(server, remote, workers):
    made = planned(remote, server, *small("AOI_2_Vegas", "MUL"))
    held: list[bytes] = []

    def look(dask_scheduler: object) -> bytes:
        import gc  # noqa: PLC0415 - runs in the scheduler's process

        found = [each for each in gc.get_objects() if isinstance(each, (dict, list, tuple, set))]
        kept = [repr(each) for each in found if "canary-of" in repr(each)[:200_000]]
        state = dask_scheduler.worker_plugins  # type: ignore[attr-defined]
        return b"".join(bytes(each) for each in state.values()) + "".join(kept).encode()

    def during(_stage: str, done: int, _total: int) -> None:
        if done == 1:
            with Client(workers.address, set_as_default=False) as client:
                held.append(client.run_on_scheduler(look))

    with sc.connect(workers.address, worker_env=NAMES) as executor:
        sc.build(
            made,
            "s3://cubes/secret",
            target_options={"endpoint_url": server},
            executor=executor,
            progress=during,
        )

    assert len(held[0]) > 1000  # the plan is there, or nothing was looked at
    assert SECRET.encode() not in held[0]
    assert SECRET not in workers.log.read_text(errors="replace")


def test_tasks_of_paris_are_small_and_the_plan_goes_to_each_worker_once():
    made = paris()
    shared = Job("paris", partial(do_task, made, locate("s3://b/c")), made, versions())

    sizes = [len(dumps((partial(do_there, "paris"), task))) for task in tasks(made)]

    assert max(sizes) < 1000
    assert 100_000 < len(dumps(shared)) < 500_000


@pytest.mark.parametrize(
    "error",
    [
        CubeError("what, why, mend"),
        RecipeError("what, why, mend"),
        SourceError("what, why, mend", scene="a.tif"),
        StoreError("what, why, mend"),
        CubeExistsError("what, why, mend"),
        VerifyError("what, why, mend"),
        MissingExtraError("what, why, mend"),
    ],
)
def test_errors_of_workers_arrive_as_they_were_raised(error):
    again = loads(dumps(error))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


def test_a_worker_with_other_versions_is_refused_by_naming_them():
    job = Job("x", print, paris(), {**versions(), "zarr": "1.0"})

    with pytest.raises(StoreError, match=r"worker tcp://w has zarr .* where 1\.0 is wanted"):
        job.refuse_other_versions("tcp://w")


@pytest.mark.parametrize(
    ("address", "names", "told"),
    [
        ("tcp://10.0.0.1:8786", ["PATH"], "in the clear"),
        ("tls://10.0.0.1:8786", ["NOT_SET_ANYWHERE"], "is not set here"),
    ],
)
def test_variables_are_not_sent_in_the_clear_or_unset(address, names, told):
    with pytest.raises(RecipeError, match=told), sc.connect(address, worker_env=names):
        pass


def test_the_mirrors_of_a_worker_stay_within_their_bytes(monkeypatch, tmp_path, server, remote):
    made = planned(remote, server, *small("AOI_2_Vegas", "PAN"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    most = 3 * max(scene.size_bytes for scene in made.scenes)
    (tmp_path / "kept").mkdir()
    stage = KeptStage(made, tmp_path / "kept", limit_bytes=most)
    held = []

    with stage:
        for unit in made.units:
            with stage.using(unit):
                for piece in unit.pieces:
                    with stage.local(made.scenes[piece.scene - 1], piece.window) as copy:
                        assert Path(copy.path).stat().st_size > 0
            held.append(stage.fetched_bytes)

    assert max(held) <= most < sum(scene.size_bytes for scene in made.scenes)
    assert list((tmp_path / "kept").iterdir()) == []


def give_keys(client: Client) -> None:
    """Put credentials into the workers' own environment, as who runs a cluster does."""
    keys = {name: os.environ[name] for name in NAMES}
    client.run(exec, f"import os\nos.environ.update({keys!r})")


def test_an_executor_of_a_client_will_do(server, remote, workers):
    made = planned(remote, server, *small("AOI_2_Vegas", "MUL"))
    with Client(workers.address, set_as_default=False) as client:
        give_keys(client)
        sc.build(
            made,
            "s3://cubes/plain",
            target_options={"endpoint_url": server},
            executor=client.get_executor(),
        )
        executor = ClusterExecutor(client, NAMES)

    assert executor.worker_env == NAMES
    assert sc.open_cube(
        f"s3://cubes/plain/{made.cube_path}", storage_options={"endpoint_url": server}
    ).image.shape


@pytest.fixture(scope="module")
def cube(server: str, remote: str) -> str:
    os.environ.update(AWS_ACCESS_KEY_ID="owner", AWS_SECRET_ACCESS_KEY=SECRET)
    made = planned(remote, server, *small("AOI_2_Vegas", "MUL"))
    return sc.build(made, "s3://cubes/analysed", target_options={"endpoint_url": server})


def halves(cube: xr.Dataset) -> geopandas.GeoDataFrame:
    """West and east of the middle, along the edges of pixels."""
    rows, cols = cube.sizes["y"], cube.sizes["x"]
    corners = [(0, cols // 2), (cols // 2, cols)]
    corner = cube.rio.transform()
    shapes = [box(*(corner @ (left, rows)), *(corner @ (right, 0))) for left, right in corners]
    return geopandas.GeoDataFrame(geometry=shapes, crs=cube.rio.crs)


def test_analysis_on_a_cluster_equals_numpy_on_the_whole_array(cube, server, workers):
    options = {"endpoint_url": server}
    lazy = sc.open_cube(cube, storage_options=options)
    whole = sc.open_cube(cube, storage_options=options, chunks=None).load()
    red, nir = (whole.image.sel(band=name).values.astype("float32") for name in ("red", "nir1"))
    valid = whole.source_index.values > 0
    seen = valid & (nir + red > 0)
    expected = (nir - red)[seen] / (nir + red)[seen]

    with Client(workers.address, set_as_default=False) as client:
        give_keys(client)
        mean = client.compute(lazy.spacenet.ndvi().mean()).result()
        counts = client.compute(
            da.histogram(lazy.image.sel(band="red").data, bins=64, range=(0, 2048))[0]
        ).result()
        told = client.compute(lazy.spacenet.statistics()).result()
        zones = client.compute(lazy.spacenet.zonal(halves(whole), ("count", "mean"))).result()

    np.testing.assert_array_equal(told["count"], [valid.sum()] * whole.sizes["band"])
    np.testing.assert_allclose(told["mean"], [one[valid].mean() for one in whole.image.values])
    middle = whole.sizes["x"] // 2
    for zone, part in enumerate((slice(None, middle), slice(middle, None))):
        inside = valid[:, part]
        assert zones["nir1_count"][zone] == pytest.approx(inside.sum())
        found = whole.image.sel(band="nir1").values[:, part][inside].mean()
        assert zones["nir1_mean"][zone] == pytest.approx(found, rel=1e-6)
    assert float(mean) == pytest.approx(expected.mean(), rel=1e-5)
    np.testing.assert_array_equal(
        counts, np.histogram(whole.image.sel(band="red"), 64, (0, 2048))[0]
    )
