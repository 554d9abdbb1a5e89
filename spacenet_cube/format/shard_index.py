"""Shards: the index at the end of each, checked without reading the chunks.

Pure.  The layout is that of the sharding codec
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html): offset
and size of every chunk as little-endian unsigned 64-bit numbers, all ones where there is
no chunk, and a CRC-32C of them.
"""

from collections.abc import Iterator

import google_crc32c
import numpy as np

from spacenet_cube.format.layout import Layout, index_size_bytes

_CRC_BYTES = 4
_NOTHING = 2**64 - 1


def index_faults(
    found: Layout, index: tuple[int, ...], content: bytes, size_bytes: int
) -> Iterator[tuple[tuple[int, ...] | None, str]]:
    """Check the index of a shard.

    Parameters
    ----------
    found
        How the array is cut.
    index
        Number of the shard along each dimension.
    content
        The last bytes of the shard, `index_size_bytes` of them, or all there are.
    size_bytes
        Size of the shard.

    Yields
    ------
    chunk : tuple of int or None
        Number of the chunk along each dimension of the array; None where the index itself is
        damaged.
    said : str
        What was found.
    """
    wanted = index_size_bytes(found)
    if len(content) != wanted:
        yield None, f"{size_bytes:,} bytes, too few for an index of {wanted:,}"
        return
    body, told = content[:-_CRC_BYTES], int.from_bytes(content[-_CRC_BYTES:], "little")
    if google_crc32c.value(body) != told:
        yield None, f"the index has CRC-32C {google_crc32c.value(body):08x} and says {told:08x}"
        return
    entries = np.frombuffer(body, "<u8").reshape(-1, 2)
    yield from _entry_faults(found, index, entries.tolist(), size_bytes - wanted)


def _entry_faults(
    found: Layout, index: tuple[int, ...], entries: list[list[int]], end: int
) -> Iterator[tuple[tuple[int, ...] | None, str]]:
    """Entries that point nowhere, at nothing, or at each other's bytes."""
    spans = []
    for (number, inside), (offset, size) in zip(found.chunks(index), entries, strict=True):
        is_empty = offset == size == _NOTHING
        if inside is None and not is_empty:
            yield None, f"the index holds chunk {_path(number)}, which lies beyond the array"
        elif inside is not None and is_empty:
            yield number, "the index says that there is no such chunk"
        elif inside is not None and (size == 0 or offset + size > end):
            yield number, f"the index puts it at bytes {offset:,}+{size:,} of {end:,}"
        elif inside is not None:
            spans.append((offset, size, number))
    reached, owner = 0, None
    for offset, size, number in sorted(spans):
        if offset < reached:
            yield number, f"the index puts it into the bytes of chunk {_path(owner or ())}"
        if offset + size > reached:
            reached, owner = offset + size, number


def _path(number: tuple[int, ...]) -> str:
    return "/".join(map(str, number))
