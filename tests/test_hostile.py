"""Input that means harm: each trick is refused by name, quickly, and touches nothing else.

Those found by fuzzing stand here by hand; the fuzzers run in a short form at the end.
"""

import copy
import json
import random
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from struct import pack
from time import process_time
from typing import Any
from unittest.mock import Mock

import cloudpickle  # type: ignore[import-untyped]
import pytest
from fsspec.utils import glob_translate
from hypothesis import given
from hypothesis import strategies as st
from rasterio.errors import RasterioIOError

import spacenet_cube as sc
from spacenet_cube.builds.build import build
from spacenet_cube.errors import CubeError, RecipeError, SourceError, StoreError
from spacenet_cube.format.validate import unsound, unsound_shapes
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.recipe.files import parse_recipe
from spacenet_cube.sources.files.listing import matches
from spacenet_cube.sources.files.tiff import Structure, TiffError
from spacenet_cube.sources.gdal import open_raster
from spacenet_cube.sources.survey import survey
from spacenet_cube.storage.base.secrets import public, sealed, unsealed
from spacenet_cube.storage.resolve import locate
from tests.scenes import coordinates, product, recipe, write_geotiff

RECIPE = (
    "name: A\nlicence: {{spdx: X, attribution: Y}}\nproducts:\n- name: {name}\n"
    "  sources: {sources}\n  bands: [red]\n{more}"
)


def _recipe(name: str = "P", sources: str = "'*.tif'", more: str = "") -> str:
    return RECIPE.format(name=name, sources=sources, more=more)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (_recipe(sources="'a**.tif'"), r"\*\* stands alone"),
        (_recipe(sources="'" + "*a" * 40 + "'"), "wildcards"),
        (_recipe(sources="'~/a.tif'"), "inside the source"),
        (_recipe(sources="'.'"), "inside the source"),
        (_recipe(sources='"a\\nb.tif"'), "cannot be seen"),
        (_recipe(name='"e\\u0301"'), "part of a path"),
        (_recipe(more="source: 'filecache::http://127.0.0.1:9/x'\n"), "no folder or URL"),
        (_recipe(more="source: reference://x\n"), "no folder or URL"),
        (_recipe(more="source: /vsicurl/http://127.0.0.1:9/x\n"), "no folder or URL"),
        (_recipe(more="  grid: {like: 'zip+http://127.0.0.1:9/x'}\n"), "no folder or URL"),
        (_recipe(more="  grid: {crs: '+init=/etc/hostname:x', resolution: 1}\n"), "names files"),
        (_recipe(more="  grid: {crs: EPSG:4978, resolution: 1}\n"), "no plane"),
        (_recipe(more="  grid: {crs: utm, resolution: 1.0e-300}\n"), "resolution"),
        (_recipe(more="  grid: {crs: utm, resolution: 1, anchor: [.nan, 0]}\n"), "finite"),
        (_recipe(more="  expect: {pixel_size: [.nan, 1]}\n"), "finite"),
        (_recipe(more="area: {polygon: 'POLYGON ((0 0, 1e999 0, 1 1))'}\n"), "finite"),
        (_recipe(more="area: {polygon: [[[]]]}\n"), "points"),
        (
            _recipe(
                more="area: {polygon: {type: Polygon, coordinates: [[[" + "9" * 400 + ", 0]]]}}\n"
            ),
            "cannot be read",
        ),
        (_recipe(more="area: {polygon: 'POLYGON ((" + "1" * 90_000 + "x))'}\n"), "no WKT"),
        (_recipe(more="  title: !!binary aGk=\n"), "tags"),
        (_recipe(more="  aliases: [" + "a," * 30_000 + "]\n"), "more than 20,000"),
        (_recipe(more="".join(f"k{k}: 1\n" for k in range(9_000))), "is not a key"),
        ("- " * 100_000, "nested"),
        (_recipe(more="  nodata: " + "9" * 5000 + "\n"), "not YAML"),
    ],
)
def test_a_hostile_recipe_is_refused_in_few_words_and_little_time(text: str, why: str) -> None:
    begun = process_time()

    with pytest.raises(RecipeError, match=why) as refused:
        parse_recipe(text, "r.yaml")

    assert process_time() - begun < 5
    assert all(len(line) < 700 and line.isprintable() for line in str(refused.value).splitlines())
    assert len(str(refused.value).splitlines()) <= 20


def test_words_that_yaml_once_took_for_booleans_and_numbers_are_words() -> None:
    made = parse_recipe(_recipe(name="no", more="  title: 1:30\n").replace("[red]", "[on]"))

    assert (made.products[0].name, made.products[0].title, made.products[0].bands) == (
        "no",
        "1:30",
        ("on",),
    )


parts = st.sampled_from(["a", "b.tif", "ab", "a1.tif", ""])
wild = st.sampled_from(["*", "**", "a*", "*.tif", "?", "[ab]", "[!a]*", "b.tif"])


@given(key=st.lists(parts, min_size=1, max_size=4), pattern=st.lists(wild, min_size=1, max_size=4))
def test_a_pattern_matches_what_fsspec_says_it_does(key: list[str], pattern: list[str]) -> None:
    path, wanted = "/".join(part or "x" for part in key), "/".join(pattern)

    assert matches(path, wanted) == bool(re.fullmatch(glob_translate(wanted), path))


def test_a_pattern_that_would_explode_as_an_expression_is_matched_at_once() -> None:
    begun = process_time()

    assert not matches("a" * 250 + ".tix", "*a" * 16 + ".tif")
    assert not matches("/".join("a" * 60), "**/a/" * 30 + "b")
    assert process_time() - begun < 1


def test_scenes_that_lie_an_earth_apart_are_no_grid(tmp_path: Path) -> None:
    image = coordinates(Block(0, 0, 4, 4)).astype("uint16")
    write_geotiff(tmp_path / "a.tif", image)
    far = write_geotiff(tmp_path / "b.tif", image, transform=_at(9e9))
    made = recipe(product(count=1))

    with pytest.raises(RecipeError, match="far from the others"):
        plan(made, "P", survey(made, "P", source=tmp_path))
    assert far


def _at(west: float) -> Any:
    from rasterio import Affine  # noqa: PLC0415 - one test

    return Affine(0.5, 0, west, 0, -0.5, 4_000_000)


def _structure(**more: Any) -> Structure:
    usual: dict[str, Any] = {
        "shape_yx": (64, 64),
        "block_yx": (64, 64),
        "count": 1,
        "by_band": False,
        "tiled": False,
        "offsets": [8],
        "sizes": [1000],
    }
    return Structure(**usual | more)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"offsets": [5000]}, "cut short"),
        ({"sizes": [1500, 1500], "offsets": [8, 8]}, "over one another"),
        ({"block_yx": (60_000, 60_000), "shape_yx": (60_000, 60_000)}, "unfolds to 3,600,000,000"),
        ({"count": 4000, "block_yx": (200, 200), "shape_yx": (200, 200)}, "unfolds"),
        ({"block_yx": (1 << 31, 1 << 31), "sizes": [0]}, "unfolds"),
    ],
)
def test_a_raster_that_claims_what_it_cannot_hold_is_refused_by_its_tables(
    more: dict[str, Any], why: str
) -> None:
    with pytest.raises(TiffError, match=why):
        _structure(**more).refuse_absurd(2000)


def test_a_large_strip_that_unfolds_as_imagery_does_is_read() -> None:
    stored, edge = 50 << 20, (16_000, 16_000)
    _structure(block_yx=edge, shape_yx=edge, sizes=[stored]).refuse_absurd(stored + 100)

    with pytest.raises(TiffError, match="unfolds"):
        _structure(block_yx=edge, shape_yx=edge, sizes=[stored >> 10]).refuse_absurd(stored + 100)


@pytest.mark.parametrize(
    "content",
    [
        b"<VRTDataset rasterXSize='4' rasterYSize='4'/>",
        b"<GDAL_WMS><Service name='TMS'/></GDAL_WMS>",
        b"GTIFF_DIR:1:/etc/hostname",
        b"II*\0\x08\0\0\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II+\0\x08\0\0\0" + pack("<Q", (1 << 64) - 1),
        b"",
    ],
)
def test_a_disguised_or_empty_raster_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)

    with pytest.raises(SourceError, match=r"a\.tif: .*exclude"):
        survey(recipe(product(count=1)), "P", source=tmp_path)


def test_an_error_of_gdal_that_is_of_no_public_family_is_told_as_any_other(tmp_path: Path) -> None:
    image = coordinates(Block(0, 0, 40, 48)).astype("uint16") % 251 + 1
    path = Path(write_geotiff(tmp_path / "a.tif", image))
    fuzz = import_module("tests.torture.fuzz_tiffs")
    (tmp_path / "made").mkdir()
    _, damaged = fuzz.tiff(1_000_763, fuzz.originals(tmp_path / "made"), path)
    path.write_bytes(damaged)

    with pytest.raises(SourceError, match=r"a\.tif"):
        survey(recipe(product(count=1, sources=(("a.tif",),))), "P", source=tmp_path)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "source").mkdir()
    write_geotiff(folder / "source/a.tif", coordinates(Block(0, 0, 40, 40), 3).astype("uint16"))
    made = recipe()
    return Path(
        build(plan(made, "P", survey(made, "P", source=folder / "source")), folder, workers=1)
    )


def _places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    keys = (
        list(node) if isinstance(node, dict) else range(len(node) if isinstance(node, list) else 0)
    )
    for key in keys:
        yield from _places(node[key], (*place, key))


def test_a_cube_whose_attributes_were_edited_is_an_error_and_never_a_traceback(cube: Path) -> None:
    good = json.loads((cube / "zarr.json").read_text())
    rng = random.Random(5)  # noqa: S311 - chance, not secrecy
    bad: list[Any] = [
        None,
        5,
        -1,
        "x",
        [],
        {},
        [None],
        1e308,
        float("nan"),
        "../../etc",
        "/etc",
        [0] * 6,
        10**30,
    ]
    places = list(_places(good["attributes"], ("attributes",)))
    refused = 0
    try:
        for _ in range(60):
            edited = copy.deepcopy(good)
            *path, last = rng.choice(places)
            node = edited
            for key in path:
                node = node[key]
            node[last] = rng.choice(bad)
            (cube / "zarr.json").write_text(json.dumps(edited))
            for work in (sc.open_cube, sc.cube_info):
                try:
                    work(str(cube))
                except CubeError as error:
                    refused += len(str(error)) < 2000
    finally:
        (cube / "zarr.json").write_text(json.dumps(good))
    assert refused > 20
    assert sc.open_cube(str(cube)).image.shape == (3, 40, 40)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (("multiscales", "layout", 1, "asset"), "../../elsewhere", "asset"),
        (("multiscales", "layout", 1, "asset"), "/etc", "asset"),
        (("multiscales", "layout", 0, "spatial:shape"), [1 << 40, 4], "shape"),
        (("multiscales", "layout", 0, "spatial:transform"), [float("nan")] * 6, "transform"),
        (("proj:code",), "+init=/etc/hostname:x", "names files"),
        (("spacenet_cube", "scenes"), 5, "scenes"),
        (("spatial:bbox",), [1, 1, 0, 0], "encloses nothing"),
    ],
)
def test_each_lie_of_a_foreign_cube_is_named(
    cube: Path, place: tuple[Any, ...], value: object, why: str
) -> None:
    attributes = json.loads((cube / "zarr.json").read_text())["attributes"]
    assert unsound(attributes) is None
    node = attributes
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value

    assert why in str(unsound(attributes))


def test_arrays_whose_shapes_do_not_go_together_are_refused_before_room_is_made() -> None:
    right = {"image": (3, 4, 5), "source_index": (4, 5), "y": (4,), "x": (5,), "spatial_ref": ()}

    assert unsound_shapes(right, (4, 5), (1, 512, 512)) is None
    assert unsound_shapes({**right, "y": (1 << 40,)}, (4, 5), ()) is not None
    assert unsound_shapes(right, (4, 5), (1 << 20,)) is not None
    assert unsound_shapes({**right, "image": (1 << 20, 4, 5)}, (4, 5), ()) is not None


def test_a_codec_that_does_not_exist_is_a_store_error(cube: Path) -> None:
    text = (cube / "zarr.json").read_text()
    try:
        (cube / "zarr.json").write_text(text.replace('"sharding_indexed"', '"nonesuch"'))
        with pytest.raises(StoreError):
            sc.open_cube(str(cube))
    finally:
        (cube / "zarr.json").write_text(text)


def test_secrets_given_outright_stay_in_this_process() -> None:
    said = {"key": "CANARY1", "client_kwargs": {"aws_session_token": "CANARY2"}, "anon": False}
    place = locate("s3://bucket/a", said)

    sent = cloudpickle.dumps(place)
    shown, (process, number) = sealed(said)

    assert b"CANARY" not in sent
    assert cloudpickle.loads(sent).extra == place.extra
    assert unsealed(shown, (process, number)) is said
    assert unsealed(shown, (process + 1, number)) == public(said)


def test_a_presigned_address_is_refused_without_its_signature() -> None:
    with pytest.raises(StoreError, match="carries a query") as refused:
        locate("https://host/a?X-Amz-Signature=CANARY")

    assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize(
    ("row", "n"),
    [("fuzz_recipes", 120), ("fuzz_tiffs", 60), ("fuzz_archives", 40), ("secrets", 20)],
)
def test_a_short_run_of_the_torture_holds(row: str, n: int) -> None:
    score = import_module(f"tests.torture.{row}").run(n, 3)

    assert score.held, score.failures
    assert score.n >= min(n, 20)


def test_a_disk_that_fails_is_named_where_gdal_takes_the_file_for_another_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"not read")
    why = OSError(5, "Input/output error")
    monkeypatch.setattr(Path, "open", Mock(side_effect=why))

    with (
        pytest.raises(RasterioIOError, match=r"a\.tif: Input/output error"),
        open_raster(str(path)),
    ):
        pass
