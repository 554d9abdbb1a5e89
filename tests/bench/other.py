"""Two bars that need no pixels: planning the largest product, and the help page."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from affine import Affine

import spacenet_cube as sc
from spacenet_cube.builds.unit.write import write_coordinates
from spacenet_cube.plans.documents import group_documents
from spacenet_cube.sources.scene import Layout, Scene
from spacenet_cube.storage.resolve import locate
from tests.bench.strips import BANDS, PIXEL_DEG
from tests.places import ROOT

PARIS_SHAPE_YX = (232_417, 74_875)
"""Rows and columns of Paris MUL-PanSharpen, pixels."""

TILE = 8192
"""Rows, and columns, of a tile of the delivery."""

PARIS_CORNER = (2.1, 49.1)
"""Upper-left corner (x, y), degrees; any lattice corner would do."""


def paris_scenes() -> tuple[Scene, ...]:
    """Give the tiles of Paris MUL-PanSharpen as the survey would find them."""
    rows, cols = PARIS_SHAPE_YX
    starts = [(row, col) for row in range(0, rows, TILE) for col in range(0, cols, TILE)]
    return tuple(
        _tile(row, col, min(TILE, rows - row), min(TILE, cols - col)) for row, col in starts
    )


def _tile(row: int, col: int, height: int, width: int) -> Scene:
    name = f"16FEB29111913-M2AS_R{row // TILE + 1}C{col // TILE + 1}-056155973080_01_P001.TIF"
    west, north = PARIS_CORNER
    corner = (west + col * PIXEL_DEG, north - row * PIXEL_DEG)
    return Scene(
        id=name,
        key=f"AOI_3_Paris/srcData/rasterData/MUL-PanSharpen/{name}",
        href=name,
        size_bytes=height * width * len(BANDS) * 2,
        etag=None,
        shape_yx=(height, width),
        transform=Affine(PIXEL_DEG, 0, corner[0], 0, -PIXEL_DEG, corner[1]),
        crs="EPSG:4326",
        dtype="uint16",
        count=len(BANDS),
        nodata=None,
        layout=Layout((1, width), tiled=False, interleave="pixel", compression=None),
        row_col=(row // TILE + 1, col // TILE + 1),
    )


def plan_paris() -> dict[str, float]:
    """Time the plan of Paris MUL-PanSharpen, and its JSON and digest, in seconds."""
    recipe = sc.load_recipe("AOI_3_Paris")
    scenes = paris_scenes()
    begun = perf_counter()
    planned = sc.plan(recipe, "MUL-PanSharpen", scenes)
    made = perf_counter() - begun
    digest = planned.digest
    return {
        "scenes": len(scenes),
        "units": len(planned.units),
        "plan_seconds": made,
        "with_digest_seconds": perf_counter() - begun if digest else 0.0,
    }


def open_paris(folder: Path) -> dict[str, float]:
    """Time opening a cube of Paris' shape, documents alone, and the graph of its NDVI's mean."""
    planned = sc.plan(sc.load_recipe("AOI_3_Paris"), "MUL-PanSharpen", paris_scenes())
    where = locate(folder / "MUL-PanSharpen.zarr")
    write_coordinates(planned, where, where.store())
    for path, document in group_documents(planned).items():
        (where / path / "zarr.json" if path else where / "zarr.json").write_bytes(
            json.dumps(document).encode()
        )
    begun = perf_counter()
    cube = sc.open_cube(where.url)
    opened = perf_counter()
    mean = cube.spacenet.ndvi().mean()
    return {
        "open_seconds": opened - begun,
        "ndvi_mean_seconds": perf_counter() - opened,
        "ndvi_mean_tasks": len(dict(mean.__dask_graph__())),
    }


def help_seconds(repeats: int) -> float:
    """Give the median time of ``spacenet-cube --help``, a process each."""
    times = []
    for _ in range(repeats):
        begun = perf_counter()
        subprocess.run(
            [sys.executable, "-m", "spacenet_cube", "--help"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        times.append(perf_counter() - begun)
    return median(times)
