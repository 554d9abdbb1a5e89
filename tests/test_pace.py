"""How long an upload may take, from how long others took."""

from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.storage.s3.clients import patience
from spacenet_cube.storage.s3.pace import SLOWEST_BYTES_S, Easing, Pace

UPLOADS = st.lists(
    st.tuples(st.integers(1, 1 << 30), st.floats(0.001, 600, allow_nan=False)), max_size=80
)


def paced(uploads: list[tuple[int, float]]) -> Pace:
    pace = Pace()
    for size_bytes, seconds in uploads:
        pace.note(size_bytes, seconds)
    return pace


@given(UPLOADS)
def test_the_pace_is_half_that_of_the_slowest_of_the_last_uploads(uploads):
    found = paced(uploads).bytes_s
    slowest = min((size / seconds for size, seconds in uploads[-32:]), default=0)

    assert found >= SLOWEST_BYTES_S
    if len(uploads) < 4:
        assert found == 16 << 20
    else:
        assert slowest / 2 - 1 <= found <= max(SLOWEST_BYTES_S, slowest / 2)


@given(st.floats(0.1, 120), st.lists(st.integers(1, 1 << 30), min_size=1, max_size=200))
def test_uploads_of_all_sizes_need_few_clients_and_wait_no_longer_than_they_must(timeout_s, sizes):
    bytes_s = 8 << 20
    waits = {size: patience(timeout_s, size, writes=True, bytes_s=bytes_s) for size in sizes}

    # From an eighth of a second to two minutes, in steps of the root of two.
    assert len(set(waits.values())) <= 23
    for size, waiting in waits.items():
        assert waiting.whole_s <= timeout_s + 1.42 * max(0.125, size / bytes_s)


@given(st.integers(0, 20))
def test_each_try_that_ran_out_of_time_doubles_that_of_the_next(times):
    easing = Easing(Pace())
    for _ in range(times):
        easing.ran_out()
    assert easing.bytes_s == max(SLOWEST_BYTES_S, (16 << 20) >> times)


KNOWN = UPLOADS.filter(lambda uploads: len(uploads) > 3)


@given(KNOWN, st.integers(1, 1 << 30), st.floats(0.1, 120))
def test_an_upload_as_slow_as_the_slowest_is_never_given_up(uploads, size_bytes, timeout_s):
    slowest = min(size / seconds for size, seconds in uploads)
    pace = paced(uploads)

    waits = patience(timeout_s, size_bytes, writes=True, bytes_s=pace.bytes_s)

    assert waits.silence_s == waits.whole_s >= timeout_s
    if size_bytes > 1 << 20:
        assert waits.whole_s >= timeout_s + size_bytes / max(slowest, SLOWEST_BYTES_S)


@given(KNOWN)
def test_one_slow_upload_makes_all_patient_again_until_it_is_long_ago(uploads):
    pace = paced(uploads)
    pace.note(1, seconds=1.0)
    assert pace.bytes_s == SLOWEST_BYTES_S
    for _ in range(32):
        pace.note(1 << 30, seconds=1.0)
    assert pace.bytes_s == 512 << 20
