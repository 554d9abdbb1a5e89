"""Arenas: hostile input tried in a process of its own, which is watched and may be killed.

A trial is charged with what it raises, its processor time, its memory, and every file or
address outside its own folder that it touches.  Python tells of those by audit events,
GDAL's and PROJ's own code by strace, where that is there.
"""

import multiprocessing
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from time import process_time, sleep
from typing import Any

import spacenet_cube

LIMIT_S = 5.0
LIMIT_MB = 500.0
_KILL_S = 60.0
_ATTACH_TURNS = 600
_LURES = (".aux.xml", ".ovr", ".msk", ".tfw", ".vrt")
_WATCHED = ("-f", "-qq", "-e", "trace=open,openat,connect")
_REPOSITORY = Path(spacenet_cube.__file__).parents[1]
_HARMLESS = ("/proc/", "/sys/", "/dev/", "/usr/", "/lib", "/etc/ld.so", "/etc/localtime")
_WHOSE = ("/etc/nsswitch.conf", "/etc/passwd")
"""Where the C library looks up the name of the user, which a builder's lock tells."""
_SPAWNS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"}
_NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"}
_OPENED = re.compile(r'open(?:at)?\((?:AT_FDCWD, |\d+, )?"([^"]*)"')
_CONNECTED = re.compile(r"connect\(\d+, \{sa_family=AF_INET6?, (.*?)\}")

Trial = Callable[[Any, Path], str]
"""Tries one input in a folder; gives the name of a `CubeError` that came, or ``fine``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one trial came to."""

    ended: str
    """``fine``, the class of a `CubeError`, or ``crash: ...``, ``hang``, ``died``."""

    cpu_s: float = 0.0
    """Processor time."""

    peak_mb: float = 0.0
    """Most memory the process held during it."""

    foreign: tuple[str, ...] = ()
    """Files and addresses outside of what it was given."""

    @property
    def fault(self) -> str | None:
        """What is wrong with it, if anything."""
        if self.ended.startswith(("crash", "hang", "died", "wrong")):
            return self.ended
        if self.cpu_s > LIMIT_S:
            return f"took {self.cpu_s:.1f} s"
        if self.peak_mb > LIMIT_MB:
            return f"held {self.peak_mb:.0f} MB"
        return f"touched {self.foreign[0]}" if self.foreign else None


@dataclass(slots=True)
class Arena:
    """A process that tries inputs one after another."""

    module: str
    """Module that has ``trial``, and is imported in the process."""

    folder: Path
    """All that trials may touch."""

    trace: bool = False
    """Whether strace watches as well."""

    traced: list[str] = field(default_factory=list)
    """What strace saw outside, of the whole process."""

    _process: Any = None
    _pipe: Connection | None = None
    _strace: "subprocess.Popen[bytes] | None" = None

    def run(self, payload: object) -> Outcome:
        """Try one input."""
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        self._pipe.send(payload)
        try:
            if self._pipe.poll(_KILL_S):
                found: Outcome = self._pipe.recv()
                return found
        except (EOFError, ConnectionError):
            self.stop()
            return Outcome("died")
        self.stop()
        return Outcome("hang")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self.module, self.folder), daemon=True
        )
        self._process.start()
        theirs.close()
        assert self._pipe.recv() == "ready"
        strace = shutil.which("strace")
        if self.trace and strace:
            self._strace = subprocess.Popen(
                [strace, *_WATCHED, "-o", self._log, "-p", str(self._process.pid)],
                stderr=subprocess.DEVNULL,
            )
            # The first trial is not to begin before it is watched.
            status = Path(f"/proc/{self._process.pid}/status")
            for _ in range(_ATTACH_TURNS):
                if not re.search(r"TracerPid:\s+0\n", status.read_text()):
                    return
                sleep(0.05)
            raise AssertionError("strace cannot watch here")

    @property
    def is_traced(self) -> bool:
        """Whether strace watches at this moment."""
        return self._strace is not None

    def opened(self, path: Path) -> int:
        """How often strace saw a file opened outside."""
        return self.traced.count(str(path))

    @property
    def _log(self) -> str:
        return str(self.folder.parent / f"{self.folder.name}.strace")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._strace is not None:
            self._strace.wait()
            self.traced += list(_strangers(Path(self._log), self.folder))
        self._process = self._pipe = self._strace = None


def _strangers(log: Path, folder: Path) -> Iterator[str]:
    for line in log.read_text(errors="replace").splitlines():
        address, name = _CONNECTED.search(line), _OPENED.search(line)
        if address:
            yield address[1]
        elif name and (_is_foreign(name[1], folder) or name[1].endswith(_LURES)):
            yield name[1]


def _is_foreign(name: str, folder: Path) -> bool:
    if not name.startswith("/"):
        return False
    own = (str(folder), sys.prefix, sys.base_prefix, str(_REPOSITORY))
    # GDAL looks for its user's settings once, when it starts.
    return not (
        name.startswith((*own, *_HARMLESS)) or name in _WHOSE or name.endswith("/.gdal/gdalrc")
    )


def _serve(pipe: Connection, module: str, folder: Path) -> None:
    """Try what comes through the pipe until the process is killed."""
    from spacenet_cube.errors import CubeError  # noqa: PLC0415 - in the process that is watched

    trial: Trial = import_module(module).trial
    seen: list[str] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], (str, bytes)):
            name = args[0].decode(errors="replace") if isinstance(args[0], bytes) else args[0]
            if _is_foreign(name, folder):
                seen.append(name)
        elif event in _SPAWNS or (event in _NETWORK and "AF_UNIX" not in repr(args[0])):
            seen.append(f"{event} {args[1:]}"[:120])

    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    tempfile.tempdir = str(scratch)
    sys.addaudithook(hook)
    pipe.send("ready")
    while True:
        payload = pipe.recv()
        seen.clear()
        Path("/proc/self/clear_refs").write_text("5")
        before = process_time()
        try:
            ended = trial(payload, folder)
        except CubeError as error:
            ended = type(error).__name__
            if not str(error) or len(str(error)) > 20_000:
                ended = f"crash: a message of {len(str(error))} characters"
        except BaseException as error:  # noqa: BLE001 - whatever comes is what is looked for
            ended = f"crash: {type(error).__name__}: {str(error)[:200]}"
        pipe.send(Outcome(ended, process_time() - before, _peak_mb(), tuple(seen)))


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


@contextmanager
def arena(module: str, folder: Path, *, trace: bool = False) -> Iterator[Arena]:
    """A process to try inputs in, which is gone afterwards."""
    held = Arena(module, folder, trace)
    try:
        yield held
    finally:
        held.stop()


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How trials ended, and the most that any took."""
    ended: dict[str, int] = {}
    for each in outcomes:
        kind = each.ended.partition(":")[0]
        ended[kind] = ended.get(kind, 0) + 1
    return {
        "ended": ended,
        "most_cpu_s": round(max(each.cpu_s for each in outcomes), 2),
        "most_mb": round(max(each.peak_mb for each in outcomes)),
    }
