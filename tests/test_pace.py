"""How long an upload may take, from how long others took."""

from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.storage.clients import patience
from spacenet_cube.storage.pace import SLOWEST_BYTES_S, Pace

UPLOADS = st.lists(
    st.tuples(st.integers(1, 1 << 30), st.floats(0.001, 600, allow_nan=False)), max_size=80
)


def paced(uploads: list[tuple[int, float]]) -> Pace:
    pace = Pace()
    for size_bytes, seconds in uploads:
        pace.note(size_bytes, seconds)
    return pace


@given(UPLOADS)
def test_the_pace_is_a_power_of_two_and_never_more_than_an_eighth_of_the_slowest(uploads):
    found = paced(uploads).bytes_s
    slowest = min((size / seconds for size, seconds in uploads[-32:]), default=0)

    assert found >= SLOWEST_BYTES_S
    assert found & (found - 1) == 0
    if len(uploads) < 4:
        assert found == 4 << 20
    else:
        assert found <= max(SLOWEST_BYTES_S, slowest / 8)


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
    assert pace.bytes_s == 128 << 20
