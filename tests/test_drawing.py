"""Quicklook and info: one picture and one page of facts that show what a cube is."""

import io
import json

import numpy as np
import pytest
from matplotlib.image import imread
from pyproj import CRS
from rich.console import Console

from spacenet_cube.cube.info import cube_info, ground, render
from spacenet_cube.cube.open import open_cube
from spacenet_cube.cube.quicklook import quicklook
from spacenet_cube.errors import MissingExtraError, RecipeError, StoreError
from tests.fake_cube import PAN, RGB, Fake, write_cube

PARIS = Fake(
    aoi="AOI_3_Paris",
    shape_yx=(454, 146),
    pixel_size=1.38e-3,
    upper_left_xy=(2.1109464, 49.0767768),
)
UTM = Fake(
    product="RGB-PanSharpen",
    bands=RGB,
    dtype="uint8",
    crs="EPSG:32611",
    shape_yx=(120, 130),
    pixel_size=30.0,
    upper_left_xy=(654330.0, 4014510.0),
)
WIDE = Fake(aoi="AOI_1_Rio", product="PAN", bands=PAN, shape_yx=(60, 200))
CUBES = {"square": Fake(), "tall": PARIS, "metric": UTM, "wide": WIDE}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.mark.parametrize("name", CUBES)
def test_a_cube_of_any_shape_becomes_a_picture(name, tmp_path):
    url = write_cube(tmp_path, CUBES[name])

    out = quicklook(url, tmp_path / "look.png", size_px=256)

    picture = imread(out)
    assert picture.shape[0] > 100
    assert picture.shape[1] > 200
    assert np.ptp(picture[..., :3]) > 0.9
    assert (picture[..., 3] == 1).all()


def test_a_picture_is_named_after_its_cube_and_equal_every_time(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    first = quicklook(url, size_px=128)
    again = quicklook(url, tmp_path / "again.png", size_px=128)

    assert first.name == "AOI_2_Vegas_MUL.png"
    assert first.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(("size_px", "level"), [(64, 2), (76, 2), (77, 1), (150, 1), (1024, 0)])
def test_the_smallest_level_large_enough_is_drawn(url, tmp_path, monkeypatch, size_px, level):
    opened = []

    def noted(*args, **kwargs):
        opened.append(kwargs.get("level"))
        return open_cube(*args, **kwargs)

    monkeypatch.setattr("spacenet_cube.cube.quicklook.open_cube", noted)
    quicklook(url, tmp_path / "look.png", size_px=size_px)

    assert opened[-1] == level


def test_a_picture_of_nothing_is_refused(url, tmp_path):
    with pytest.raises(RecipeError, match="set size_px to 64 or more"):
        quicklook(url, tmp_path / "look.png", size_px=0)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_one_clear_error(url, tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        quicklook(url, tmp_path / "no such folder" / "look.png", size_px=64)


def test_quicklook_without_matplotlib_says_what_to_install(url, monkeypatch):
    monkeypatch.setattr("spacenet_cube.cube.quicklook.find_spec", lambda _name: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'spacenet-cube\[viewer\]'"):
        quicklook(url)


def test_ground_is_measured_in_degrees_metres_and_feet():
    metric = ground(CRS("EPSG:32611"), (0.0, 0.0, 300.0, 100.0))
    feet = ground(CRS("EPSG:2263"), (980000.0, 190000.0, 981000.0, 191000.0))
    degrees = ground(CRS("EPSG:4326"), (0.0, 59.5, 1.0, 60.5))

    assert metric.size_m == (300.0, 100.0)
    assert feet.size_m == pytest.approx((304.8, 304.8), rel=1e-4)
    assert degrees.aspect == pytest.approx(2.0, rel=0.01)


def test_info_tells_what_a_cube_is(url):
    info = cube_info(url)

    assert (info.aoi, info.product, info.sensor) == ("AOI_2_Vegas", "MUL", "WorldView-3")
    assert info.shape == (8, 301, 210)
    assert info.bands[6].name == "nir1"
    assert info.bands[6].wavelength_nm == 824.04
    assert info.resolution_m_yx == pytest.approx((1.198, 0.971), abs=0.001)
    assert [level.shape_yx for level in info.levels][-1] == (19, 14)
    assert (info.chunks, info.shards) == ((1, 32, 32), (8, 64, 64))
    assert info.codecs == ("bytes", "blosc zstd 1 bitshuffle", "crc32c")
    assert info.acquired == ("2015-10-22T18:36:56", "2015-10-22T18:36:56")
    assert info.raw_bytes == 8 * 301 * 210 * 2
    assert info.stored_bytes is None


def test_info_counts_stored_bytes_when_asked(url):
    info = cube_info(url, count_bytes=True)

    assert info.stored_bytes is not None
    assert 1000 < info.stored_bytes < 4 * info.raw_bytes


def test_info_is_one_json_object(tmp_path):
    fake = Fake(product="odd", bands=("a", "b"), sharded=False)
    url = write_cube(tmp_path, fake)

    told = json.loads(cube_info(url).to_json())

    assert told["shards"] is None
    assert told["bbox"] == pytest.approx([-115.3075176, 36.2607084, -115.3052496, 36.2639592])


def test_info_renders_every_fact_it_has(url):
    page = io.StringIO()

    Console(file=page, width=120).print(render(cube_info(url, count_bytes=True)))

    for words in ("AOI_2_Vegas MUL", "nir1 824 nm", "ovr_16x: 19 x 14", "CC-BY-SA-4.0", "stored"):
        assert words in page.getvalue()


def test_where_no_cube_is_both_say_so(tmp_path):
    with pytest.raises(StoreError, match="no cube at"):
        cube_info(tmp_path / "none.zarr")
    with pytest.raises(StoreError, match="no cube at"):
        quicklook(tmp_path / "none.zarr")
