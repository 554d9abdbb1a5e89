"""TIFF structure: laws of spans and requests, and bytes that are no TIFF."""

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.sources.files.byte_ranges import merge, requests, without
from spacenet_cube.sources.files.tiff import TiffError, structure

raw = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=12)


def spans_of(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return merge((start, start + size) for start, size in pairs)


def bytes_of(spans: list[tuple[int, int]]) -> set[int]:
    return {byte for start, stop in spans for byte in range(start, stop)}


@given(raw)
def test_merging_keeps_every_byte_and_orders_them(pairs):
    found = spans_of(pairs)

    assert bytes_of(found) == bytes_of([(start, start + size) for start, size in pairs])
    assert all(before[1] < after[0] for before, after in pairwise(found))


@given(raw, raw)
def test_without_is_the_difference(wanted, held):
    found = without(spans_of(wanted), spans_of(held))

    assert bytes_of(found) == bytes_of(spans_of(wanted)) - bytes_of(spans_of(held))


@given(raw, st.integers(1, 100), st.sampled_from([0.0, 0.02, 0.5]))
def test_requests_cover_what_is_needed_and_little_more(pairs, part_bytes, waste):
    needed = spans_of(pairs)

    found = requests(needed, part_bytes, waste)

    asked = bytes_of(found)
    assert bytes_of(needed) <= asked
    assert len(asked) == sum(stop - start for start, stop in found)  # none asked for twice
    assert len(asked) <= len(bytes_of(needed)) * (1 + waste)
    assert all(stop - start <= part_bytes for start, stop in found)


def piece(whole: bytes, start: int, size: int) -> bytes:
    return whole[start : start + size]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_structure_or_an_error(content):
    for head in (b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"):
        whole = head + content
        with pytest.raises(TiffError):
            structure(partial(piece, whole))
