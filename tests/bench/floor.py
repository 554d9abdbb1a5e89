"""The floor: copy, de-interleave, encode, write whole shards; nothing else.

What no builder of this array can beat while the codec, the language and the cores stay as they are.
The sources are mapped, not read through GDAL; a shard is laid out by hand, not by zarr.
"""

import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import google_crc32c
import numpy as np
import rasterio
from numcodecs import blosc

from tests.bench.strips import BANDS, Corpus, Pixels, Strip
from tests.bench.target import CHUNK_BYTES, CHUNKS, SHARDS, WORKERS, create_image

_MISSING = (2**64 - 1, 2**64 - 1)


def build(corpus: Corpus, target: Path) -> None:
    """Write the mosaic of ``corpus`` to the group ``target``."""
    # Each thread encodes by itself; blosc's own threads would only contend with ours.
    blosc.use_threads = False
    create_image(target, corpus.shape_yx)
    mapped = [(strip, _mapped(strip)) for strip in corpus.strips]
    starts = [
        range(0, length, step) for length, step in zip(corpus.shape_yx, SHARDS[1:], strict=True)
    ]
    folder = target / "image" / "c" / "0"
    for row in starts[0]:
        (folder / str(row // SHARDS[1])).mkdir(parents=True)

    def write(start: tuple[int, int]) -> None:
        name = folder / str(start[0] // SHARDS[1]) / str(start[1] // SHARDS[2])
        _write_shard(name, list(_encoded(start, corpus.shape_yx, mapped)))

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(write, product(*starts)))


def _mapped(strip: Strip) -> Pixels:
    """Map the samples of a file, shaped (y, x, band), as GDAL lays them out: strip after strip."""
    with rasterio.open(strip.path) as source:
        rows = source.block_shapes[0][0]
        first = int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        last = strip.size // rows - 1
        found = int(source.get_tag_item(f"BLOCK_OFFSET_0_{last}", "TIFF", bidx=1))
    assert found == first + last * rows * strip.size * len(BANDS) * 2
    shape = (strip.size, strip.size, len(BANDS))
    return np.memmap(strip.path, np.uint16, mode="r", offset=first, shape=shape)


def _encoded(
    start: tuple[int, int], shape_yx: tuple[int, int], mapped: list[tuple[Strip, Pixels]]
) -> Iterator[tuple[int, bytes]]:
    """Encode the chunks of one shard: where each stands in the shard's index, and its bytes."""
    codec = blosc.Blosc(
        cname="zstd", clevel=1, shuffle=blosc.BITSHUFFLE, typesize=2, blocksize=CHUNK_BYTES
    )
    down, right = (shard // chunk for shard, chunk in zip(SHARDS[1:], CHUNKS[1:], strict=True))
    for i, j in product(range(down), range(right)):
        row, col = start[0] + i * CHUNKS[1], start[1] + j * CHUNKS[2]
        if row >= shape_yx[0] or col >= shape_yx[1]:
            continue
        for band, plane in enumerate(_pixels(row, col, mapped)):
            data = bytes(codec.encode(plane))
            checksum = struct.pack("<I", google_crc32c.value(data))
            yield (band * down + i) * right + j, data + checksum


def _pixels(row: int, col: int, mapped: list[tuple[Strip, Pixels]]) -> Pixels:
    """Copy and de-interleave one chunk of every band, shaped (band, y, x)."""
    out = np.zeros((len(BANDS), *CHUNKS[1:]), np.uint16)
    untouched = True
    for strip, pixels in mapped:
        top, left = max(row - strip.row, 0), max(col - strip.col, 0)
        found = pixels[
            top : max(row - strip.row + CHUNKS[1], 0), left : max(col - strip.col + CHUNKS[2], 0)
        ].transpose(2, 0, 1)
        if not found.size:
            continue
        y, x = strip.row + top - row, strip.col + left - col
        part = out[:, y : y + found.shape[1], x : x + found.shape[2]]
        if untouched:
            part[...] = found
        else:
            np.copyto(part, found, where=part[0] == 0)
        untouched = False
    return out


def _write_shard(name: Path, chunks: list[tuple[int, bytes]]) -> None:
    """Write chunks and the index that ends a shard (``sharding_indexed``)."""
    index = [_MISSING] * (SHARDS[0] * SHARDS[1] * SHARDS[2] // (CHUNKS[1] * CHUNKS[2]))
    offset = 0
    for place, data in chunks:
        index[place] = (offset, len(data))
        offset += len(data)
    table = np.array(index, "<u8").tobytes()
    checksum = struct.pack("<I", google_crc32c.value(table))
    name.write_bytes(b"".join([*(data for _, data in chunks), table, checksum]))
