"""Indices: those of spyndex on numpy, and what is said where a band is missing."""

import numpy as np
import pytest
import spyndex
from hypothesis import given, settings
from hypothesis import strategies as st

from spacenet_cube.cube.analysis.indices import _evaluated
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import MissingExtraError, RecipeError
from tests.fake_cube import MUL, PAN, Fake, pixels, sources, write_cube
from tests.shares import count
from tests.test_radiometry import calibrated_cube

LETTERS = {"A": "coastal", "B": "blue", "G": "green", "Y": "yellow", "R": "red", "N": "nir1"}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url):
    return open_cube(url)


def by_spyndex(name, image, valid):
    symbols = spyndex.indices[name].bands
    params = {
        each: image[MUL.index(LETTERS[each])].astype(float)
        if each in LETTERS
        else spyndex.constants[each].default
        for each in symbols
    }
    with np.errstate(all="ignore"):
        found = spyndex.computeIndex(name, params)
        return np.where(valid & np.isfinite(found), found, np.nan).astype(np.float32)


def test_every_index_that_the_bands_allow_equals_spyndex_on_numpy(cube):
    small = cube.isel(y=slice(260, 290), x=slice(90, 130))
    image, valid = pixels(Fake())[:, 260:290, 90:130], sources(Fake())[260:290, 90:130] > 0

    names = small.spacenet.indices()

    assert len(names) > 100
    assert {"NDVI", "NDWI", "EVI", "SAVI", "GNDVI"} <= set(names)
    for name in names:
        found = small.spacenet.index(name).values
        np.testing.assert_array_equal(found, by_spyndex(name, image, valid), err_msg=name)
        assert np.isnan(found[~valid]).all()


def test_letters_are_those_that_spyndex_gives_worldview():
    for letter, band in LETTERS.items():
        number = MUL.index(band) + 1
        for platform in (spyndex.bands[letter].worldview2, spyndex.bands[letter].worldview3):
            assert platform.band == f"B{number}"
    unmapped = [each for each in spyndex.bands if hasattr(spyndex.bands[each], "worldview3")]
    assert sorted(unmapped) == sorted(LETTERS)


@settings(max_examples=count(15, of=50))
@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), min_size=1))
def test_ndvi_is_the_index_of_that_name_to_the_last_bit(pairs):
    from spacenet_cube.cube.analysis.formulas.stretch import normalized_difference  # noqa: PLC0415 - for this law

    image, valid = np.array(pairs, "uint16"), np.ones(len(pairs), bool)

    index = _evaluated(image, valid, name="NDVI", where={"N": 0, "R": 1}, constants={})

    np.testing.assert_array_equal(index, normalized_difference(image, valid, where=(0, 1)))


def test_an_index_says_what_it_is(cube):
    evi = cube.spacenet.index("EVI", L=0.5)

    assert evi.name == "EVI"
    assert evi.attrs["long_name"] == "Enhanced Vegetation Index"
    assert evi.attrs["bands"] == "N=nir1, R=red, B=blue"
    assert "L=0.5" in evi.attrs["constants"]
    assert "C1=6.0" in evi.attrs["constants"]


def test_a_letter_takes_the_band_it_is_given(cube):
    found = cube.spacenet.index("NDVI", bands={"N": "nir2"})
    edge = cube.spacenet.index("NDREI", bands={"RE1": "rededge"})

    np.testing.assert_array_equal(found.values, cube.spacenet.ndvi(nir="nir2").values)
    assert edge.attrs["bands"] == "N=nir1, RE1=rededge"


def test_an_index_of_reflectance_is_that_of_the_reflectances(url):
    cube = calibrated_cube(url)

    found = cube.spacenet.index("EVI", of="reflectance")

    rho = cube.spacenet.reflectance().astype(float)
    nir, red, blue = (rho.sel(band=name).values for name in ("nir1", "red", "blue"))
    expected = 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    assert found.attrs["computed_from"] == "reflectance"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NDVIx", "no spectral index 'NDVIx' in spyndex; did you mean NDVI"),
        ("ndvi", "did you mean NDVI"),
        ("NBR", r"NBR needs S2, which no band .* take one of \.spacenet\.indices"),
        ("CIRE", r"CIRE needs RE1, .* index\('CIRE', bands=\{'RE1': 'rededge'\}\)"),
        ("kNDVI", "kNDVI needs a value for kNN, kNR, which has no default"),
    ],
)
def test_an_index_that_cannot_be_is_refused_with_the_mend(cube, name, says):
    with pytest.raises(RecipeError, match=says):
        cube.spacenet.index(name)


def test_a_missing_band_is_named(cube, tmp_path):
    pan = open_cube(write_cube(tmp_path, Fake(product="PAN", bands=PAN)))

    with pytest.raises(RecipeError, match=r"NDVI needs band 'nir1' \(N\) and 'red' \(R\).*has pan"):
        pan.spacenet.index("NDVI")
    with pytest.raises(RecipeError, match=r"needs band 'nir1' \(N\), and the cube has no such"):
        cube.sel(band=["red", "green"]).spacenet.index("NDVI")
    assert pan.spacenet.indices() == ()


def test_without_spyndex_it_says_what_to_install(cube, monkeypatch):
    monkeypatch.setattr("spacenet_cube.cube.analysis.dataset.find_spec", lambda _name: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'spacenet-cube\[analysis\]'"):
        cube.spacenet.index("NDVI")
