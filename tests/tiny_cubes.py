"""Cubes of a few kilobytes, of every kind that is verified and repaired."""

from pathlib import Path
from typing import Any

import fsspec
import numpy as np

import spacenet_cube as sc
from spacenet_cube.raster.grid import Block
from tests.scenes import LICENCE, Lattice, write_geotiff

KINDS: dict[str, dict[str, Any]] = {
    "cloud": {"shape": (90, 70)},
    "gdal312": {"shape": (90, 70), "encoding": {"profile": "gdal312", "chunk": 16, "shard": 32}},
    "warped": {"shape": (100, 100), "grid": {"crs": "EPSG:32611", "resolution": 0.7}},
    "float": {"shape": (65, 81), "dtype": "float32", "nodata": "nan"},
    "single": {"shape": (33, 97), "bands": ["pan"], "mosaic": "last"},
}
"""By name: two scenes that overlap, and what the recipe says of them."""


def scenes(folder: Path, kind: str, seed: int = 1) -> None:
    """Write two scenes of noise, which overlap and have a hole."""
    says = KINDS[kind]
    rows, cols = says["shape"]
    count = len(says.get("bands", ["red", "nir"]))
    folder.mkdir(parents=True, exist_ok=True)
    for number, col in enumerate((0, cols // 3)):
        block = Block(0, col, rows, cols - cols // 3)
        rng = np.random.default_rng((seed, number))
        image = rng.integers(1, 2000, (count, block.height, block.width))
        image = image.astype(says.get("dtype", "uint16"))
        image[:, 3:9, 2:7] = np.nan if says.get("nodata") == "nan" else 0
        transform = Lattice().transform(block.row, block.col)
        write_geotiff(folder / f"{'ab'[number]}.tif", image, transform=transform)


def recipe(folder: Path, kind: str) -> sc.Recipe:
    """The recipe of a kind of cube."""
    says = {key: value for key, value in KINDS[kind].items() if key not in {"shape", "dtype"}}
    usual = {
        "name": "P",
        "sources": ["*.tif"],
        "bands": ["red", "nir"],
        "encoding": {"chunk": 16, "shard": 32},
    }
    told = {"name": "AOI", "source": str(folder), "licence": LICENCE, "products": [usual | says]}
    return sc.Recipe.model_validate(told)


def planned(folder: Path, kind: str) -> sc.Plan:
    """The plan of a kind of cube."""
    wanted = recipe(folder, kind)
    return sc.plan(wanted, "P", sc.survey(wanted, "P"))


def tree(url: str, options: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Every object of a cube and its manifest, by its path from the cube's folder."""
    fs, path = fsspec.core.url_to_fs(url, **(options or {}))
    above = path.rpartition("/")[0] + "/"
    files = [*fs.find(path), *fs.find(f"{path}.manifest")]
    return {name.removeprefix(above): fs.cat_file(name) for name in files}
