"""Listings are right though somebody writes there, and though bytes change on the way."""

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.s3.bucket import S3Bucket
from spacenet_cube.storage.s3.pages import Page, agreed
from tests.s3_servers import filesystem, moto

NAMES = [f"{a}{b}" for a in "abcd" for b in "0123"]
OLD = {f"d/{n:03d}": b"%d" % n for n in range(0, 40, 2)}
PAGE = 3


def page(names: list[str], following: dict[str, str] | None = None) -> Page:
    return Page({name: (NAMES.index(name), "tag") for name in names}, (), following)


@st.composite
def growing(draw: st.DrawFn) -> tuple[list[str], list[str], list[Page]]:
    """What was there first, what is there last, and three readings, no row of them hit twice."""
    first = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=3))
    hit = draw(st.permutations(first))[:3]
    names, readings = list(first), []
    for turn in range(3):
        found = page(names)
        damage = draw(st.sampled_from(["none", "size", "tag", "key"]))
        size, tag = found.objects.pop(hit[turn])
        key = hit[turn] + "?" * (damage == "key")
        found.objects[key] = (size + (damage == "size"), f"{tag}{'?' * (damage == 'tag')}")
        readings.append(found)
        names += draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    return first, names, readings


@given(growing())
def test_what_readings_come_to_is_what_was_there_and_nothing_that_never_was(case):
    first, last, readings = case

    found = agreed(readings)

    assert found is not None
    assert page(first).objects.items() <= found.objects.items() <= page(last).objects.items()


def test_two_equal_readings_are_believed_and_two_that_differ_are_not():
    one, other = page(["a0"]), page(["a0", "b0"])

    assert agreed([one]) is None
    assert agreed([one, other]) is None
    assert agreed([one, other, one]) is one


def test_a_row_that_is_gone_from_the_last_two_of_three_is_gone():
    readings = [page(["a0", "b0"]), page(["a0", "c0"]), page(["a0", "d0"])]

    assert agreed(readings) == page(["a0"])


def test_a_page_goes_on_after_the_last_row_that_is_sure():
    readings = [page(["a0", "b0"], {"ContinuationToken": token}) for token in "xyz"]

    assert agreed(readings) == page(["a0", "b0"], {"StartAfter": "b0"})


def test_a_page_of_folders_is_not_gone_on_from_by_guessing():
    readings = [Page({}, ("a/",), {"ContinuationToken": token}) for token in "xyz"]

    assert agreed(readings) is None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        filesystem(url).mkdir("pages")
        yield url


@pytest.fixture
def place(server: str, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A folder of which each reading of a page finds something new, in pages of a few rows."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")
    fs, turns = filesystem(server), count()
    once = S3Bucket._page_once  # noqa: SLF001 - each reading of a page goes through it
    fs.pipe({f"pages/{key}": content for key, content in OLD.items()})

    def busy(self: S3Bucket, asked: dict[str, object]) -> Page:
        number = next(turns)
        if number < len(OLD):
            # Behind, amid and before what was listed already.
            fs.pipe_file(f"pages/d/{(number * 7) % 40 // 2 * 2 + 1:03d}", b"new")
        return once(self, asked | {"MaxKeys": PAGE})

    monkeypatch.setattr(S3Bucket, "_page_once", busy)
    return locate("s3://pages/d", {"endpoint_url": server, "retries": 1})


def test_a_listing_tells_all_that_was_there_while_somebody_writes(place):
    found = place.find()

    assert {key.removeprefix("d/") for key in OLD} <= set(found)
    assert all(found[key.removeprefix("d/")][0] == len(content) for key, content in OLD.items())
    assert set(found) <= {f"{n:03d}" for n in range(40)}


def test_a_place_is_found_to_be_used_while_somebody_writes(place):
    assert place.exists()
