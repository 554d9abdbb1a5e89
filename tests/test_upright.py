"""South-up and west-flipped rasters lie where their own transform puts them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.upright import in_file, rotation_px, turn, upright
from tests.scenes import LICENCE, blocks_within, product, recipe, scene, write_geotiff

flips = st.tuples(st.booleans(), st.booleans())


@given(flip=flips, shape=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_an_upright_pixel_is_the_file_s_pixel_at_the_same_place(flip, shape):
    own = Affine(-10 if flip[1] else 10, 0, 500_000, 0, 10 if flip[0] else -10, 4_000_000)

    found, turned = upright(own, shape)

    assert turned == flip
    assert found.a > 0 > found.e
    pixel = in_file(Block(0, 0, 1, 1), shape, flip)
    assert found @ (0.5, 0.5) == own @ (pixel.col + 0.5, pixel.row + 0.5)


@given(flip=flips, window=blocks_within(12))
def test_a_window_turned_back_holds_the_upright_pixels(flip, window):
    held = np.arange(24 * 24).reshape(1, 24, 24)
    whole = turn(held, flip)

    there = in_file(window, (24, 24), flip)

    np.testing.assert_array_equal(turn(held[:, *there.yx], flip), whole[:, *window.yx])


def test_rotation_noise_is_no_rotation_and_a_right_angle_is():
    assert rotation_px(Affine(10, 6e-16, 0, 6e-16, -10, 0), (40, 50)) < 1e-12
    assert rotation_px(Affine(0, 10, 0, 10, 0, 0), (40, 50)) == float("inf")


WAYS = {"up": (True, False), "west": (False, True), "both": (True, True)}
SHAPE = (40, 50)
TOP = Affine(10, 0, 500_000, 0, -10, 4_000_000)


def flipped(path: Path, image: np.ndarray, flip: tuple[bool, bool]) -> None:
    """A file whose pixels lie where those of the upright image do, stored the other way round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = (500_500 if flip[1] else 500_000), (3_999_600 if flip[0] else 4_000_000)
    transform = Affine(-10 if flip[1] else 10, 0, x, 0, 10 if flip[0] else -10, y)
    write_geotiff(path, turn(image, flip), transform=transform, crs="EPSG:32611")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "grid", ["native", {"like": "ref"}, {"crs": "EPSG:32611", "resolution": 10}]
)
def test_pixels_of_flipped_files_lie_where_rasterio_reads_them(tmp_path, way, grid):
    image = np.random.default_rng(0).integers(1, 250, (1, *SHAPE), dtype="uint8")
    source = tmp_path / "in"
    flipped(source / "ref.tif", image, (False, False))
    flipped(source / "flipped.tif", image, WAYS[way])
    shared = {"bands": ["a"], "encoding": {"chunk": 16, "shard": 32}}
    wanted = sc.Recipe(
        name="a", licence=LICENCE, source=str(source),
        products=[
            {"name": "ref", "sources": "ref.tif", **shared},
            {"name": "P", "sources": "flipped.tif", "grid": grid, **shared},
        ],
    )  # fmt: skip

    scenes = sc.survey(wanted, "P")
    reference = sc.reference_grid(wanted, "P", lambda other: sc.survey(wanted, other))
    made = sc.plan(wanted, "P", scenes, reference=reference)
    built = sc.build(made, tmp_path / "out", workers=1)

    cube = sc.open_cube(tmp_path / "out" / made.cube_path)
    with rasterio.open(source / "flipped.tif") as file:
        places = [(x, y) for y in cube.y.values for x in cube.x.values]
        own = np.array([value[0] for value in file.sample(places)])
    np.testing.assert_array_equal(cube.image.values.ravel(), own)
    np.testing.assert_array_equal(cube.image.values, image)
    assert built


def test_pixels_of_two_sizes_are_named_and_no_other():
    scenes = [
        scene("a.tif", transform=TOP),
        scene("b.tif", transform=TOP @ Affine.translation(6, 0) @ Affine.scale(0.5)),
    ]

    with pytest.raises(RecipeError, match=r"10 x 10 \(1, as a\.tif\) and 5 x 5 \(1, as b\.tif\)"):
        sc.plan(recipe(product()), "P", scenes)
