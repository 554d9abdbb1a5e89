"""Radiometry: an example worked by hand from a real IMD, and what is refused."""

import copy
import math
from dataclasses import asdict

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from spacenet_cube.cube.analysis.formulas.calibration import ESUN, VINTAGES, factors
from spacenet_cube.cube.analysis.formulas.sun import earth_sun_distance_au, julian_day
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError
from spacenet_cube.sources.metadata import parse_imagery
from tests.fake_cube import MUL, PAN, Fake, pixels, sources, write_cube

REAL_BANDS = (
    ("coastal", 0.0143287, 0.0405), ("blue", 0.0176201, 0.0540), ("green", 0.0133187, 0.0618),
    ("yellow", 0.00684307, 0.0381), ("red", 0.0143856, 0.0585), ("rededge", 0.00621996, 0.0387),
    ("nir1", 0.0166926, 0.1004), ("nir2", 0.0106378, 0.0889),
)  # fmt: skip
"""absCalFactor and effectiveBandwidth of 18OCT02025047-M1BS-502541534010_01_P003.IMD."""

CALIBRATIONS = [
    {"band": band, "abs_cal_factor": factor, "effective_bandwidth_um": width}
    for band, factor, width in REAL_BANDS
]
IMAGERY = {
    "satellite": "WV03",
    "acquired": "2018-10-02T02:50:47Z",
    "sun_elevation_deg": 75.0,
    "bands": CALIBRATIONS,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


def calibrated_cube(url, *changes, **own):
    """The cube, its scenes with the real imagery, each changed as told."""
    cube = open_cube(url)
    cube.attrs = copy.deepcopy(cube.attrs)
    facts = cube.attrs["spacenet_cube"]
    for scene, change in zip(facts["scenes"], changes or ({}, {}), strict=True):
        scene["imagery"] = None if change is None else {**IMAGERY, **change}
    facts.update(own)
    return cube


def test_a_worked_example_by_hand(url):
    """Band red of the IMD: DN 500, absCalFactor 0.0143856, effectiveBandwidth 0.0585.

    L   = 0.964 * 500 * (0.0143856 / 0.0585) - 3.021 = 118.527508 - 3.021 = 115.506508
    JD  = 2458393.618600 for 2018-10-02 02:50:47, so D = 6848.618600 days since J2000
    g   = 357.529 + 0.98560028 * 6848.618600 = 7107.529 = 267.529 degrees (19 turns less)
    d   = 1.00014 - 0.01671 * (-0.043106) - 0.00014 * (-0.996284) = 1.0009998
    rho = pi * 115.506508 * 1.0020006 / (1535.33 * sin(75 degrees) = 1483.0149) = 0.2451765
    """
    cube = calibrated_cube(url)
    cube["image"] = xr.full_like(cube.image, 500).chunk()

    radiance = cube.spacenet.radiance().sel(band="red")
    reflectance = cube.spacenet.reflectance().sel(band="red")

    assert julian_day("2018-10-02T02:50:47Z") == pytest.approx(2458393.618600, abs=1e-6)
    assert earth_sun_distance_au("2018-10-02T02:50:47Z") == pytest.approx(1.0009998, abs=1e-7)
    assert radiance.values[0, 0] == pytest.approx(115.506508, rel=1e-6)
    assert reflectance.values[0, 0] == pytest.approx(0.2451765, rel=1e-6)
    assert (radiance.attrs["units"], reflectance.attrs["units"]) == ("W m-2 sr-1 um-1", "1")


def test_the_real_imd_holds_the_numbers_of_the_example(shared):
    path = next((shared / "imd").glob("*534010_01_P003.IMD"))
    imagery = parse_imagery(path.read_bytes(), path.name)

    assert imagery is not None
    assert (imagery.satellite, imagery.acquired) == ("WV03", "2018-10-02T02:50:47Z")
    assert (imagery.sun_elevation_deg, imagery.pan_sharpening) == (75.0, "None")
    found = {(b.band, b.abs_cal_factor, b.effective_bandwidth_um) for b in imagery.bands}
    assert found == set(REAL_BANDS)
    scene = {"id": "a", "imagery": asdict(imagery)}
    slope, offset = factors(scene, "red", "radiance", "2016v0")
    assert slope * 500 + offset == pytest.approx(115.506508, rel=1e-6)


def test_each_pixel_takes_the_factors_of_its_scene(url):
    halved = [
        {"band": band, "abs_cal_factor": factor / 2, "effective_bandwidth_um": width}
        for band, factor, width in REAL_BANDS
    ]
    cube = calibrated_cube(url, {}, {"bands": halved, "satellite": "WV02"})

    found = cube.spacenet.radiance()

    index, numbers = sources(Fake()), pixels(Fake()).astype(float)
    assert found.dtype == np.float32
    assert found.dims == ("band", "y", "x")
    np.testing.assert_array_equal(np.isnan(found.values).any(0), index == 0)
    for scene, satellite, scale in ((1, "WV03", 1.0), (2, "WV02", 0.5)):
        for place, (band, factor, width) in enumerate(REAL_BANDS):
            gain, offset = VINTAGES["2016v0"][satellite][band]
            expected = gain * numbers[place] * scale * factor / width + offset
            here = index == scene
            np.testing.assert_allclose(found.values[place][here], expected[here], rtol=1e-6)


def test_the_bands_that_are_left_keep_their_order_and_coordinates(url):
    cube = calibrated_cube(url)

    whole = cube.spacenet.radiance()
    few = cube.sel(band=["nir1", "red"]).spacenet.radiance()
    one = cube.sel(band="red").spacenet.radiance()

    assert list(few.band.values) == ["nir1", "red"]
    assert few.sel(band="red").wavelength == cube.image.sel(band="red").wavelength
    np.testing.assert_array_equal(few.values, whole.sel(band=["nir1", "red"]).values)
    np.testing.assert_array_equal(one.values, whole.sel(band="red").values)


def test_vintages_are_never_mixed(url):
    cube = calibrated_cube(url)

    newer, older = (cube.spacenet.radiance(vintage=each) for each in VINTAGES)

    assert "2016v0" in newer.attrs["comment"]
    assert "geoio" in older.attrs["comment"]
    assert abs(newer - older).max() > 1
    with pytest.raises(RecipeError, match=r"no table of gains '2018v0'; give one of 2016v0, geoio"):
        cube.spacenet.radiance(vintage="2018v0")


def test_every_table_has_every_band():
    for tables in (*VINTAGES.values(), ESUN):
        assert {name: tuple(table) for name, table in tables.items()} == dict.fromkeys(
            ("WV02", "WV03"), ("pan", *MUL)
        )


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"product": "MUL-PanSharpen"}, "AOI_2_Vegas MUL-PanSharpen is pan-sharpened"),
        ({"product": "RGB-PanSharpen"}, "is pan-sharpened"),
        ({"aoi": "AOI_1_Rio", "product": "8-Band"}, "AOI_1_Rio 8-Band is a colour-balanced mosaic"),
    ],
)
def test_a_product_that_is_no_measurement_is_refused_with_the_reason(url, own, reason):
    cube = calibrated_cube(url, **own)

    with pytest.raises(RecipeError, match=reason):
        cube.spacenet.reflectance()


def test_a_scene_that_its_imd_says_is_sharpened_is_refused(url):
    cube = calibrated_cube(url, {}, {"pan_sharpening": "UNB"})

    with pytest.raises(RecipeError, match="is pan-sharpened"):
        cube.spacenet.radiance()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, r"scene 15OCT22183656-M2AS_R2C1.* has no \.IMD or \.XML beside it"),
        ({"bands": CALIBRATIONS[:4]}, r"R2C1.* has no calibration .* of band 'red'"),
        ({"satellite": "GE01"}, r"R2C1.* is from satellite GE01.* they are for WV02, WV03"),
        ({"sun_elevation_deg": None}, r"R2C1.* has no meanSunEl"),
        ({"sun_elevation_deg": -3.0}, r"stood -3.0 degrees above the horizon of scene .*R2C1"),
        ({"acquired": None}, r"R2C1.* has no time of acquisition"),
    ],
)
def test_a_scene_that_lacks_something_is_named(url, change, says):
    cube = calibrated_cube(url, {}, change)

    with pytest.raises(RecipeError, match=says):
        cube.spacenet.reflectance()


def test_8_bits_are_refused(tmp_path):
    cube = calibrated_cube(write_cube(tmp_path, Fake(product="PAN", bands=PAN, dtype="uint8")))

    with pytest.raises(RecipeError, match="AOI_2_Vegas PAN has 8 bits"):
        cube.spacenet.radiance()


@given(days=st.integers(0, 20_000))
def test_the_distance_of_the_sun_agrees_with_meeus(days):
    """J. Meeus, Astronomical Algorithms, 2nd edition, chapter 25, equations 25.3 to 25.5."""
    found = earth_sun_distance_au(
        str(np.datetime64("1995-01-01T06:00:00") + np.timedelta64(days, "D"))
    )

    t = (2449718.75 + days - 2451545.0) / 36525
    m = math.radians(357.52911 + 35999.05029 * t - 0.0001537 * t**2)
    e = 0.016708634 - 0.000042037 * t - 0.0000001267 * t**2
    c = (
        (1.914602 - 0.004817 * t - 0.000014 * t**2) * math.sin(m)
        + (0.019993 - 0.000101 * t) * math.sin(2 * m)
        + 0.000289 * math.sin(3 * m)
    )
    expected = 1.000001018 * (1 - e**2) / (1 + e * math.cos(m + math.radians(c)))
    assert found == pytest.approx(expected, abs=1e-4)
