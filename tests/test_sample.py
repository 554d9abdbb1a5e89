"""The sample corpus is what was delivered, but for its pixels; and those look like ground."""

import gzip
import hashlib
import json
import tarfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.merge import merge

from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.sample.catalog import Delivery, delivery, product_names
from spacenet_cube.sample.corpus import write_sample
from spacenet_cube.sample.facts import AOIS
from spacenet_cube.sample.ground.areas import PLACES
from spacenet_cube.sample.ground.ground import paint_ground
from spacenet_cube.sample.ground.noise import Window, value_noise
from spacenet_cube.sample.ground.spectra import BANDS, DIGITAL_NUMBERS, Material
from spacenet_cube.sample.pixels import pixels, swath
from tests.places import SHARED

FOOTPRINTS = SHARED / "footprints"
EVERY = [(aoi, product) for aoi in AOIS for product in product_names(aoi)]
VEGAS = "AOI_2_Vegas"
SIZE = 64


@pytest.fixture(scope="module")
def vegas(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    write_sample(root, aois=[VEGAS], tile_size=SIZE)
    return root / VEGAS / "srcData" / "rasterData"


@pytest.fixture(scope="module")
def rio(tmp_path_factory):
    root = tmp_path_factory.mktemp("rio")
    write_sample(root, aois=["AOI_1_Rio"], tile_size=SIZE)
    return root / "AOI_1_Rio" / "srcData" / "rasterData"


def tiles_of(folder: Path, item: Delivery) -> list[Path]:
    return [folder / item.product / f"{tile.name}.TIF" for tile in item.tiles]


def mosaic_of(folder: Path, item: Delivery) -> np.ndarray:
    """Paste tiles by row and column, as their headers are not to be trusted here."""
    k = item.factor
    height, width = (-(-n // k) for n in item.ground_yx)
    out = np.zeros((len(read(tiles_of(folder, item)[0])), height, width), np.uint16)
    for tile, path in zip(item.tiles, tiles_of(folder, item), strict=True):
        out[:, tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = read(path)
    return out


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        image: np.ndarray = source.read()
    return image


def digests(root: Path) -> dict[str, str]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def footprint(aoi: str) -> dict[str, tuple[float, float, float, float]]:
    """File name to west, north, width, height in degrees."""
    path = FOOTPRINTS / f"{aoi}_SrcTindex.geojson"
    if not path.exists():
        pytest.skip(f"no footprints at {path}")
    found = {}
    for feature in json.loads(path.read_text())["features"]:
        corners = np.array(feature["geometry"]["coordinates"][0])
        (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
        name = Path(feature["properties"]["location"]).stem
        found[name] = (west, north, east - west, north - south)
    return found


@pytest.mark.parametrize("aoi", AOIS)
def test_names_places_and_ragged_edges_are_those_of_the_footprints(aoi):
    item = delivery(aoi, "3-Band" if aoi == "AOI_1_Rio" else "PAN")
    expected = footprint(aoi)

    found = {
        tile.name: (
            item.west + tile.x * item.pixel_deg,
            item.north - tile.y * item.pixel_deg,
            tile.width * item.pixel_deg,
            tile.height * item.pixel_deg,
        )
        for tile in item.tiles
    }

    assert found.keys() == expected.keys()
    for name, place in found.items():
        assert place == pytest.approx(expected[name], abs=1e-3 * item.pixel_deg, rel=0)


@pytest.mark.parametrize(
    ("aoi", "product", "count", "first", "last"),
    [
        (VEGAS, "PAN", 16, "P2AS_R1C1-055649178030", "P2AS_R4C4-055649178030"),
        (VEGAS, "PS-RGB", 49, "S2AS_R1C1-056155973040", "S2AS_R7C7-056155973040"),
        (VEGAS, "PS-MS", 49, "S2AS_R1C1-056155973080", "S2AS_R7C7-056155973080"),
        ("AOI_3_Paris", "MS", 75, "M2AS_R01C1-055649178040", "M2AS_R15C5-055649178040"),
        ("AOI_3_Paris", "PS-RGB", 290, "S2AS_R01C01-056155973010", "S2AS_R29C10-056155973010"),
        ("AOI_4_Shanghai", "PS-MS", 224, "S2AS_R01C1", "S2AS_R28C8"),
        ("AOI_5_Khartoum", "PS-MS", 140, "S2AS_R01C1", "S2AS_R20C7"),
    ],
)
def test_grids_and_padding_are_those_on_record(aoi, product, count, first, last):
    tiles = delivery(aoi, product).tiles

    assert len(tiles) == count
    assert f"-{first}" in tiles[0].name
    assert f"-{last}" in tiles[-1].name


def test_paris_was_sharpened_a_second_earlier():
    assert delivery("AOI_3_Paris", "PS-RGB").timestamp == "16FEB29111912"
    assert delivery("AOI_3_Paris", "MS").timestamp == "16FEB29111913"


@pytest.mark.parametrize("tile_size", [8, SIZE, 192, 16384])
@pytest.mark.parametrize(("aoi", "product"), EVERY)
def test_tiles_abut_and_never_overlap(aoi, product, tile_size):
    item = delivery(aoi, product, tile_size=tile_size)
    at = {(tile.row, tile.col): tile for tile in item.tiles}

    assert len(at) == len(item.tiles)
    for (row, col), tile in at.items():
        east, south = at.get((row, col + 1)), at.get((row + 1, col))
        assert tile.width > 0
        assert tile.height > 0
        assert east is None or (tile.x + tile.width, tile.y) == (east.x, east.y)
        assert south is None or (tile.x, tile.y + tile.height) == (south.x, south.y)


@pytest.mark.parametrize("tile_size", [8, 192])
@pytest.mark.parametrize(("aoi", "product"), EVERY)
def test_there_is_fill_but_no_tile_is_fill_throughout(aoi, product, tile_size):
    item = delivery(aoi, product, tile_size=tile_size)
    k = item.factor
    seen = []

    for tile in item.tiles:
        window = Window(tile.y * k, tile.x * k, tile.height * k, tile.width * k)
        blocks = swath(item, window).reshape(tile.height, k, tile.width, k)
        seen.append(blocks.all(axis=(1, 3)).mean())

    assert min(seen) > 0
    assert min(seen) < 1 or tile_size == 8


def test_the_same_request_gives_the_same_bytes(tmp_path):
    for name in ("one", "two", "two"):
        written = write_sample(
            tmp_path / name, aois=[VEGAS, "AOI_1_Rio"], products=["MS", "8-Band"], tile_size=8
        )

    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert set(digests(tmp_path / "two")) == {
        str(path.relative_to(tmp_path / "two")) for path in written
    }


def test_a_corpus_in_pieces_is_the_corpus(tmp_path):
    write_sample(tmp_path / "whole", aois=[VEGAS], products=["MS", "PAN"], tile_size=16)

    for product in ("MS", "PAN"):
        write_sample(tmp_path / "pieces", aois=[VEGAS], products=[product], tile_size=16)

    assert digests(tmp_path / "whole") == digests(tmp_path / "pieces")


@pytest.mark.parametrize("aoi", AOIS)
def test_the_ground_is_the_same_in_whatever_pieces_it_is_painted(aoi):
    extent = delivery(aoi, product_names(aoi)[-1], tile_size=192).ground_yx
    whole = paint_ground(PLACES[aoi], extent, Window(300, 180, 90, 110))

    piece = paint_ground(PLACES[aoi], extent, Window(337, 223, 11, 13))

    for name in ("near", "far", "mix", "light"):
        np.testing.assert_array_equal(getattr(whole, name)[37:48, 43:56], getattr(piece, name))


def test_noise_is_smooth_and_pinned():
    noise = value_noise(Window(-40, -40, 200, 200), 20, 1)

    assert np.abs(np.diff(noise, axis=0)).max() < 1.5 / 20
    # Bytes, so that another processor or numpy that rounds differently is found out.
    digest = hashlib.sha256(noise.astype("<f4").tobytes()).hexdigest()
    assert digest[:16] == "3ac5ea1861884d79"


@pytest.mark.parametrize(
    ("product", "dtype", "count"),
    [
        ("PAN", "uint16", 1),
        ("MUL", "uint16", 8),
        ("MUL-PanSharpen", "uint16", 8),
        ("RGB-PanSharpen", "uint16", 3),
    ],
)
def test_tiles_are_plain_strips_on_the_real_lattice(vegas, product, dtype, count):
    item = delivery(VEGAS, product, tile_size=SIZE)

    for tile, path in zip(item.tiles, tiles_of(vegas, item), strict=True):
        with rasterio.open(path) as source:
            block_width = source.block_shapes[0][1]
            assert (source.count, set(source.dtypes)) == (count, {dtype})
            assert source.crs.to_epsg() == 4326
            assert source.nodata is None
            assert source.compression is None
            assert source.interleaving.name == ("band" if count == 1 else "pixel")
            assert (block_width, source.shape) == (source.width, (tile.height, tile.width))
            assert not source.overviews(1)
            corners = [~source.transform @ corner for corner in lattice_corners(item, tile)]
            assert corners[0] == pytest.approx((0, 0), abs=1e-3)
            assert corners[1] == pytest.approx((tile.width, tile.height), abs=1e-3)


def lattice_corners(item, tile):
    size = item.pixel_deg
    west, north = item.west + tile.x * size, item.north - tile.y * size
    return (west, north), (west + tile.width * size, north - tile.height * size)


def test_some_headers_carry_rounding_noise(vegas):
    item = delivery(VEGAS, "RGB-PanSharpen", tile_size=SIZE)
    sizes = set()

    for path in tiles_of(vegas, item):
        with rasterio.open(path) as source:
            sizes.add(source.transform.a / item.pixel_deg)

    assert len(sizes) > 3
    assert max(abs(size - 1) for size in sizes) * 16384 < 1e-3


def test_headers_put_tiles_where_the_catalog_does(vegas):
    item = delivery(VEGAS, "PAN", tile_size=SIZE)

    pasted, _ = merge(tiles_of(vegas, item))

    np.testing.assert_array_equal(pasted, mosaic_of(vegas, item))


def test_rgb_is_red_green_and_blue_of_the_eight_bands(vegas):
    eight = mosaic_of(vegas, delivery(VEGAS, "PS-MS", tile_size=SIZE))

    rgb = mosaic_of(vegas, delivery(VEGAS, "PS-RGB", tile_size=SIZE))

    np.testing.assert_array_equal(rgb, eight[[BANDS.index(b) for b in ("red", "green", "blue")]])


def test_mul_is_the_mean_of_four_by_four_sharpened_pixels(vegas):
    sharp = mosaic_of(vegas, delivery(VEGAS, "PS-MS", tile_size=SIZE))
    rows, cols = (n // 4 * 4 for n in (3 * SIZE, 3 * SIZE))
    blocks = sharp[:, :rows, :cols].reshape(8, rows // 4, 4, cols // 4, 4)
    expected = (blocks.sum(axis=(2, 4), dtype=np.uint32) + 8) // 16
    expected *= (blocks > 0).all(axis=(2, 4))

    mul = mosaic_of(vegas, delivery(VEGAS, "MS", tile_size=SIZE))

    np.testing.assert_array_equal(mul[:, : rows // 4, : cols // 4], expected)


def test_pan_lies_within_the_bands_it_spans(vegas):
    sharp = mosaic_of(vegas, delivery(VEGAS, "PS-MS", tile_size=SIZE))[:7]

    pan = mosaic_of(vegas, delivery(VEGAS, "PAN", tile_size=SIZE))[0]

    shared = (pan > 0) & (sharp[0] > 0)
    assert shared.mean() > 0.9
    assert (pan >= sharp.min(axis=0))[shared].all()
    assert (pan <= sharp.max(axis=0))[shared].all()


def test_numbers_fit_eleven_bits_and_fill_is_zero_in_every_band(vegas):
    sharp = mosaic_of(vegas, delivery(VEGAS, "PS-MS", tile_size=SIZE))

    assert 1000 < sharp.max() <= 2047
    assert ((sharp == 0).all(axis=0) == (sharp == 0).any(axis=0)).all()


def test_ndvi_tells_plants_from_water_and_from_stone():
    red, nir = DIGITAL_NUMBERS[BANDS.index("red")], DIGITAL_NUMBERS[BANDS.index("nir1")]
    ndvi = (nir - red) / (nir + red)
    plants = [Material.GRASS, Material.CROP, Material.TREES]
    water = [Material.DEEP, Material.SHALLOW, Material.SILT, Material.POOL]
    built = [material for material in Material if "ROOF" in material.name]

    assert ndvi[plants].min() > 0.4
    assert ndvi[water].max() < 0
    assert ndvi[[*built, Material.ASPHALT, Material.CONCRETE]].min() > 0
    assert ndvi[[*built, Material.ASPHALT, Material.CONCRETE]].max() < 0.15


@pytest.mark.parametrize("aoi", AOIS)
def test_every_aoi_has_plants_and_bare_or_built_land_and_most_have_water(aoi):
    item = delivery(aoi, "8-Band" if aoi == "AOI_1_Rio" else "MUL", tile_size=192)
    height, width = item.ground_yx[0] // 4, item.ground_yx[1] // 4

    image = pixels(item, Window(height // 4, 0, height // 4, width)).astype(np.float32)

    red, nir = image[BANDS.index("red")], image[BANDS.index("nir1")]
    seen = red > 0
    ndvi = ((nir - red) / np.maximum(nir + red, 1))[seen]
    assert (ndvi > 0.4).mean() > 0.02
    assert (np.abs(ndvi - 0.075) < 0.1).mean() > 0.1
    assert (ndvi < 0).mean() > 0.003


def test_neighbouring_pixels_are_alike(vegas):
    pan = mosaic_of(vegas, delivery(VEGAS, "PAN", tile_size=SIZE))[0].astype(float)
    inner = pan[:150, 20:150]

    step = np.abs(np.diff(inner, axis=1)).mean()

    assert step < 0.8 * np.abs(inner - inner.mean()).mean()


def test_every_rgb_tile_has_a_tiled_sibling_with_the_same_pixels(vegas):
    item = delivery(VEGAS, "RGB-PanSharpen", tile_size=SIZE)

    for path in tiles_of(vegas, item):
        with rasterio.open(path.with_stem(f"{path.stem}_COG")) as sibling:
            assert sibling.block_shapes[0] == (32, 32)
            assert sibling.overviews(1)
            assert sibling.nodata is None
            np.testing.assert_array_equal(sibling.read(), read(path))


@pytest.mark.parametrize("product", ["PAN", "MUL", "MUL-PanSharpen"])
def test_the_first_tile_of_other_products_has_one_too(vegas, product):
    siblings = list((vegas / product).glob("*_COG.TIF"))

    assert [path.name.replace("_COG", "") for path in siblings] == [
        f"{delivery(VEGAS, product).tiles[0].name}.TIF"
    ]


def test_papers_open_and_say_that_the_data_are_synthetic(vegas):
    folder = vegas / "PAN"
    order = delivery(VEGAS, "PAN").order

    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(folder / f"{order}_01_LAYOUT.JPG") as layout,
    ):
        drawing = layout.read()
    listing = ET.fromstring((folder / f"{order}_01_README.XML").read_text())  # noqa: S314 - our own

    assert drawing.std() > 10
    assert len(listing.findall("TILES/TILE")) == 16
    assert "Synthetic sample data" in (folder / f"{order}_01_README.TXT").read_text()
    assert "not SpaceNet imagery" in (vegas.parents[2] / "LICENSE.md").read_text()


@pytest.mark.parametrize(
    ("product", "kind"), [("3-Band", (3, "uint8", (76, 76))), ("8-Band", (8, "uint16", (19, 19)))]
)
def test_rio_comes_as_archives_without_clock_or_user(rio, tmp_path, product, kind):
    path = rio / f"{product}.tar.gz"

    with tarfile.open(path) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path, filter="data")

    files = [member for member in members if member.isfile()]
    names = [f"{product}/{tile.name}.tif" for tile in delivery("AOI_1_Rio", product).tiles]
    assert [member.name for member in files] == names == sorted(names)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert path.read_bytes()[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    for member in files:
        with rasterio.open(tmp_path / member.name) as source:
            assert (source.count, source.dtypes[0], source.shape) == kind
            assert source.nodata is None
            assert source.read().any()


def test_rio_has_numbers_above_eleven_bits(rio, tmp_path):
    with gzip.open(rio / "8-Band.tar.gz") as stream, tarfile.open(fileobj=stream) as archive:
        archive.extractall(tmp_path, filter="data")

    brightest = max(read(path).max() for path in tmp_path.rglob("*.tif"))

    assert 4000 < brightest <= 7500


def test_progress_counts_files_up_to_all_of_them(tmp_path):
    counts = []

    written = write_sample(
        tmp_path, aois=VEGAS, products=["MS"], tile_size=8, progress=lambda *n: counts.append(n)
    )

    assert counts[-1] == (len(written), len(written))
    assert [done for done, _ in counts] == sorted({done for done, _ in counts})
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"aois": ["AOI_9_Atlantis"]}, "no AOI 'AOI_9_Atlantis'; choose from AOI_1_Rio"),
        ({"products": ["SWIR"]}, "no product 'SWIR'; choose from .*PAN"),
        ({"aois": ["AOI_1_Rio"], "products": ["PAN"]}, "Rio has 3-Band and 8-Band"),
        ({"tile_size": 100}, "multiple of 8, such as 96"),
        ({"tile_size": 0}, "multiple of 8, such as 8"),
    ],
)
def test_a_request_that_cannot_be_met_names_the_mend_and_writes_nothing(
    tmp_path, request_, message
):
    with pytest.raises(RecipeError, match=message):
        write_sample(tmp_path, **request_)

    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_a_fault_of_the_store(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match="give a folder"):
        write_sample(tmp_path / "file", aois=[VEGAS], products=["MS"], tile_size=8)
