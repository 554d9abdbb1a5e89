# ruff: noqa: PLC0415 - a contender imports its own libraries alone
"""Analysis over S3, side by side: our cube against the source GeoTIFFs and COGs of them.

``python -m tests.bench.analysis`` starts a server (Ceph where it is installed, else moto), puts
two tiles there as delivered, as COGs and as our cube, and lets each contender compute the same
in fresh processes, in turn: the mean NDVI of the area, and random chips of 512 x 512 pixels.
Results are compared before any time is told.  Bytes are counted in a pass of their own, behind
a proxy, which slows everybody down.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from rasterio.shutil import copy as raster_copy

from tests.bench.recipe import PRODUCT, strips_recipe
from tests.bench.strips import BANDS, Corpus, corpus_in, transform_at, write_corpus
from tests.s3_servers import ceph, filesystem, missing_ceph, moto, proxy

WORKERS = 2
CHIP_PX = 512
SEED = 7
RED, NIR = BANDS.index("red"), BANDS.index("nir1")
CONTENDERS = ("ours", "odc-stac on COG", "odc-stac on strips", "rioxarray on COG")
CUBE = "s3://bench/cubes/bench/p.zarr"

GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "65536",
    "CPL_VSIL_CURL_CHUNK_SIZE": "1048576",
    "CPL_VSIL_CURL_CACHE_SIZE": "268435456",
    "VSI_CACHE": "TRUE",
    "GDAL_CACHEMAX": "512",
    "AWS_HTTPS": "NO",
    "AWS_VIRTUAL_HOSTING": "FALSE",
}
"""What the peers are tuned with; titiler's and odc-stac's pages recommend the first five."""


def chip_corners(size: int, count: int) -> list[tuple[int, int, int]]:
    """Tile, row and column of random chips, each inside one tile, which spares peers a mosaic."""
    rng = np.random.default_rng(SEED)
    places = rng.integers(0, size - CHIP_PX, (count, 2))
    tiles = rng.integers(0, 2, count)
    return [(int(t), int(r), int(c)) for t, (r, c) in zip(tiles, places, strict=True)]


def _ndvi(red: Any, nir: Any) -> Any:
    """Sum and count over valid pixels, of lazy or real arrays."""
    red, nir = red.astype("float32"), nir.astype("float32")
    seen = (red + nir) > 0
    value = np.where(seen, (nir - red) / np.where(seen, nir + red, 1), 0)
    return value.sum(dtype="float64"), seen.sum()


def ours_ndvi(_corpus: Corpus) -> float:
    import dask

    import spacenet_cube as sc

    cube = sc.open_cube(CUBE)
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        return float(cube.spacenet.ndvi().mean(dtype="float64"))


def ours_chips(corpus: Corpus, count: int) -> str:
    import spacenet_cube as sc

    image = sc.open_cube(CUBE, chunks=None).image

    def chip(place: tuple[int, int, int]) -> bytes:
        tile, row, col = place
        left = corpus.strips[tile].col + col
        found = image[:, row : row + CHIP_PX, left : left + CHIP_PX].to_numpy()
        return hashlib.sha256(found.tobytes()).digest()

    return _digest(corpus, count, chip)


def _digest(corpus: Corpus, count: int, chip: Any) -> str:
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = pool.map(chip, chip_corners(corpus.strips[0].size, count))
        return hashlib.sha256(b"".join(parts)).hexdigest()


def odc_ndvi(corpus: Corpus, suffix: str) -> float:
    import dask
    import odc.stac
    from dask.base import compute
    from odc.geo.geobox import GeoBox

    from tests.bench import peers

    items = []
    described = {"raster:bands": [{"data_type": "uint16", "nodata": 0} for _ in BANDS]}
    for strip in corpus.strips:
        item = peers._item(strip, **described)  # noqa: SLF001 - the same item as in the other bench
        item.assets["data"].href = _href(strip.path, suffix)
        items.append(item)
    config = {
        peers.COLLECTION: {
            "assets": {"*": {"data_type": "uint16", "nodata": 0}},
            "aliases": {band: ("data", k) for k, band in enumerate(BANDS, start=1)},
        }
    }
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        loaded = odc.stac.load(
            items,
            bands=["red", "nir1"],
            geobox=GeoBox(corpus.shape_yx, corpus.transform, "EPSG:4326"),
            chunks={"y": 2048, "x": 2048},
            stac_cfg=config,
        ).isel(time=0)
        total, seen = compute(*_ndvi(loaded["red"].data, loaded["nir1"].data))
    return float(total / seen)


def rioxarray_ndvi(corpus: Corpus, suffix: str) -> float:
    import dask
    import rioxarray
    from dask.base import compute

    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        parts = []
        for strip in corpus.strips:
            image = rioxarray.open_rasterio(
                _href(strip.path, suffix), chunks={"y": 2048, "x": 2048}, lock=False
            )
            parts.append(_ndvi(image[RED].data, image[NIR].data))
        done = compute(*parts)
    return float(sum(part[0] for part in done) / sum(part[1] for part in done))


def rioxarray_chips(corpus: Corpus, count: int, suffix: str) -> str:
    import threading

    import rasterio
    from rasterio.windows import Window

    held = threading.local()

    def chip(place: tuple[int, int, int]) -> bytes:
        tile, row, col = place
        if not hasattr(held, "open"):
            held.open = [rasterio.open(_href(s.path, suffix)) for s in corpus.strips]
        found = held.open[tile].read(window=Window(col, row, CHIP_PX, CHIP_PX))
        return hashlib.sha256(found.tobytes()).digest()

    return _digest(corpus, count, chip)


def _href(path: Path, suffix: str) -> str:
    return f"/vsis3/bench/source/{path.stem}{suffix}.tif"


def one(name: str, task: str, folder: Path, size: int, count: int) -> None:
    """Do one task as one contender, and print what it took."""
    import rasterio

    corpus = corpus_in(folder, size, 0, (1, 2))
    suffix = "_COG" if "COG" in name else ""
    work: Any = {
        ("ours", "ndvi"): lambda: ours_ndvi(corpus),
        ("ours", "chips"): lambda: ours_chips(corpus, count),
        ("odc-stac", "ndvi"): lambda: odc_ndvi(corpus, suffix),
        ("rioxarray", "ndvi"): lambda: rioxarray_ndvi(corpus, suffix),
        ("rioxarray", "chips"): lambda: rioxarray_chips(corpus, count, suffix),
    }[name.partition(" ")[0], task]
    import spacenet_cube.cube.open  # noqa: F401 - imports are not timed, its dask and xarray neither

    with rasterio.Env():
        begun, cpu = perf_counter(), process_time()
        value = work()
        print(
            json.dumps(
                {
                    "value": value,
                    "seconds": perf_counter() - begun,
                    "cpu_seconds": process_time() - cpu,
                }
            )
        )


def _run(name: str, task: str, endpoint: str, asked: argparse.Namespace, folder: Path) -> Any:
    host = endpoint.removeprefix("http://")
    env = {
        **os.environ,
        **GDAL,
        "AWS_S3_ENDPOINT": host,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "owner",
        "AWS_SECRET_ACCESS_KEY": "ownersecret",
        "AWS_REGION": "us-east-1",
        "GDAL_NUM_THREADS": "1",
    }
    numbers = ["--size", str(asked.size), "--chips", str(asked.chips)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.analysis", *numbers]
    done = subprocess.run(
        [*command, "--one", name, task, str(folder)],
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{name} {task}:\n{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def _served(home: Path) -> Iterator[tuple[str, str]]:
    if missing_ceph():
        with moto() as url:
            yield "moto", url
    else:
        with ceph(home) as url:
            yield "Ceph radosgw", url


def _put(endpoint: str, corpus: Corpus, folder: Path) -> None:
    """Sources, COGs of them, and our cube, to the server."""
    import spacenet_cube as sc

    os.environ |= {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "ownersecret"}
    fs = filesystem(endpoint)
    fs.mkdir("bench")
    for strip in corpus.strips:
        made = strip.path.with_name(f"{strip.path.stem}_COG.tif")
        raster_copy(strip.path, made, driver="COG", compress="NONE", blocksize=512, nodata=0)
        for path in (strip.path, made):
            fs.put_file(str(path), f"bench/source/{path.name}")
        made.unlink()
    recipe = strips_recipe(sensor="WorldView-3", mosaic="first")
    scenes = sc.survey(recipe, PRODUCT, source=str(folder))
    url = sc.build(
        sc.plan(recipe, PRODUCT, scenes),
        "s3://bench/cubes",
        target_options={"endpoint_url": endpoint},
        workers=WORKERS,
    )
    assert url == CUBE
    assert transform_at(0, 0) == corpus.transform


def _tasks(name: str) -> tuple[str, ...]:
    return ("ndvi",) if name.startswith("odc") else ("ndvi", "chips")


def main() -> None:
    """Run the bench, or one contender of it."""
    asked = _arguments()
    if asked.one:
        name, task, folder = asked.one
        one(name, task, Path(folder), asked.size, asked.chips)
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.dir) as below:
        folder = Path(below) / "source"
        folder.mkdir()
        corpus = corpus_in(folder, asked.size, 0, (1, 2))
        write_corpus(corpus)
        with _served(Path(below) / "server") as (server, endpoint):
            _put(endpoint, corpus, folder)
            jobs = [(name, task) for name in CONTENDERS for task in _tasks(name)]
            readings: dict[tuple[str, str], list[Any]] = {job: [] for job in jobs}
            for _ in range(asked.repeats):
                for job in jobs:
                    readings[job].append(_run(*job, endpoint, asked, folder))
                _compare(readings)
            with proxy(endpoint) as counted:
                for job in jobs:
                    counted.seen.clear()
                    _run(*job, counted.url, asked, folder)
                    got = counted.of("GET")
                    found[" ".join(job)] = {
                        "median_s": median(each["seconds"] for each in readings[job]),
                        "median_cpu_s": median(each["cpu_seconds"] for each in readings[job]),
                        "bytes_read": sum(each.size_bytes for each in got),
                        "gets": len(got),
                    }
    print(
        json.dumps({"server": server, "size": asked.size, "chips": asked.chips, **found}, indent=1)
    )


def _compare(readings: dict[tuple[str, str], list[Any]]) -> None:
    """Refuse to tell times of results that differ."""
    for task in ("ndvi", "chips"):
        values = [each[-1]["value"] for (_, what), each in readings.items() if what == task]
        if task == "ndvi":
            np.testing.assert_allclose(values, values[0], rtol=1e-5)
        else:
            assert len(set(values)) == 1, values


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.analysis", description=__doc__)
    parser.add_argument("--size", type=int, default=8192, help="edge of a tile, pixels")
    parser.add_argument("--chips", type=int, default=500, help="chips that are read")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--dir", type=Path, help="a folder with 8 GB free")
    parser.add_argument("--one", nargs=3, metavar=("NAME", "TASK", "FOLDER"), help="one contender")
    return parser.parse_args()


if __name__ == "__main__":
    main()
