"""Fuzzed TIFFs: real small files of every layout, damaged and forged, through survey and build.

Beside each lie the files with which GDAL lets itself be led elsewhere.  One trial in three
is of an untouched file that is flipped once it is pinned: that must be refused.
"""

import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from struct import error as struct_error
from struct import pack, pack_into, unpack_from
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.shutil import copy as translate

from spacenet_cube.builds.build import build
from spacenet_cube.errors import SourceError
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.sources.survey import survey
from tests.scenes import coordinates, product, recipe, write_geotiff
from tests.torture.arena import arena
from tests.torture.fuzz_recipes import score
from tests.torture.score import Score

CANARY = "canary-outside.tif"
LAYOUTS: tuple[dict[str, Any], ...] = (
    {},
    {"compress": "deflate"},
    {"compress": "lzw", "predictor": 2},
    {"compress": "zstd", "interleave": "band"},
    {"compress": "packbits", "blockysize": 1},
    {"dtype": "uint8", "compress": "jpeg", "photometric": "ycbcr", "count": 3},
    {"tiled": True, "blockxsize": 16, "blockysize": 16},
    {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "deflate", "predictor": 2},
    {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "zstd", "interleave": "band"},
    {"dtype": "uint8", "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "jpeg"},
    {"BIGTIFF": "YES"},
    {"BIGTIFF": "YES", "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw"},
    {"ENDIANNESS": "BIG", "interleave": "band"},
    {"dtype": "float32", "compress": "deflate", "predictor": 3},
    {"NBITS": 12},
    {"dtype": "float64", "blockysize": 40},
    {"dtype": "int16", "SPARSE_OK": "TRUE", "tiled": True, "blockxsize": 16, "blockysize": 16},
    {"dtype": "int32", "count": 1, "nodata": 7},
    {"cog": True},
)
_ODD: tuple[int, ...] = (
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    255,
    256,
    32767,
    65535,
    65536,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
)
_ODD += ((1 << 32) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_DISGUISES = (
    (
        "<VRTDataset rasterXSize='4' rasterYSize='4'><VRTRasterBand dataType='Byte' band='1'>"
        "<SimpleSource><SourceFilename>{0}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    ),
    "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service></GDAL_WMS>",
    "GTIFF_DIR:1:{0}",
    "/vsicurl/http://127.0.0.1:9/a.tif",
    "{{'driver': 'VRT', 'name': '{0}'}}",
)


def originals(folder: Path) -> list[bytes]:
    """A file of each layout."""
    found = []
    for number, layout in enumerate(LAYOUTS):
        said = dict(layout)
        count, dtype = said.pop("count", 2), said.pop("dtype", "uint16")
        cog, path = said.pop("cog", False), folder / f"{number}.tif"
        image = (coordinates(Block(0, 0, 40, 48), count) % 251 + 1).astype(dtype)
        write_geotiff(path, image, **said)
        if cog:
            translate(str(path), str(folder / "cog.tif"), driver="COG", BLOCKSIZE=128)
            path = folder / "cog.tif"
        found.append(path.read_bytes())
    return found


def _entries(content: bytes) -> Iterator[tuple[int, str, bool]]:
    """Where the tags of the first folder stand, the byte order, and whether the file is big."""
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in {b"+\0", b"\0+"}
    at = unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)[0]
    count = unpack_from(order + ("Q" if big else "H"), content, at)[0]
    head, step = (8, 20) if big else (2, 12)
    for k in range(count + 1):
        yield at + head + k * step, order, big


def _flipped(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    reach = len(made) if rng.random() < 0.5 else min(len(made), 600)
    for _ in range(rng.randint(1, 8)):
        made[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(made)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _edited(content: bytes, rng: random.Random) -> bytes:
    """Other kinds, counts and values of tags; the folder that follows may be itself."""
    made = bytearray(content)
    try:
        places = list(_entries(content))
        for _ in range(rng.randint(1, 3)):
            at, order, big = rng.choice(places)
            where, form = rng.choice(
                [(2, "H"), (4, "Q"), (12, "Q"), (0, "H")]
                if big
                else [(2, "H"), (4, "I"), (8, "I"), (8, "H"), (0, "H")]
            )
            most = {"H": 1 << 16, "I": 1 << 32, "Q": 1 << 64}[form]
            pack_into(order + form, made, at + where, rng.choice(_ODD) % most)
        if rng.random() < 0.1:
            at, order, big = places[-1]
            first = unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)[0]
            pack_into(order + ("Q" if big else "I"), made, at, first)
    except (struct_error, IndexError):
        pass
    return bytes(made)


def _spliced(content: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(content)), rng.choice((1, 4, 16, 300))
    middle = rng.choice((b"", bytes(size), rng.randbytes(size), content[:size]))
    return content[:at] + middle + content[at + size :]


def bomb(rng: random.Random) -> bytes:
    """A TIFF that says it is vast and holds next to nothing, in tables that may be long."""
    big, tiled = rng.random() < 0.3, rng.random() < 0.5
    edge = rng.choice((64, 5_000, 60_000, 1 << 20, 1 << 31, (1 << 32) - 1))
    blocks = rng.choice((1, 1, 2, 40_000, 3_000_000))
    high = rng.choice((1, 16, edge, edge, 1 << 16))
    number, count = ("Q", 16) if big else ("I", 4)
    where = 16 if big else 8
    tags: list[tuple[int, int, int]] = [
        (256, 4, edge), (257, 4, edge), (258, 3, rng.choice((8, 16, 12, 64))),
        (259, 3, rng.choice((1, 5, 8, 7, 34925, 50000))), (262, 3, 1),
        (277, 3, rng.choice((1, 2, 4, 65535))), (284, 3, rng.choice((1, 2))),
    ]  # fmt: skip
    tags += [(322, 4, high), (323, 4, high)] if tiled else [(278, 4, high)]
    names = (324, 325) if tiled else (273, 279)
    body = where + (8 if big else 2) + (len(tags) + 2) * (20 if big else 12) + (8 if big else 4)
    step = 8 if big else 4
    rows = [(tag, kind, 1, value) for tag, kind, value in tags]
    inline = blocks == 1
    rows += [
        (name, count, blocks, body if inline else body + 64 + k * blocks * step)
        for k, name in enumerate(names)
    ]
    made = pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else pack("<2sHI", b"II", 42, 8)
    made += pack("<" + ("Q" if big else "H"), len(rows))
    for tag, kind, size, value in sorted(rows):
        made += pack("<HH" + number * 2, tag, kind, size, value)
    made += pack("<" + number, rng.choice((0, where)))
    made += rng.randbytes(64)
    return made + (b"" if inline else pack("<" + number, body) * blocks * 2)


def tiff(seed: int, real: list[bytes], canary: Path) -> tuple[str, bytes]:
    """What is done with a file, and the file of a seed."""
    rng = random.Random(seed)
    if seed % 3 == 0:
        return f"flip {seed}", rng.choice(real)
    way = rng.choices([_flipped, _cut, _edited, _spliced], [0.35, 0.15, 0.4, 0.1])[0]
    match rng.choices(["damage", "disguise", "bomb"], [0.88, 0.03, 0.09])[0]:
        case "disguise":
            return "build", rng.choice(_DISGUISES).format(canary).encode()
        case "bomb":
            return "build", bomb(rng)
    return "build", way(rng.choice(real), rng)


def trial(payload: tuple[str, bytes], folder: Path) -> str:
    """Survey, pin and build one file; where a cube comes of it, compare it with GDAL's pixels."""
    what, content = payload
    source, target = folder / "source", folder / "to"
    path = source / "a.tif"
    if what.startswith("control"):
        if what == "control":
            (folder.parent / CANARY).read_bytes()
        else:
            with rasterio.open(folder.parent / CANARY) as dataset:
                dataset.read()
        return "fine"
    path.write_bytes(content)
    shutil.rmtree(target, ignore_errors=True)
    wanted = recipe(product(count=1, sources=(("a.tif",),)))
    planned = plan(wanted, "P", survey(wanted, "P", source=source, pin=True))
    if what.startswith("flip"):
        return _flip_and_build(path, content, planned, target, what)
    url = build(planned, target, workers=1)
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"),
        rasterio.open(path) as dataset,
    ):
        want = dataset.read(1)
        # What the file's own tag marks as fill, and NaN, is the cube's nodata.
        want[(want == dataset.nodata) | (want != want)] = 0  # noqa: PLR0124 - NaN alone
    got = xr.open_zarr(url, mask_and_scale=False).image.values[0]
    return "fine" if np.array_equal(want, got) else "wrong pixels"


def _flip_and_build(path: Path, content: bytes, planned: Any, target: Path, what: str) -> str:
    rng = random.Random(what)
    made = bytearray(content)
    made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(made))
    try:
        build(planned, target, workers=1)
    except SourceError as error:
        told = "not the one that was surveyed" in str(error) and "a.tif" in str(error)
        return "refused" if told else f"wrong words: {str(error)[:100]}"
    return "wrong: a flipped file that was pinned went into a cube"


def run(n: int, seed: int) -> Score:
    """Try n files; the first two trials touch a canary, by Python and by GDAL."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "arena"
        (folder / "source").mkdir(parents=True)
        canary = folder.parent / CANARY
        write_geotiff(canary, coordinates(Block(0, 0, 4, 4)).astype("uint8"))
        lure = _DISGUISES[0].format(canary)
        for suffix in (".aux.xml", ".ovr", ".msk", ".vrt"):
            (folder / "source" / f"a.tif{suffix}").write_text(lure)
        (folder / "source" / "a.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
        (folder / "made").mkdir()
        real = originals(folder / "made")
        with arena("tests.torture.fuzz_tiffs", folder, trace=True) as held:
            control = held.run(("control", b""))
            assert control.foreign, "the watch saw no canary that was touched on purpose"
            watched = held.is_traced
            held.run(("control-gdal", b""))
            start = seed * 1_000_000
            outcomes = [held.run(tiff(each, real, canary)) for each in range(start, start + n)]
        # What strace saw is read when the process has ended.
        opened = held.opened(canary)
        beyond = sorted(set(held.traced) - {str(canary), str(canary.parent)})
    kept = [each for each in outcomes if each.ended in {"fine", "refused"}]
    made = score(
        "fuzz-tiffs",
        "fuzzed TIFFs are refused or built rightly, in bounds; flipped pinned ones are refused",
        outcomes,
        seed,
        built_or_refused_by_pin=len(kept),
        watched_by="audit events and strace" if watched else "audit events",
    )
    strange = [f"trial ?: touched {each} (strace)" for each in beyond]
    if watched and opened != _ON_PURPOSE:
        strange.append(f"trial ?: the canary was opened {opened} times, {_ON_PURPOSE} on purpose")
    return replace(made, failures=(*made.failures, *strange))


_ON_PURPOSE = 2
"""Once by Python and once by GDAL: that strace saw both is the proof that it watches."""
