"""Indexes of shards that are kept by who reads."""

import google_crc32c
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.storage.stores.shard_indexes import Indexes


def index_of(number: int, chunks: int) -> bytes:
    body = np.full(chunks * 2, number, "<u8").tobytes()
    checksum: int = google_crc32c.value(body)
    return body + checksum.to_bytes(4, "little")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 8)), max_size=60), st.integers(0, 500))
def test_what_is_given_is_what_is_stored_and_little_is_kept(asked, most_bytes):
    kept, read = Indexes(most_bytes), 0
    seen: set[tuple[int, int]] = set()
    for key, chunks in asked:
        content = index_of(key, chunks)
        before = len(seen)

        def reads(content=content):
            nonlocal read
            read += 1
            return content

        assert kept.get(str(key), len(content), reads) == content
        seen.add((key, chunks))
        fits = sum(len(index_of(*one)) for one in seen) <= most_bytes
        if fits and len(seen) == before:
            assert read <= len(seen)
    assert read >= len(seen)
    assert sum(map(len, kept._kept.values())) == kept._held_bytes <= most_bytes  # noqa: SLF001


@given(st.binary(min_size=1, max_size=64), st.integers(0, 511))
def test_what_is_no_index_is_read_each_time(content, flipped_bit):
    good = bytearray(content + google_crc32c.value(content).to_bytes(4, "little"))
    damaged = bytearray(good)
    damaged[flipped_bit // 8 % len(good)] ^= 1 << flipped_bit % 8
    answers = iter([bytes(damaged), bytes(good)])
    kept = Indexes()

    assert kept.get("c", len(good), lambda: next(answers)) == damaged
    for _ in range(2):
        assert kept.get("c", len(good), lambda: next(answers)) == good


def test_a_short_answer_is_not_kept():
    kept, answers = Indexes(), iter([index_of(1, 1), index_of(1, 2)])
    for expected in (index_of(1, 1), index_of(1, 2), index_of(1, 2)):
        assert kept.get("c", len(index_of(1, 2)), lambda: next(answers)) == expected
