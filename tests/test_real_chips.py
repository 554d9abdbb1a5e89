"""Real SpaceNet chips become cubes, or an error that says how."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives xarray its .rio
import xarray as xr

import spacenet_cube as sc
from tests.places import RECIPES


def build(recipe: sc.Recipe, product: str, to: Path) -> str:
    return sc.build(sc.plan(recipe, product, sc.survey(recipe, product)), to, workers=2)


def at(recipe: str, source: Path) -> sc.Recipe:
    """A recipe of this folder, pointed at a source."""
    loaded = sc.load_recipe(RECIPES / f"{recipe}.yaml")
    return loaded.model_copy(update={"source": str(source)})


def test_five_vegas_chips_become_one_native_cube_with_every_pixel_in_place(shared, tmp_path):
    source = shared / "AOI_2_Vegas" / "RGB-PanSharpen"

    url = build(at("vegas_chips", source), "chips", tmp_path)

    with xr.open_zarr(url, chunks=None, mask_and_scale=False) as cube:
        assert cube.image.shape == (3, 24700, 20150)
        found = 0
        for path in sorted(source.glob("*.tif")):
            with rasterio.open(path) as chip:
                pixels, transform = chip.read(), chip.transform
            col = round((transform.c - cube.rio.bounds()[0]) / 2.7e-6)
            row = round((cube.rio.bounds()[3] - transform.f) / 2.7e-6)
            window = np.s_[row : row + chip.height, col : col + chip.width]
            held = cube.image.isel(y=window[0], x=window[1]).values
            np.testing.assert_array_equal(held, pixels)
            index = cube.source_index.isel(y=window[0], x=window[1]).values
            names = {scene["index"]: scene["id"] for scene in cube.attrs["spacenet_cube"]["scenes"]}
            assert {names[k] for k in np.unique(index) if k} == {path.name}
            # A pixel's centre lies where the chip says, to a thousandth of a pixel or two.
            assert abs(float(cube.x[col]) - (transform @ (0.5, 0.5))[0]) < 0.002 * 2.7e-6
            assert abs(float(cube.y[row]) - (transform @ (0.5, 0.5))[1]) < 0.002 * 2.7e-6
            found += int(pixels.any(axis=0).sum())
        assert int((cube.source_index > 0).sum()) == found


def test_shanghais_mul_and_pan_chips_become_cubes_on_nested_grids(shared, tmp_path):
    recipe = at("shanghai_chips", shared / "AOI_4_Shanghai")

    cubes = {
        name: xr.open_zarr(build(recipe, name, tmp_path), chunks=None, mask_and_scale=False)
        for name in ("MUL", "PAN")
    }

    mul, pan = cubes["MUL"], cubes["PAN"]
    assert mul.image.shape == (8, 325, 325)
    assert pan.image.shape == (1, 1300, 1300)
    np.testing.assert_allclose(mul.rio.bounds(), pan.rio.bounds(), rtol=0, atol=1e-9)
    assert (mul.rio.transform().c, mul.rio.transform().f) == (
        pan.rio.transform().c,
        pan.rio.transform().f,
    )
    for name, cube in cubes.items():
        path = shared / "AOI_4_Shanghai" / name / f"{name}_AOI_4_Shanghai_img1920.tif"
        with rasterio.open(path) as chip:
            np.testing.assert_array_equal(cube.image.values, chip.read())


@pytest.mark.parametrize("product", ["3band", "8band"])
def test_rio_chips_share_no_lattice_and_the_error_names_the_mend(shared, tmp_path, product):
    recipe = at("rio_chips", shared / "AOI_1_Rio")
    scenes = sc.survey(recipe, product)
    assert len(scenes) == 10

    with pytest.raises(sc.RecipeError, match=r"off the lattice .*give the product a grid"):
        sc.plan(recipe, product, scenes)

    assert list(tmp_path.iterdir()) == []


def test_tiled_crops_read_like_the_strips_they_were_cut_from(shared, tmp_path):
    chip = "RGB-PanSharpen_AOI_2_Vegas_img2144.tif"
    with rasterio.open(shared / "AOI_2_Vegas" / "RGB-PanSharpen" / chip) as strips:
        expected = strips.read()[:, :, 150:]
    recipe = at("vegas_chips", shared / "AOI_2_Vegas" / "tiled")

    url = build(recipe, "tiled", tmp_path)

    with xr.open_zarr(url, chunks=None, mask_and_scale=False) as cube:
        np.testing.assert_array_equal(cube.image.values, expected)
