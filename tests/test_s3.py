"""Cubes from S3 to S3, against a server in a process of its own on this machine."""

import json
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from typer.testing import CliRunner

import spacenet_cube as sc
from spacenet_cube.cli.app import app
from spacenet_cube.recipe.model import Encoding, Product
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import Proxy, fault_answer, filesystem, forget_clients, moto, proxy
from tests.shares import share

PAIRS = [
    (recipe, product.name)
    for recipe in sc.bundled_recipes()
    for product in sc.load_recipe(recipe).products
]
LAYOUTS = share(PAIRS, 3, always=[("AOI_1_Rio", "3-Band")])
"""Products to build on S3: an archive, and two others."""

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

SECRET = "canary-of-a-secret-4711"  # noqa: S105 - a canary


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(autouse=True)
def _signed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ownersecret")
    monkeypatch.setenv("SPACENET_CUBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def new_clients() -> Iterator[None]:
    """Clients of a test's own, which find its credentials and leave them to no other."""
    forget_clients()
    yield
    forget_clients()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    others = [("AOI_2_Vegas", name) for name in ("PAN", "MUL", "MUL-PanSharpen")]
    for aoi, name in {*LAYOUTS, *others}:
        sc.write_sample(folder, aois=[aoi], products=[name], tile_size=48)
    return folder


@pytest.fixture(scope="module")
def remote(server: str, corpus: Path) -> str:
    fs = filesystem(server)
    fs.mkdir("spacenet")
    fs.mkdir("cubes")
    fs.put(f"{corpus}/", "spacenet/", recursive=True, batch_size=32)
    return "s3://spacenet"


@pytest.fixture
def counted(server: str) -> Iterator[Proxy]:
    with proxy(server) as found:
        yield found
    forget_clients()


def in_shards(product: Product) -> Product:
    return product.model_copy(update={"encoding": Encoding(chunk=64, shard=128)})


def local_objects(cube: str) -> dict[str, bytes]:
    files = (path for path in Path(cube).rglob("*") if path.is_file())
    return {str(path.relative_to(cube)): path.read_bytes() for path in files}


def remote_objects(endpoint: str, cube: str) -> dict[str, bytes]:
    fs, base = filesystem(endpoint), cube.removeprefix("s3://")
    return {path.removeprefix(f"{base}/"): fs.cat_file(path) for path in fs.find(base)}


def of_pixels(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Every object but the metadata, which names the tags of the sources."""
    return {name: held for name, held in objects.items() if not name.endswith("zarr.json")}


@pytest.mark.parametrize(("aoi", "name"), LAYOUTS)
def test_a_cube_built_s3_to_s3_equals_the_local_one_chunk_for_chunk(
    aoi, name, corpus, remote, server, tmp_path
):
    recipe = sc.load_recipe(aoi)
    product = in_shards(recipe.product(name))
    options = {"endpoint_url": server}

    scenes = sc.survey(recipe, product, source=remote, source_options=options)
    there = sc.build(
        sc.plan(recipe, product, scenes),
        "s3://cubes",
        target_options=options,
        scratch=tmp_path / "scratch",
        workers=2,
    )
    here = sc.build(
        sc.plan(recipe, product, sc.survey(recipe, product, source=corpus)), tmp_path, workers=2
    )

    ours, theirs = local_objects(here), remote_objects(server, there)
    assert sorted(ours) == sorted(theirs)
    assert of_pixels(ours) == of_pixels(theirs)
    assert list((tmp_path / "scratch").iterdir()) == []
    opened = sc.open_cube(there, storage_options=options)
    plain = xr.open_zarr(there, storage_options=options, mask_and_scale=False)
    assert opened.image.any()
    np.testing.assert_array_equal(plain.image, opened.image)
    forget_clients()


def vegas(product: str = "PAN") -> tuple[sc.Recipe, Product]:
    recipe = sc.load_recipe("AOI_2_Vegas")
    return recipe, in_shards(recipe.product(product))


def test_a_second_survey_reads_no_header(remote, counted):
    recipe, product = vegas()
    options = {"endpoint_url": counted.url, "read_twice": False}

    first = sc.survey(recipe, product, source=remote, source_options=options)
    headers = len(counted.of("GET"))
    counted.seen.clear()
    second = sc.survey(recipe, product, source=remote, source_options=options)

    assert first == second
    assert headers == len(first)  # one request a file: 64 KiB hold these headers whole
    assert counted.of("GET") == []
    assert sum(one.is_listing for one in counted.seen) == first.list_requests


def test_a_damaged_cache_is_read_anew(remote, counted, tmp_path):
    recipe, product = vegas()
    options = {"endpoint_url": counted.url}
    first = sc.survey(recipe, product, source=remote, source_options=options)
    for number, file in enumerate(sorted((tmp_path / "cache").rglob("*.json"))):
        damaged = [b"", b"[" * 5000, b'{"url": 1}', b'{"facts": {}}', b"\xff\xfe"]
        file.write_bytes(damaged[number % len(damaged)])

    assert sc.survey(recipe, product, source=remote, source_options=options) == first


def test_siblings_and_copies_are_left_out_with_a_reason(remote, server):
    fs = filesystem(server)
    recipe, product = vegas("MUL")
    folder = "spacenet/" + product.sources[0][0].rpartition("/")[0]
    tile = next(path for path in fs.find(folder) if "_R1C1-" in path and "_COG" not in path)
    fs.copy(tile, tile.replace("_R1C1-", "_R01C01-"))
    try:
        found = sc.survey(recipe, product, source=remote, source_options={"endpoint_url": server})
    finally:
        fs.rm(tile.replace("_R1C1-", "_R01C01-"))

    assert len(found) == 16
    reasons = {each.key.rpartition("/")[2]: each.reason for each in found.left_out}
    assert any("_COG" in key and "excluded by '*_COG.TIF'" in why for key, why in reasons.items())
    assert any("the same tile and bytes as" in why for why in reasons.values())


def test_the_new_keys_are_found_where_the_old_are_not(corpus, server):
    fs = filesystem(server)
    recipe, product = vegas("MUL")
    fs.mkdir("today")
    old = corpus / "AOI_2_Vegas" / "srcData" / "rasterData" / "MUL"
    fs.put(f"{old}/", "today/AOIs/AOI_2_Vegas/MS/", recursive=True)

    options = {"endpoint_url": server}
    found = sc.survey(recipe, product, source="s3://today", source_options=options)

    assert {scene.key.rpartition("/")[0] for scene in found} == {"AOIs/AOI_2_Vegas/MS"}


def test_every_fault_of_every_source_is_told_at_once(server, tmp_path):
    fs = filesystem(server)
    fs.mkdir("faulty")
    with rasterio.open(
        tmp_path / "whole.tif",
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=1,
        dtype="uint16",
        crs="EPSG:4326",
        transform=rasterio.Affine(1e-5, 0, 2, 0, -1e-5, 48),
    ) as raster:
        raster.write(np.ones((1, 64, 64), "uint16"))
    whole = (tmp_path / "whole.tif").read_bytes()
    fs.pipe("faulty/whole.tif", whole)
    fs.pipe("faulty/short.tif", whole[:-100])
    fs.pipe("faulty/page.tif", b"<html>404</html>")
    fs.pipe("faulty/empty.tif", b"")
    with rasterio.open(
        tmp_path / "other.tif",
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=1,
        dtype="uint8",
        crs="EPSG:3857",
        transform=rasterio.Affine(1, 0, 2, 0, -1, 48),
    ) as raster:
        raster.write(np.ones((1, 64, 64), "uint8"))
    fs.put_file(str(tmp_path / "other.tif"), "faulty/other.tif")
    recipe = sc.parse_recipe(
        "name: x\nlicence: {spdx: CC0-1.0, attribution: nobody}\n"
        "products: [{name: p, sources: '*.tif', bands: [gray]}]\n"
    )

    with pytest.raises(sc.SourceError) as caught:
        sc.survey(recipe, "p", source="s3://faulty", source_options={"endpoint_url": server})

    told = str(caught.value).splitlines()
    assert "5 faults" in told[0]
    assert any("differ in CRS" in line and "other.tif" in line for line in told)
    assert any("differ in sample type" in line for line in told)
    assert any("short.tif: it is cut short" in line for line in told)
    assert any("page.tif: it is no TIFF" in line for line in told)
    assert any("empty.tif: it is no TIFF" in line for line in told)


REFUSALS = [
    ("ExpiredToken", "token has expired"),
    ("InvalidAccessKeyId", "access key is not known"),
    ("SignatureDoesNotMatch", "secret key is wrong"),
    ("AccessDenied", "--requester-pays"),
    ("NoSuchBucket", "no such bucket"),
]
REFUSED = [(where, *refusal) for where in ("list", "read", "write") for refusal in REFUSALS]


@pytest.mark.parametrize(("where", "code", "told"), share(REFUSED, 6))
def test_what_a_server_refuses_is_one_clear_line(where, code, told, remote, counted, tmp_path):
    recipe, product = vegas()
    options = {"endpoint_url": counted.url, "retries": 0}
    status = 404 if code == "NoSuchBucket" else 403

    def refuse(_method: str, _path: str) -> tuple[int, bytes]:
        return fault_answer(code, status)

    def work() -> None:
        if where == "list":
            counted.fault = refuse
        scenes = sc.survey(recipe, product, source=remote, source_options=options)
        planned = sc.plan(recipe, product, scenes)
        if where == "read":
            counted.fault = refuse
            sc.build(planned, tmp_path)
        counted.fault = lambda method, path: refuse(method, path) if method == "PUT" else None
        sc.build(planned, "s3://cubes/refused", target_options=options, workers=1)

    with pytest.raises(sc.CubeError) as caught:
        work()

    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "AOI_2_Vegas" / "PAN.zarr" / "zarr.json").exists()


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize(
    ("options", "source", "told"),
    [
        ({"endpoint_url": "http://127.0.0.1:9", "retries": 1}, "s3://spacenet", "nothing answers"),
        ({"profile": "nobody-has-it"}, "s3://spacenet", "no AWS profile 'nobody-has-it'"),
        ({}, "s3://no-such-bucket-here", "no such bucket"),
    ],
)
def test_a_wrong_address_is_one_clear_line(options, source, told, server):
    recipe, product = vegas()

    with pytest.raises(sc.CubeError) as caught:
        sc.survey(
            recipe, product, source=source, source_options={"endpoint_url": server, **options}
        )

    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("new_clients")
def test_without_any_credentials_the_way_out_is_named(remote, server, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    recipe, product = vegas()

    with pytest.raises(sc.SourceError, match="add anonymous=true"):
        sc.survey(recipe, product, source=remote, source_options={"endpoint_url": server})


def test_an_index_is_read_once_by_who_reads_chips(remote, counted, server):
    recipe, product = vegas()
    options = {"endpoint_url": server}
    scenes = sc.survey(recipe, in_shards(product), source=remote, source_options=options)
    cube = sc.build(
        sc.plan(recipe, in_shards(product), scenes), "s3://cubes/chips", target_options=options
    )
    whole = sc.open_cube(cube, storage_options=options, chunks=None).image.to_numpy()
    image = sc.open_cube(cube, storage_options={"endpoint_url": counted.url}, chunks=None).image
    counted.seen.clear()

    requests: list[int] = []
    for row, col in ((0, 0), (64, 0), (64, 64), (0, 64)):
        chip = image[:, row : row + 64, col : col + 64].to_numpy()
        np.testing.assert_array_equal(chip, whole[:, row : row + 64, col : col + 64])
        requests.append(len(counted.of("GET")) - sum(requests))

    assert requests == [2, 1, 1, 1]


def test_an_object_that_changed_is_an_error_and_no_pixel(remote, counted, server, tmp_path):
    recipe, product = vegas("MUL")
    options = {"endpoint_url": counted.url}
    planned = sc.plan(
        recipe, product, sc.survey(recipe, product, source=remote, source_options=options)
    )
    fs, key = filesystem(server), planned.scenes[3].href.removeprefix("s3://")
    before = fs.cat_file(key)
    fs.pipe(key, before[:-1] + bytes([before[-1] ^ 1]))
    try:
        with pytest.raises(sc.SourceError, match="has changed while it was read"):
            sc.build(planned, tmp_path)
    finally:
        fs.pipe(key, before)


def test_a_body_that_lost_bytes_is_fetched_again(remote, counted, corpus, tmp_path):
    recipe, product = vegas("MUL")
    options = {"endpoint_url": counted.url}
    scenes = sc.survey(recipe, product, source=remote, source_options=options)
    counted.shorten = 5

    url = sc.build(sc.plan(recipe, product, scenes), tmp_path / "remote")

    assert counted.shorten == 0
    local = sc.survey(recipe, product, source=corpus)
    here = sc.build(sc.plan(recipe, product, local), tmp_path / "local")
    assert of_pixels(local_objects(url)) == of_pixels(local_objects(here))


def test_scratch_is_empty_after_a_failure(remote, counted, tmp_path):
    recipe, product = vegas()
    options = {"endpoint_url": counted.url, "retries": 0}
    planned = sc.plan(
        recipe, product, sc.survey(recipe, product, source=remote, source_options=options)
    )
    counted.fault = lambda _method, path: (
        fault_answer("InternalError", 500) if "R3C3" in path else None
    )

    with pytest.raises(sc.SourceError, match="R3C3"):
        sc.build(planned, tmp_path / "cubes", scratch=tmp_path / "scratch")

    assert list((tmp_path / "scratch").iterdir()) == []


def test_planned_requests_are_those_made(remote, counted):
    recipe, product = vegas("MUL-PanSharpen")
    product = product.model_copy(update={"encoding": Encoding(chunk=32, shard=32)})
    options = {"endpoint_url": counted.url, "read_twice": False}
    from spacenet_cube.builds.tasks.cost import cost  # noqa: PLC0415

    scenes = sc.survey(recipe, product, source=remote, source_options=options)
    planned = sc.plan(recipe, product, scenes)
    told = cost(planned, workers=2, remote_target=True, list_requests=scenes.list_requests)
    sc.build(planned, "s3://cubes/counted", target_options=options, workers=2)

    from_source = [one for one in counted.of("GET") if one.path.startswith("/spacenet/")]
    puts = [one for one in counted.of("PUT") if one.path.startswith("/cubes/counted/")]
    backs = [one for one in counted.of("GET") if one.path.startswith("/cubes/counted/")]
    assert len(from_source) <= told.source.get
    assert told.source.get <= 2 * len(from_source)
    beats = sum("/lock/" in one.path for one in puts) - 1  # one every ten seconds
    assert len(puts) - beats == told.target.put
    assert len(backs) <= 4 * told.target.get
    assert sum(one.size_bytes for one in from_source) <= told.fetched_bytes * 2


@pytest.mark.usefixtures("new_clients")
def test_no_secret_reaches_plan_pickle_metadata_log_or_error(
    remote, server, monkeypatch, tmp_path, caplog
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG, logger="spacenet_cube")
    recipe, product = vegas()
    options = {"endpoint_url": server}

    scenes = sc.survey(recipe, product, source=remote, source_options=options)
    planned = sc.plan(recipe, product, scenes)
    where = locate("s3://cubes/canary", options)
    url = sc.build(planned, where.url, target_options=options)
    where.store()
    assert where.fs is not None
    written = [pickle.dumps(planned), pickle.dumps(where), pickle.dumps(scenes)]
    written += [json.dumps(planned.to_dict()).encode(), repr((planned, where, scenes)).encode()]
    written += [*remote_objects(server, url).values(), caplog.text.encode()]
    with pytest.raises(sc.CubeError) as caught:
        sc.survey(recipe, product, source="s3://no-such-bucket-here", source_options=options)
    written.append(repr(caught.value).encode())
    written += [file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()]

    assert [text[:80] for text in written if SECRET.encode() in text] == []


@pytest.mark.parametrize("name", ["secret", "aws_secret_access_key", "key", "token", "password"])
def test_a_secret_among_the_options_is_refused_and_not_repeated(name):
    recipe, product = vegas()

    with pytest.raises(sc.RecipeError, match="would carry a secret") as caught:
        sc.survey(recipe, product, source="s3://x", source_options={name: SECRET})

    assert SECRET not in str(caught.value)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_command_line_plans_and_builds_s3_to_s3(remote, server, tmp_path, monkeypatch):
    monkeypatch.setenv("SPACENET_CUBE_SOURCE_OPTIONS", f"endpoint_url={server}")
    common = ["AOI_2_Vegas", "-p", "MUL", "--source", remote, "--to", "s3://cubes/cli"]
    target = ["--target-option", f"endpoint_url={server}", "--scratch", str(tmp_path)]

    planned = run("plan", *common, *target, "--estimate", "--json")
    built = run("build", *common, *target, "--json")

    assert planned.exit_code == 0, planned.output
    (figures,) = json.loads(planned.stdout)["plans"]
    assert figures["cost"]["stored_is"].startswith("measured on")
    assert figures["cost"]["source_requests"]["list"] == 1
    assert figures["cost"]["prices"]["as_of"]
    assert [each["reason"] for each in figures["left_out"]] == ["excluded by '*_COG.TIF'"]
    assert built.exit_code == 0, built.output
    assert list(tmp_path.glob("spacenet-cube-*")) == []
