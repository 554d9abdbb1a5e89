"""A disk that is full, or fails: the build says so, nothing opens, and the same command mends it.

``ENOSPC`` comes from a small file system in memory, for the target and for the scratch folder
of a remote source.  ``EIO`` comes from ``strace``, which answers system calls of the build
instead of the kernel: the n-th write, synchronisation or renaming, and every read of one source.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import spacenet_cube as sc
from tests.s3_servers import filesystem, moto
from tests.torture.score import Score

_TRIES = 12
_EARLY = 0.5
_TELLS = re.compile(r"write\([012], ")
"""What is said on a terminal is not on a disk; who cannot say it has no way to name a fault."""
_KIB = 1 << 10
_RECIPE = """
name: ground
source: {source}
licence: {{spdx: CC0-1.0, attribution: nobody}}
products:
  - name: MUL
    sources: "**/MUL/*P001.TIF"
    bands: [a, b, c, d, e, f, g, h]
    encoding: {{chunk: 64, shard: 64}}
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every trial shares."""

    folder: Path
    """Where everything lies."""

    server: str
    """Address of an S3 server that holds the sources too."""

    clean: dict[str, bytes]
    """Files of the cube built from the folder."""

    clean_remote: dict[str, bytes]
    """Files of the cube built from the server."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a build ended."""

    code: int
    """What the command left with."""

    said: str
    """What it said."""

    fired: bool
    """Whether the disk failed it."""


def missing() -> list[str]:
    """What the trials need, and this machine lacks."""
    lacking = [] if shutil.which("strace") else ["strace"]
    mounted = subprocess.run(
        [_path("unshare"), "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
        check=False,
        capture_output=True,
    )
    return lacking + (["the right to mount"] if mounted.returncode else [])


def _path(program: str) -> str:
    return shutil.which(program) or program


def run(n: int, seed: int) -> Score:
    """Let the disk fail n builds.

    Parameters
    ----------
    n
        Builds.
    seed
        Of the moments.

    Returns
    -------
    Score
        A build is good if it named the fault and left nothing that opens, or survived it with
        the right cube; and if building again gave the right cube.
    """
    failures: list[str] = []
    fired: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, moto() as server:
        bench = _bench(Path(name), server)
        for number in range(n):
            kind = list(TRIALS)[number % len(TRIALS)]
            told = _trial(bench, kind, random.Random(f"{seed} {number}"))
            fired[kind] += told != "no fault fired"
            failures += [f"build {number}, {kind}: {told}"] if told else []
    said = "a disk that is full or fails: never silent, and the same command goes on"
    figures = {"fired": dict(sorted(fired.items()))}
    return Score("disk", said, n - len(failures), n, seed, figures, tuple(failures))


def _bench(folder: Path, server: str) -> Bench:
    sc.write_sample(folder / "corpus", aois=["AOI_2_Vegas"], products=["MUL"], tile_size=256)
    fs = filesystem(server)
    fs.mkdir("spacenet")
    fs.put(f"{folder}/corpus/", "spacenet/", recursive=True, batch_size=8)
    (folder / "local.yaml").write_text(_RECIPE.format(source=folder / "corpus"))
    (folder / "remote.yaml").write_text(_RECIPE.format(source="s3://spacenet"))
    found = Bench(folder, server, {}, {})
    for where, files in (("local", found.clean), ("remote", found.clean_remote)):
        ended = _end(found, _command(found, where, folder / "clean" / where))
        assert ended.code == 0, ended.said
        files.update(_files(folder / "clean" / where))
    return found


def _command(bench: Bench, source: str, target: Path, scratch: Path | None = None) -> list[str]:
    command = [sys.executable, "-m", "spacenet_cube", "build", str(bench.folder / f"{source}.yaml")]
    command += ["--to", str(target), "--workers", "2"]
    if source == "remote":
        command += ["--source-option", f"endpoint_url={bench.server}"]
    return command + (["--scratch", str(scratch)] if scratch else [])


def _end(bench: Bench, command: list[str], traced: Path | None = None) -> Ended:
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ACCESS_KEY_ID": "owner",
        "AWS_SECRET_ACCESS_KEY": "ownersecret",
        "SPACENET_CUBE_CACHE": str(bench.folder / "cache"),
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    said = done.stdout + done.stderr
    injected = traced is not None and any(
        "(INJECTED)" in line and not _TELLS.search(line)
        for line in traced.read_text(errors="replace").splitlines()
    )
    return Ended(done.returncode, said, injected or "No space left" in said)


@contextmanager
def _small_disk(where: Path, size_bytes: int) -> Iterator[Path]:
    """A file system in memory that is soon full."""
    where.mkdir(parents=True, exist_ok=True)
    size = ["-o", f"size={size_bytes}", "none", str(where)]
    subprocess.run([_path("mount"), "-t", "tmpfs", *size], check=True)
    try:
        yield where
    finally:
        subprocess.run([_path("umount"), "-l", str(where)], check=True)


def _full_target(bench: Bench, chance: random.Random) -> Ended:
    """The target's disk fills up after a part of the cube."""
    target = bench.folder / "full"
    size_bytes = chance.randrange(64 * _KIB, _size_bytes(bench.clean))
    with _small_disk(target, size_bytes):
        ended = _end(bench, _command(bench, "local", target))
        if not _opens(target):
            # Room is made: what was built goes on where it was.
            remounted = [_path("mount"), "-o", "remount,size=1g", str(target)]
            subprocess.run(remounted, check=True)
            again = _end(bench, _command(bench, "local", target))
            same = _files(target) == bench.clean
            if again.code or not same:
                return Ended(
                    0, f"building again left {again.code} and {same}: {again.said}", fired=True
                )
    return ended


def _full_scratch(bench: Bench, chance: random.Random) -> Ended:
    """The disk that remote scenes are mirrored on fills up."""
    scratch, target = bench.folder / "scratch", bench.folder / "target"
    with _small_disk(scratch, chance.randrange(8 * _KIB, 60 * _KIB)):
        ended = _end(bench, _command(bench, "remote", target, scratch))
        left = [str(path) for path in scratch.rglob("*") if path.is_file()]
    return Ended(0, f"left {left} behind", fired=True) if left else ended


def _failing(call: str) -> Callable[[Bench, random.Random], Ended]:
    """One system call of a kind fails."""

    def trial(bench: Bench, chance: random.Random) -> Ended:
        target, traced = bench.folder / "target", bench.folder / "trace"
        most = _MOMENTS[call]
        at = int(most ** chance.random()) if chance.random() < _EARLY else chance.randint(1, most)
        how = ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={at}"]
        command = [_path("strace"), "-f", "--seccomp-bpf", "-o", str(traced), *how]
        return _end(bench, [*command, *_command(bench, "local", target)], traced)

    return trial


def _unreadable_source(bench: Bench, chance: random.Random) -> Ended:
    """One source cannot be read once its header has been."""
    target, traced = bench.folder / "target", bench.folder / "trace"
    source = chance.choice(sorted((bench.folder / "corpus").rglob("*P001.TIF")))
    calls = "read,pread64"
    how = ["-P", str(source), "-e", f"inject={calls}:error=EIO:when={chance.randrange(1, 12)}+"]
    command = [_path("strace"), "-f", "-o", str(traced), "-e", f"trace={calls}", *how]
    return _end(bench, [*command, *_command(bench, "local", target)], traced)


_MOMENTS = {"write": 120, "fsync": 20, "rename,renameat,renameat2": 120}
"""Up to which call of a build one fails; where there are not so many, others are drawn."""

TRIALS: dict[str, Callable[[Bench, random.Random], Ended]] = {
    "ENOSPC target": _full_target,
    "EIO write": _failing("write"),
    "ENOSPC scratch": _full_scratch,
    "EIO rename": _failing("rename,renameat,renameat2"),
    "EIO fsync": _failing("fsync"),
    "EIO source": _unreadable_source,
}
"""What fails, and how it is made to."""


def _trial(bench: Bench, kind: str, chance: random.Random) -> str | None:
    """What went wrong, if anything did."""
    remote, target = kind == "ENOSPC scratch", bench.folder / "target"
    clean = bench.clean_remote if remote else bench.clean
    for _ in range(_TRIES):
        shutil.rmtree(target, ignore_errors=True)
        ended = TRIALS[kind](bench, chance)
        if ended.fired:
            break
    else:
        return "no fault fired"
    if kind == "ENOSPC target":
        return None if ended.code else ended.said
    if ended.code == 0:
        return None if _files(target) == clean else f"silently wrong: {ended.said[-300:]}"
    wrong = _unclear(ended, target)
    again = _end(bench, _command(bench, "remote" if remote else "local", target))
    if again.code:
        return wrong or f"cannot be built again: {again.said[-300:]}"
    return wrong or (None if _files(target) == clean else "built again, the cube differs")


def _unclear(ended: Ended, target: Path) -> str | None:
    """What is wrong with how a build failed."""
    if _opens(target):
        return "something is published"
    if ended.code not in {1, 2} or "Traceback" in ended.said:
        return f"left {ended.code}: {ended.said[-300:]}"
    if not re.search(r"No space left|Input/output|I/O error|[Rr]ead|cannot", ended.said):
        return f"does not name the fault: {ended.said[-300:]}"
    partial = [str(path) for path in target.rglob("*.partial")]
    return f"left {partial}" if partial else None


def _opens(target: Path) -> bool:
    return any(path.parent.suffix == ".zarr" for path in target.rglob("zarr.json"))


def _files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _size_bytes(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))
