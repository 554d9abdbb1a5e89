"""Every fault in flight, on every path of a store, is survived or named."""

import pickle
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from spacenet_cube.storage.base.faults import FAULTS, ChangedError
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.s3 import bucket as s3_module
from spacenet_cube.storage.s3 import stream
from spacenet_cube.storage.s3.clients import patience
from spacenet_cube.storage.s3.etags import proves, tag_of
from spacenet_cube.storage.s3.pace import Pace
from tests.chaos_proxy import KINDS, Chaos, chaos, fitting
from tests.s3_servers import filesystem, moto
from tests.shares import count, share

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

CONTENT = np.random.default_rng(1).integers(0, 256, 300_000, np.uint8).tobytes()
RETRIES = 6
FAULTS_AT_ONCE = 2


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        fs = filesystem(url)
        fs.mkdir("faulty")
        fs.mkdir("empty")
        yield url


@pytest.fixture(scope="module")
def proxy(server: str) -> Iterator[Chaos]:
    with chaos(server, seed=7) as found:
        yield found


@pytest.fixture(autouse=True)
def _signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")


@pytest.fixture
def place(proxy: Chaos, server: str, request: pytest.FixtureRequest) -> Iterator[Location]:
    """A folder of this test's own in a bucket, with a large object and three small ones."""
    proxy.set(rate=0.0)
    name = f"faulty/{abs(hash(request.node.name))}"
    fs = filesystem(server)
    fs.pipe({f"{name}/large": CONTENT} | {f"{name}/small/{n}": b"%d" % n for n in range(3)})
    options = {"endpoint_url": proxy.url, "timeout_s": 1, "retries": RETRIES}
    yield locate(f"s3://{name}", options)
    proxy.set(rate=0.0)


def stored(server: str, place: Location) -> dict[str, bytes]:
    fs, base = filesystem(server), place.url.removeprefix("s3://")
    return {path.removeprefix(f"{base}/"): fs.cat_file(path) for path in fs.find(base)}


def lists(place: Location) -> None:
    assert sorted(place.find()) == ["large", *(f"small/{n}" for n in range(3))]
    assert place.find()["large"] == (len(CONTENT), tag_of([CONTENT], 0))
    assert sorted(place.find(depth=1)) == ["large"]


def looks(place: Location) -> None:
    assert (place / "large").size_and_etag() == (len(CONTENT), tag_of([CONTENT], 0))
    assert (place / "large").exists()
    assert not (place / "none").exists()


def reads_a_part(place: Location) -> None:
    for start in (0, 1000, 200_000):
        found = (place / "large").read_range(start, 100_000, tag_of([CONTENT], 0))
        assert bytes(found) == CONTENT[start : start + 100_000]


def reads_a_whole(place: Location) -> None:
    assert (place / "large").read_bytes() == CONTENT
    assert (place / "small/2").read_bytes() == b"2"


def reads_for_zarr(place: Location) -> None:
    found = place.store().get_sync("large")  # type: ignore[attr-defined]
    assert found.to_bytes() == CONTENT
    assert place.store().get_sync("none") is None  # type: ignore[attr-defined]


def streams(place: Location) -> None:
    with (place / "large").open_stream(len(CONTENT)) as found:
        assert found.read() == CONTENT


def writes(place: Location) -> None:
    for name in "abc":
        (place / name).write_bytes(name.encode() + CONTENT)


def writes_for_zarr(place: Location) -> None:
    value = default_buffer_prototype().buffer.from_bytes(b"z" + CONTENT)
    place.store().set_sync("shard", value)  # type: ignore[attr-defined]


def removes(place: Location) -> None:
    (place / "small").remove_tree()
    assert not (place / "small").exists()
    (place / "large").remove_object()


READERS: list[tuple[Callable[[Location], None], str]] = [
    (lists, "list"),
    (looks, "head"),
    (reads_a_part, "part"),
    (reads_a_whole, "whole"),
    (reads_for_zarr, "whole"),
    (streams, "part"),
]
WRITERS: list[tuple[Callable[[Location], None], str]] = [
    (writes, "put"),
    (writes_for_zarr, "put"),
    (removes, "delete"),
]
EVERY = [
    pytest.param(work, path, kind, id=f"{work.__name__}-{kind}")
    for work, path in READERS + WRITERS
    for kind in fitting(path, list(KINDS), has_body=True)
]


@pytest.mark.parametrize(("work", "path", "kind"), share(EVERY, 16))
def test_two_faults_in_a_row_do_not_show(work, path, kind, place, proxy, server, monkeypatch):
    monkeypatch.setattr(stream, "PART_BYTES", 1 << 16)
    clean = stored(server, place)
    proxy.set(rate=1.0, kinds=[kind], paths=[path], most=FAULTS_AT_ONCE)

    work(place)

    fired = proxy.fired()
    assert sum(fired.values()) == FAULTS_AT_ONCE, fired
    expected = {
        writes: clean | {name: name.encode() + CONTENT for name in "abc"},
        writes_for_zarr: clean | {"shard": b"z" + CONTENT},
        removes: {},
    }
    assert stored(server, place) == expected.get(work, clean)


@pytest.mark.parametrize(("work", "path"), READERS + WRITERS)
def test_a_fault_that_stays_is_named_with_its_object_and_tries(work, path, place, proxy):
    quick = Location(place.url, place.options.over({"retries": 2}))
    # A HEAD that fails is asked again as a GET, whose answer says why.
    proxy.set(rate=1.0, kinds=["503"], paths=["head", "part"] if path == "head" else [path])

    with pytest.raises(FAULTS) as caught:
        work(quick)

    told = quick.told(caught.value)
    assert "3 tries in" in told
    assert place.url.removeprefix("s3://") in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(("kind", "second"), [("503", 8 << 20), ("stall", 4 << 20)])
def test_a_large_object_goes_up_at_the_pace_of_others_and_with_twice_the_time_after_a_stall(
    place, proxy, server, monkeypatch, kind, second
):
    large, asked, noted = CONTENT * 8, [], []

    class Known(Pace):
        bytes_s = 8 << 20

        def note(self, size_bytes, seconds):
            noted.append((size_bytes, seconds > 0))

    def noting(timeout_s, size_bytes, **how):
        if size_bytes == len(large):
            asked.append(how["bytes_s"])
        return patience(timeout_s, size_bytes, **how)

    monkeypatch.setattr(s3_module, "_pace_of", cache(lambda *_: Known()))
    monkeypatch.setattr(s3_module, "patience", noting)
    proxy.set(rate=1.0, kinds=[kind], paths=["put"], most=1)
    (place / "huge").write_bytes(large)

    assert proxy.fired() == {f"{kind} put": 1}
    assert asked == [8 << 20, second]
    assert noted == [(len(large), True)]
    assert stored(server, place)["huge"] == large


RANGES = st.lists(
    st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 50_000)).map(
        lambda one: RangeByteRequest(one[0], min(one[0] + one[1], len(CONTENT)))
    )
    | st.integers(1, 1000).map(SuffixByteRequest)
    | st.integers(0, 1000).map(lambda left: OffsetByteRequest(len(CONTENT) - 1 - left))
    | st.none(),
    max_size=8,
)


@hypothesis.settings(
    max_examples=count(10, of=30),
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(RANGES, st.integers(0, 100_000), st.integers(1, 400_000))
def test_parts_read_at_once_are_those_that_zarr_reads_one_by_one(place, asked, gap, most):
    store = place.store(read_only=True)
    how = {
        "prototype": default_buffer_prototype(),
        "max_gap_bytes": gap,
        "max_coalesced_bytes": most,
    }

    ours = {k: found.to_bytes() for k, found in store.get_ranges_sync("large", asked, **how)}
    theirs = Store.get_ranges_sync(store, "large", asked, **how)

    assert ours == {k: found.to_bytes() for k, found in theirs if found is not None}
    assert sorted(ours) == list(range(len(asked)))


def test_parts_of_what_is_not_there_are_an_error_as_zarr_raises_it(place):
    store, asked = place.store(read_only=True), [RangeByteRequest(0, 1), RangeByteRequest(9, 10)]
    for read in (store.get_ranges_sync, partial(Store.get_ranges_sync, store)):
        with pytest.raises(ExceptionGroup) as caught:
            read("none", asked, prototype=default_buffer_prototype(), max_gap_bytes=0)
        assert caught.group_contains(FileNotFoundError)


def test_a_stall_is_cut_and_not_waited_out(place, proxy):
    proxy.set(rate=1.0, kinds=["stall"], paths=["part"], stall_s=60, most=2)
    begun = time.monotonic()

    reads_a_part(place)

    assert proxy.fired() == {"stall part": 2}
    assert time.monotonic() - begun < 30


def test_bytes_that_never_agree_are_an_error(place, proxy):
    proxy.set(rate=1.0, kinds=["flip"], paths=["part"])

    with pytest.raises(OSError, match=r"no two of 8 readings of .* agree"):
        reads_a_part(place)


def test_a_refusal_is_not_asked_again(place, proxy):
    proxy.set(rate=0.0)

    with pytest.raises(FileNotFoundError):
        (place / "none").read_bytes()
    with pytest.raises(FileNotFoundError):
        (place / "none").size_and_etag()

    assert proxy.requests() == {"whole": 1, "head": 1}


def test_without_doubt_everything_is_read_once(place, proxy):
    trusting = Location(place.url, place.options.over({"read_twice": False}))
    proxy.set(rate=0.0)

    lists(trusting)
    reads_a_part(trusting)
    reads_a_whole(trusting)
    writes(trusting)

    assert proxy.requests() == {"part": 3, "whole": 2, "put": 3, "list": 3}


def test_doubt_costs_one_more_reading_where_no_tag_proves_the_bytes(place, proxy):
    proxy.set(rate=0.0)

    reads_a_part(place)
    reads_a_whole(place)
    writes(place)

    assert proxy.requests() == {"part": 6, "whole": 2, "put": 3}


def test_an_object_that_changed_is_told_at_once(place, proxy):
    proxy.set(rate=0.0)

    with pytest.raises(ChangedError, match="has changed"):
        (place / "large").read_range(0, 10, "0" * 32)

    assert proxy.requests() == {"part": 1}


@pytest.mark.parametrize("kind", ["503", "reset-before", "flip", "stall"])
def test_an_upload_in_parts_survives_faults_of_its_parts(
    kind, place, proxy, server, tmp_path, monkeypatch
):
    part_bytes = 5 << 20
    monkeypatch.setattr(s3_module, "_UPLOAD_PART_BYTES", part_bytes)
    large = (CONTENT * 40)[: 2 * part_bytes + 77]
    (tmp_path / "large.tif").write_bytes(large)
    proxy.set(rate=1.0, kinds=[kind], paths=["put"], most=1, stall_s=2)

    (place / "member.tif").upload(tmp_path / "large.tif")

    assert sum(proxy.fired().values()) == 1
    assert stored(server, place)["member.tif"] == large


def test_an_object_is_made_once_although_answers_are_lost(place, proxy, server):
    bucket = place.bucket
    assert bucket is not None
    proxy.set(rate=1.0, kinds=["503"], paths=["put"], most=2)
    assert bucket.create(f"{place.key}/lock", b"mine")
    assert not bucket.create(f"{place.key}/lock", b"theirs")
    proxy.set(rate=1.0, kinds=["lost"], paths=["put"], most=1)

    created = bucket.create(f"{place.key}/other", b"mine")

    assert not created  # the store had it, and said so to the second try: read back to tell
    assert proxy.fired() == {"lost put": 1}
    assert stored(server, place)["lock"] == b"mine"
    assert stored(server, place)["other"] == b"mine"


def test_a_store_is_pickled_without_secrets(place, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-secret-4712")
    store = place.store()
    assert store.get_sync("none") is None

    pickled = pickle.dumps(store)

    assert b"canary" not in pickled
    assert pickle.loads(pickled) == store  # noqa: S301 - pickled a line above


@pytest.mark.parametrize("size", [0, 1, 5 << 20, (8 << 20) + 1, 20 << 20])
def test_tags_in_parts_are_those_that_the_server_gives(size, place, server, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(size))
    fs, name = filesystem(server), f"{place.url.removeprefix('s3://')}/parts"
    fs.put_file(str(file), name, chunksize=8 << 20)

    etag = fs.info(name)["ETag"].strip('"')

    step = 1 << 20
    pieces = [bytes(min(step, size - start)) for start in range(0, size, step)]
    assert etag == tag_of(pieces, 8 << 20 if "-" in etag else 0)


def test_a_tag_that_is_no_digest_proves_nothing():
    assert not proves("0" * 32, b"abc")
    assert not proves(None, b"abc")
    assert proves(tag_of([b"abc"], 0), b"abc")


def test_a_local_file_is_whole_or_not_there(tmp_path: Path, monkeypatch):
    place = locate(tmp_path / "folder" / "document.json")
    place.write_bytes(b"before")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        place.write_bytes(b"after")

    assert place.read_bytes() == b"before"
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["document.json"]
