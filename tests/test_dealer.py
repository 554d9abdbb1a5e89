"""Builds on clusters whose workers die, fail, are chosen, or whose scheduler is started again."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed import Client, get_worker
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.builds.cluster.trust import STRIKES, Trust
from spacenet_cube.builds.unit.task import do_task
from spacenet_cube.errors import LostClusterError
from tests.clusters import Cluster, cluster
from tests.torture.ground import content, deliver_all, plan_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

LIMIT_S = 120


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deliver_all(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wanted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return content(sc.build(plan_of(source), tmp_path_factory.mktemp("whole")))


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two plain workers and one that offers a resource."""
    home = tmp_path_factory.mktemp("cluster")
    more = [["--resources", "TILES=1", "--name", "special"]]
    with cluster(home, {}, workers=2, more=more) as found:
        yield found


@pytest.fixture
def done_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """How many tasks each worker has done, by its address."""
    log = str(tmp_path / "done")

    def do(*given: object, **more: object) -> object:
        found = do_task(*given, **more)  # type: ignore[arg-type]
        time.sleep(0.1)
        with open(log, "a") as file:  # noqa: PTH123 - runs elsewhere
            file.write(f"{get_worker().address}\n")
        return found

    monkeypatch.setattr("spacenet_cube.builds.build.do_task", do)
    return lambda: Counter(Path(log).read_text().split())


def at(turn: int, act: Callable[[], object]) -> Callable[[str, int, int], None]:
    """Do something once, when so many units are done."""
    acted: list[bool] = []

    def progress(stage: str, done: int, _total: int) -> None:
        if stage == "units" and done == turn and not acted:
            acted.append(True)
            act()

    return progress


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 5), st.sampled_from("abcd")),
        max_size=30,
    ),
    st.sets(st.sampled_from("abcd"), min_size=1),
)
def test_some_worker_is_always_trusted(events, there):
    trust = Trust()

    for succeeded, task, worker in events:
        if succeeded:
            trust.succeeded(task)
        else:
            trust.failed(task, worker)

    assert set(trust.among(there)) <= there
    assert trust.among(there)


def test_a_worker_at_fault_is_trusted_no_more_and_one_without_fault_again():
    trust = Trust()

    for task in range(STRIKES):
        trust.failed(task, "a")
        assert trust.among("ab") == ["b"]
        trust.succeeded(task)

    assert trust.among("ab") == ["b"]
    assert trust.among("a") == ["a"]


def test_a_build_continues_after_all_workers_died_at_once(source, wanted, workers, tmp_path):
    def kill() -> None:
        for number in workers.pids():
            os.kill(number, signal.SIGKILL)

    with sc.connect(workers.address) as executor:
        built = sc.build(plan_of(source), tmp_path, executor=executor, progress=at(2, kill))

    assert content(built) == wanted


def blind() -> None:
    """Let a worker see no source, and count how often it looks for one."""
    import rasterio  # noqa: PLC0415 - runs elsewhere

    def refuse(path: str, *_given: object, **_more: object) -> None:
        rasterio.looked += 1
        message = f"{path}: No such file or directory"
        raise rasterio.errors.RasterioIOError(message)

    rasterio.looked, rasterio.seeing, rasterio.open = 0, rasterio.open, refuse


def seeing() -> int:
    """Undo `blind`; how often the worker looked."""
    import rasterio  # noqa: PLC0415 - runs elsewhere

    rasterio.open = rasterio.seeing
    return int(rasterio.looked)


def test_a_worker_that_does_not_see_the_source_ends_no_build(source, wanted, workers, tmp_path):
    bad = workers.workers()[0]
    with Client(workers.address, set_as_default=False) as client:
        client.run(blind, workers=[bad])
        try:
            with sc.connect(workers.address) as executor:
                built = sc.build(plan_of(source), tmp_path, executor=executor)
        finally:
            looked = client.run(seeing, workers=[bad])[bad]

    assert content(built) == wanted
    assert 1 <= looked <= 2 * 4  # what it had when it failed first, each unit of up to four scenes


def test_what_fails_on_two_workers_ends_a_build_and_names_them(source, workers, tmp_path):
    with Client(workers.address, set_as_default=False) as client:
        client.run(blind)
        try:
            with (
                sc.connect(workers.address) as executor,
                pytest.raises(
                    sc.SourceError, match=r"\(on worker tcp://[\d.:]+ and on tcp://[\d.:]+\)$"
                ),
            ):
                sc.build(plan_of(source), tmp_path, executor=executor)
        finally:
            client.run(seeing)


def test_one_plan_is_built_to_two_places_at_once_on_one_cluster(source, wanted, workers, tmp_path):
    plan, both = plan_of(source), threading.Barrier(2, timeout=LIMIT_S)

    def build(name: str) -> str:
        with sc.connect(workers.address) as executor:
            return sc.build(plan, tmp_path / name, executor=executor, progress=at(1, both.wait))

    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(build, ("here", "there")))

    assert [content(one) for one in built] == [wanted, wanted]


def test_a_scheduler_that_is_started_again_with_new_workers_is_joined(source, wanted, tmp_path):
    (tmp_path / "cluster").mkdir()
    with (
        cluster(tmp_path / "cluster", {}, workers=2) as found,
        sc.connect(found.address) as executor,
    ):
        built = sc.build(
            plan_of(source), tmp_path, executor=executor, progress=at(2, found.restart)
        )

    assert content(built) == wanted


def test_a_client_that_is_closed_during_a_build_ends_it(source, workers, tmp_path):
    with Client(workers.address, set_as_default=False) as client:
        progress = at(2, client.close)
        with pytest.raises(LostClusterError, match="the client is closed"):
            sc.build(plan_of(source), tmp_path, executor=client.get_executor(), progress=progress)

    found = sc.build_status(tmp_path / plan_of(source).cube_path)
    assert found.failed == {}


def test_only_workers_that_the_executor_names_do_tasks(source, wanted, workers, tmp_path, done_by):
    mine = workers.workers()[:1]
    with Client(workers.address, set_as_default=False) as client:
        built = sc.build(
            plan_of(source), tmp_path / "out", executor=client.get_executor(workers=mine)
        )

    assert content(built) == wanted
    assert list(done_by()) == mine


@pytest.mark.parametrize(
    "options",
    [{"resources": {"TILES": 1}}, {"workers": "special"}, {"workers": ["special"], "pure": True}],
)
def test_only_workers_that_fit_the_executors_options_do_tasks(
    options, source, wanted, workers, tmp_path, done_by
):
    with Client(workers.address, set_as_default=False) as client:
        known = client.scheduler_info(n_workers=-1)["workers"].items()
        special = [address for address, one in known if one["name"] == "special"]
        built = sc.build(plan_of(source), tmp_path / "out", executor=client.get_executor(**options))

    assert content(built) == wanted
    assert list(done_by()) == special


@pytest.mark.parametrize("options", [{"pure": True}, {"retries": 2}, {"allow_other_workers": True}])
def test_every_other_option_of_an_executor_is_taken(options, source, wanted, workers, tmp_path):
    with Client(workers.address, set_as_default=False) as client:
        built = sc.build(plan_of(source), tmp_path, executor=client.get_executor(**options))

    assert content(built) == wanted


def test_an_error_in_sending_ends_a_build(source, workers, tmp_path):
    with Client(workers.address, set_as_default=False) as client:
        executor = client.get_executor(resources={"TILES": "many"})
        with pytest.raises(TypeError):
            sc.build(plan_of(source), tmp_path, executor=executor)
