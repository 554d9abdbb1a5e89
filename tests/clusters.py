"""A Dask cluster for tests: a scheduler and workers as processes on this machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from distributed import Client

from tests.s3_servers import free_port


@dataclass
class Cluster:
    """Where a cluster is, and how its workers are ended."""

    address: str
    log: Path
    restart: Callable[[], None]
    killed: list[int] = field(default_factory=list)

    def workers(self) -> list[str]:
        """Addresses of the workers that are there."""
        with Client(self.address, set_as_default=False) as client:
            return sorted(client.nthreads())

    def pids(self) -> list[int]:
        """Process ids of the workers that are there."""
        with Client(self.address, set_as_default=False) as client:
            return sorted(client.run(os.getpid).values())

    @contextmanager
    def killing(self, every_s: float) -> Iterator[list[int]]:
        """Kill one worker after another, but never the last; their nannies start new ones."""
        over = threading.Event()

        def kill() -> None:
            with Client(self.address, set_as_default=False) as client:
                turn = 0
                while not over.wait(every_s):
                    there = sorted(client.run(os.getpid, on_error="ignore").values())
                    if len(there) > 1:
                        os.kill(there[turn % len(there)], signal.SIGKILL)
                        self.killed.append(there[turn % len(there)])
                        turn += 1

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield self.killed
        finally:
            over.set()
            thread.join()


@contextmanager
def cluster(
    home: Path,
    env: Mapping[str, str],
    *,
    workers: int = 3,
    threads: int = 1,
    memory: str = "2GB",
    more: Sequence[Sequence[str]] = (),
) -> Iterator[Cluster]:
    """A scheduler and workers, each in a process of its own with a nanny.

    Their environment is this one's without AWS's variables, and with ``env``.  ``more`` are
    arguments of further workers, one each.
    """
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    log = home / "cluster.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    places = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = ["scheduler", "--port", str(port), *places]
    size = ["--nthreads", str(threads), "--memory-limit", memory]
    working = ["worker", address, *size, *places, "--local-directory", str(home)]
    commands = [scheduler, [*working, "--nworkers", str(workers)], *([*working, *m] for m in more)]
    running: list[subprocess.Popen[bytes]] = []

    def end() -> None:
        while running:
            _end(running.pop())

    def restart() -> None:
        end()
        with log.open("ab") as out:
            running.extend(_started(command, {**clean, **env}, out) for command in commands)

    try:
        restart()
        with Client(address, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(workers + len(more), timeout=120)
        yield Cluster(address, log, restart)
    finally:
        end()


def _started(command: list[str], env: Mapping[str, str], out: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "dask", *command],
        env=dict(env),
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    process.terminate()
    until = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
