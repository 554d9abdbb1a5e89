"""Cubes built on a Dask cluster, S3 to S3, while its workers are killed one after another."""

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import spacenet_cube as sc
from spacenet_cube.recipe.model import Encoding
from tests.clusters import Cluster, cluster
from tests.s3_servers import filesystem, moto
from tests.torture.score import Score

KEYS = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "ownersecret"}
TILE_PX = 48
WORKERS = 3


def run(n: int, seed: int) -> Score:
    """Build n of the corpus' 18 cubes on three workers, and compare each with a local build."""
    rng = random.Random(seed)
    pairs = [(aoi, one.name) for aoi in sc.bundled_recipes() for one in _recipe(aoi).products]
    chosen = [pairs[k * len(pairs) // n] for k in range(min(n, len(pairs)))]
    failures, begun = [], perf_counter()
    with _setting(sorted({aoi for aoi, _ in chosen})) as (endpoint, dask):
        for aoi, name in chosen:
            with dask.killing(rng.uniform(2.0, 5.0)):
                unlike = _trial(aoi, name, endpoint, dask)
            failures += [f"{aoi} {name}: {unlike}"] if unlike else []
        kills = len(dask.killed)
    assert kills, "no worker was killed"
    return Score(
        row="cluster",
        said=f"cubes built on {WORKERS} workers, one killed every 2 to 5 s, equal the local ones",
        good=len(chosen) - len(failures),
        n=len(chosen),
        seed=seed,
        figures={"workers killed": kills, "seconds": round(perf_counter() - begun)},
        failures=tuple(failures),
    )


def _recipe(aoi: str) -> sc.Recipe:
    return sc.load_recipe(aoi)


@contextmanager
def _setting(aois: list[str]) -> Iterator[tuple[str, Cluster]]:
    """A server that holds a corpus, and a cluster whose environment has the keys to it."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, KEYS):
        home = Path(folder)
        os.environ["SPACENET_CUBE_CACHE"] = str(home / "cache")
        sc.write_sample(home / "corpus", aois=aois, tile_size=TILE_PX)
        with moto() as endpoint, cluster(home, KEYS, workers=WORKERS) as dask:
            fs = filesystem(endpoint)
            for bucket in ("spacenet", "unpacked", "cubes"):
                fs.mkdir(bucket)
            fs.put(f"{home / 'corpus'}/", "spacenet/", recursive=True, batch_size=32)
            yield endpoint, dask


def _trial(aoi: str, name: str, endpoint: str, dask: Cluster) -> str:
    """Build a cube here and there; what is unlike, empty where nothing is."""
    options = {"endpoint_url": endpoint}
    recipe = _recipe(aoi)
    product = recipe.product(name).model_copy(update={"encoding": Encoding(chunk=16, shard=32)})
    staging = _staging(endpoint)
    scenes = sc.survey(
        recipe, product, source="s3://spacenet", source_options=options, staging=staging
    )
    planned = sc.plan(recipe, product, scenes)
    here = sc.build(planned, "s3://cubes/here", target_options=options, workers=2)
    with sc.connect(dask.address) as executor:
        there = sc.build(planned, "s3://cubes/there", target_options=options, executor=executor)
    ours, theirs = _objects(endpoint, here), _objects(endpoint, there)
    return ", ".join(
        sorted(key for key in ours.keys() | theirs if ours.get(key) != theirs.get(key))
    )


def _staging(endpoint: str) -> Any:
    from spacenet_cube.builds.build import target_location  # noqa: PLC0415 - its other use is the CLI's

    return target_location("s3://unpacked", {"endpoint_url": endpoint})


def _objects(endpoint: str, cube: str) -> dict[str, bytes]:
    fs, base = filesystem(endpoint), cube.removeprefix("s3://")
    return {path.removeprefix(f"{base}/"): fs.cat_file(path) for path in fs.find(base)}
