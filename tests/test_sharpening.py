"""Pan-sharpening: GDAL's own where the method is the same, and grids that do not nest."""

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.cube.analysis.formulas.detail import REACH_PX, finer, upsampled
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError
from tests.fake_cube import MUL, PAN, Fake, pixels, sources, write_cube

# Of floats GDAL keeps what it interpolates; of integers it rounds before it multiplies.
TOLERANCES = {"float32": 1e-2, "uint16": 6.0}
FINE = Fake(product="PAN", bands=PAN, shape_yx=(1204, 840), pixel_size=1.08e-5 / 4)
WEIGHTS = {"blue": 0.2, "green": 0.3, "yellow": 0.1, "red": 0.4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("cubes")
    write_cube(made)
    write_cube(made, FINE)
    return made


@pytest.fixture
def cube(folder):
    return open_cube(str(folder / "AOI_2_Vegas" / "MUL.zarr"))


@pytest.fixture
def pan(folder):
    return open_cube(str(folder / "AOI_2_Vegas" / "PAN.zarr"))


def by_gdal(cube, pan, weights, resampling, folder):
    """GDAL's VRTPansharpenedDataset of the two as GeoTIFFs."""
    mul, fine = (
        each.spacenet.to_cog(folder / f"{name}.tif", overwrite=True)
        for name, each in (("mul", cube), ("pan", pan))
    )
    bands = "".join(
        f'<SpectralBand dstBand="{k}"><SourceFilename>{mul}</SourceFilename>'
        f"<SourceBand>{k}</SourceBand></SpectralBand>"
        for k in range(1, cube.sizes["band"] + 1)
    )
    vrt = (
        '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>'
        "<Algorithm>WeightedBrovey</Algorithm><AlgorithmOptions><Weights>"
        f"{','.join(map(str, weights))}</Weights></AlgorithmOptions>"
        f"<Resampling>{resampling}</Resampling><NumThreads>1</NumThreads><NoData>0</NoData>"
        f"<PanchroBand><SourceFilename>{fine}</SourceFilename><SourceBand>1</SourceBand>"
        f"</PanchroBand>{bands}</PansharpeningOptions></VRTDataset>"
    )
    with rasterio.open(vrt) as file:
        return file.read()


@pytest.mark.parametrize(
    ("dtype", "resampling", "weights"),
    [
        ("float32", "cubic", WEIGHTS),
        ("float32", "bilinear", None),
        ("float32", "nearest", WEIGHTS),
        ("uint16", "cubic", WEIGHTS),
    ],
)
def test_brovey_is_that_of_gdal(cube, pan, resampling, weights, dtype, tmp_path):
    for each in (cube, pan):
        kept = each.image.attrs
        each["image"] = each.image.astype(dtype).assign_attrs(kept)
    part = {"y": slice(0, 250), "x": slice(0, 200)}
    cube, pan = cube.isel(part), pan.isel(y=slice(0, 1000), x=slice(0, 800))
    shares = [1 / 8] * 8 if weights is None else [weights.get(name, 0) for name in MUL]

    found = cube.spacenet.pansharpen(pan, weights=weights, resampling=resampling)

    expected = by_gdal(cube, pan, shares, resampling.title(), tmp_path).astype(float)
    apart = np.abs(np.nan_to_num(found.image.values).astype(float) - expected)
    assert apart.max() <= TOLERANCES[dtype]
    assert np.percentile(apart, 99) <= 1
    assert (found.source_index == pan.source_index).all()


def test_esri_adds_what_pan_has_more_and_mean_takes_the_middle(cube, pan):
    nearest = pixels(Fake()).repeat(4, 1).repeat(4, 2).astype(float)
    fine = pixels(FINE)[0].astype(float)
    valid = (sources(Fake()) > 0).repeat(4, 0).repeat(4, 1) & (sources(FINE) > 0)
    expected = {
        "esri": nearest + fine - nearest.mean(0),
        "mean": (nearest + fine) / 2,
    }

    for method, values in expected.items():
        found = cube.spacenet.pansharpen(pan, method=method, resampling="nearest")
        rounded = np.clip(np.floor(values + 0.5), 0, None)
        np.testing.assert_allclose(found.image.values[:, valid], rounded[:, valid], atol=1)
        assert not found.image.values[:, ~valid].any()


@pytest.mark.parametrize("resampling", ["cubic", "bilinear"])
def test_blocks_make_no_seams(cube, pan, resampling, monkeypatch):
    whole = cube.spacenet.pansharpen(pan, resampling=resampling)
    monkeypatch.setattr("spacenet_cube.cube.analysis.pansharpen._BLOCK_PX", 148)

    cut = cube.spacenet.pansharpen(pan, resampling=resampling)

    assert len(whole.image.chunks[1]) == 1
    assert len(cut.image.chunks[1]) > 5
    np.testing.assert_array_equal(cut.image.values, whole.image.values)


def test_parts_that_begin_within_a_coarse_pixel_are_those_of_the_whole(cube, pan):
    whole = cube.spacenet.pansharpen(pan)

    part = cube.isel(y=slice(20, 80), x=slice(10, 60)).spacenet.pansharpen(
        pan.isel(y=slice(102, 300), x=slice(63, 201))
    )

    inner = {"y": part.y[12:-12], "x": part.x[12:-12]}
    np.testing.assert_array_equal(part.sel(inner).image.values, whole.sel(inner).image.values)
    assert part.image.shape == (8, 198, 138)


def test_no_fill_bleeds_into_what_is_valid(cube, pan):
    cube["image"] = cube.image.where(cube.source_index == 0, 500).astype("uint16")
    pan["image"] = pan.image.where(pan.source_index == 0, 800).astype("uint16")

    for resampling in REACH_PX:
        found = cube.spacenet.pansharpen(pan, resampling=resampling)
        values = found.image.values[:, found.source_index.values > 0]
        assert set(np.unique(values)) == {800}


def test_the_result_is_a_cube_that_says_it_is_sharpened(cube, pan):
    found = cube.spacenet.pansharpen(pan)

    assert found.rio.crs == "EPSG:4326"
    assert found.spacenet.rgb().shape == (1204, 840, 3)
    assert list(found.spacenet.scenes.index) == [1, 2]
    with pytest.raises(RecipeError, match="MUL sharpened by PAN is pan-sharpened"):
        found.spacenet.radiance()


def test_grids_that_do_not_nest_are_refused_with_both_pixels(cube, pan, tmp_path):
    other = open_cube(write_cube(tmp_path, Fake(product="PAN", bands=PAN, pixel_size=1e-5 / 3)))

    with pytest.raises(RecipeError, match=r"grids do not nest: .*1\.08e-05.*3\.33"):
        cube.spacenet.pansharpen(other)
    with pytest.raises(RecipeError, match=r"0\.40 pixels apart"):
        cube.spacenet.pansharpen(pan.assign_coords(x=pan.x + 0.4 * FINE.pixel_size))
    with pytest.raises(RecipeError, match="share no ground"):
        cube.isel(x=slice(0, 20)).spacenet.pansharpen(pan.isel(x=slice(400, 500)))
    with pytest.raises(RecipeError, match="sharpening needs one; give the product PAN"):
        cube.spacenet.pansharpen(cube)


def test_arguments_that_make_no_sense_are_refused(cube, pan):
    with pytest.raises(RecipeError, match="no pan-sharpening 'ihs'"):
        cube.spacenet.pansharpen(pan, method="ihs")
    with pytest.raises(RecipeError, match="name bands of the cube"):
        cube.spacenet.pansharpen(pan, weights={"swir": 1.0})


@given(
    value=st.floats(1, 1000),
    factor=st.integers(1, 6),
    kernel=st.sampled_from(sorted(REACH_PX)),
    holes=st.lists(st.booleans(), min_size=64, max_size=64),
)
def test_what_is_even_stays_even_whatever_is_missing(value, factor, kernel, holes):
    valid = np.array(holes).reshape(8, 8)
    image = np.full((1, 8, 8), value, np.float32)

    found = upsampled(image, valid, factor, kernel)

    reach = REACH_PX[kernel]
    inner = valid[reach : 8 - reach, reach : 8 - reach].repeat(factor, 0).repeat(factor, 1)
    assert found.shape == (1, *inner.shape)
    np.testing.assert_allclose(found[0][np.isfinite(found[0])], value, rtol=1e-3)
    assert np.isfinite(found[0][inner]).all()


@given(slope=st.floats(-50, 50), factor=st.integers(1, 5))
def test_a_ramp_stays_a_ramp(slope, factor):
    ramp = (np.arange(12, dtype=np.float32) * np.float32(slope))[None]

    for kernel in ("bilinear", "cubic"):
        reach = REACH_PX[kernel]
        found = finer(ramp, factor, kernel, axis=1)[0]
        at = (np.arange((12 - 2 * reach) * factor) + 0.5) / factor - 0.5 + reach
        np.testing.assert_allclose(found, slope * at, rtol=1e-4, atol=1e-3)
