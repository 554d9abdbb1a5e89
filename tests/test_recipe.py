"""Recipes: the bundled ones are the facts; what is not a recipe is refused, with the line."""

import json
from pathlib import PurePosixPath, PureWindowsPath

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spacenet_cube.errors import CubeError, RecipeError
from spacenet_cube.recipe.files import (
    LIMIT_BYTES,
    LIMIT_DEPTH,
    bundled_recipes,
    load_recipe,
    parse_recipe,
)
from spacenet_cube.recipe.model import BandSpec, Encoding, Product, Recipe
from spacenet_cube.sources.files.listing import excluding
from tests.places import ROOT
from tests.scenes import LICENCE, NAMES, product
from tests.shares import count

BUNDLE = ROOT / "recipes"
AOIS = ("AOI_1_Rio", "AOI_2_Vegas", "AOI_3_Paris", "AOI_4_Shanghai", "AOI_5_Khartoum")
CATALOG_IDS = {
    "AOI_2_Vegas": "10400100137F4900",
    "AOI_3_Paris": "1040010018805C00",
    "AOI_4_Shanghai": "104001000C924900",
    "AOI_5_Khartoum": "104001000A6A1E00",
}
PAN_TILES = {"AOI_2_Vegas": 16, "AOI_3_Paris": 75, "AOI_4_Shanghai": 56, "AOI_5_Khartoum": 40}
EIGHT = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir1", "nir2")
RGB = ("red", "green", "blue")
# Bands, aliases, sample type, pixel edge in degrees, and the pyramid folder since 2019.
WORLDVIEW_3 = {
    "MUL": (EIGHT, ("MS",), "uint16", 1.08e-5, "MS"),
    "MUL-PanSharpen": (EIGHT, ("PS-MS",), "uint16", 2.7e-6, "PS-MS"),
    "PAN": (("pan",), (), "uint16", 2.7e-6, "PAN"),
    "RGB-PanSharpen": (RGB, ("PS-RGB",), "uint16", 2.7e-6, "PS-RGB"),
}
RIO = {
    "3-Band": (RGB, "uint8", 4.4879e-6, "PS-RGB"),
    "8-Band": (EIGHT, "uint16", 1.79515e-5, "MS"),
}
PLAIN = """\
name: Somewhere
licence:
  spdx: CC0-1.0
  attribution: nobody
products:
  - name: P
    sources: "*.tif"
    bands: [red, green]
"""


def names_of(one):
    return tuple(band.name for band in one.band_values)


def wanted(**changes):
    """A recipe's data with one product changed."""
    return yaml.safe_load(PLAIN) | {
        "products": [yaml.safe_load(PLAIN)["products"][0] | changes],
    }


# ---------------------------------------------------------------- the bundled recipes


def test_five_areas_with_eighteen_products_are_bundled():
    recipes = [load_recipe(name) for name in bundled_recipes()]

    assert bundled_recipes() == AOIS
    assert [recipe.name for recipe in recipes] == list(AOIS)
    assert sum(len(recipe.products) for recipe in recipes) == 18


@pytest.mark.parametrize("aoi", AOIS[1:])
@pytest.mark.parametrize("name", WORLDVIEW_3)
def test_a_worldview_3_product_is_what_was_delivered(aoi, name):
    bands, aliases, dtype, edge, folder = WORLDVIEW_3[name]

    recipe = load_recipe(aoi)
    one = recipe.product(name)

    assert names_of(one) == bands
    assert one.band_indexes == tuple(range(1, len(bands) + 1))
    assert one.aliases == aliases
    assert (one.sensor, one.catalog_id, one.nodata) == ("WorldView-3", CATALOG_IDS[aoi], 0)
    assert (one.expect.dtype, one.expect.bands, one.expect.crs) == (dtype, len(bands), "EPSG:4326")
    assert one.expect.pixel_size == (edge, edge)
    assert one.expect.scenes == (PAN_TILES[aoi] if name in {"MUL", "PAN"} else None)
    assert one.sources == (
        (f"{aoi}/srcData/rasterData/{name}/*.TIF",),
        (f"AOIs/{aoi}/{folder}/*.TIF",),
    )
    assert recipe.product(folder) is one
    assert len(recipe.products) == 4


@pytest.mark.parametrize("name", RIO)
def test_a_product_of_rio_is_what_was_delivered(name):
    bands, dtype, edge, folder = RIO[name]

    one = load_recipe("AOI_1_Rio").product(name)

    assert names_of(one) == bands
    assert (one.sensor, one.catalog_id, one.nodata) == ("WorldView-2", None, 0)
    assert (one.expect.dtype, one.expect.bands, one.expect.crs) == (dtype, len(bands), "EPSG:4326")
    assert one.expect.pixel_size == (edge, edge)
    assert one.expect.scenes == 29
    assert one.sources[0] == (f"AOI_1_Rio/srcData/rasterData/{name}.tar.gz",)
    assert (f"AOIs/AOI_1_Rio/{folder}/*.tif",) in one.sources


@pytest.mark.parametrize(
    ("aoi", "name", "key"),
    [
        ("AOI_1_Rio", "3-Band", "AOIs/AOI_1_Rio/srcData/mosaic_3band/013022232020.tif"),
        ("AOI_1_Rio", "3-Band", "AOIs/AOI_1_Rio/PS-RGB/PS-RGB_mosaic_013022223133.tif"),
        (
            "AOI_3_Paris",
            "RGB-PanSharpen",
            "AOIs/AOI_3_Paris/PS-RGB/16FEB29111912-S2AS_R10C09-056155973010_01_P001.TIF",
        ),
        (
            "AOI_2_Vegas",
            "PAN",
            "AOI_2_Vegas/srcData/rasterData/PAN/15OCT22183656-P2AS_R1C1-055649178030_01_P001.TIF",
        ),
    ],
)
def test_keys_seen_in_the_bucket_are_matched_and_their_cloud_optimised_twins_are_not(
    aoi, name, key
):
    one = load_recipe(aoi).product(name)
    path = PurePosixPath(key)
    twin = str(path.with_name(f"{path.stem}_COG{path.suffix}"))

    patterns = [pattern for alternative in one.sources for pattern in alternative]

    assert any(path.match(pattern) for pattern in patterns)
    assert excluding(key, one.exclude) is None
    assert excluding(twin, one.exclude) is not None


@pytest.mark.parametrize("aoi", AOIS)
def test_every_recipe_carries_the_licence_and_the_credit_line(aoi):
    recipe = load_recipe(aoi)

    assert recipe.licence.spdx == "CC-BY-SA-4.0"
    assert "SpaceNet" in recipe.licence.attribution
    assert recipe.source == "s3://spacenet-dataset"


def test_a_product_is_found_by_name_or_alias_in_any_case():
    recipe = load_recipe("AOI_2_Vegas")

    assert recipe.product("ps-ms") is recipe.product("mul-pansharpen")
    with pytest.raises(RecipeError, match="has no product 'SWIR'; it has MUL, MUL-PanSharpen"):
        recipe.product("SWIR")


# ---------------------------------------------------------------- the schema


@pytest.mark.parametrize("aoi", AOIS)
def test_the_json_schema_accepts_the_bundled_recipes(aoi):
    schema = Recipe.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(yaml.safe_load((BUNDLE / f"{aoi}.yaml").read_text()), schema)


@pytest.mark.parametrize(
    "change",
    [{"colour": "red"}, {"encoding": {"chunks": 16}}, {"expect": {"band": 1}}, {"bands": []}],
    ids=str,
)
def test_the_json_schema_rejects_what_the_recipe_rejects(change):
    data = wanted(**{"sources": [["*.tif"]]} | change)

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, Recipe.model_json_schema())
    with pytest.raises(ValidationError):
        Recipe.model_validate(data)


@pytest.mark.parametrize(
    "change",
    [
        {"sources": "*.tif"},
        {"sources": ["*.tif", "a/*.tif"]},
        {"sources": [["a.tif", "b.tif"]]},
        {"grid": "native"},
        {"grid": {"kind": "native", "tolerance_px": 0.1}},
        {"bands": ["red", {"name": "mine", "index": 4, "wavelength_nm": 500}]},
    ],
    ids=str,
)
def test_the_json_schema_accepts_what_the_recipe_accepts(change):
    data = wanted(**{"sources": [["*.tif"]]} | change)

    Recipe.model_validate(data)
    jsonschema.validate(data, Recipe.model_json_schema())


def test_every_key_of_the_schema_is_described():
    schema = Recipe.model_json_schema()

    for model in (schema, *schema["$defs"].values()):
        for key, field in model.get("properties", {}).items():
            assert field.get("description"), f"{model['title']}.{key}"


# ---------------------------------------------------------------- what is refused, and where


FULL = {
    "name": "Somewhere",
    "licence": {"spdx": "CC0-1.0", "attribution": "nobody"},
    "products": [
        {
            "name": name,
            "sources": ["*.tif"],
            "bands": ["red", {"name": "mine", "index": 2}],
            "grid": {"kind": "native"},
            "encoding": {"chunk": 16, "shard": 32},
            "expect": {"bands": 2},
        }
        for name in ("P", "Q")
    ],
}


def mappings(node, path=()):
    """Paths of all mappings below a node."""
    if isinstance(node, dict):
        yield path
        for key, value in node.items():
            yield from mappings(value, (*path, key))
    if isinstance(node, list):
        for place, value in enumerate(node):
            yield from mappings(value, (*path, place))


# A hundred recipes take three seconds to parse.
@settings(max_examples=count(12, of=40))
@given(
    path=st.sampled_from(list(mappings(FULL))),
    key=st.from_regex(r"zz[a-z_]{1,8}", fullmatch=True),
    value=st.sampled_from([1, "text", None, [1, 2], {"a": 1}]),
    data=st.data(),
)
def test_an_unknown_key_anywhere_is_refused_with_its_line(path, key, value, data):
    root = json.loads(json.dumps(FULL))
    place = root
    for part in path:
        place = place[part]
    items = list(place.items())
    items.insert(data.draw(st.integers(0, len(items))), (key, value))
    place.clear()
    place.update(items)
    text = yaml.safe_dump(root, sort_keys=False)
    (line,) = [n for n, told in enumerate(text.splitlines(), 1) if f"{key}:" in told]

    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "some.yaml")

    told = str(caught.value)
    assert told.startswith(f"some.yaml, line {line}: ")
    assert f"{key!r} is not a key that recipes have here" in told
    assert len(told.splitlines()) == 1


def test_every_fault_of_a_recipe_is_told_at_once_from_top_to_bottom():
    text = PLAIN.replace("name: P", "nome: P").replace("spdx: CC0-1.0", "spdx: [1]")

    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")

    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "r.yaml, line 3",
        "r.yaml, line 6",
        "r.yaml, line 6",
    ]
    assert any("'name' is missing; add it" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: &x [1]\n", 1, "anchors and aliases"),
        ("a: 1\nb: *x\n", 2, "anchors and aliases"),
        ("a: 1\nb: &x\n  c: 1\n", 2, "anchors and aliases"),
        ("a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n", 1, "anchors and aliases"),
        (f"{PLAIN}name: Elsewhere\n", 9, "'name' stands twice"),
        (PLAIN.replace("    bands:", "    name: Q\n    bands:"), 8, "'name' stands twice"),
        ("? [a, b]\n: 1\n", 1, "a key must be a plain word"),
        ("[" * (LIMIT_DEPTH + 1) + "]" * (LIMIT_DEPTH + 1), 1, f"more than {LIMIT_DEPTH} deep"),
        ("a: 1\nb: " + "[" * 5000, 2, f"more than {LIMIT_DEPTH} deep"),
        ("a: {b: 1\n", 2, "not YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "tags"),
        ("--- \na: 1\n---\nb: 1\n", 3, "not YAML"),
    ],
)
def test_a_trick_is_refused_with_its_line(text, line, why):
    with pytest.raises(RecipeError, match=why) as caught:
        parse_recipe(text, "some.yaml")

    assert f"some.yaml, line {line}: " in str(caught.value)


def test_the_deepest_nesting_that_is_read_is_read():
    deep = "[" * LIMIT_DEPTH + "]" * LIMIT_DEPTH

    with pytest.raises(RecipeError) as caught:
        parse_recipe(deep)

    assert "deep, which no recipe needs" not in str(caught.value)


def test_a_key_that_a_merge_brings_in_twice_is_refused():
    text = PLAIN.replace("name: Somewhere", "name: Somewhere\n<<: {name: Elsewhere}")

    with pytest.raises(RecipeError):
        parse_recipe(text)


@pytest.mark.parametrize("text", ["", "just text", "[]", "1", "null", "\0", "\t", "a: \x07"])
def test_what_is_no_recipe_at_all_is_refused(text):
    with pytest.raises(RecipeError, match=r"some\.yaml"):
        parse_recipe(text, "some.yaml")


@given(text=st.text(max_size=40) | st.text("[]{}:,&*!|>-'\"#?%@\n a1", max_size=40))
def test_any_text_is_a_recipe_or_an_error_that_says_who_can_mend_it(text):
    with pytest.raises(RecipeError):
        parse_recipe(text)


@given(start=st.integers(0, len(PLAIN)), size=st.integers(0, 12), put=st.text(max_size=6))
def test_a_recipe_with_a_slip_of_the_hand_is_a_recipe_or_a_recipe_error(start, size, put):
    text = PLAIN[:start] + put + PLAIN[start + size :]

    try:
        found = parse_recipe(text)
    except CubeError as error:
        assert isinstance(error, RecipeError)  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(found, Recipe)


def test_a_recipe_larger_than_any_recipe_is_not_read(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(b"\xff" * LIMIT_BYTES)
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(path)

    path.write_bytes(b"\xff" * (LIMIT_BYTES + 1))

    with pytest.raises(RecipeError, match="more than 1,048,576 bytes"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_told_with_those_bundled(tmp_path):
    with pytest.raises(RecipeError, match=r"no recipe 'AOI_6'.*AOI_1_Rio, AOI_2_Vegas"):
        load_recipe("AOI_6")
    with pytest.raises(RecipeError, match="check the path"):
        load_recipe(tmp_path / "missing.yaml")
    with pytest.raises(RecipeError):
        load_recipe("../recipes/AOI_2_Vegas")


def test_a_recipe_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")

    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(path)


# ---------------------------------------------------------------- names and patterns


NEVER = ["", ".", "..", "a/b", "/a", "a\\b", "C:a", "a\0b", " a", "a ", "a*", "a?", "x" * 129]


@pytest.mark.parametrize("name", NEVER)
@pytest.mark.parametrize("what", ["recipe", "product", "alias", "band", "described band"])
def test_a_name_that_would_leave_its_folder_is_refused(name, what):
    data = {
        "recipe": wanted() | {"name": name},
        "product": wanted(name=name),
        "alias": wanted(aliases=[name]),
        "band": wanted(bands=[name]),
        "described band": wanted(bands=[{"name": name}]),
    }[what]

    with pytest.raises(ValidationError):
        Recipe.model_validate(data)


@given(name=st.text(max_size=12) | st.text("./\\:~ a", max_size=8))
def test_a_name_is_refused_or_is_one_folder_below_the_target(name):
    try:
        found = Recipe.model_validate(wanted() | {"name": name}).name
    except ValidationError:
        return

    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour("/target") / found / "P.zarr"
        assert path.parent.parent == flavour("/target")
        assert path.parent.name == name


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\tb", "a\x7fb", "a\u202eb"])
def test_a_name_with_characters_that_no_one_sees_is_refused(name):
    with pytest.raises(ValidationError):
        Recipe.model_validate(wanted(name=name))


ESCAPES = [
    "",
    "..",
    "../a.tif",
    "a/../../b.tif",
    "a/..",
    "/etc/*.tif",
    "//host/share/*.tif",
    "s3://bucket/*.tif",
    "file:///etc/*.tif",
    "C:/a.tif",
    "a\\..\\b.tif",
    "\\\\host\\a.tif",
]


@pytest.mark.parametrize("pattern", ESCAPES)
@pytest.mark.parametrize("shape", ["alone", "alternative", "together"])
def test_a_pattern_that_reaches_outside_the_source_is_refused_with_the_mend(pattern, shape):
    sources = {
        "alone": pattern,
        "alternative": ["a.tif", pattern],
        "together": [["a.tif", pattern]],
    }

    with pytest.raises(ValidationError, match="must stay inside the source: give a path relative"):
        Recipe.model_validate(wanted(sources=sources[shape]))


@given(pattern=st.text("./\\:~*a", max_size=12))
def test_a_pattern_is_refused_or_stays_inside_the_source(pattern):
    try:
        Recipe.model_validate(wanted(sources=pattern))
    except ValidationError:
        return

    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour(pattern)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert not path.drive


def test_one_pattern_may_stand_for_a_list_and_lists_for_alternatives():
    assert Recipe.model_validate(wanted(sources="a")).products[0].sources == (("a",),)
    assert Recipe.model_validate(wanted(sources=["a", "b"])).products[0].sources == (("a",), ("b",))
    assert Recipe.model_validate(wanted(sources=[["a", "b"]])).products[0].sources == (("a", "b"),)


# ---------------------------------------------------------------- bands, products, encoding


def test_bands_are_looked_up_described_or_merely_named():
    one = product(bands=("red", BandSpec(name="mine", index=7, wavelength_nm=500), "nir1"))

    assert names_of(one) == ("red", "mine", "nir1")
    assert [band.wavelength_nm for band in one.band_values] == [660.11, 500, 824.04]
    assert one.band_indexes == (1, 7, 3)
    assert [band.wavelength_nm for band in product(sensor=None).band_values] == [None] * 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bands": ["red", "red"]}, "named twice"),
        ({"bands": ["red", {"name": "red"}]}, "named twice"),
        ({"bands": ["swir"], "sensor": "WorldView-3"}, "has no band 'swir'"),
        ({"sensor": "Landsat"}, "sensor 'Landsat' is unknown"),
        ({"bands": [{"name": "a", "edges_nm": [2, 1]}]}, "must rise"),
        ({"bands": [{"name": "a", "index": 0}]}, "greater than or equal to 1"),
        ({"bands": [{"name": "a", "wavelength_nm": -1}]}, "greater than 0"),
        ({"bands": []}, "at least 1"),
        ({"encoding": {"chunk": 512, "shard": 1000}}, "hold whole chunks of 512"),
        ({"encoding": {"chunk": 8}}, "greater than or equal to 16"),
        ({"encoding": {"profile": "fast"}}, "'cloud' or 'gdal312'"),
        ({"mosaic": "mode"}, "'median' or 'feather'"),
        ({"grid": {"tolerance_px": 0.6}}, "less than or equal to 0.5"),
        ({"expect": {"dtype": "int64"}}, "'uint8'"),
        ({"aliases": ["P"]}, "'P' stands twice"),
    ],
)
def test_a_product_that_cannot_be_is_refused_with_the_mend(change, why):
    with pytest.raises(ValidationError, match=why):
        Recipe.model_validate(wanted(**change))


def test_products_whose_names_differ_in_case_alone_are_refused():
    # They are looked up in any case, and one folder on a Mac cannot hold both.
    with pytest.raises(ValidationError, match="stands twice"):
        Recipe(name="A", licence=LICENCE, products=(product(name="MUL"), product(name="mul")))


def test_a_recipe_cannot_be_changed():
    recipe = parse_recipe(PLAIN)

    with pytest.raises(ValidationError, match="frozen"):
        setattr(recipe, "name", "Elsewhere")  # noqa: B010 - mypy refuses it too


def test_a_product_under_another_profile_is_the_same_but_for_it():
    one = product()

    other = one.with_profile("gdal312")

    assert other.encoding == Encoding(profile="gdal312", chunk=16, shard=16)
    assert other.model_copy(update={"encoding": one.encoding}) == one
    with pytest.raises(RecipeError, match="no encoding profile 'fast'; use one of cloud, gdal312"):
        one.with_profile("fast")


def test_a_recipe_is_the_same_after_json():
    for recipe in (load_recipe("AOI_1_Rio"), parse_recipe(PLAIN)):
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Product.model_validate(product(bands=NAMES[:2]).model_dump()) == product(bands=NAMES[:2])
