"""Ceph's radosgw: a server that checks signatures and makes the requester pay."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import spacenet_cube as sc
from spacenet_cube.recipe.model import Product
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import ceph, filesystem, forget_clients, missing_ceph

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
    ),
    pytest.mark.skipif(
        bool(missing_ceph()),
        reason=f"{', '.join(missing_ceph())}: apt-get install radosgw ceph-mon ceph-osd",
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ceph(tmp_path_factory.mktemp("ceph")) as url:
        yield url


@pytest.fixture(scope="module")
def corpus(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of two products, in buckets that are open, closed and paid by the requester."""
    folder = tmp_path_factory.mktemp("corpus")
    sc.write_sample(folder, aois=["AOI_2_Vegas"], products=["MUL"], tile_size=64)
    fs = filesystem(server)
    for bucket in ("open", "closed", "payers"):
        fs.mkdir(bucket, acl="public-read" if bucket == "open" else "private")
        fs.put(f"{folder}/", f"{bucket}/", recursive=True)
        for key in fs.find(bucket):
            fs.chmod(key, "public-read" if bucket == "open" else "private")
    fs.mkdir("cubes")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": ["arn:aws:s3:::payers", "arn:aws:s3:::payers/*"],
            }
        ],
    }
    fs.call_s3("put_bucket_policy", Bucket="payers", Policy=json.dumps(policy))
    fs.call_s3(
        "put_bucket_request_payment",
        Bucket="payers",
        RequestPaymentConfiguration={"Payer": "Requester"},
    )
    return folder


@pytest.fixture(autouse=True)
def _signed_as_guest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    profiles = "".join(
        f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
        for name, key, secret in (
            ("owner", "owner", "ownersecret"),
            ("guest", "guest", "guestsecret"),
            ("nobody", "nobody", "x"),
            ("forger", "owner", "wrong"),
        )
    )
    file = tmp_path / "credentials"
    file.write_text(profiles)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SPACENET_CUBE_CACHE", str(tmp_path / "cache"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    forget_clients()


def vegas() -> tuple[sc.Recipe, Product]:
    recipe = sc.load_recipe("AOI_2_Vegas")
    return recipe, recipe.product("MUL")


def built(source: str, server: str, to: str, **options: object) -> str:
    recipe, product = vegas()
    said = {"endpoint_url": server} | options
    scenes = sc.survey(recipe, product, source=source, source_options=said)
    target = {"endpoint_url": server, "profile": "owner"} if "s3:" in to else None
    return sc.build(sc.plan(recipe, product, scenes), to, target_options=target, replace=True)


def pixels(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "zarr.json"
    }


def test_an_open_bucket_needs_no_account(server, corpus, tmp_path):
    there = built("s3://open", server, str(tmp_path / "there"), anonymous=True)
    here = built(str(corpus), server, str(tmp_path / "here"))

    assert pixels(Path(there)) == pixels(Path(here)) != {}


@pytest.mark.usefixtures("corpus")
def test_requester_pays_without_the_option_is_refused_by_naming_it(server, tmp_path):
    with pytest.raises(sc.SourceError, match=r"403.*add --requester-pays") as caught:
        built("s3://payers", server, str(tmp_path), profile="guest")

    assert len(str(caught.value).splitlines()) == 1


def test_requester_pays_with_the_option_builds_s3_to_s3(server, corpus, tmp_path):
    there = built("s3://payers", server, "s3://cubes", profile="guest", requester_pays=True)
    here = built(str(corpus), server, str(tmp_path))

    fs, base = filesystem(server), there.removeprefix("s3://")
    stored = {path.removeprefix(f"{base}/"): fs.cat_file(path) for path in fs.find(base)}
    assert {
        name: held for name, held in stored.items() if not name.endswith("zarr.json")
    } == pixels(Path(here))


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize(
    ("source", "options", "told"),
    [
        ("s3://closed", {"anonymous": True}, "unsigned requests are refused"),
        ("s3://closed", {"profile": "guest"}, "access is denied"),
        ("s3://payers", {"anonymous": True}, "add --requester-pays"),
        ("s3://closed", {"profile": "nobody"}, "access key is not known"),
        ("s3://closed", {"profile": "forger"}, "secret key is wrong"),
        ("s3://nowhere", {"profile": "owner"}, "no such bucket"),
        ("s3://closed", {"profile": "owner", "endpoint_url": "http://127.0.0.1:9", "retries": 0},
         "nothing answers at http://127.0.0.1:9"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_clear_line(source, options, told, server, tmp_path):
    with pytest.raises(sc.CubeError) as caught:
        built(source, server, str(tmp_path), **options)

    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_versions_are_kept_there_too(server, corpus, tmp_path):
    told = {"endpoint_url": server, "profile": "owner"}
    to = "icechunk+s3://cubes/versions"
    there = built(str(corpus), server, to)
    here = built(str(corpus), server, str(tmp_path))
    (first,) = sc.history(there, target_options=told)
    built(str(corpus), server, to)

    where = locate(there, told)
    stored = {key: (where / key).read_bytes() for key in entries(where)}
    assert stored == {
        str(path.relative_to(here)): path.read_bytes()
        for path in Path(here).rglob("*")
        if path.is_file()
    }
    assert len(sc.history(there, target_options=told)) == 2
    assert sc.rollback(there, first.id, target_options=told).current
    with pytest.raises(sc.StoreError, match="secret key is wrong") as caught:
        sc.history(there, target_options=told | {"profile": "forger"})
    assert len(str(caught.value).splitlines()) == 1
