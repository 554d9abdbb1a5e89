"""Uploads that go on behind a task: bounded, waited for, and never silently lost."""

import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

import spacenet_cube as sc
from spacenet_cube.builds.unit.task import recorded
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.stores.recording import RecordingStore
from spacenet_cube.storage.stores.uploads import Behind

_PATIENCE_S = 20.0


@given(at_once=st.integers(1, 4), count=st.integers(0, 20))
def test_all_of_it_is_done_and_no_more_than_so_much_at_once(at_once, count):
    lock, now, done = threading.Lock(), [0, 0], []

    def work(number):
        with lock:
            now[0] += 1
            now[1] = max(now)
        done.append(number)
        with lock:
            now[0] -= 1

    with Behind(at_once) as behind:
        for number in range(count):
            behind.do(partial(work, number))
        behind.wait()
        assert sorted(done) == list(range(count))
    assert now[1] <= at_once


def test_who_asks_for_more_waits_and_what_failed_is_told_then():
    go_on, asked = threading.Event(), threading.Event()

    def fails():
        assert go_on.wait(_PATIENCE_S)
        raise OSError("the bucket is gone")

    with Behind(1) as behind:
        behind.do(fails)

        def ask():
            with pytest.raises(OSError, match="the bucket is gone"):
                behind.do(asked.set)

        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(0.2)
        assert asking.is_alive(), "more was begun than there is room for"
        go_on.set()
        asking.join(_PATIENCE_S)
    assert not asked.is_set()


def test_what_failed_last_is_told_by_waiting():
    def fails():
        raise OSError("the bucket is gone")

    with Behind(2) as behind:
        behind.do(fails)
        with pytest.raises(OSError, match="the bucket is gone"):
            behind.wait()


def test_a_task_that_fails_leaves_nothing_under_way():
    begun, go_on, after = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        assert go_on.wait(_PATIENCE_S)
        after.append("slow")

    def fail():
        with Behind(1) as behind:
            behind.do(slow)
            assert begun.wait(_PATIENCE_S)
            threading.Timer(0.1, go_on.set).start()
            raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        fail()
    assert after == ["slow"]


def test_a_store_tells_what_it_wrote_behind_once_that_is_done():
    value = cpu.Buffer.from_bytes(b"content")
    with Behind(2) as behind:
        store = RecordingStore(MemoryStore(), behind=behind)
        for key in "abcdef":
            store.set_sync(key, value)
        behind.wait()
        assert [one.key for one in store.written] == list("abcdef")
        assert {one.size_bytes for one in store.written} == {7}


def test_a_task_whose_upload_failed_has_no_record(monkeypatch):
    cube, value = locate("memory://behind/cube.zarr"), cpu.Buffer.from_bytes(b"x")

    def refused(*_: object) -> None:
        raise OSError("the bucket is gone")

    monkeypatch.setattr(RecordingStore, "_store_now", refused)
    with (
        pytest.raises(sc.StoreError, match=r"unit-0-000000 wrote .* cannot be stored: .* is gone"),
        recorded(cube, "unit-0-000000", "inputs") as store,
    ):
        store.set_sync("image/c/0", value)
    assert not locate("memory://behind/cube.zarr.build").exists()
