"""What every contender writes: one Zarr array ``image``, of one shape and one encoding."""

from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

CHUNKS = (1, 512, 512)
"""Shape of a chunk, (band, y, x)."""

CHUNK_BYTES = 512 * 512 * 2
"""Size of a chunk, raw: blosc encodes one in one block."""

SHARDS = (8, 2048, 2048)
"""Shape of a shard, (band, y, x)."""

WORKERS = 2
"""Threads of every contender."""


def compressors() -> tuple[BloscCodec, Crc32cCodec]:
    """Give the codecs of the ``cloud`` profile."""
    blosc = BloscCodec(
        typesize=2, cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=CHUNK_BYTES
    )
    return blosc, Crc32cCodec()


def encoding() -> dict[str, Any]:
    """Give the encoding of ``image`` as ``Dataset.to_zarr`` takes it."""
    return {
        "chunks": CHUNKS,
        "shards": SHARDS,
        "compressors": compressors(),
        "_FillValue": 0,
        "dtype": "uint16",
    }


def configure_zarr() -> None:
    """Give a contender zarr's fast pipeline, and leave out its search for empty chunks."""
    zarr.config.set(
        {
            "codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline",
            "array.write_empty_chunks": True,
        }
    )


def create_image(group: Path, shape_yx: tuple[int, int]) -> None:
    """Make the empty array ``image`` in ``group``."""
    root = zarr.create_group(group)
    root.create_array(
        "image",
        shape=(SHARDS[0], *shape_yx),
        dtype="uint16",
        chunks=CHUNKS,
        shards=SHARDS,
        compressors=compressors(),
        fill_value=0,
        dimension_names=("band", "y", "x"),
    )
