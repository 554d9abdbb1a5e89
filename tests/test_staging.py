"""Staging: every layout of GeoTIFF, fetched once, and no more of it than is needed."""

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as raster_copy

import spacenet_cube as sc
from spacenet_cube.builds.unit.task import build_unit
from spacenet_cube.plans.plan import Plan
from spacenet_cube.plans.units import Unit
from spacenet_cube.sources.files.tiff import structure
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from tests.places import ROOT
from tests.s3_servers import free_port
from tests.shares import share

SIZE = 320
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips, one row each": {"blockysize": 1},
    "strips": {"blockysize": 16},
    "one strip": {"blockysize": SIZE},
    "strips by band": {"blockysize": 16, "interleave": "band"},
    "strips, deflate": {"blockysize": 16, "compress": "deflate"},
    "strips, LZW": {"blockysize": 16, "compress": "lzw", "predictor": 2},
    "strips, zstd": {"blockysize": 16, "compress": "zstd"},
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64},
    "tiles by band": {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band"},
    "tiles, deflate": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
    "tiles, LZW": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "lzw"},
    "tiles, zstd by band": {"tiled": True, "blockxsize": 64, "blockysize": 64}
    | {"compress": "zstd", "interleave": "band"},
    "BigTIFF strips": {"blockysize": 16, "BIGTIFF": "YES"},
    "BigTIFF tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "BIGTIFF": "YES"},
    "big-endian strips": {"blockysize": 16, "ENDIANNESS": "BIG"},
    "sparse tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": "TRUE"},
    "COG": {"driver": "COG", "blocksize": 128},
    "COG, deflate": {"driver": "COG", "blocksize": 128, "compress": "deflate"},
    "COG, zstd": {"driver": "COG", "blocksize": 128, "compress": "zstd"},
}
JPEG = {"compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel"}
LAYOUTS_8_BIT: dict[str, dict[str, Any]] = {
    "strips, JPEG": {"blockysize": 16} | JPEG,
    "tiles, JPEG": {"tiled": True, "blockxsize": 64, "blockysize": 64} | JPEG,
    "COG, JPEG": {"driver": "COG", "blocksize": 128, "compress": "jpeg"},
}
CASES = [(name, "uint16") for name in LAYOUTS]
CASES += [(name, "uint8") for name in LAYOUTS_8_BIT]
CASES += [("strips", dtype) for dtype in ("int8", "int16", "uint32", "int32", "float32", "float64")]


def write(path: Path, name: str, dtype: str, size: int = SIZE, col: int = 0) -> None:
    """A raster of noise with a corner of fill, in one of the layouts."""
    options = dict((LAYOUTS | LAYOUTS_8_BIT)[name])
    if name == "one strip":
        options["blockysize"] = size
    driver = options.pop("driver", "GTiff")
    rng = np.random.default_rng(len(name) + col)
    pixels = rng.integers(1, 120, (3, size, size)).astype(dtype)
    pixels[:, : size // 3, : size // 3] = 0
    profile = {
        "driver": "GTiff",
        "width": size,
        "height": size,
        "count": 3,
        "dtype": dtype,
        "crs": "EPSG:32631",
        "transform": rasterio.Affine(1, 0, 5e5 + col, 0, -1, 5e6),
    }
    plain = path.with_suffix(".plain.tif")
    if driver == "COG":
        with rasterio.open(plain, "w", **profile) as raster:
            raster.write(pixels)
        raster_copy(plain, path, driver="COG", overviews="auto", **options)
        plain.unlink()
        return
    with rasterio.open(path, "w", **profile, **options) as raster:
        raster.write(pixels)


def recipe_of(bands: str = "[a, b, c]", shard: int = 64) -> sc.Recipe:
    return sc.parse_recipe(
        "name: x\nlicence: {spdx: CC0-1.0, attribution: nobody}\n"
        f"products: [{{name: p, sources: '*.tif', bands: {bands}, "
        f"encoding: {{chunk: {shard // 2}, shard: {shard}}}}}]\n"
    )


class Meter:
    """Notes every range that is read of a remote file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ranges: list[tuple[str, int, int]] = []
        self._lock = threading.Lock()
        original = Location.read_range

        def noting(
            place: Location, start: int, size: int, etag: str | None = None, **how: bool
        ) -> bytes:
            with self._lock:
                self.ranges.append((place.url, start, size))
            return original(place, start, size, etag, **how)

        monkeypatch.setattr(Location, "read_range", noting)

    @property
    def total_bytes(self) -> int:
        return sum(size for _, _, size in self.ranges)

    def most_times(self) -> int:
        """How often the byte was read that was read most."""
        edges: Counter[tuple[str, int]] = Counter()
        for url, start, size in self.ranges:
            edges[url, start] += 1
            edges[url, start + size] -= 1
        held = most = 0
        for _, change in sorted(edges.items()):
            held += change
            most = max(most, held)
        return most


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter(monkeypatch)


def uploaded(folder: Path, name: str) -> str:
    url = f"memory://staging-tests/{name}"
    locate(url).remove_tree()
    for path in folder.glob("*.tif"):
        (locate(url) / path.name).write_bytes(path.read_bytes())
    return url


def pixels_of(url: str) -> tuple[Any, Any]:
    cube = sc.open_cube(url)
    return cube.image.values, cube.source_index.values


@pytest.mark.parametrize(("name", "dtype"), share(CASES, 9))
def test_a_remote_scene_of_any_layout_gives_the_pixels_of_the_local_one(
    name, dtype, tmp_path, meter
):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.tif", name, dtype)
    recipe = recipe_of()
    here = sc.build(sc.plan(recipe, "p", sc.survey(recipe, "p", source=folder)), tmp_path / "here")
    source = uploaded(folder, f"{name}-{dtype}")

    scenes = sc.survey(recipe, "p", source=source)
    meter.ranges.clear()
    there = sc.build(sc.plan(recipe, "p", scenes), tmp_path / "there", workers=2)

    for ours, theirs in zip(pixels_of(here), pixels_of(there), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert meter.most_times() == 1
    needed = scenes[0].data_bytes or 0
    header = 1 << 16
    assert meter.total_bytes <= needed * 1.05 + header
    if "COG" in name and "JPEG" not in name:
        assert meter.total_bytes < scenes[0].size_bytes * 0.95 + header


@pytest.mark.parametrize(
    "name", ["strips", "one strip", "strips by band", "tiles", "tiles by band", "COG"]
)
def test_a_part_of_a_scene_costs_no_more_than_its_rows_or_tiles(name, tmp_path, meter):
    size, edge = 1024, 128
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.tif", name, "uint16", size)
    recipe = recipe_of(shard=edge // 2)
    planned = sc.plan(recipe, "p", sc.survey(recipe, "p", source=uploaded(folder, f"part {name}")))
    unit = next(u for u in planned.units if (u.block.row, u.block.col) == (512, 256))
    meter.ranges.clear()

    cube = locate(tmp_path / "cube")
    build_unit(planned, cube, unit, cube.store())

    across = edge if "tiles" in name or name == "COG" else size
    needed = edge * across * 3 * 2
    assert meter.most_times() == 1
    assert needed <= meter.total_bytes <= needed * 1.05 + 2 * (1 << 16)
    assert not list(tmp_path.rglob("0*.tif"))


def test_only_the_bands_asked_for_are_fetched_where_they_lie_apart(tmp_path, meter):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.tif", "strips by band", "uint16", 512)
    recipe = recipe_of("[{name: green, index: 2}]")
    scenes = sc.survey(recipe, "p", source=uploaded(folder, "bands"))
    meter.ranges.clear()

    sc.build(sc.plan(recipe, "p", scenes), tmp_path)

    assert meter.total_bytes <= 512 * 512 * 2 * 1.05 + (1 << 16)


def many(tmp_path: Path) -> Plan:
    """Six scenes side by side, each of several units."""
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(6):
        write(folder / f"{k}.tif", "strips", "uint16", SIZE, col=k * SIZE)
    recipe = recipe_of()
    return sc.plan(recipe, "p", sc.survey(recipe, "p", source=uploaded(folder, "many")))


def test_few_scenes_are_held_at_once_and_none_afterwards(tmp_path, monkeypatch):
    from spacenet_cube.builds.tasks.schedule import schedule  # noqa: PLC0415
    from spacenet_cube.builds.unit.stage import Stage  # noqa: PLC0415

    planned, most = many(tmp_path), [0]
    scratch = tmp_path / "scratch"
    original = Stage.done

    def noting(stage: Stage, unit: Unit) -> None:
        held = sum(file.stat().st_size for file in scratch.rglob("*.tif"))
        most[0] = max(most[0], held)
        original(stage, unit)

    monkeypatch.setattr(Stage, "done", noting)
    sc.build(planned, tmp_path / "cubes", scratch=scratch, workers=1)

    ordered = schedule(planned.units, planned.scenes)
    assert sorted(ordered.units, key=lambda unit: unit.number) == list(planned.units)
    assert 0 < most[0] <= ordered.staged_with(2, planned.scenes)
    assert most[0] <= 3 * planned.scenes[0].size_bytes
    assert list(scratch.iterdir()) == []


def test_the_order_of_units_does_not_change_the_cube(tmp_path):
    planned = many(tmp_path)
    backwards = replace(planned, units=planned.units[::-1])

    first = sc.build(planned, tmp_path / "first", workers=2)
    second = sc.build(backwards, tmp_path / "second", workers=1)

    for ours, theirs in zip(pixels_of(first), pixels_of(second), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", share([*LAYOUTS, *LAYOUTS_8_BIT], 11))
def test_the_structure_is_what_gdal_says(name, tmp_path):
    path = tmp_path / "a.tif"
    write(path, name, "uint8" if name in LAYOUTS_8_BIT else "uint16")
    content = path.read_bytes()

    found = structure(lambda start, size: content[start : start + size])

    with rasterio.open(path) as raster:
        assert found.shape_yx == raster.shape
        if name == "one strip":  # GDAL tells it as many small ones
            assert (found.block_yx, len(found.offsets)) == ((SIZE, SIZE), 1)
            return
        assert found.block_yx == raster.block_shapes[0]
        assert found.by_band == (raster.interleaving.value.lower() == "band")
        for down in range(found.blocks_down):
            for across in range(found.blocks_across):
                block = f"{across}_{down}"
                for band in range(3 if found.by_band else 1):
                    plane = band * found.blocks_down * found.blocks_across
                    place = plane + down * found.blocks_across + across
                    told = raster.get_tag_item(f"BLOCK_OFFSET_{block}", "TIFF", bidx=band + 1)
                    assert int(told or 0) == found.offsets[place]
                    told = raster.get_tag_item(f"BLOCK_SIZE_{block}", "TIFF", bidx=band + 1)
                    assert int(told or 0) == found.sizes[place]


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
def test_a_source_behind_a_web_server_is_read_by_name(tmp_path):
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from tests.s3_servers import wait_for  # noqa: PLC0415

    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.tif", "strips", "uint16")
    port = free_port()
    program = ROOT / "tests" / "range_server.py"
    with subprocess.Popen([sys.executable, str(program), str(port), str(folder)]) as server:
        try:
            assert wait_for(port, 20)
            recipe = sc.parse_recipe(
                "name: x\nlicence: {spdx: CC0-1.0, attribution: nobody}\n"
                "products: [{name: p, sources: 'a.tif', bands: [a, b, c]}]\n"
            )
            url = f"http://127.0.0.1:{port}"
            planned = sc.plan(recipe, "p", sc.survey(recipe, "p", source=url))
            there = sc.build(planned, tmp_path / "there")
        finally:
            server.terminate()
    here = sc.build(sc.plan(recipe, "p", sc.survey(recipe, "p", source=folder)), tmp_path / "here")

    for ours, theirs in zip(pixels_of(here), pixels_of(there), strict=True):
        np.testing.assert_array_equal(ours, theirs)
