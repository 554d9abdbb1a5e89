"""What remote sources cost, at real tile sizes: bytes, requests, memory, seconds.

``python -m tests.bench.sources URL FOLDER`` needs an S3 server at URL whose user ``owner`` has
the secret ``ownersecret``, and 5 GB of free space in FOLDER.
"""

import gzip
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
from rasterio.shutil import copy as raster_copy

import spacenet_cube as sc
from spacenet_cube.builds.unit.task import build_unit
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import filesystem, proxy

SIZE = 8192
PART = 8 << 20
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"blockysize": 16},
    "strips, deflate": {"blockysize": 16, "compress": "deflate", "zlevel": 1},
    "tiles": {"tiled": True, "blockxsize": 512, "blockysize": 512},
    "COG": {"driver": "COG", "blocksize": 512, "compress": "none"},
}
RECIPE = """
name: bench
licence: {spdx: CC0-1.0, attribution: nobody}
products:
  - {name: p, sources: ['*.tif', '*.tar.gz'], bands: [a, b, c]}
"""


def write(path: Path, options: dict[str, Any]) -> None:
    """One tile of noise that compresses like 11-bit imagery."""
    rest = dict(options)
    driver = rest.pop("driver", "GTiff")
    plain = path.with_suffix(".plain") if driver == "COG" else path
    rng = np.random.default_rng(1)
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 3, "dtype": "uint16"}
    profile |= {"crs": "EPSG:4326", "transform": rasterio.Affine(2.7e-6, 0, 2, 0, -2.7e-6, 48)}
    with rasterio.open(plain, "w", **profile, **({} if driver == "COG" else rest)) as raster:
        for row in range(0, SIZE, 512):
            window = rasterio.windows.Window(0, row, SIZE, 512)
            pixels = rng.integers(1, 2048, (3, 512, SIZE), dtype="uint16")
            raster.write(pixels, window=window)
    if driver == "COG":
        raster_copy(plain, path, driver="COG", overviews="auto", **rest)
        plain.unlink()


def layouts(url: str, folder: Path) -> None:
    """Bytes fetched over bytes needed, and GETs, for a whole build and for one unit."""
    fs = filesystem(url)
    recipe = sc.parse_recipe(RECIPE)
    for name, options in LAYOUTS.items():
        bucket = f"bench-{name.replace(', ', '-').lower()}"
        path = folder / "tile.tif"
        write(path, options)
        fs.makedirs(bucket, exist_ok=True)
        fs.put_file(str(path), f"{bucket}/tile.tif")
        path.unlink()
        with proxy(url) as counted:
            said = {"endpoint_url": counted.url, "read_twice": False}  # as over https
            scenes = sc.survey(recipe, "p", source=f"s3://{bucket}", source_options=said)
            planned = sc.plan(recipe, "p", scenes)
            headers = len(counted.of("GET"))
            whole, one = planned.units, planned.units[:1]
            for what, units in (("whole", whole), ("one unit", one)):
                counted.seen.clear()
                began = time.perf_counter()
                if units is whole:
                    sc.build(planned, folder / "cubes", replace=True, scratch=folder / "scratch")
                else:
                    cube = locate(folder / "cubes" / "one.zarr")
                    build_unit(planned, cube, units[0], cube.store())
                spent = time.perf_counter() - began
                gets = counted.of("GET")
                fetched = sum(one.size_bytes for one in gets)
                share = sum(p.window.pixels for u in units for p in u.pieces) / SIZE**2
                needed = (scenes[0].data_bytes or 0) * share
                print(
                    f"{name:16} {what:9} fetched {fetched / 1e6:7.1f} MB, "
                    f"needed {needed / 1e6:7.1f} MB, ratio {fetched / needed:.4f}, "
                    f"GETs {len(gets):3} (+{headers} in the survey), "
                    f"bar {fetched / PART * 1.2 + 3:.0f}, {spent:.1f} s",
                    flush=True,
                )
        fs.rm(bucket, recursive=True)


UNPACK = """
import sys, spacenet_cube as sc
recipe = sc.parse_recipe(open(sys.argv[1]).read())
found = sc.survey(recipe, "p", source="s3://bench-archive", staging=sys.argv[2],
                  source_options={"endpoint_url": sys.argv[3]})
print(len(found))
"""


def archive(url: str, folder: Path) -> None:
    """A tar.gz of a GB: peak memory, and how an interrupted unpacking goes on."""
    fs = filesystem(url)
    fs.makedirs("bench-archive", exist_ok=True)
    path = folder / "big.tar.gz"
    rng = np.random.default_rng(2)
    profile = {"driver": "GTiff", "width": 4096, "height": 4096, "count": 3, "dtype": "uint16"}
    with (
        gzip.open(path, "wb", compresslevel=1) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        for k in range(12):
            member = folder / f"m{k}.tif"
            transform = rasterio.Affine(2.7e-6, 0, 2 + k * 4096 * 2.7e-6, 0, -2.7e-6, 48)
            with rasterio.open(
                member, "w", **profile, crs="EPSG:4326", transform=transform
            ) as raster:
                raster.write(rng.integers(0, 65536, (3, 4096, 4096), dtype="uint16"))
            tar.add(member, member.name)
            member.unlink()
    size = path.stat().st_size
    fs.put_file(str(path), "bench-archive/big.tar.gz")
    path.unlink()
    (folder / "recipe.yaml").write_text(RECIPE)
    staging = folder / "staging"
    for attempt in ("killed half way", "resumed", "again"):
        began, peak, killed = time.perf_counter(), 0, False
        with proxy(url) as counted:
            before = {p: p.stat().st_mtime_ns for p in staging.rglob("*.tif")}
            command = [sys.executable, "-c", UNPACK, str(folder / "recipe.yaml"), str(staging)]
            child = subprocess.Popen([*command, counted.url])
            watched = psutil.Process(child.pid)
            while child.poll() is None:
                try:
                    peak = max(peak, watched.memory_info().rss)
                except psutil.NoSuchProcess:
                    break
                if attempt == "killed half way" and len(list(staging.rglob("*.json"))) >= 6:
                    child.kill()
                    killed = True
                time.sleep(0.02)
            child.wait()
            gets = counted.of("GET")
            fetched = sum(one.size_bytes for one in gets)
        after = {p: p.stat().st_mtime_ns for p in staging.rglob("*.tif")}
        kept = sum(after.get(p) == when for p, when in before.items())
        print(
            f"archive {size / 1e9:.2f} GB, {attempt}: peak {peak / 1e6:.0f} MB, {len(gets)} GETs, "
            f"{fetched / 1e9:.2f} GB fetched, {len(before)} members there before, {kept} kept as "
            f"they were, {len(after)} after, {time.perf_counter() - began:.1f} s, killed {killed}",
            flush=True,
        )
    fs.rm("bench-archive", recursive=True)


if __name__ == "__main__":
    os.environ |= {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "ownersecret"}
    where = Path(sys.argv[2])
    where.mkdir(parents=True, exist_ok=True)
    os.environ["SPACENET_CUBE_CACHE"] = str(where / "cache")
    layouts(sys.argv[1], where)
    archive(sys.argv[1], where)
