"""Files that people really have: each becomes the right cube, or an error that names the mend."""

import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from rasterio.enums import ColorInterp

import spacenet_cube as sc
from spacenet_cube.storage.stores.settings import array_settings

RECIPE = """name: odd
source: {source}
licence: {{spdx: CC0-1.0, attribution: nobody}}
products:
  - name: p
    sources: "{pattern}"
    bands: [{bands}]
    nodata: {nodata}
    encoding: {{chunk: 16, shard: 32}}
"""


def recipe(source: Path, bands: str = "a", nodata: str = "0", pattern: str = "*.tif") -> sc.Recipe:
    text = RECIPE.format(source=source, bands=bands, nodata=nodata, pattern=pattern)
    return sc.parse_recipe(text)


def write(path: Path, samples: np.ndarray, **changes: object) -> None:
    profile = {
        "driver": "GTiff",
        "count": samples.shape[0],
        "height": samples.shape[1],
        "width": samples.shape[2],
        "dtype": samples.dtype.name,
        "crs": "EPSG:32611",
        "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000),
    } | changes
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(samples)


@pytest.fixture
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target apart from the source."""
    return tmp_path_factory.mktemp("out")


def cube_of(made: sc.Recipe, to: Path) -> str:
    return sc.build(sc.plan(made, "p", sc.survey(made, "p")), to)


@pytest.mark.parametrize("nodata", ["0", ".nan", "-9999.0"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_rasters_open_with_the_values_they_had(tmp_path, out, dtype, nodata):
    samples = np.linspace(1, 9, 40 * 50, dtype=dtype).reshape(1, 40, 50)
    samples[0, :5] = float(nodata.replace(".nan", "nan"))
    write(tmp_path / "a.tif", samples)

    url = cube_of(recipe(tmp_path, nodata=nodata), out)

    expected = samples.copy()
    expected[0, :5] = np.nan
    np.testing.assert_array_equal(xr.open_zarr(url).image.values, expected)
    np.testing.assert_array_equal(sc.open_cube(url).image.values, samples)
    assert not sc.open_cube(url).spacenet.valid.values[:5].any()


def test_a_float_that_is_nan_in_every_band_holds_no_data_whatever_nodata_is(tmp_path, out):
    samples = np.ones((2, 4, 4), "float32")
    samples[:, 0, 0] = np.nan
    samples[0, 1, 1] = np.nan
    write(tmp_path / "a.tif", samples)

    cube = sc.open_cube(cube_of(recipe(tmp_path, "a, b"), out))

    expected = np.ones((4, 4), bool)
    expected[0, 0] = False
    np.testing.assert_array_equal(cube.spacenet.valid.values, expected)


def test_an_average_that_hits_nodata_moves_by_the_least_step(tmp_path, out):
    samples = np.tile(np.asarray([[-0.5, 0.5], [0.5, -0.5]], np.float32), (12, 12))[None]
    write(tmp_path / "a.tif", samples)

    url = cube_of(recipe(tmp_path), out)

    half = sc.open_cube(url, level=1)
    assert half.spacenet.valid.values.all()
    assert np.abs(half.image.values).max() < 1e-30


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"transform": rasterio.Affine.identity()}, "has no georeferencing of its own"),
        ({"crs": None}, "has no CRS"),
        ({"alpha": "yes", "count": 4, "photometric": "RGB"}, "alpha band or a mask"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_a_cube_would_get_wrong_is_refused(tmp_path, changes, told):
    count = changes.get("count", 1)
    write(tmp_path / "a.tif", np.ones((count, 8, 8), "uint8"), **changes)

    with pytest.raises(sc.SourceError, match=told):
        sc.survey(recipe(tmp_path), "p")


def test_classes_of_a_colour_table_are_refused(tmp_path):
    write(tmp_path / "a.tif", np.ones((1, 8, 8), "uint8"))
    with rasterio.open(tmp_path / "a.tif", "r+") as raster:
        raster.write_colormap(1, {1: (255, 0, 0, 255)})
        raster.colorinterp = [ColorInterp.palette]

    with pytest.raises(sc.SourceError, match="classes of a colour table"):
        sc.survey(recipe(tmp_path), "p")


def test_a_raster_that_moved_since_the_survey_is_an_error(tmp_path, out):
    write(tmp_path / "a.tif", np.ones((1, 8, 8), "uint8"))
    made = recipe(tmp_path)
    planned = sc.plan(made, "p", sc.survey(made, "p"))
    moved = rasterio.Affine(0.5, 0, 600_000, 0, -0.5, 4_000_000)
    write(tmp_path / "a.tif", np.ones((1, 8, 8), "uint8"), transform=moved)

    with pytest.raises(sc.SourceError, match="not the one that was surveyed"):
        sc.build(planned, out)


@pytest.mark.parametrize("shard", ["17", "51"])
def test_an_odd_shard_is_refused_because_overviews_halve_it(shard):
    text = RECIPE.format(source=".", pattern="*.tif", bands="a", nodata=0)

    with pytest.raises(sc.RecipeError, match="must be even"):
        sc.parse_recipe(text.replace("chunk: 16, shard: 32", f"chunk: 17, shard: {shard}"))


def test_a_pattern_may_begin_with_a_dot_and_exclude_may_stand_alone(tmp_path):
    write(tmp_path / "a.tif", np.ones((1, 8, 8), "uint8"))
    write(tmp_path / "b_x.tif", np.ones((1, 8, 8), "uint8"))
    text = RECIPE.format(source=tmp_path, pattern="./*.tif", bands="a", nodata=0)

    made = sc.parse_recipe(text.replace("    bands:", '    exclude: "*_x.tif"\n    bands:'))

    assert [scene.id for scene in sc.survey(made, "p")] == ["a.tif"]


def test_a_cube_of_nameless_bands_gets_a_grey_picture(tmp_path, out):
    write(tmp_path / "a.tif", np.arange(2 * 40 * 50, dtype="uint16").reshape(2, 40, 50))
    url = cube_of(recipe(tmp_path, "b1, b2"), out)

    picture = sc.quicklook(url, tmp_path / "p.png", size_px=100)

    assert picture.read_bytes().startswith(b"\x89PNG")


def test_aliases_of_every_bundled_recipe_name_their_cube():
    from spacenet_cube.cube.open import cube_url  # noqa: PLC0415 - beside what it is for

    assert cube_url("AOI_1_Rio", "PS-RGB", "cubes") == "cubes/AOI_1_Rio/3-Band.zarr"
    assert cube_url("AOI_3_Paris", "ps-ms", "cubes") == "cubes/AOI_3_Paris/MUL-PanSharpen.zarr"
    assert cube_url("orchard", "rgb", "cubes") == "cubes/orchard/rgb.zarr"


def test_settings_of_arrays_never_leak_into_the_process():
    before = dict(zarr.config.config)
    seen = []

    def enter() -> None:
        for _ in range(200):
            with array_settings():
                seen.append(zarr.config.get("array.write_empty_chunks"))

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(seen)
    assert len(seen) == 800
    assert dict(zarr.config.config) == before
