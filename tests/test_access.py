"""How storage is reached: one description in recipe, environment and on the command line."""

import pickle

import pytest
from zarr.storage import ObjectStore

import spacenet_cube as sc
from spacenet_cube.sources.survey import source_location
from spacenet_cube.storage.base.faults import FAULTS, explain
from spacenet_cube.storage.base.options import StorageOptions, options_of_pairs, storage_options
from spacenet_cube.storage.resolve import locate


def test_the_corpus_is_tried_without_an_account_first():
    for name in sc.bundled_recipes():
        where = source_location(sc.load_recipe(name))

        assert where.options.anonymous
        assert not where.options.requester_pays


def test_whoever_says_requester_pays_signs():
    recipe = sc.load_recipe("AOI_2_Vegas")

    where = source_location(recipe, options={"requester_pays": "true"})

    assert where.options.requester_pays
    assert not where.options.anonymous
    assert where.fs.storage_options["requester_pays"] is True


def test_a_recipes_storage_is_of_its_own_source_alone():
    recipe = sc.load_recipe("AOI_2_Vegas")

    assert not source_location(recipe, "s3://mine").options.anonymous


def test_what_is_nearer_goes_first(monkeypatch):
    recipe = sc.load_recipe("AOI_2_Vegas")
    monkeypatch.setenv("SPACENET_CUBE_SOURCE_OPTIONS", "region=eu-west-1,retries=2")

    options = source_location(recipe, options={"retries": 3}).options

    assert (options.region, options.retries, options.anonymous) == ("eu-west-1", 3, True)


def test_one_description_serves_every_client():
    options = storage_options(
        {"endpoint_url": "http://127.0.0.1:9", "region": "us-east-1", "requester_pays": True}
    )
    where = locate("s3://bucket/prefix", options)

    assert where.fs.endpoint_url == "http://127.0.0.1:9"
    assert where.fs.req_kw == {"RequestPayer": "requester"}
    store = where.store()
    assert isinstance(store, ObjectStore)
    assert str(store.store.config["request_payer"]).lower() == "true"
    assert options.gdal_environment() | {"GDAL_HTTP_TIMEOUT": ""} == {
        "AWS_NO_SIGN_REQUEST": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_REQUEST_PAYER": "requester",
        "AWS_REGION": "us-east-1",
        "AWS_S3_ENDPOINT": "127.0.0.1:9",
        "AWS_HTTPS": "NO",
        "GDAL_HTTP_MAX_RETRY": "5",
        "GDAL_HTTP_TIMEOUT": "",
    }


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"anonymous": "perhaps"}, "anonymous"),
        ({"anonymous": True, "requester_pays": True}, "signed requests"),
        ({"endpoint_url": "ftp://x"}, "http"),
        ({"endpoint_url": "http://user:pass@x"}, "without credentials"),
        ({"concurrency": 0}, "concurrency"),
        ({"speed": 1}, "there is no storage option 'speed'"),
    ],
)
def test_options_that_cannot_stand_are_refused(said, told):
    with pytest.raises(sc.RecipeError, match=told) as caught:
        storage_options(said)

    assert "pass@" not in str(caught.value)


def test_an_option_needs_a_value():
    with pytest.raises(sc.RecipeError, match="name=value"):
        options_of_pairs(["anonymous"])


def test_a_pickled_location_holds_no_connection():
    where = locate("s3://bucket/prefix", {"anonymous": True})
    assert where.fs is not None

    again = pickle.loads(pickle.dumps(where))  # noqa: S301 - our own

    assert again == where
    assert "fs" not in vars(again)


def test_every_fault_is_told_in_one_line_without_its_debug_text():
    class Odd(FAULTS[0]):  # type: ignore[misc, valid-type]
        """A fault nobody has met."""

    told = explain(Odd("first\nsecond\nDebug source: secrets" + "x" * 999), StorageOptions())

    assert told == "first second"
