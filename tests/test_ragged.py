"""Every layout of GeoTIFF at ragged sizes: a mirror gives the origin's pixels, or an error.

A range of a mirror that was never fetched reads as zeros, so a wrong span would lose pixels in
silence.  Each window is fetched into a mirror of its own, and compared with GDAL on the origin.
"""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.shutil import copy as raster_copy
from rasterio.windows import Window

import spacenet_cube as sc
from spacenet_cube.raster.grid import Block
from spacenet_cube.sources import mirror as mirror_module
from spacenet_cube.sources.files.copies import Held, LocalCopy, MissingBytesError, bytes_of_pixels
from spacenet_cube.sources.files.tiff import Structure
from spacenet_cube.sources.gdal import open_raster
from spacenet_cube.sources.mirror import Mirror, local_structure
from spacenet_cube.storage.resolve import locate

BANDS = 3
SHAPES = {
    "a short last strip": (40, 64),
    "a last strip of one row": (33, 48),
    "nothing a multiple": (37, 53),
    "one row": (1, 70),
    "one column": (35, 1),
    "whole strips and tiles": (32, 64),
}
SHAPES_OF_COGS = {
    "nothing a multiple": (200, 150),
    "one pixel more": (129, 257),
    "one row": (1, 300),
}
BLOCKS: dict[str, dict[str, Any]] = {
    "strips of 16": {"blockysize": 16},
    "strips of one row": {"blockysize": 1},
    "strips of 7": {"blockysize": 7},
    "one strip": {"blockysize": 1000},
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16},
}
WAYS: dict[str, dict[str, Any]] = {
    "raw": {},
    "deflate": {"compress": "deflate"},
    "LZW": {"compress": "lzw", "predictor": 2},
    "zstd": {"compress": "zstd"},
    "raw BigTIFF": {"BIGTIFF": "YES"},
    "raw big-endian": {"ENDIANNESS": "BIG"},
    "zstd BigTIFF": {"compress": "zstd", "BIGTIFF": "YES"},
}
JPEGS: dict[str, dict[str, Any]] = {
    "strips of 16": {"blockysize": 16},
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16},
}
COGS: dict[str, dict[str, Any]] = {
    "raw": {"compress": "none"},
    "deflate": {"compress": "deflate"},
    "zstd BigTIFF": {"compress": "zstd", "bigtiff": "yes"},
    "by band": {"compress": "lzw", "interleave": "band"},
}


def layouts() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, options for GDAL and sample type of each layout."""
    for block, way, interleave in product(BLOCKS, WAYS, ("pixel", "band")):
        options = BLOCKS[block] | WAYS[way] | {"interleave": interleave}
        yield f"{block}, {way}, by {interleave}", options, "uint16"
    for block, options in JPEGS.items():
        jpeg = {"compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel"}
        yield f"{block}, JPEG", options | jpeg, "uint8"
        by_band = {"compress": "jpeg", "interleave": "band"}
        yield f"{block}, JPEG by band", options | by_band, "uint8"
    for way, options in COGS.items():
        yield f"COG, {way}", options | {"driver": "COG", "blocksize": 128}, "uint16"
    yield "COG, JPEG", {"driver": "COG", "blocksize": 128, "compress": "jpeg"}, "uint8"


LAYOUTS = {name: (options, dtype) for name, options, dtype in layouts()}


def shapes_of(name: str) -> dict[str, tuple[int, int]]:
    return SHAPES_OF_COGS if name.startswith("COG") else SHAPES


CASES = [(name, shape) for name in LAYOUTS for shape in shapes_of(name)]


def write(path: Path, name: str, shape_yx: tuple[int, int]) -> None:
    """A raster without a zero, so that a byte that was not fetched cannot pass for a pixel."""
    said, dtype = LAYOUTS[name]
    options = dict(said)
    driver = options.pop("driver", "GTiff")
    if options.get("blockysize") == 1000:
        options["blockysize"] = shape_yx[0]
    rng = np.random.default_rng(len(name) + shape_yx[0])
    pixels = rng.integers(1, 250, (BANDS, *shape_yx)).astype(dtype) * (
        257 if dtype == "uint16" else 1
    )
    profile = {
        "driver": "GTiff",
        "width": shape_yx[1],
        "height": shape_yx[0],
        "count": BANDS,
        "dtype": dtype,
        "crs": "EPSG:32631",
        "transform": rasterio.Affine(1, 0, 5e5, 0, -1, 5e6),
    }
    plain = path.with_suffix(".plain.tif") if driver == "COG" else path
    with rasterio.open(plain, "w", **profile, **({} if driver == "COG" else options)) as raster:
        raster.write(pixels)
    if driver == "COG":
        raster_copy(plain, path, driver="COG", overviews="none", **options)
        plain.unlink()


def windows_of(shape_yx: tuple[int, int]) -> list[Block]:
    """All, each corner, the last row and column, and one within."""
    rows, cols = shape_yx
    low, west = max(rows - 5, 0), max(cols - 6, 0)
    found = [
        Block(0, 0, rows, cols),
        Block(0, 0, min(5, rows), min(6, cols)),
        Block(low, west, rows - low, cols - west),
        Block(rows - 1, 0, 1, cols),
        Block(0, cols - 1, rows, 1),
        Block(rows // 3, cols // 3, max(rows // 3, 1), max(cols // 3, 1)),
    ]
    return sorted(set(found))


@pytest.fixture(autouse=True)
def _fetch_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch no more for a header than it has; a small file would be whole after it."""
    monkeypatch.setattr(mirror_module, "HEAD_BYTES", 1)
    monkeypatch.setattr(mirror_module, "HEAD_REQUESTS", 1000)
    monkeypatch.setattr(mirror_module, "_BEFORE_BYTES", 0)


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as found:
        yield found


def mirror_with(
    content: bytes, window: Block, bands: list[int], folder: Path, pool: Executor
) -> tuple[LocalCopy, Structure]:
    """A mirror of some file that holds one window."""
    origin = locate(f"memory://ragged/{uuid4().hex}.tif")
    origin.write_bytes(content)
    mirror = Mirror(origin, len(content), None, folder / f"{uuid4().hex}.tif")
    found = mirror.structure()
    mirror.fill(found.spans([window], bands), pool)
    origin.remove_object()
    return mirror.copy(found), found


def pixels_of(path: str, window: Block, bands: list[int]) -> Any:
    with open_raster(path) as raster:
        return raster.read(
            bands, window=Window(window.col, window.row, window.width, window.height)
        )


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_window_of_a_mirror_holds_the_pixels_of_the_origin(name, shape, pool, tmp_path):
    path = tmp_path / "a.tif"
    write(path, name, shapes_of(name)[shape])
    content = path.read_bytes()

    for window, bands in product(windows_of(shapes_of(name)[shape]), ([1, 2, 3], [2])):
        copy, _ = mirror_with(content, window, bands, tmp_path, pool)
        copy.refuse_missing(window, bands)
        np.testing.assert_array_equal(
            pixels_of(copy.path, window, bands), pixels_of(str(path), window, bands)
        )


def big(name: str, folder: Path) -> tuple[Path, bytes]:
    """A file larger than what is fetched for its header."""
    path = folder / f"{uuid4().hex}.tif"
    write(path, name, (301, 203))
    content = path.read_bytes()
    assert len(content) > 3 << 16
    return path, content


edges = st.integers(0, 300)
FEW = ["strips of 16, raw, by pixel", "strips of 7, raw, by band", "one strip, raw, by pixel"]
FEW += ["tiles, deflate, by band", "strips of one row, raw BigTIFF, by pixel"]


@pytest.mark.parametrize("name", FEW)
def test_any_other_window_is_an_error_or_the_pixels_of_the_origin(name, pool, tmp_path):
    path, content = big(name, tmp_path)
    refused, given_pixels = [], []

    @settings(max_examples=40)
    @given(st.tuples(edges, edges, edges, edges))
    def holds(at: tuple[int, int, int, int]) -> None:
        first, row, height, col = at
        held = Block(first, 0, min(20, 301 - first), 203)
        asked = Block(row, col % 203, min(height + 1, 301 - row), 203 - col % 203)
        copy, _ = mirror_with(content, held, [1], tmp_path, pool)
        try:
            copy.refuse_missing(asked, [1])
        except MissingBytesError:
            refused.append(asked)
        else:
            given_pixels.append(asked)
            found, wanted = (pixels_of(p, asked, [1]) for p in (copy.path, str(path)))
            np.testing.assert_array_equal(found, wanted)
        Path(copy.path).unlink()

    holds()
    assert refused


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("shape", ["nothing a multiple", "one row"])
def test_what_pixels_need_is_what_is_fetched_for_them(name, shape, tmp_path):
    path = tmp_path / "a.tif"
    write(path, name, shapes_of(name)[shape])
    found = local_structure(path)

    for window, bands in product(windows_of(shapes_of(name)[shape]), ([1, 2, 3], [2])):
        fetched = found.spans([window], bands)
        assert Held(tuple(fetched)).missing(bytes_of_pixels(found, window, bands)) == []
        needed = Held() | bytes_of_pixels(found, window, bands)
        assert needed.missing(fetched) == []


_ASK = """
import pickle, sys
from spacenet_cube.raster.grid import Block
copy = pickle.loads(sys.stdin.buffer.read())
copy.refuse_missing(Block(0, 0, 10, 50), [1])
try:
    copy.refuse_missing(Block(250, 0, 10, 50), [1])
except OSError as error:
    sys.exit("would read as zeros" not in str(error))
sys.exit(2)
"""


def test_another_process_knows_what_a_mirror_holds(pool, tmp_path):
    _, content = big(FEW[0], tmp_path)
    copy, _ = mirror_with(content, Block(0, 0, 10, 203), [1], tmp_path, pool)

    done = subprocess.run(
        [sys.executable, "-c", _ASK], input=pickle.dumps(copy), check=False, timeout=120
    )

    assert done.returncode == 0


def test_what_a_copy_holds_never_changes_under_its_reader(pool, tmp_path):
    _, content = big(FEW[0], tmp_path)
    first, found = mirror_with(content, Block(0, 0, 10, 203), [1], tmp_path, pool)
    before = first.held

    assert before is not None
    more = before | [(0, len(content))]

    assert first.held is before
    assert more.total_bytes == len(content) > before.total_bytes
    assert first.structure is found


@pytest.mark.parametrize("name", [FEW[0], FEW[1], FEW[2], "tiles, raw, by pixel", "COG, raw"])
@pytest.mark.parametrize("shape_yx", [(360, 256), (301, 203)])
def test_a_cube_of_a_remote_ragged_scene_has_the_pixels_of_the_local_one(name, shape_yx, tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.tif", name, shape_yx)
    recipe = sc.parse_recipe(
        "name: x\nlicence: {spdx: CC0-1.0, attribution: nobody}\n"
        "products: [{name: p, sources: '*.tif', bands: [a, b, c], "
        "encoding: {chunk: 64, shard: 128}}]\n"
    )
    origin = locate(f"memory://ragged/{uuid4().hex}")
    (origin / "a.tif").write_bytes((tmp_path / "in" / "a.tif").read_bytes())

    urls = [
        sc.build(sc.plan(recipe, "p", sc.survey(recipe, "p", source=source)), tmp_path / to)
        for source, to in ((tmp_path / "in", "here"), (origin.url, "there"))
    ]

    here, there = (sc.open_cube(url).image.values for url in urls)
    np.testing.assert_array_equal(there, here)
    assert (here > 0).all()
