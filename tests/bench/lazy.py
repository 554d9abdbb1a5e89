"""What analysis takes of three workers: ``python -m tests.bench.lazy``.

A cube of 8 bands lies on an S3 server (moto, behind a proxy that counts); workers have a limit
of 2 GB each.  For the mean NDVI, the statistics of all bands and those of one band in 16 zones,
printed are the tasks of the graph, tasks a GB of pixels that are needed, the bytes read against
those that the bands needed take (on average of all), and each worker's peak memory, in a
cluster of its own for each.  Results are compared with numpy's on the whole array.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import geopandas
import numpy as np
import xarray as xr
from distributed import Client
from shapely.geometry import box

import spacenet_cube as sc
from tests.bench.cluster import KEYS, WORKERS, peak_bytes
from tests.bench.recipe import PRODUCT, strips_recipe
from tests.bench.strips import BANDS, corpus_in, write_corpus
from tests.clusters import cluster
from tests.s3_servers import Proxy, filesystem, moto, proxy

ZONES_YX = (4, 4)


def main() -> None:
    """Analyse a cube on a cluster, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lazy", description=__doc__)
    parser.add_argument("--size", type=int, default=8192, help="edge of the cube, pixels")
    parser.add_argument("--dir", type=Path, help="a folder with 3 GB free")
    asked = parser.parse_args()
    os.environ |= KEYS
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.dir) as below, moto() as server:
        filesystem(server).mkdir("cubes")
        cube = _build(Path(below), asked.size, server)
        with proxy(server) as counted:
            whole = sc.open_cube(cube, storage_options={"endpoint_url": server}, chunks=None).load()
            found = [
                _analysed(Path(below), name, cube, whole, counted)
                for name in ("mean NDVI", "statistics", "zones")
            ]
    print(json.dumps(found, indent=1))


def _build(below: Path, size: int, server: str) -> str:
    source = below / "source"
    source.mkdir()
    corpus = corpus_in(source, size, 0, (1, 1))
    write_corpus(corpus)
    recipe = strips_recipe()
    planned = sc.plan(recipe, PRODUCT, sc.survey(recipe, PRODUCT, source=str(source)))
    return sc.build(planned, "s3://cubes", target_options={"endpoint_url": server}, workers=2)


def _zones(whole: xr.Dataset) -> geopandas.GeoDataFrame:
    """Rectangles along the edges of pixels, whose values numpy can slice."""
    rows, cols = whole.image.shape[1:]
    corner, pixel = whole.rio.transform(), whole.rio.transform().a
    assert pixel > 0
    high, wide = rows // ZONES_YX[0], cols // ZONES_YX[1]
    shapes = [
        box(*(corner @ (col * wide, (row + 1) * high)), *(corner @ ((col + 1) * wide, row * high)))
        for row in range(ZONES_YX[0])
        for col in range(ZONES_YX[1])
    ]
    return geopandas.GeoDataFrame(geometry=shapes, crs=whole.rio.crs)


def _work(name: str, cube: xr.Dataset, whole: xr.Dataset) -> tuple[Any, Callable[[Any], None], int]:
    """What is computed, what compares its result with numpy's, and how many bands it needs."""
    bands = len(BANDS)
    if name == "mean NDVI":
        lazy = cube.spacenet.ndvi().mean(dtype="float64")
        return lazy, lambda found: _same(float(found), _mean_ndvi(whole)), 2
    if name == "statistics":
        seen = (whole.image != 0).any("band").sum().item()
        expected = whole.image.sum(("y", "x"), dtype="uint64").to_numpy() / seen
        return cube.spacenet.statistics(), lambda found: _same(found["mean"], expected), bands
    zones = _zones(whole)
    high, wide = (whole.sizes[d] // n for d, n in zip("yx", ZONES_YX, strict=True))
    nir, seen = whole.image.sel(band="nir1"), (whole.image != 0).any("band")
    totals, counts = (
        one.astype("uint64").coarsen(y=high, x=wide).sum().to_numpy().ravel() for one in (nir, seen)
    )
    lazy = cube.spacenet.zonal(zones, ("mean",), image=cube.image.sel(band="nir1"))
    return lazy, lambda found: _same(found["mean"], totals / counts), 1


def _mean_ndvi(whole: xr.Dataset) -> float:
    red, nir = (whole.image.sel(band=name).to_numpy().astype("float32") for name in ("red", "nir1"))
    seen = red + nir > 0
    return float(((nir - red)[seen] / (nir + red)[seen]).mean(dtype="float64"))


def _same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found, "float64"), expected, rtol=1e-5)


def _analysed(
    below: Path, name: str, url: str, whole: xr.Dataset, counted: Proxy
) -> dict[str, Any]:
    home = below / name.replace(" ", "-")
    home.mkdir()
    opened = sc.open_cube(url, storage_options={"endpoint_url": counted.url})
    lazy, compare, bands = _work(name, opened, whole)
    tasks, pixels = len(lazy.__dask_graph__()), bands * whole.sizes["y"] * whole.sizes["x"] * 2
    with (
        cluster(home, KEYS, workers=WORKERS) as dask,
        Client(dask.address, set_as_default=False) as client,
    ):
        client.run(_ready)
        counted.seen.clear()
        begun = perf_counter()
        found = client.compute(lazy).result()
        seconds = perf_counter() - begun
        peaks = client.run(peak_bytes)
    compare(found)
    read = [one for one in counted.of("GET") if "/image/c/" in one.path]
    fs, place = filesystem(counted.url), "cubes/bench/p.zarr/image/c"
    stored = sum(one["size"] for one in fs.find(place, detail=True).values())
    return {
        "what": name,
        "seconds": round(seconds, 1),
        "tasks": tasks,
        "tasks_per_gb": round(tasks / (pixels / 1e9), 1),
        "read_over_needed": round(
            sum(one.size_bytes for one in read) / (stored * bands / len(BANDS)), 3
        ),
        "gets": len(read),
        "peak_worker_gb": [round(each / 1e9, 2) for each in peaks.values()],
    }


def _ready() -> None:
    """Import what tasks need, which is not timed."""
    import spacenet_cube.cube.open  # noqa: F401, PLC0415 - on a worker


if __name__ == "__main__":
    main()
