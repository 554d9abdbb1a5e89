"""Damage: every pixel has one object and every object its pixels, as zarr itself has it."""

import json
from collections import Counter
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from spacenet_cube.errors import VerifyError
from spacenet_cube.format.layout import Layout, index_size_bytes, layout, level_of
from spacenet_cube.format.shard_index import index_faults
from spacenet_cube.raster.grid import Block
from spacenet_cube.storage.stores.settings import array_settings
from tests.shares import count

Objects = dict[str, Any]
"""Buffers by key."""

DIMS = {2: ("y", "x"), 3: ("band", "y", "x")}


@st.composite
def cuts(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]:
    """Shape, chunks and shards of a small array."""
    count = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, 9)) for _ in range(count))
    chunk = tuple(draw(st.integers(1, 4)) for _ in range(count))
    times = tuple(draw(st.integers(1, 3)) for _ in range(count))
    sharded = draw(st.booleans())
    shard = tuple(a * b for a, b in zip(chunk, times, strict=True))
    return shape, chunk, shard if sharded else None


def written(cut: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]) -> Objects:
    """The objects of an array ``ovr_2x/image`` in which every pixel holds its own number."""
    shape, chunk, shard = cut
    held: Objects = {}
    with array_settings():
        array = zarr.create_array(
            MemoryStore(held),
            name="ovr_2x/image",
            shape=shape,
            chunks=chunk,
            shards=shard,
            dtype="uint16",
            dimension_names=DIMS[len(shape)],
        )
        array[...] = np.arange(array.size, dtype="uint16").reshape(shape)
    return held


def objects(store: Objects) -> dict[str, bytes]:
    """Shards or chunks of it, by key."""
    found = {key: value.to_bytes() for key, value in store.items()}
    return {key: value for key, value in found.items() if "/c/" in key}


def layout_of(store: Objects) -> Layout:
    document = json.loads(store["ovr_2x/image/zarr.json"].to_bytes())
    return layout("ovr_2x/image", document)


@given(cuts())
@settings(max_examples=count(15, of=60))
def test_keys_windows_and_keys_again_are_those_that_zarr_writes(cut):
    store = written(cut)
    found = layout_of(store)

    assert sorted(map(found.key, found.indexes())) == sorted(objects(store))
    for key in objects(store):
        index = found.index(key)
        assert index is not None
        assert found.key(index) == key
        assert found.place(index).level == 1


@given(cuts())
@settings(max_examples=count(15, of=60))
def test_every_pixel_lies_in_one_object_and_in_one_chunk(cut):
    found = layout_of(written(cut))
    by_object, by_chunk = np.zeros(cut[0], int), np.zeros(cut[0], int)

    for index in found.indexes():
        by_object[tuple(slice(*span) for span in found.spans(index))] += 1
        for _, spans in found.chunks(index):
            if spans is not None:
                by_chunk[tuple(slice(*span) for span in spans)] += 1

    assert (by_object == 1).all()
    assert (by_chunk == 1).all()


@given(cuts())
@settings(max_examples=count(12, of=40))
def test_a_window_holds_the_pixels_that_are_gone_when_the_object_is(cut):
    store = written(cut)
    found = layout_of(store)
    sound = np.arange(np.prod(cut[0]), dtype="uint16").reshape(cut[0])

    for key in objects(store):
        held = store.pop(key)
        # By zarr's own rule a missing object reads as fill, which here is 0.
        now = zarr.open_array(MemoryStore(store), path="ovr_2x/image", mode="r")[...]
        store[key] = held
        place = found.place(found.index(key) or ())
        lost = np.zeros(cut[0], bool)
        lost[tuple(slice(*span) for span in place.spans)] = True
        np.testing.assert_array_equal(now, np.where(lost, 0, sound))


@given(cuts())
@settings(max_examples=count(12, of=40))
def test_the_index_of_a_shard_that_zarr_wrote_is_sound(cut):
    store = written((*cut[:2], cut[2] or cut[1]))
    found = layout_of(store)

    for key, content in objects(store).items():
        tail = content[-index_size_bytes(found) :]
        assert list(index_faults(found, found.index(key) or (), tail, len(content))) == []


@given(cuts(), st.data())
@settings(max_examples=count(15, of=60))
def test_a_changed_bit_of_an_index_is_found(cut, data):
    store = written((*cut[:2], cut[2] or cut[1]))
    found = layout_of(store)
    key, content = data.draw(st.sampled_from(sorted(objects(store).items())))
    tail = bytearray(content[-index_size_bytes(found) :])
    tail[data.draw(st.integers(0, len(tail) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    told = list(index_faults(found, found.index(key) or (), bytes(tail), len(content)))

    assert told
    assert "CRC-32C" in told[0][1]


SHARD = layout(
    "image",
    {
        "shape": [1, 3, 4],
        "chunk_grid": {"configuration": {"chunk_shape": [1, 4, 4]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 2, 2]}}],
        "dimension_names": ["band", "y", "x"],
    },
)
NONE = (2**64 - 1, 2**64 - 1)


@pytest.mark.parametrize(
    ("entries", "chunk", "said"),
    [
        ([(0, 9), (9, 9), (18, 9), NONE], (0, 1, 1), "no such chunk"),
        ([(0, 9), (9, 9), (18, 9), (27, 10)], (0, 1, 1), "bytes 27[+]10 of 36"),
        ([(0, 9), (9, 0), (18, 9), (27, 9)], (0, 0, 1), "bytes 9[+]0"),
        ([(0, 9), (8, 9), (18, 9), (27, 9)], (0, 0, 1), "into the bytes of chunk 0/0/0"),
        ([(0, 9), (0, 9), (18, 9), (27, 9)], (0, 0, 1), "into the bytes of chunk 0/0/0"),
    ],
)
def test_an_index_with_a_right_checksum_that_makes_no_sense_is_found(entries, chunk, said):
    body = np.array(entries, "<u8").tobytes()
    content = body + google_crc32c.value(body).to_bytes(4, "little")

    ((number, told),) = index_faults(SHARD, (0, 0, 0), content, 36 + len(content))

    assert number == chunk
    assert said.replace("[+]", "+") in told
    assert SHARD.place((0, 0, 0), chunk).block == Block(chunk[1] * 2, chunk[2] * 2, 2 - chunk[1], 2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = ("shape", "chunk_grid", "chunk_key_encoding", "codecs", "dimension_names")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, json_values)))
def test_whatever_a_document_says_it_is_a_layout_or_a_clear_error(document):
    with pytest.raises(VerifyError, match=r"a/zarr\.json does not describe an array"):
        layout("a", document)


def test_a_level_is_told_by_the_name_of_its_group():
    told = Counter({path: level_of(path) for path in ("image", "ovr_2x", "ovr_8x/y", "ovr_3x/y")})

    assert told == {"image": 0, "ovr_2x": 1, "ovr_8x/y": 3, "ovr_3x/y": 0}
