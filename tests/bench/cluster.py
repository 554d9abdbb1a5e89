"""What a build takes of three workers at real unit size: ``python -m tests.bench.cluster``.

Tiles of 8 bands as delivered lie on an S3 server, the cube goes there; workers have a limit of
2 GB each.  Printed are each worker's peak memory, whether Dask paused or spilled, and bytes
fetched against those needed: for one tile at real unit size, which three workers must share,
with one and two threads a worker; and for six smaller tiles of 16 small units each.
"""

import argparse
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from distributed import Client

import spacenet_cube as sc
from tests.bench.recipe import PRODUCT, strips_recipe
from tests.bench.strips import corpus_in, write_corpus
from tests.clusters import Cluster, cluster
from tests.s3_servers import Proxy, filesystem, moto, proxy

KEYS = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "ownersecret"}
WORKERS = 3


def peak_bytes() -> int:
    """Peak resident memory of the process this runs in."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024


def main() -> None:
    """Build with one and with two threads a worker, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=__doc__)
    parser.add_argument("--size", type=int, default=8192, help="edge of the tile, pixels")
    parser.add_argument("--dir", type=Path, help="a folder with 6 GB free")
    asked = parser.parse_args()
    os.environ |= KEYS
    cases = [
        Case(asked.size, (1, 1), 1, 2048),
        Case(asked.size, (1, 1), 2, 2048),
        Case(asked.size // 4, (2, 3), 1, asked.size // 32),
    ]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.dir) as below, moto() as server:
        filesystem(server).mkdir("cubes")
        with proxy(server) as counted:
            found = [
                _tried(case, number, Path(below), counted) for number, case in enumerate(cases)
            ]
    print(json.dumps(found, indent=1))


@dataclass(frozen=True, slots=True)
class Case:
    """What is built, on what."""

    size: int
    """Edge of a tile, pixels."""

    grid_yx: tuple[int, int]
    """Tiles."""

    threads: int
    """Threads a worker."""

    shard: int
    """Edge of a shard, pixels; of a unit it is twice that."""


def _tried(case: Case, number: int, below: Path, counted: Proxy) -> dict[str, Any]:
    home = below / f"case{number}"
    (home / "source").mkdir(parents=True)
    corpus = corpus_in(home / "source", case.size, 0, case.grid_yx)
    write_corpus(corpus)
    fs = filesystem(counted.url)
    fs.mkdir(f"source{number}")
    for strip in corpus.strips:
        fs.put_file(str(strip.path), f"source{number}/{strip.path.name}")
        strip.path.unlink()
    with cluster(home, KEYS, workers=WORKERS, threads=case.threads) as dask:
        return asdict(case) | _built(case, number, counted, dask)


def _built(case: Case, number: int, counted: Proxy, dask: Cluster) -> dict[str, Any]:
    # As over https, which vouches for bytes; over plain http they are read twice.
    options = {"endpoint_url": counted.url, "timeout_s": 120, "read_twice": False}
    recipe = strips_recipe(encoding={"chunk": case.shard // 4, "shard": case.shard})
    scenes = sc.survey(recipe, PRODUCT, source=f"s3://source{number}", source_options=options)
    planned = sc.plan(recipe, PRODUCT, scenes)
    counted.seen.clear()
    begun = perf_counter()
    with Client(dask.address, set_as_default=False) as client:
        sc.build(
            planned,
            f"s3://cubes/{number}",
            target_options=options,
            executor=client.get_executor(),
        )
        seconds = perf_counter() - begun
        peaks = client.run(peak_bytes)
    log = dask.log.read_text(errors="replace")
    fetched = [one for one in counted.of("GET") if one.path.startswith("/source")]
    return {
        "units": len(planned.units),
        "seconds": round(seconds, 1),
        "peak_worker_gb": [round(each / 1e9, 2) for each in peaks.values()],
        "planned_thread_gb": round(planned.peak_memory_bytes(1) / 1e9, 2),
        "paused_or_spilled": sum("aus" in line and "memory" in line for line in log.splitlines()),
        "fetched_over_needed": round(
            sum(one.size_bytes for one in fetched)
            / sum(scene.size_bytes for scene in planned.scenes),
            3,
        ),
        "gets": len(fetched),
    }


if __name__ == "__main__":
    main()
