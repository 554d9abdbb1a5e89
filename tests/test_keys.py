"""Keys and names with ``#``, ``?``, ``%`` and the like mean what they say, wherever they are."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.storage.base.urls import bucket_and_key, is_safe_key
from spacenet_cube.storage.icechunk.address import Address, parse_address
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import filesystem, forget_clients, free_port, moto, wait_for

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

EDGE = 64
SIGNS = ["a#b", "a?b", "a%b", "a%23b", "a%2Fb", "a b", "a+b", "a;b=c", "a&b", "ü", "a*b", "a[b]"]
SIGNS += ["~a", "a\\b", "a{b}", "a|b", 'a"b', "a<b>", "a:b@c", "a,b!(c)'$", "a?versionId=b", "日本"]
BESIDE = ["a//b", "/a", "a/../b", "./a", "a\tb"]
"""Keys that stores of Zarr refuse, and that sources may have."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        filesystem(url).mkdir("keys")
        yield url


@pytest.fixture(autouse=True)
def _signed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")
    monkeypatch.setenv("SPACENET_CUBE_CACHE", str(tmp_path / "cache"))
    said = f"endpoint_url={server},retries=1,timeout_s=20,region=us-east-1"
    monkeypatch.setenv("SPACENET_CUBE_SOURCE_OPTIONS", said)
    monkeypatch.setenv("SPACENET_CUBE_TARGET_OPTIONS", said)
    yield
    forget_clients()


class Store:
    """The server's bucket, reached by botocore, which sends keys as they are."""

    def __init__(self, server: str) -> None:
        self._fs, self._server = filesystem(server), server

    def put(self, key: str, content: bytes) -> None:
        self._fs.call_s3("put_object", Bucket="keys", Key=key, Body=content)

    def keys(self, prefix: str) -> set[str]:
        answer = self._fs.call_s3("list_objects_v2", Bucket="keys", Prefix=prefix)
        return {row["Key"] for row in answer.get("Contents", ())}

    def at(self, key: str) -> Location:
        return locate(f"s3://keys/{key}", {"endpoint_url": self._server, "retries": 1})


@pytest.fixture
def store(server: str) -> Store:
    return Store(server)


def write(path: Path, number: int) -> None:
    """A raster whose pixels say which one it is, one edge east of the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(EDGE * EDGE, dtype="uint16").reshape(1, EDGE, EDGE) % 999 + 1 + number * 1000
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=EDGE,
        height=EDGE,
        count=1,
        dtype="uint16",
        crs="EPSG:32631",
        transform=rasterio.Affine(1, 0, 5e5 + number * EDGE, 0, -1, 5e6),
    ) as raster:
        raster.write(pixels)


def recipe(sources: str = "'**/*.tif'", name: str = "x", product: str = "p") -> sc.Recipe:
    return sc.parse_recipe(
        f"name: '{name}'\nlicence: {{spdx: CC0-1.0, attribution: nobody}}\n"
        f"products:\n  - name: '{product}'\n    sources: {sources}\n    bands: [gray]\n"
    )


def built(source: str | Path, to: str | Path, sources: str = "'**/*.tif'", **how: Any) -> str:
    made = recipe(sources)
    staging = {"staging": how.pop("staging")} if "staging" in how else {}
    scenes = sc.survey(made, "p", source=source, **staging)
    return sc.build(sc.plan(made, "p", scenes), to, **how)


def pixels_of(url: str) -> Any:
    return sc.open_cube(url).image.values


@pytest.mark.parametrize("name", [*SIGNS, *BESIDE])
def test_a_key_is_the_key_it_says(name, store):
    key = f"one/{name}"
    store.put("one/a", b"decoy")
    store.put("one/b", b"decoy")
    store.put(key, name.encode() * 9)
    place = store.at("one") / name

    assert place.read_bytes() == name.encode() * 9
    assert place.read_range(1, 3) == (name.encode() * 9)[1:4]
    assert place.size_and_etag()[0] == len(name.encode()) * 9
    assert name in store.at("one").find()
    assert place.exists()
    before = store.keys("one/")
    place.remove_object()
    assert store.keys("one/") == before - {key}


@pytest.mark.parametrize("name", SIGNS)
def test_a_key_is_written_as_it_says(name, store):
    place = store.at("two") / name

    place.write_bytes(b"first")
    assert place.create_remote(b"second") is False

    assert store.keys("two/") == {f"two/{name}"}
    place.remove_object()
    assert store.keys("two/") == set()


@pytest.mark.parametrize("name", BESIDE)
def test_nothing_is_written_to_a_key_that_would_be_changed(name, store):
    for write_to in (Location.write_bytes, Location.create_remote):
        with pytest.raises(sc.StoreError, match="nothing is written to s3://keys/"):
            write_to(store.at("three") / name, b"x")

    assert store.keys("three") == set()


@given(
    bucket=st.text("abc.-", min_size=1),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
        lambda k: k[-1] != "/"
    ),
)
def test_bucket_and_key_come_back_from_a_url(bucket, key):
    place = Location(f"s3://{bucket}/{key}")

    assert bucket_and_key(place.url) == (bucket, key)
    assert (place / "a#b").key == f"{key}/a#b"


@pytest.mark.parametrize("store_url", ["s3://keys/tree", "memory://keys/tree", "{tmp_path}/tree"])
@pytest.mark.parametrize("name", ["*", "a[12]", "a?", "d"])
def test_removing_one_object_or_tree_leaves_all_others(store_url, name, tmp_path, server):
    at_server = {"endpoint_url": server} if store_url.startswith("s3") else None
    root = locate(store_url.format(tmp_path=tmp_path), at_server)
    for key in ("a1", "a2", "d/x", "d/y/z", "dd", f"{name}-/x", f"{name}-"[:-1] + "=/y"):
        (root / key).write_bytes(b"x")
    kept = set(root.find())

    if name == "d" and root.is_local:
        with pytest.raises(OSError, match="directory"):
            (root / name).remove_object()
    else:
        (root / name).remove_object()
    assert set(root.find()) == kept

    (root / f"{name}-").remove_tree()
    assert set(root.find()) == kept - {f"{name}-/x"}
    root.remove_tree()


@pytest.mark.parametrize("url", ["s3://keys", "memory://", "/"])
def test_a_whole_store_is_never_removed(url):
    with pytest.raises(sc.StoreError, match="never removed"):
        locate(url).remove_tree()


def test_scenes_on_s3_of_any_name_are_read_and_no_others(store, tmp_path):
    for number, name in enumerate([*SIGNS, "a//b", "/a"]):
        write(tmp_path / "in" / f"{number}.tif", number)
        content = (tmp_path / "in" / f"{number}.tif").read_bytes()
        store.put(f"scenes/{name}-{number}.tif", content)
        write(tmp_path / "decoy.tif", 60)
        for sign in "#?%;&":
            cut = f"scenes/{name}".partition(sign)[0]
            store.put(f"{cut}.old", (tmp_path / "decoy.tif").read_bytes())

    there = built("s3://keys/scenes", tmp_path / "there")

    here = built(tmp_path / "in", tmp_path / "here")
    np.testing.assert_array_equal(pixels_of(there), pixels_of(here))


def test_a_source_folder_and_a_pattern_of_any_name_are_read(store, tmp_path):
    write(tmp_path / "in" / "a.tif", 3)
    here = built(tmp_path / "in", tmp_path / "here")
    content = (tmp_path / "in" / "a.tif").read_bytes()
    for number, name in enumerate([*SIGNS, "a//b"]):
        store.put(f"folder {number}/{name}/s/a.tif", content)

        there = built(f"s3://keys/folder {number}/{name}", tmp_path / f"there {number}", "s/*.tif")

        np.testing.assert_array_equal(pixels_of(there), pixels_of(here))
    there = built(f"s3://keys/folder {number}", tmp_path / "by pattern", "a//b/s/*.tif")
    np.testing.assert_array_equal(pixels_of(there), pixels_of(here))


@pytest.mark.parametrize("staging", ["s3://keys/stage#1?x%23", "{tmp_path}/stage#1?x%23"])
def test_an_archive_of_any_name_is_unpacked_into_a_staging_of_any_name(
    staging, store, server, tmp_path, monkeypatch
):
    write(tmp_path / "in" / "a#1?.tif", 1)
    write(tmp_path / "in" / "b%23 c.tif", 2)
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for path in sorted((tmp_path / "in").iterdir()):
            archive.add(path, path.name)
    store.put("archives/all#1?%23.tar", (tmp_path / "all.tar").read_bytes())
    store.put("archives/all", b"decoy")
    staged = staging.format(tmp_path=tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)  # a staging folder has no options of its own

    there = built("s3://keys/archives", tmp_path / "there", "'*.tar'", staging=staged)

    here = built(tmp_path / "in", tmp_path / "here")
    np.testing.assert_array_equal(pixels_of(there), pixels_of(here))
    assert store.keys("stage") == set() or all(
        k.startswith("stage#1?x%23/") for k in store.keys("stage")
    )


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Address of a web server for the folder ``in``."""
    (tmp_path / "in").mkdir()
    port, program = free_port(), Path(__file__).parent / "range_server.py"
    command = [sys.executable, str(program), str(port), str(tmp_path / "in")]
    with subprocess.Popen(command) as process:
        try:
            assert wait_for(port, 20)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_scenes_on_the_web_of_any_name_are_read_listed_and_by_name(web, tmp_path):
    names = [name for name in SIGNS if "*" not in name]
    for number, name in enumerate(names):
        write(tmp_path / "in" / "s #1" / f"{name}-{number}.tif", number)
    here = pixels_of(built(tmp_path / "in" / "s #1", tmp_path / "here"))

    listed = built(f"{web}/s%20%231", tmp_path / "listed", "'*.tif'")
    np.testing.assert_array_equal(pixels_of(listed), here)

    shown = [name for name in names if not {":", "\\"} & set(name)]  # no pattern may have these
    escaped = [name.replace("[", "[[]").replace("?", "[?]") for name in shown]
    patterns = [f"s #1/{e}-{names.index(n)}.tif" for e, n in zip(escaped, shown, strict=True)]
    named = built(web, tmp_path / "named", json.dumps([patterns]))
    assert (pixels_of(named) > 0).sum() == len(shown) * EDGE * EDGE


@pytest.mark.parametrize("sign", ["#v2", "?v=2"])
def test_a_web_address_with_a_raw_sign_is_refused_with_its_escape(sign):
    with pytest.raises(sc.StoreError, match=r"write %"):
        locate(f"https://host/cubes{sign}")


TARGETS = ["cubes#v2", "cubes?v=2", "cubes%23v2", "cubes/a b", "cubes+&;=", "cubes/ü", "cubes/*"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_of_any_name_is_built_replaced_and_updated_alone(target, store, tmp_path):
    write(tmp_path / "in" / "a.tif", 1)
    precious = {"cubes/thesis.pdf", "cubes/x/notes.txt", "cubes/x/p.zarr/zarr.json", "cubes"}
    for key in precious:
        store.put(key, b"only copy")
    to = f"s3://keys/{target}"
    before = store.keys("")

    url = built(tmp_path / "in", to)
    first = store.keys("")
    again = built(tmp_path / "in", to, replace=True)

    assert url == again == f"{to}/x/p.zarr"
    assert {key for key in first - before if not key.startswith(f"{target}/x/p.")} == set()
    assert store.keys("") == first
    assert all(store.at(key).read_bytes() == b"only copy" for key in precious)
    here = built(tmp_path / "in", tmp_path / "here")
    said = {"endpoint_url": store.at("x").options.endpoint_url}
    found = sc.open_cube(url, storage_options=said).image.values
    np.testing.assert_array_equal(found, pixels_of(here))
    assert sc.verify(url).is_sound
    locate(to, said).remove_tree()
    for key in precious:
        store.at(key).remove_object()


@pytest.mark.parametrize("target", ["cubes//a", "/cubes", "a/../cubes", "cubes//"])
def test_a_target_that_readers_would_find_elsewhere_is_refused(target, store, tmp_path):
    write(tmp_path / "in" / "a.tif", 1)
    before = store.keys("")

    with pytest.raises(sc.StoreError, match="empty part"):
        built(tmp_path / "in", f"s3://keys/{target}")

    assert store.keys("") == before


@pytest.mark.parametrize(
    "url", ["s3://keys#v2/a", "s3://keys?x", "s3:///a", "s3://ke ys/a", "s3://keys//"]
)
def test_an_address_without_a_bucket_is_refused(url):
    with pytest.raises(sc.StoreError, match=r"names no bucket|only slashes"):
        locate(url)


@pytest.mark.parametrize(
    "url", ["s3://user:pass@keys/a", "s3://keys/a?X-Amz-Signature=abc", "s3://us:pa#ss@keys/a"]
)
def test_credentials_in_an_address_of_s3_are_refused_and_not_repeated(url):
    with pytest.raises(sc.StoreError, match=r"credentials|signature") as caught:
        locate(url)

    assert not any(secret in str(caught.value) for secret in ("pass", "pa#ss", "abc"))


@pytest.mark.parametrize("folder", ["cu#bes?%23", "a b*[1]"])
def test_a_target_and_a_scratch_on_the_disk_may_have_any_name(folder, store, tmp_path):
    write(tmp_path / "in" / "a.tif", 1)
    store.put("disk/a.tif", (tmp_path / "in" / "a.tif").read_bytes())

    url = built("s3://keys/disk", tmp_path / folder, scratch=tmp_path / "scratch" / folder)
    again = built("s3://keys/disk", tmp_path / folder, replace=True, scratch=tmp_path / folder)

    assert url == again == str(tmp_path / folder / "x" / "p.zarr")
    np.testing.assert_array_equal(pixels_of(url), pixels_of(built(tmp_path / "in", tmp_path / "o")))


@pytest.mark.parametrize(
    "root", ["icechunk+s3://keys/ice#1?", "icechunk+file://{tmp_path}/ice#1?%23"]
)
def test_a_versioned_cube_in_a_folder_of_any_name_keeps_its_versions(root, store, tmp_path):
    pytest.importorskip("icechunk")
    write(tmp_path / "in" / "a.tif", 1)
    to = root.format(tmp_path=tmp_path)
    store.put("ice", b"only copy")

    url = built(tmp_path / "in", to)
    sc.tag(url, "v#1")

    here = pixels_of(built(tmp_path / "in", tmp_path / "here"))
    said = {"endpoint_url": store.at("x").options.endpoint_url} if "s3" in root else None
    np.testing.assert_array_equal(sc.open_cube(url, storage_options=said).image.values, here)
    tagged = sc.open_cube(f"{url}#v#1", storage_options=said)
    np.testing.assert_array_equal(tagged.image.values, here)
    others = store.keys("") - store.keys("ice#1?/")
    assert not any("icechunk" in key for key in others)
    assert store.at("ice").read_bytes() == b"only copy"


names = st.text(st.sampled_from("ab#?% ./+é"), min_size=1).map(lambda t: t.strip("/ ")).filter(bool)


@given(
    folder=names,
    key=names | st.just(""),
    version=st.none() | names,
)
def test_an_address_of_a_version_is_read_back_as_it_was_written(folder, key, version):
    address = Address(f"s3://keys/{folder}/P.icechunk", key, version)

    assert parse_address(address.url) == address
    assert Location(address.url).address == address


def test_a_sign_before_the_repository_is_part_of_the_folder():
    found = parse_address("icechunk+s3://keys/cubes#v2").below("x").below("P.icechunk")

    assert found == Address("s3://keys/cubes#v2/x/P.icechunk")


@pytest.mark.parametrize("sign", list("#?%;&+=:@!$'()*,[]{}|^`~ <>\"\\/"))
@pytest.mark.parametrize("what", ["name", "product"])
def test_a_name_with_a_sign_that_a_scheme_interprets_is_refused_with_line_and_mend(sign, what):
    said = {what: f"A{sign}2".replace("'", "''")}

    with pytest.raises(sc.RecipeError, match=r"becomes part of a path") as caught:
        recipe(**said)

    assert f"line {1 if what == 'name' else 4}" in str(caught.value)
    assert "letters, digits" in str(caught.value)


def test_the_names_of_all_bundled_recipes_are_safe():
    for name in sc.bundled_recipes():
        found = sc.load_recipe(name)
        for each in (found.name, *(product.name for product in found.products)):
            assert is_safe_key(each)
            assert all(sign.isalnum() or sign in "._-" for sign in each)
