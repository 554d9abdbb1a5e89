"""Scenes around 180 degrees and the poles keep every pixel, and it lies where PROJ puts it."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer

from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.crs import plane_of, same_crs
from spacenet_cube.raster.seams import cycle_of, smallest_arc, unwrapping
from tests.scenes import LAMBERT, product, recipe, scene
from tests.warping import made_of

TOTAL = 360.0
NEAR_EDGE_PX = 1e-6

# CRS of the scene, of the grid, middle of the scene (its own x and y), its pixel, the grid's.
PAIRS = {
    "geographic, ends at 180, to UTM 60": ("EPSG:4326", "EPSG:32760", (179.75, -17.2), 0.01, 1000),
    "geographic, ends at 180, to UTM 1": ("EPSG:4326", "EPSG:32701", (179.75, -17.2), 0.01, 1000),
    "begins at -180, to UTM 60": ("EPSG:4326", "EPSG:32660", (-179.75, 52.0), 0.01, 900),
    "geographic, crosses 180, to UTM 1": ("EPSG:4326", "EPSG:32601", (180.0, 65.0), 0.01, 700),
    "0 to 360, to geographic": ("EPSG:4326", "EPSG:4326", (359.8, 10.0), 0.02, 0.017),
    "0 to 360, to UTM 30": ("EPSG:4326", "EPSG:32630", (357.0, 40.0), 0.01, 1100),
    "UTM 60 over 180, to degrees": ("EPSG:32660", "EPSG:4326", (707_000.0, 1e6), 900, 0.009),
    "UTM 1 over 180, to degrees": ("EPSG:32701", "EPSG:4326", (180_000.0, 8_000_000.0), 900, 0.009),
    "UTM 1 to UTM 60": ("EPSG:32601", "EPSG:32660", (180_000.0, 2_000_000.0), 500, 600),
    "geographic to Web Mercator across 180": ("EPSG:4326", "EPSG:3857", (180.0, 50.0), 0.01, 1300),
    "Web Mercator over 180 to degrees": ("EPSG:3857", "EPSG:4326", (20_037_508.0, 5e6), 1200, 0.01),
    "Web Mercator over 180 to UTM 60": ("EPSG:3857", "EPSG:32660", (20_037_508.0, 5e6), 1200, 900),
    "polar north over the pole to geographic": ("EPSG:3995", "EPSG:4326", (3e4, -2e4), 9000, 0.5),
    "polar south over the pole to geographic": ("EPSG:3031", "EPSG:4326", (-3e4, 1e4), 9000, 0.5),
    "geographic wedge to polar north": ("EPSG:4326", "EPSG:3995", (30.0, 78.0), 0.4, 21_000),
    "geographic wedge to polar south": ("EPSG:4326", "EPSG:3031", (-120.0, -78.0), 0.4, 21_000),
    "geographic to Lambert azimuthal": ("EPSG:4326", LAMBERT, (20.0, 10.0), 0.05, 5000),
    "Lambert conformal to geographic": ("EPSG:3034", "EPSG:4326", (4e6, 2e6), 3000, 0.03),
    "polar north to UTM 33": ("EPSG:3995", "EPSG:32633", (3e5, -1.8e6), 4000, 4100),
}  # fmt: skip


def centred(middle: tuple[float, float], pixel: float, shape_yx: tuple[int, int]) -> Affine:
    rows, cols = shape_yx
    return Affine(pixel, 0, middle[0] - cols / 2 * pixel, 0, -pixel, middle[1] + rows / 2 * pixel)


def oracle(
    image: NDArray[np.uint8],
    transform: Affine,
    crs: str,
    grid: Affine,
    grid_crs: str,
    shape: tuple[int, int],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What PROJ says each pixel of the grid is, on whatever turn; and where that is a tie."""
    rows, cols = image.shape
    across, down = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    x, y = grid.c + across * grid.a, grid.f + down * grid.e
    lon, lat = Transformer.from_crs(grid_crs, "EPSG:4326", always_xy=True).transform(x, y)
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    found, tie = np.zeros(shape, np.int64), np.zeros(shape, bool)
    cycle = cycle_of(crs)
    for turn in (0, 1, -1, 2, -2) if cycle else (0,):
        period = cycle.period if cycle else 0.0
        col = (east + turn * period - transform.c) / transform.a
        row = (north - transform.f) / transform.e
        inside = (col >= 0) & (col < cols) & (row >= 0) & (row < rows) & (found == 0)
        found[inside] = image[np.floor(row[inside]).astype(int), np.floor(col[inside]).astype(int)]
        near = [np.abs(v - np.round(v)) < NEAR_EDGE_PX for v in (col, row)]
        tie |= near[0] | near[1]
    return found, tie


@pytest.mark.parametrize("shard", [32, 256])
@pytest.mark.parametrize("name", PAIRS)
def test_every_pixel_is_what_proj_says_whatever_the_shards(name, shard):
    source, target, middle, pixel, resolution = PAIRS[name]
    image = np.random.default_rng(1).integers(1, 250, (60, 70), dtype="uint8")
    transform = centred(middle, pixel, image.shape)
    one = scene(shape_yx=image.shape, transform=transform, crs=source, dtype="uint8", count=1)
    grid = {"crs": target, "resolution": resolution, "resampling": "nearest"}
    made = plan(recipe(product(count=1, chunk=16, shard=shard, grid=grid)), "P", [one])

    found, index = made_of(made, {one.id: image[None]})

    wanted, tie = oracle(
        image, transform, source, made.grid.transform, made.grid.crs, made.grid.shape_yx
    )
    assert (wanted > 0).sum() > image.size / 20
    assert ((found[0] == wanted) | tie).all()
    assert (((index > 0) == (wanted > 0)) | tie).all()


@settings(max_examples=12)
@given(
    lon=st.floats(-179, 540), lat=st.floats(-75, 75), shard=st.sampled_from([32, 128]),
    target=st.sampled_from(["utm", "EPSG:4326", "EPSG:3857"]),
)  # fmt: skip
def test_a_scene_keeps_its_pixels_wherever_longitudes_begin(lon, lat, shard, target):
    image = np.random.default_rng(2).integers(1, 250, (30, 40), dtype="uint8")
    transform = centred((lon, lat), 0.01, image.shape)
    one = scene(shape_yx=image.shape, transform=transform, crs="EPSG:4326", dtype="uint8", count=1)
    resolution = 0.009 if target == "EPSG:4326" else 1100
    grid = {"crs": target, "resolution": resolution, "resampling": "nearest"}
    made = plan(recipe(product(count=1, chunk=16, shard=shard, grid=grid)), "P", [one])

    found, _ = made_of(made, {one.id: image[None]})

    wanted, tie = oracle(
        image, transform, "EPSG:4326", made.grid.transform, made.grid.crs, made.grid.shape_yx
    )
    assert max(made.grid.shape_yx) < 400
    assert ((found[0] == wanted) | tie).all()


GRIDS = [("EPSG:32701", 900), ("EPSG:4326", 0.009), ("EPSG:3857", 1300), ("utm", 900)]


@pytest.mark.parametrize(("target", "resolution"), GRIDS)
def test_scenes_on_both_sides_of_180_become_one_narrow_cube(target, resolution):
    images = {
        name: np.random.default_rng(k).integers(1, 250, (1, 40, 50), dtype="uint8")
        for k, name in enumerate(("e.tif", "w.tif"))
    }
    places = {"e.tif": (179.75, -17.2), "w.tif": (-179.75, -17.2)}
    scenes = [
        scene(
            name, shape_yx=(40, 50), transform=centred(places[name], 0.01, (40, 50)),
            crs="EPSG:4326", dtype="uint8", count=1,
        )
        for name in images
    ]  # fmt: skip
    grid = {"crs": target, "resolution": resolution, "resampling": "nearest"}
    made = plan(recipe(product(count=1, chunk=16, shard=64, grid=grid)), "P", scenes)

    found, _ = made_of(made, images)

    assert max(made.grid.shape_yx) < 200
    for one in scenes:
        wanted, tie = oracle(
            images[one.id][0], one.transform, one.crs, made.grid.transform, made.grid.crs,
            made.grid.shape_yx,
        )  # fmt: skip
        assert ((found[0] == wanted) | (wanted == 0) | tie).all()


def test_a_global_raster_fills_a_polar_grid_whatever_the_shards():
    image = np.random.default_rng(3).integers(1, 250, (60, 720), dtype="uint8")
    transform = Affine(0.5, 0, -180, 0, -0.5, 90)
    one = scene(shape_yx=image.shape, transform=transform, crs="EPSG:4326", dtype="uint8", count=1)
    for shard in (32, 256):
        grid = {"crs": "EPSG:3995", "resolution": 40_000, "resampling": "nearest"}
        made = plan(recipe(product(count=1, chunk=16, shard=shard, grid=grid)), "P", [one])

        found, _ = made_of(made, {one.id: image[None]})

        wanted, tie = oracle(
            image, transform, "EPSG:4326", made.grid.transform, "EPSG:3995", made.grid.shape_yx
        )
        assert ((found[0] == wanted) | tie).all()


spans = st.tuples(st.floats(-360, 540), st.floats(0.001, 100)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(spans, min_size=1, max_size=6))
def test_the_smallest_arc_holds_every_span_on_some_turn(held):
    cycle = cycle_of("EPSG:4326")
    assert cycle is not None

    low, high = smallest_arc(held, cycle)

    assert high - low <= TOTAL + 1e-6
    for west, east in held:
        turns = [(west + TOTAL * k, east + TOTAL * k) for k in range(-4, 5)]
        assert any(low - 1e-6 <= w and e <= high + 1e-6 for w, e in turns) or high - low > 359.99


def test_a_scene_far_from_a_seam_is_not_unwrapped():
    assert unwrapping("EPSG:4326", (-43.9, -43.1)) is None
    assert unwrapping("EPSG:32601", (100_000.0, 900_000.0)) is None


AEA = (
    'PROJCS["%s",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Albers_Conic_Equal_Area"],'
    'PARAMETER["latitude_of_center",23],PARAMETER["longitude_of_center",%s],'
    'PARAMETER["standard_parallel_1",29.5],PARAMETER["standard_parallel_2",45.5],'
    'PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (AEA % ("one", "-96"), AEA % ("other", "-96"), True),
        (AEA % ("one", "-96"), AEA % ("one", "-96.00000000001"), True),
        (AEA % ("one", "-96"), AEA % ("one", "-96.001"), False),
        ("EPSG:2953", "EPSG:2953+6647", True),
        ("EPSG:4326", "OGC:CRS84", True),
        ("EPSG:4326", "EPSG:4979", True),
        ("EPSG:4326", "EPSG:4269", False),
        ("EPSG:26911", "EPSG:32611", False),
        ("EPSG:32611", "EPSG:32612", False),
        ("EPSG:2225", "EPSG:26941", False),
    ],
)
def test_crss_are_the_same_where_they_place_a_point_alike(one, other, same):
    assert same_crs(one, other) is same
    assert same_crs(other, one) is same
    assert same_crs(plane_of(one), one)
