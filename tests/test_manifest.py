"""Manifests: the same whatever the order, and honest about every change."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.errors import VerifyError
from spacenet_cube.format.manifest import manifest, parse, place, root_digest, with_manifest
from spacenet_cube.storage.base.entries import Stored

ROOT = {"attributes": {"title": "t", "spacenet_cube": {"aoi": "A"}}, "node_type": "group"}
objects = st.dictionaries(st.text(min_size=1), st.binary(max_size=9), max_size=9).map(
    lambda held: [Stored.of(key, content) for key, content in held.items()]
)


@given(objects, st.randoms())
def test_a_manifest_is_the_same_in_any_order_and_read_back_equal(found, random):
    mixed = list(found)
    random.shuffle(mixed)

    made = manifest("plan", ROOT, found)

    assert manifest("plan", ROOT, mixed).content == made.content
    assert parse(made.content) == made
    assert set(made.by_key) == {one.key for one in found}


def test_a_root_names_its_manifest_and_keeps_its_digest():
    made = manifest("plan", ROOT, [Stored.of("x/c/0", b"1")])

    root = with_manifest(ROOT, made)

    assert root["attributes"]["spacenet_cube"]["manifest"]["sha256"] == made.digest
    assert root_digest(root) == made.root_sha256 == root_digest(ROOT)
    assert place(made.digest) == f".manifest/{made.digest}.jsonl"


def test_an_edited_root_has_another_digest():
    edited = json.loads(json.dumps(ROOT))
    edited["attributes"]["title"] = "u"

    assert root_digest(edited) != root_digest(ROOT)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"format":2}\n', b"[]\n", b"null\n"])
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(VerifyError, match="manifest"):
        parse(content)


@given(st.data())
def test_a_changed_byte_is_refused_or_changes_the_digest(data):
    made = manifest("plan", ROOT, [Stored.of("image/c/0", b"1"), Stored.of("x/c/0", b"2")])
    content = bytearray(made.content)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    try:
        found = parse(bytes(content))
    except VerifyError:
        return
    assert found.digest != made.digest
