"""Overviews: the average of what is valid, to the last unit, as GDAL has it too."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling

from spacenet_cube.raster.grid import Block, Grid, blocks
from spacenet_cube.raster.grid import levels as levels_of
from spacenet_cube.raster.overview import halve
from spacenet_cube.raster.pixels import Pixels
from spacenet_cube.raster.validity import valid_yx
from tests.scenes import UTM, Lattice, geotiff, write_geotiff

NAN = float("nan")
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
UNSIGNED = ("uint8", "uint16", "uint32")
sizes = st.tuples(st.integers(1, 11), st.integers(1, 11))


def extremes(dtype):
    """The least and greatest number of an integer type, and what lies close to them."""
    limits = np.iinfo(dtype)
    return [limits.min, limits.min + 1, 0, 1, 2, 3, limits.max // 2, limits.max - 1, limits.max]


def usual(shape_byx, dtype, nodata, rng):
    """Samples (band, y, x): extremes, small numbers, much nodata."""
    kind = np.dtype(dtype).kind
    some = extremes(dtype) if kind in "iu" else [0.0, 0.5, -1.25, 2047.0, 1e6, -9999.0]
    image = rng.choice(np.array(some, dtype), shape_byx)
    if kind in "iu" and rng.random() < 0.5:
        image = (image % 5).astype(dtype)
    holes = rng.random(shape_byx[1:]) < rng.choice([0.0, 0.4, 0.9])
    return np.where(holes, np.array(nodata, dtype), image)


KINDS = [
    *((dtype, 0.0) for dtype in INTEGERS),
    ("uint8", 255.0),
    ("int8", -128.0),
    ("int8", 127.0),
    ("uint16", 65_535.0),
    ("int16", -9999.0),
    ("uint32", 4_294_967_295.0),
    ("int32", 2_147_483_647.0),
    ("int32", -2_147_483_648.0),
    ("float32", -9999.0),
    ("float64", 0.0),
]


@st.composite
def levels(draw, kinds=KINDS):
    """Pixels of a level, as a mosaic leaves them, and their nodata."""
    dtype, nodata = draw(st.sampled_from(kinds))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(1, 3)), *draw(sizes))
    image = usual(shape, dtype, nodata, rng)
    scenes = rng.integers(1, draw(st.integers(1, 4)), shape[1:], endpoint=True)
    return Pixels(image, np.where(valid_yx(image, nodata), scenes, 0).astype("uint16")), nodata


def quads(shape_yx):
    """For each pixel of the overview, the pixels below it."""
    rows, cols = shape_yx
    for row in range((rows + 1) // 2):
        for col in range((cols + 1) // 2):
            below = [(2 * row + y, 2 * col + x) for y in (0, 1) for x in (0, 1)]
            yield (row, col), [(y, x) for y, x in below if y < rows and x < cols]


def expected(pixels, nodata):
    """The same overview, as slow and as exact as can be."""
    count, rows, cols = pixels.image.shape
    dtype = pixels.image.dtype
    image = np.full((count, (rows + 1) // 2, (cols + 1) // 2), nodata, dtype)
    index = np.zeros(image.shape[1:], pixels.source_index.dtype)
    for place, below in quads((rows, cols)):
        valid = [at for at in below if pixels.source_index[at] > 0]
        if not valid:
            continue
        numbers = [pixels.source_index[at].item() for at in valid]
        index[place] = max(dict.fromkeys(numbers), key=numbers.count)
        for band in range(count):
            samples = [Fraction(pixels.image[band][at].item()) for at in valid]
            mean = sum(samples) / len(samples)
            image[band][place] = floor(mean + Fraction(1, 2)) if dtype.kind in "iu" else float(mean)
        if (image[(slice(None), *place)] == nodata).all():
            greatest = dtype.kind in "iu" and nodata == np.iinfo(dtype).max
            image[0][place] += dtype.type(-1 if greatest else 1)
    return Pixels(image, index)


@given(level=levels())
def test_an_overview_is_the_average_of_valid_pixels_rounded_half_up(level):
    pixels, nodata = level

    half = halve(pixels, nodata)

    wanted = expected(pixels, nodata)
    np.testing.assert_array_equal(half.source_index, wanted.source_index)
    np.testing.assert_array_equal(half.image, wanted.image)
    assert half.image.dtype == pixels.image.dtype
    assert half.source_index.dtype == pixels.source_index.dtype


@given(level=levels())
def test_a_pixel_is_valid_where_any_of_its_four_is_and_never_looks_like_nodata(level):
    pixels, nodata = level

    half = halve(pixels, nodata)

    for place, below in quads(pixels.source_index.shape):
        valid = any(pixels.source_index[at] > 0 for at in below)
        assert (half.source_index[place] > 0) == valid
        assert (half.image[(slice(None), *place)] != nodata).any() == valid


@given(level=levels(), edge=st.sampled_from([2, 4, 6]))
def test_blocks_halved_alone_and_joined_are_the_whole_halved(level, edge):
    pixels, nodata = level
    whole = halve(pixels, nodata)

    for block in blocks(pixels.source_index.shape, edge):
        part = Pixels(pixels.image[:, *block.yx], pixels.source_index[block.yx])
        half = halve(part, nodata)
        there = Block(block.row // 2, block.col // 2, *half.source_index.shape)
        np.testing.assert_array_equal(half.image, whole.image[:, *there.yx])
        np.testing.assert_array_equal(half.source_index, whole.source_index[there.yx])


@given(level=levels())
def test_halving_leaves_the_level_below_as_it_was(level):
    pixels, nodata = level
    before = pixels.image.copy(), pixels.source_index.copy()

    halve(pixels, nodata)

    np.testing.assert_array_equal(pixels.image, before[0])
    np.testing.assert_array_equal(pixels.source_index, before[1])


@pytest.mark.parametrize("rows", [511, 512, 513, 600])
def test_levels_taller_than_a_stripe_are_halved_to_their_last_row(rows):
    rng = np.random.default_rng(rows)
    image = usual((2, rows, 5), "uint16", 0, rng)
    pixels = Pixels(image, valid_yx(image, 0).astype("uint16"))

    half = halve(pixels, 0)

    wanted = expected(pixels, 0)
    np.testing.assert_array_equal(half.image, wanted.image)
    np.testing.assert_array_equal(half.source_index, wanted.source_index)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("place", range(9))
def test_four_equal_pixels_average_to_themselves_even_at_the_ends_of_a_type(dtype, place):
    number = extremes(dtype)[place]
    image = np.full((1, 4, 4), number, dtype)

    half = halve(Pixels(image, np.ones((4, 4), "uint16")), 7)

    assert (half.image == number).all()


@pytest.mark.parametrize("most", [8190, 8191, 8192, 16_383, 16_384, 32_767, 65_535])
@pytest.mark.parametrize("holes", [0, 1, 2, 3])
def test_sixteen_bits_do_not_overflow_where_the_sum_of_four_would(most, holes):
    image = np.full((1, 2, 2), most, "uint16")
    index = np.array([[1, 1], [1, 1]], "uint16")
    index.flat[:holes] = 0

    assert halve(Pixels(image, index), 0).image.item() == most


@pytest.mark.parametrize(
    ("nodata", "below", "above"),
    [
        (255, [[[254, 255], [254, 255]], [[255, 254], [255, 254]]], [254, 255]),
        (0, [[[0, 0], [0, 1]], [[0, 0], [0, 0]]], [1, 0]),
        (7, [[[6, 8], [6, 8]], [[7, 7], [7, 7]]], [8, 7]),
    ],
)
def test_valid_pixels_whose_average_is_nodata_in_every_band_give_way_by_one(nodata, below, above):
    index = np.ones((2, 2), "uint16")

    half = halve(Pixels(np.array(below, "uint8"), index), nodata)

    assert half.image.ravel().tolist() == above


def test_nan_marks_no_data_in_floating_point():
    image = np.array([[[1, NAN, NAN, NAN], [2, 4, NAN, NAN]]], "float32")
    pixels = Pixels(image, valid_yx(image, NAN).astype("uint16"))

    half = halve(pixels, NAN)

    np.testing.assert_array_equal(half.image, np.array([[[7 / 3, NAN]]], "float32"))
    np.testing.assert_array_equal(half.source_index, [[1, 0]])


def test_a_valid_pixel_never_averages_to_nan_where_nan_marks_no_data():
    image = np.array([[[NAN, 3.0]], [[5.0, NAN]]], "float32")
    pixels = Pixels(image, valid_yx(image, NAN).astype("uint16"))

    half = halve(pixels, NAN)

    assert half.source_index.item() == 1
    assert not np.isnan(half.image).all()


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ([[1, 2], [2, 3]], 2),
        ([[1, 2], [2, 1]], 1),
        ([[2, 1], [1, 2]], 2),
        ([[0, 3], [0, 0]], 3),
        ([[0, 0], [0, 0]], 0),
        ([[4, 3], [2, 1]], 4),
        ([[0, 0], [5, 5]], 5),
        ([[0, 65_535], [1, 65_535]], 65_535),
    ],
)
def test_source_index_is_the_scene_most_of_the_four_come_from(below, above):
    index = np.array(below, "uint16")

    half = halve(Pixels(np.ones((1, 2, 2), "uint16"), index), 0)

    assert half.source_index.item() == above


def gdal_overview(image, folder, method, nodata=None):
    """The overview that GDAL adds to a file."""
    path = write_geotiff(folder / "a.tif", image, nodata=nodata)
    with rasterio.open(path, "r+") as target:
        target.build_overviews([2], method)
    with rasterio.open(path, overview_level=0) as source:
        return source.read()


def gdal_read(image, method, nodata=None):
    """What GDAL reads at half the size."""
    count, rows, cols = image.shape
    with geotiff(image, nodata=nodata) as source:
        return source.read(out_shape=(count, rows // 2, cols // 2), resampling=method)


def from_whole_range(dtype, shape_byx=(2, 40, 60)):
    rng = np.random.default_rng(11)
    if np.dtype(dtype).kind == "f":
        return (rng.integers(-4000, 4000, shape_byx) / 4).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape_byx, endpoint=True, dtype=dtype)


# Sizes are even: for odd ones GDAL stretches the level below over the one above, which shifts it.
@pytest.mark.parametrize("dtype", [*INTEGERS, "float32", "float64"])
def test_a_level_of_valid_pixels_is_what_gdal_averages(dtype, tmp_path):
    image = from_whole_range(dtype)
    pixels = Pixels(image, np.ones(image.shape[1:], "uint16"))

    half = halve(pixels, 0).image

    total = sum(image[:, y::2, x::2].astype(object) for y in (0, 1) for x in (0, 1))
    for gdal in (
        gdal_overview(image, tmp_path, Resampling.average),
        gdal_read(image, Resampling.average),
    ):
        if np.dtype(dtype).kind == "i":
            # GDAL rounds a negative half away from zero and not up.
            ties = (total % 4 == 2) & (total < 0)
            np.testing.assert_array_equal(half.astype(object) - ties, gdal.astype(object))
        else:
            np.testing.assert_array_equal(half, gdal)


@pytest.mark.parametrize("dtype", [*UNSIGNED, "float32"])
def test_a_level_with_holes_is_what_gdal_averages_around_its_nodata(dtype, tmp_path):
    rng = np.random.default_rng(12)
    image = rng.integers(0, 6, (1, 100, 100)).astype(dtype)
    pixels = Pixels(image, (image[0] != 0).astype("uint16"))

    half = halve(pixels, 0).image

    method = Resampling.average
    for gdal in (gdal_overview(image, tmp_path, method, 0), gdal_read(image, method, 0)):
        np.testing.assert_allclose(half, gdal, rtol=1e-7 if dtype == "float32" else 0)


def test_source_index_is_the_mode_of_gdal_but_for_a_tie(tmp_path):
    rng = np.random.default_rng(13)
    index = rng.integers(0, 4, (1, 100, 100)).astype("uint16")
    pixels = Pixels(np.ones_like(index), index[0])

    half = halve(pixels, 0).source_index

    gdal = gdal_overview(index, tmp_path, Resampling.mode, 0)[0]
    for place, below in quads(index.shape[1:]):
        numbers = [number for number in (index[0][at] for at in below) if number]
        most = max((numbers.count(number) for number in numbers), default=0)
        winners = {number for number in numbers if numbers.count(number) == most}
        assert half[place] == gdal[place] or {half[place], gdal[place]} <= winners


def test_an_overview_lies_where_gdal_puts_it(tmp_path):
    native = Grid((40, 60), Lattice().transform(), UTM)
    path = write_geotiff(tmp_path / "a.tif", np.ones((1, 40, 60), np.uint8))
    with rasterio.open(path, "r+") as target:
        target.build_overviews([2, 4], Resampling.average)

    for level, grid in enumerate(levels_of(native, 15)[1:]):
        with rasterio.open(path, overview_level=level) as source:
            assert tuple(source.transform) == tuple(grid.transform)
            assert source.shape == grid.shape_yx
