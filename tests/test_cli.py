"""The command line: what it prints, what it leaves with, and that it writes nothing in vain."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import spacenet_cube as sc

GOOD = """name: fields
source: {source}
licence: {{spdx: CC0-1.0, attribution: nobody}}
products:
  - name: rgb
    aliases: [colour]
    sources: "*.tif"
    bands: [red, green, blue]
    expect: {{dtype: uint8, bands: 3, crs: "EPSG:32611", pixel_size: [0.5, 0.5], scenes: 2}}
"""


def cube_command(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run spacenet-cube in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "spacenet_cube", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def write_field(path: Path, col: int = 0, **changes: object) -> None:
    """A small RGB GeoTIFF on a half-metre lattice."""
    profile = {
        "driver": "GTiff",
        "height": 40,
        "width": 60,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32611",
        "transform": rasterio.Affine(0.5, 0, 500_000 + col * 0.5, 0, -0.5, 4_000_000),
    } | changes
    shape = (profile["count"], profile["height"], profile["width"])
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(np.full(shape, 7, profile["dtype"]))


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """A recipe beside two abutting rasters."""
    source = tmp_path / "fields"
    source.mkdir()
    write_field(source / "a.tif")
    write_field(source / "b.tif", col=60)
    recipe = tmp_path / "fields.yaml"
    recipe.write_text(GOOD.format(source=source))
    return recipe


def assert_refused(result: subprocess.CompletedProcess[str], told: str, target: Path) -> None:
    """One clear line on standard error, exit 2, nothing printed and nothing written."""
    assert result.returncode == 2, result.stderr
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not target.exists()


@pytest.mark.wheel
def test_recipes_lists_five_areas_and_eighteen_products():
    listed = cube_command("recipes", "--json")

    areas = json.loads(listed.stdout)
    assert listed.returncode == 0
    assert list(areas) == [
        "AOI_1_Rio",
        "AOI_2_Vegas",
        "AOI_3_Paris",
        "AOI_4_Shanghai",
        "AOI_5_Khartoum",
    ]
    assert sum(map(len, areas.values())) == 18
    assert "also MS" in cube_command("recipes").stdout


@pytest.mark.wheel
def test_a_plan_is_shown_as_a_table_and_as_one_json_object(fields, tmp_path):
    table = cube_command("plan", fields)
    shown = cube_command("plan", fields, "--json", "--to", tmp_path / "out")

    assert table.returncode == 0, table.stderr
    assert "40 x 120" in table.stdout
    (plan,) = json.loads(shown.stdout)["plans"]
    assert plan["shape_yx"] == [40, 120]
    assert plan["bytes_in"] == 40 * 120 * 3
    assert plan["scenes"] == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.wheel
def test_a_cube_is_built_where_the_command_says(fields, tmp_path):
    built = cube_command("build", fields, "--product", "colour", "--to", tmp_path / "out", "--json")

    assert built.returncode == 0, built.stderr
    (cube,) = json.loads(built.stdout)["cubes"]
    assert cube["cube"] == str(tmp_path / "out" / "fields" / "rgb.zarr")
    with xr.open_zarr(cube["cube"]) as opened:
        assert (opened.image == 7).all()
        assert opened.attrs["spacenet_cube"]["plan"] == cube["digest"]


def test_a_published_cube_is_overwritten_only_when_told_to(fields, tmp_path):
    out = tmp_path / "out"
    assert cube_command("build", fields, "--to", out).returncode == 0
    root = out / "fields" / "rgb.zarr" / "zarr.json"
    before = root.stat().st_mtime_ns

    refused = cube_command("build", fields, "--to", out)
    kept = root.stat().st_mtime_ns
    replaced = cube_command("build", fields, "--to", out, "--replace", "--profile", "gdal312")

    assert refused.returncode == 2
    assert "--replace" in refused.stderr
    assert kept == before
    assert replaced.returncode == 0, replaced.stderr
    assert "crc32c" not in root.read_text()


def test_info_and_quicklook_show_what_was_built(fields, tmp_path):
    built = cube_command("build", fields, "--to", tmp_path / "cubes")
    cube = built.stdout.strip()

    info = cube_command("info", cube, "--json")
    picture = cube_command("quicklook", cube, "-o", tmp_path / "picture.png")

    assert json.loads(info.stdout)["crs"] == "EPSG:32611"
    assert "fields" in cube_command("info", cube).stdout
    assert picture.returncode == 0, picture.stderr
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  - name", "    nam: 1\n  - name", "line 6: this is not YAML"),
        ("aliases:", "alias:", "line 6: products[0].alias: 'alias' is not a key"),
        ("bands: 3", "bands: many", "line 9: products[0].expect.bands: 'many' cannot stand"),
        ('"*.tif"', '"*.jp2"', "no file under"),
        ("[colour]", "[colour]\n    sensor: WV-3", "sensor 'WV-3' is unknown"),
        ("green, blue]", "green, {name: b, index: 4}]", "bands reach to number 4"),
        ("dtype: uint8", "dtype: uint16", "dtype is uint8 where the recipe expects uint16"),
        ("scenes: 2", "scenes: 3", "found 2 scenes where the recipe expects 3"),
        ("[0.5, 0.5]", "[0.3, 0.3]", "pixel_size is (0.5, 0.5) where the recipe expects"),
        ("EPSG:32611", "EPSG:32612", "crs is EPSG:32611 where the recipe expects EPSG:32612"),
        ("source: ", "source: /nowhere", "does not exist"),
        ('"*.tif"', '"../*.tif"', "must stay inside the source"),
        ("name: rgb", "name: ../rgb", "becomes part of a path"),
        ("[colour]", "[colour]\n    nodata: 300", "nodata 300 does not fit the uint8 samples"),
    ],
)
def test_a_bad_recipe_gets_one_clear_line_and_nothing_is_written(fields, tmp_path, old, new, told):
    text = fields.read_text()
    assert old in text
    fields.write_text(text.replace(old, new, 1))

    result = cube_command("build", fields, "--to", tmp_path / "out")

    assert_refused(result, told, tmp_path / "out")


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    result = cube_command("build", tmp_path / "none.yaml", "--to", tmp_path / "out")

    assert_refused(result, "there is no recipe", tmp_path / "out")


def test_a_product_that_is_not_there_is_refused(fields, tmp_path):
    result = cube_command("build", fields, "-p", "pan", "--to", tmp_path / "out")

    assert_refused(result, "has no product 'pan'; it has rgb", tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"crs": "EPSG:32612"}, "scenes differ in CRS: EPSG:32611 (1, as a.tif) and EPSG:32612"),
        ({"dtype": "uint16"}, "scenes differ in sample type: uint16 (1, as b.tif) and uint8"),
    ],
)
def test_scenes_that_do_not_go_together_are_refused(fields, tmp_path, changes, told):
    write_field(tmp_path / "fields" / "b.tif", col=60, **changes)
    fields.write_text(fields.read_text().split("    expect:")[0])

    result = cube_command("build", fields, "--to", tmp_path / "out")

    assert_refused(result, told, tmp_path / "out")


def test_a_file_that_is_no_geotiff_is_named_and_the_work_fails(fields, tmp_path):
    (tmp_path / "fields" / "b.tif").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'/>")

    result = cube_command("build", fields, "--to", tmp_path / "out")

    assert result.returncode == 1
    assert "b.tif" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.wheel
def test_the_schema_is_json_schema_and_accepts_the_bundled_recipes():
    jsonschema = pytest.importorskip("jsonschema", reason="validates the schema")
    yaml = pytest.importorskip("yaml", reason="reads recipes")
    schema = json.loads(cube_command("schema").stdout)

    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in sc.bundled_recipes():
        recipe = sc.load_recipe(name)
        validator.validate(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json"))))


def test_a_wrong_option_leaves_with_2_and_no_traceback():
    result = cube_command("build")

    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.wheel
def test_version_and_help_answer():
    assert cube_command("--version").stdout.strip() == f"spacenet-cube {sc.__version__}"
    assert "build" in cube_command("--help").stdout
