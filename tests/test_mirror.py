"""Mirrors of remote scenes hold the bytes of the origin, whatever happens on the way."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spacenet_cube.sources import mirror as mirror_module
from spacenet_cube.sources.mirror import Mirror
from spacenet_cube.storage.base.faults import DiskError
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.s3.etags import tag_of
from tests.chaos_proxy import Chaos, chaos
from tests.s3_servers import filesystem, moto

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

SIZE_BYTES = (5 << 20) + (1 << 18) + 77
CONTENT = np.random.default_rng(2).integers(0, 256, SIZE_BYTES, np.uint8).tobytes()
PART_BYTES = 1 << 18
PARTS = -(-SIZE_BYTES // PART_BYTES)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Chaos]:
    with moto() as server:
        fs = filesystem(server)
        fs.mkdir("scenes")
        fs.pipe_file("scenes/single", CONTENT)
        (upload,) = [fs.call_s3("create_multipart_upload", Bucket="scenes", Key="parts")]
        rows = []
        for number, start in enumerate(range(0, SIZE_BYTES, 5 << 20), 1):
            said = {"Bucket": "scenes", "Key": "parts", "UploadId": upload["UploadId"]}
            body = CONTENT[start : start + (5 << 20)]
            answer = fs.call_s3("upload_part", **said, PartNumber=number, Body=body)
            rows.append({"PartNumber": number, "ETag": answer["ETag"]})
        fs.call_s3("complete_multipart_upload", **said, MultipartUpload={"Parts": rows})
        with chaos(server, seed=3) as found:
            yield found


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as found:
        yield found


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "PART_BYTES", PART_BYTES)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")


def origin(proxy: Chaos, key: str, **options: object) -> Location:
    said = {"endpoint_url": proxy.url, "timeout_s": 5, "retries": 6}
    return locate(f"s3://scenes/{key}", said | options)


def mirror_of(place: Location, folder: Path) -> Mirror:
    size_bytes, etag = place.size_and_etag()
    return Mirror(place, size_bytes, etag, folder / "mirror.tif")


@pytest.mark.parametrize("key", ["single", "parts"])
def test_a_whole_mirror_is_proven_by_the_tag_and_fetched_once(key, proxy, pool, tmp_path):
    proxy.set()
    found = mirror_of(origin(proxy, key), tmp_path)

    found.fill([(0, SIZE_BYTES)], pool)

    assert found.path.read_bytes() == CONTENT
    assert proxy.requests() == {"head": 1, "part": PARTS}


@pytest.mark.parametrize("key", ["single", "parts"])
@pytest.mark.parametrize("flips", [1, 5])
def test_a_flip_in_a_whole_mirror_is_found_and_mended(key, flips, proxy, pool, tmp_path):
    proxy.set(rate=1.0, kinds=["flip"], most=flips, paths=["part"])
    found = mirror_of(origin(proxy, key), tmp_path)

    found.fill([(0, SIZE_BYTES)], pool)

    assert proxy.fired() == {"flip part": flips}
    assert found.path.read_bytes() == CONTENT


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_a_part_of_a_scene_is_right_through_flips_of_every_other_answer(
    rate, proxy, pool, tmp_path
):
    found = mirror_of(origin(proxy, "single", retries=30), tmp_path)
    start, stop = 1 << 20, 4 << 20
    proxy.set(rate=rate, kinds=["flip"], paths=["part"], seed=11)

    found.fill([(start, stop)], pool)

    assert proxy.fired()["flip part"] > 0
    assert found.path.read_bytes()[start:stop] == CONTENT[start:stop]
    assert found.held_bytes < stop - start + PART_BYTES


def test_without_doubt_a_part_is_fetched_once(proxy, pool, tmp_path):
    proxy.set()
    found = mirror_of(origin(proxy, "single", read_twice=False), tmp_path)

    found.fill([(PART_BYTES, 5 * PART_BYTES)], pool)

    assert proxy.requests()["part"] <= 5


def test_a_mirror_that_lacks_little_is_completed_so_that_its_tag_proves_it(proxy, pool, tmp_path):
    proxy.set()
    found = mirror_of(origin(proxy, "single"), tmp_path)

    found.fill([(100, SIZE_BYTES - 100)], pool)

    assert found.path.read_bytes() == CONTENT
    assert found.held_bytes == SIZE_BYTES


def test_a_tag_that_is_no_digest_costs_a_second_reading_and_no_error(
    proxy, pool, tmp_path, monkeypatch
):
    proxy.set()
    place = origin(proxy, "single")
    monkeypatch.setattr(mirror_module, "tag_of", lambda *_: "f" * 32)
    found = mirror_of(place, tmp_path)

    found.fill([(0, SIZE_BYTES)], pool)

    assert found.path.read_bytes() == CONTENT
    assert proxy.requests()["part"] == 2 * PARTS
    assert place.size_and_etag()[1] == tag_of([CONTENT], 0)


def test_a_disk_that_fails_is_named_and_not_the_origin(proxy, pool, tmp_path):
    proxy.set()
    place = origin(proxy, "single")
    found = mirror_of(place, tmp_path)
    found.path.unlink()

    with pytest.raises(DiskError, match=r"cannot be kept at .*mirror.tif: No such file") as caught:
        found.fill([(0, SIZE_BYTES)], pool)

    assert place.told(caught.value) == str(caught.value)
