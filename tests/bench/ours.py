"""Us: the public API as a user calls it, with a recipe written for the bench's files.

A build does more than its peers are asked for: every overview and a per-pixel ``source_index``
at every level, checked sources, published metadata.  All of it is counted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from spacenet_cube import build as build_cube
from spacenet_cube import load_recipe, plan, survey
from tests.bench.strips import BANDS, PIXEL_DEG, Corpus
from tests.bench.target import CHUNKS, SHARDS, WORKERS

PRODUCT = "MUL-PanSharpen"
"""Name of the recipe's only product."""

CUBE = f"bench/{PRODUCT}.zarr"
"""Where the cube lands below its target."""


def write_recipe(corpus: Corpus, folder: Path) -> Path:
    """Write the recipe of the bench's files to ``folder``."""
    product = {
        "name": PRODUCT,
        "sources": ["scene_*.tif"],
        "bands": list(BANDS),
        "nodata": 0,
        "mosaic": "first",
        "encoding": {"profile": "cloud", "chunk": CHUNKS[1], "shard": SHARDS[1]},
        "expect": {
            "dtype": "uint16",
            "bands": len(BANDS),
            "crs": "EPSG:4326",
            "pixel_size": [PIXEL_DEG, PIXEL_DEG],
            "scenes": len(corpus.strips),
        },
    }
    recipe = {
        "name": "bench",
        "source": str(corpus.strips[0].path.parent),
        "licence": {"spdx": "CC0-1.0", "attribution": "Made by the bench."},
        "products": [product],
    }
    path = folder / "bench.yaml"
    # JSON is YAML, too.
    path.write_text(json.dumps(recipe, indent=2), encoding="utf-8")
    return path


def build(corpus: Corpus, target: Path) -> Mapping[str, float]:
    """Survey, plan and build; give the seconds until each stage was done."""
    begun = perf_counter()
    ends: dict[str, float] = {}

    def told(stage: str, done: int, total: int) -> None:
        if done == total:
            ends[stage] = perf_counter() - begun

    target.mkdir(parents=True)
    recipe = load_recipe(write_recipe(corpus, target))
    scenes = survey(recipe, PRODUCT)
    planned = plan(recipe, PRODUCT, scenes)
    ends["plan"] = perf_counter() - begun
    build_cube(planned, target, workers=WORKERS, progress=told)
    return ends
