"""Addresses of schedulers that are wrong, and schedulers that die during a build."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from distributed import Client

import spacenet_cube as sc
from spacenet_cube.builds.cluster.scheduler import ANSWER_S, normalised
from spacenet_cube.errors import LostClusterError
from tests.clusters import cluster
from tests.s3_servers import free_port
from tests.torture.ground import content, deliver_all, plan_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

LIMIT_S = 10.0


@contextmanager
def closed() -> Iterator[str]:
    """A port at which nothing listens."""
    yield f"tcp://127.0.0.1:{free_port()}"


@contextmanager
def silent() -> Iterator[str]:
    """A port that accepts, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def web(scheme: str = "tcp") -> Iterator[str]:
    """A server of HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{scheme}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def hangs_up() -> Iterator[str]:
    """A port that closes each connection at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def just(address: str) -> Callable[[], object]:
    """An address that needs no server."""

    @contextmanager
    def given() -> Iterator[str]:
        yield address

    return given


@contextmanager
def worker_of_its_own() -> Iterator[str]:
    """The address of a worker in place of its scheduler's."""
    from distributed import LocalCluster  # noqa: PLC0415 - needed here alone

    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as found:
        yield found.workers[0].address


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a closed port": (closed, "connection refused|answered within"),
    "a silent socket": (silent, "answered within"),
    "a web server": (web, "answered within|HTTP|closed"),
    "a socket that hangs up": (hangs_up, "answered within|closed|reset"),
    "the dashboard": (just("http://127.0.0.1:8787"), "Dask has no scheme http://"),
    "tls without certificates": (just("tls://127.0.0.1:8786"), "needs certificates"),
    "an unknown host": (just("tcp://no-such-host.invalid:8786"), "its host is unknown"),
    "no port": (just("tcp://127.0.0.1"), "names no host and port"),
    "no port and no scheme": (just("localhost"), "names no host and port"),
    "nothing": (just(""), "names no host and port"),
    "another scheme": (just("s3://bucket/key"), "Dask has no scheme s3://"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_address_is_one_clear_line_within_ten_seconds(case):
    serve, why = WRONG[case]
    with serve() as address:  # type: ignore[attr-defined]
        start_s = time.monotonic()

        with pytest.raises(sc.StoreError, match="no Dask scheduler answers at") as caught:  # noqa: SIM117 - address first
            with sc.connect(address):
                pass

        assert time.monotonic() - start_s < LIMIT_S
    assert caught.match(why)
    assert len(str(caught.value).splitlines()) == 1


def test_the_limit_of_connect_is_kept():
    with silent() as address:
        start_s = time.monotonic()
        with pytest.raises(sc.StoreError, match="within 1 s"), sc.connect(address, timeout_s=1):
            pass

    assert time.monotonic() - start_s < LIMIT_S / 2


def test_the_address_of_a_worker_is_named():
    with (
        worker_of_its_own() as address,
        pytest.raises(sc.StoreError, match="a Worker of Dask's answers"),
        sc.connect(address),
    ):
        pass


def test_an_address_without_a_scheme_sends_no_secret_in_the_clear():
    assert normalised("10.0.0.1:8786") == "tcp://10.0.0.1:8786"
    with (
        pytest.raises(sc.RecipeError, match="in the clear"),
        sc.connect("10.0.0.1:8786", worker_env=["PATH"]),
    ):
        pass


def test_the_command_line_says_the_same(tmp_path):
    deliver_all(tmp_path / "source")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"name": "AOI"}))
    command = [sys.executable, "-m", "spacenet_cube", "build", str(recipe)]
    with silent() as address:
        ended = subprocess.run(
            [*command, "--to", str(tmp_path / "out"), "--scheduler", address],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert ended.returncode == 1
    assert ended.stderr.startswith("spacenet-cube: no Dask scheduler answers at")
    assert f"within {ANSWER_S:g} s" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_scheduler_that_dies_is_named_and_the_same_command_continues(tmp_path):
    plan = plan_of(deliver_all(tmp_path / "source"))
    wanted = content(sc.build(plan, tmp_path / "whole"))
    cube = tmp_path / "out" / plan.cube_path
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()

    def kill(stage: str, done: int, _total: int) -> None:
        if stage == "units" and done == 2:
            with Client(executor._client.scheduler.address, set_as_default=False) as client:  # noqa: SLF001
                number = client.run_on_scheduler(os.getpid)
            os.kill(number, signal.SIGKILL)

    with (
        cluster(tmp_path / "first", {}, workers=1) as first,
        pytest.raises(LostClusterError, match=r"scheduler at tcp://.* was lost during the build"),
        sc.connect(first.address) as executor,
    ):
        sc.build(plan, tmp_path / "out", executor=executor, progress=kill)

    found = sc.build_status(cube)
    assert found.failed == {}
    assert found.levels["native"].done >= 2
    with cluster(tmp_path / "second", {}, workers=1) as second, sc.connect(second.address) as more:
        built = sc.build(plan, tmp_path / "out", executor=more)
    assert content(built) == wanted


def test_an_error_of_a_workers_system_is_not_told_as_a_lost_scheduler(tmp_path, monkeypatch):
    plan = plan_of(deliver_all(tmp_path / "source"))

    def refuse(*_given: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied", "/scratch")

    monkeypatch.setattr("spacenet_cube.builds.build.do_task", refuse)
    with (
        cluster(tmp_path, {}, workers=1) as one,
        sc.connect(one.address) as executor,
        pytest.raises(
            sc.StoreError, match=r"worker tcp://.* could not do its task: PermissionError.*/scratch"
        ),
    ):
        sc.build(plan, tmp_path / "out", executor=executor)
