"""What a build takes of three workers at real unit size: ``python -m tests.bench.cluster``.

One tile of 8 bands as delivered lies on an S3 server, the cube goes there; workers have a limit
of 2 GB each.  Printed are each worker's peak memory, whether Dask paused or spilled, and bytes
fetched against those needed, for one and two threads a worker.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from distributed import Client

import spacenet_cube as sc
from tests.bench.strips import BANDS, corpus_in, write_corpus
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
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.dir) as below, moto() as server:
        home = Path(below)
        (home / "source").mkdir()
        corpus = corpus_in(home / "source", asked.size, 0, (1, 1))
        write_corpus(corpus)
        fs = filesystem(server)
        for bucket in ("source", "cubes"):
            fs.mkdir(bucket)
        fs.put_file(str(corpus.strips[0].path), "source/scene.tif")
        corpus.strips[0].path.unlink()
        found = []
        with proxy(server) as counted:
            for threads in (1, 2):
                with cluster(home, KEYS, workers=WORKERS, threads=threads) as dask:
                    found.append({"threads": threads} | _built(counted, dask, threads))
    print(json.dumps(found, indent=1))


def _built(counted: Proxy, dask: Cluster, threads: int) -> dict[str, Any]:
    options = {"endpoint_url": counted.url, "timeout_s": 120}
    recipe = sc.parse_recipe(
        "name: bench\nlicence: {spdx: CC0-1.0, attribution: nobody}\n"
        f"products: [{{name: p, sources: '*.tif', bands: [{', '.join(BANDS)}]}}]\n"
    )
    scenes = sc.survey(recipe, "p", source="s3://source", source_options=options)
    planned = sc.plan(recipe, "p", scenes)
    counted.seen.clear()
    begun = perf_counter()
    with Client(dask.address, set_as_default=False) as client:
        sc.build(
            planned,
            f"s3://cubes/{threads}",
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
            sum(one.size_bytes for one in fetched) / planned.scenes[0].size_bytes, 3
        ),
        "gets": len(fetched),
    }


if __name__ == "__main__":
    main()
