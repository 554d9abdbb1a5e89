"""Cost: what a plan says of requests, bytes and dollars, against what happens."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

import spacenet_cube as sc
from spacenet_cube.builds.estimate import estimate
from spacenet_cube.builds.tasks.cost import Requests, cost
from spacenet_cube.builds.tasks.prices import GB, S3
from tests.test_staging import recipe_of, uploaded, write


def test_dollars_are_requests_and_bytes_by_the_table():
    assert Requests(list=1000, get=1_000_000, put=1000).usd(S3) == pytest.approx(0.41)
    assert S3.out_usd_gb["the internet"] * 100 == pytest.approx(9.0)
    assert S3.as_of
    assert S3.source.startswith("https://aws.amazon.com/")


def test_a_local_build_costs_no_request(tmp_path):
    write(tmp_path / "a.tif", "strips", "uint16")
    recipe = recipe_of()
    planned = sc.plan(recipe, "p", sc.survey(recipe, "p", source=tmp_path))

    told = cost(planned, workers=2, remote_target=False)

    assert told.source == told.target == Requests()
    assert told.fetched_bytes == told.scratch_bytes == 0
    assert told.needed_bytes == planned.bytes_in
    assert set(told.source_usd().values()) == {0.0}
    assert told.stored_is == "assumed"
    assert told.peak_memory_bytes == planned.peak_memory_bytes(2)


def test_a_remote_build_says_bytes_scratch_and_time(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.tif", "strips", "uint16")
    recipe = recipe_of()
    planned = sc.plan(recipe, "p", sc.survey(recipe, "p", source=uploaded(folder, "cost")))

    told = cost(planned, workers=1, remote_target=True, list_requests=1, rate_bytes_s=1e6)

    assert told.source.list == 1
    assert planned.bytes_in <= told.fetched_bytes <= planned.bytes_in + (1 << 16)
    assert told.scratch_bytes == planned.scenes[0].size_bytes
    assert told.read_s == told.fetched_bytes / 1e6
    assert told.source_usd()["the internet"] > told.source_usd()["us-east-1"]
    assert told.storage_usd_month == pytest.approx(told.stored_bytes / GB * 0.023)


def test_an_estimate_is_close_to_what_is_stored(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(1)
    smooth = rng.normal(500, 12, (3, 1024, 1024)).cumsum(axis=2) / 40
    with rasterio.open(
        folder / "a.tif", "w", driver="GTiff", width=1024, height=1024, count=3, dtype="uint16",
        crs="EPSG:32631", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 5e6),
    ) as raster:  # fmt: skip
        raster.write(np.clip(smooth, 1, 60000).astype("uint16"))
    recipe = recipe_of(shard=512)
    planned = sc.plan(recipe, "p", sc.survey(recipe, "p", source=folder))

    told = cost(planned, workers=1, remote_target=False, sample=estimate(planned))
    url = Path(sc.build(planned, tmp_path / "out"))

    stored = sum(file.stat().st_size for file in url.rglob("*") if file.is_file())
    shutil.rmtree(url)
    assert told.stored_is == "measured on 6 windows"
    assert 0.8 < told.stored_bytes / stored < 1.25
