"""Chips: counted exactly, split without overlap, read shard by shard."""

import math
import pickle
import sys
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from zarr.storage import LocalStore

import spacenet_cube as sc
from spacenet_cube.cube.chips.choose import valid_pixels
from spacenet_cube.cube.chips.samples import ChipSamples, ChipStream
from spacenet_cube.cube.chips.splits import Splits, assigned, owners, shuffled
from spacenet_cube.cube.chips.windows import Windows, boxes, covered, tiling, windows
from spacenet_cube.cube.open import LevelOpener
from spacenet_cube.format.subset import Part, locate_part
from spacenet_cube.raster.grid import Block, Grid
from tests.fake_cube import Fake, pixels, sources, write_cube
from tests.shares import count

VALID = sources(Fake()) > 0
IMAGE = np.where(VALID, pixels(Fake()), 0)
THREE = {"train": 0.6, "val": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url):
    return sc.open_cube(url)


@dataclass
class Reads:
    """Keys that a local store was asked for, and bytes it gave."""

    keys: list[str] = field(default_factory=list)
    size_bytes: int = 0

    def pixels(self, array):
        """Keys of shards of an array, without its metadata."""
        return [key for key in self.keys if key.startswith(f"{array}/c/")]


@pytest.fixture
def reads(monkeypatch):
    found = Reads()

    def watched(name):
        before = getattr(LocalStore, name)

        def note(key, answer):
            found.keys.append(key)
            found.size_bytes += len(answer) if answer is not None else 0
            return answer

        async def later(self, key, *args, **kwargs):
            return note(key, await before(self, key, *args, **kwargs))

        def now(self, key, *args, **kwargs):
            return note(key, before(self, key, *args, **kwargs))

        monkeypatch.setattr(LocalStore, name, now if name.endswith("_sync") else later)

    for name in ("get", "get_sync"):
        watched(name)
    return found


# Windows and parts


blocks = st.builds(Block, *(st.integers(0, 40),) * 2, *(st.integers(0, 60),) * 2)


@given(part=blocks, size=st.integers(1, 20), stride=st.integers(1, 25))
def test_windows_of_a_part_are_those_of_the_whole_that_lie_in_it(part, size, stride):
    whole = windows(Block(0, 0, 100, 100), size, stride)

    found = windows(part, size, stride)

    for mine, all_, first, length in (
        (found.rows, whole.rows, part.row, part.height),
        (found.cols, whole.cols, part.col, part.width),
    ):
        inside = [start for start in all_ if first <= start and start + size <= first + length]
        assert mine.tolist() == inside


@given(
    number=st.integers(0, 3),
    rows=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    cols=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_a_part_is_found_again_from_its_coordinates(number, rows, cols):
    attributes = attributes_of((301, 290), 4)
    edge = 1.08e-5 * 2**number
    y = 36.2 - edge * (np.arange(301 >> number) + 0.5)
    x = -115.3 + edge * (np.arange(290 >> number) + 0.5)
    block = Block(min(rows), min(cols), max(rows) - min(rows) + 1, max(cols) - min(cols) + 1)

    part = locate_part(attributes, "EPSG:4326", y[block.yx[0]], x[block.yx[1]])

    if max(block.height, block.width) > 1 or number == 0:
        assert (part.level, part.block) == (number, block)


def attributes_of(shape_yx, count, edge=1.08e-5):
    layout = [
        {
            "asset": f"ovr_{2**n}x" if n else ".",
            "spatial:shape": [-(-size // 2**n) for size in shape_yx],
            "spatial:transform": [edge * 2**n, 0.0, -115.3, 0.0, -edge * 2**n, 36.2],
        }
        for n in range(count)
    ]
    return {"multiscales": {"layout": layout}}


@pytest.mark.parametrize(
    "view",
    [
        lambda cube: cube.isel(y=slice(None, None, 2), x=slice(None, None, 3)),
        lambda cube: cube.isel(y=slice(None, None, -1)),
        lambda cube: cube.isel(x=[1, 2, 4]),
        lambda cube: cube.assign_coords(x=cube.x + 3e-6),
    ],
    ids=["every n-th", "upside down", "picked", "elsewhere"],
)
def test_what_is_no_rectangle_of_a_level_is_refused(cube, view):
    with pytest.raises(sc.RecipeError, match=r"no unbroken rectangle of a level .*without steps"):
        view(cube).spacenet.chips(16)


def test_every_second_pixel_is_not_taken_for_an_overview(cube):
    with pytest.raises(sc.RecipeError, match="without steps"):
        cube.isel(y=slice(None, None, 2), x=slice(None, None, 2)).spacenet.chips(16)


# Counting


@given(st.data())
def test_counts_under_a_coarser_level_equal_counting_pixel_by_pixel(data):
    factor = data.draw(st.sampled_from([1, 2, 4, 8]))
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    coarse = np.array(data.draw(st.lists(st.booleans(), min_size=36, max_size=36))).reshape(6, 6)
    coarse = coarse[: shape[0], : shape[1]]
    corner = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    some = windows(Block(0, 0, 50, 50), data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))

    found = covered(coarse, corner, factor, some)

    canvas = np.zeros((80, 80), int)
    fine = np.kron(coarse, np.ones((factor, factor), int))
    canvas[corner[0] : corner[0] + fine.shape[0], corner[1] : corner[1] + fine.shape[1]] = fine
    expected = [
        [canvas[r : r + some.size_px, c : c + some.size_px].sum() for c in some.cols.tolist()]
        for r in some.rows.tolist()
    ]
    np.testing.assert_array_equal(found, np.array(expected).reshape(some.shape_yx))


class Levels:
    """Levels of a made-up cube: an overview's pixel is valid where any under it is."""

    unsafe_options = ()

    def __init__(self, valid, count):
        self.attributes = attributes_of(valid.shape, count)
        self.levels = [valid]
        for _ in range(count - 1):
            rows, cols = self.levels[-1].shape
            even = np.pad(self.levels[-1], ((0, rows % 2), (0, cols % 2)))
            self.levels.append(
                even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
            )

    def __call__(self, number, *, chunks="shard"):
        index = xr.DataArray(self.levels[number].astype("uint16"), dims=("y", "x"))
        native = xr.Dataset({"source_index": index}, attrs=self.attributes)
        return native if chunks is None else native.chunk(y=16, x=16)


@given(st.data())
@settings(max_examples=count(12, of=40))
def test_chips_are_kept_by_their_exact_share_whatever_the_overview_says(data):
    shape = data.draw(st.tuples(st.integers(20, 50), st.integers(20, 50)))
    seed = data.draw(st.integers(0, 2**32))
    share = data.draw(st.sampled_from([0.02, 0.5, 0.9, 1.0]))
    blobs = np.random.default_rng(seed).random((-(-shape[0] // 7), -(-shape[1] // 7))) < 0.6
    valid = np.kron(blobs, np.ones((7, 7), bool))[: shape[0], : shape[1]]
    opener = Levels(valid, 4)
    native = opener(0)
    size, stride = data.draw(st.integers(4, 18)), data.draw(st.integers(3, 18))
    part = Part(0, Grid(shape, Affine.scale(1), "EPSG:4326"), Block(0, 0, *shape))
    some = windows(part.block, size, stride)
    least = max(1, math.ceil(share * size**2 - 1e-6))
    every = np.ones(some.shape_yx, bool)

    found = valid_pixels(native, opener, part, some, least=least, wanted=every)
    bound = valid_pixels(native, opener, part, some, least=0, wanted=every)

    exact = np.array(
        [[valid[r : r + size, c : c + size].sum() for c in some.cols] for r in some.rows]
    ).reshape(some.shape_yx)
    np.testing.assert_array_equal(found, np.where(exact >= least, exact, found))
    assert (found[exact < least] < least).all()
    assert (bound >= exact).all()


def test_chips_of_a_cube_are_those_that_numpy_counts(cube):
    found = cube.spacenet.chips(20, stride=13, valid=0.7)

    expected = {
        (row, col): VALID[row : row + 20, col : col + 20].mean()
        for row in range(0, 301 - 19, 13)
        for col in range(0, 210 - 19, 13)
        if VALID[row : row + 20, col : col + 20].mean() >= 0.7
    }
    assert {(chip.row, chip.col): chip.share_valid for chip in found.windows} == expected
    assert any(0.7 <= share < 1 for share in expected.values())


def test_a_chip_just_short_of_its_share_is_dropped(cube):
    # Half of 49 pixels is 24.5, so 25 are needed; the ragged corner leaves some windows 24.
    found = cube.spacenet.chips(7, stride=1, valid=0.5).windows

    counts = {round(chip.share_valid * 49) for chip in found}
    assert min(counts) >= 25


@pytest.mark.parametrize("valid", [0.0, 0.5, 1.0])
def test_chips_that_know_no_overview_are_the_same(url, cube, valid):
    with xr.open_zarr(url, decode_coords="all") as plain:
        blind = plain.spacenet.chips(16, valid=valid)
        eager = sc.open_cube(url, chunks=None).spacenet.chips(16, valid=valid)

        seeing = cube.spacenet.chips(16, valid=valid)

        places = [[(c.row, c.col) for c in each.windows] for each in (blind, eager, seeing)]
    assert places[0] == places[1]
    assert set(places[1]) <= set(places[2])
    assert places[1] == places[2] or valid == 0


def test_a_chip_tells_where_it_lies(cube):
    chips = cube.spacenet.chips(32, valid=1.0)

    chip = chips.chip(8)

    assert (chip.row, chip.col, chip.split, chip.share_valid) == (32, 64, None, 1.0)
    west, south, east, north = chips[8].rio.bounds()
    assert chip.bounds == pytest.approx((west, south, east, north), abs=1e-10)
    assert chip.crs == "EPSG:4326"
    assert repr(chips) == f"<{len(chips)} chips of 32 x 32 pixels>"


def test_where_an_overview_is_empty_nothing_else_is_read(tmp_path, reads):
    # The south-eastern 88 x 100 pixels are empty, from row 616 and column 100; shards have 64 x 64.
    cube = sc.open_cube(write_cube(tmp_path, Fake(shape_yx=(704, 200), bands=("pan",))))
    reads.keys.clear()

    empty = cube.isel(y=slice(616, 704), x=slice(100, 200)).spacenet.chips(16, stride=4)
    overviews = {key.split("/")[0] for key in reads.keys if "/c/" in key}
    reads.keys.clear()
    some = cube.spacenet.chips(16, valid=0.9)
    native = set(reads.pixels("source_index"))

    assert len(empty) == 0
    assert overviews == {"ovr_4x"}
    assert len(some) > 400
    shards = {f"source_index/c/{row}/{col}" for row in range(11) for col in range(4)}
    # No chip fits into the last 8 columns, and none of the last row's 16 x 16 is read further east.
    assert shards - native == {
        *(f"source_index/c/10/{col}" for col in (2, 3)),
        *(f"source_index/c/{row}/3" for row in range(10)),
    }
    assert reads.pixels("image") == []


def test_with_valid_0_nothing_but_an_overview_is_read(cube, reads):
    found = cube.spacenet.chips(16, valid=0)

    assert {key.split("/")[0] for key in reads.keys if "/c/" in key} == {"ovr_4x"}
    exact = {(c.row, c.col): c.share_valid for c in cube.spacenet.chips(16, valid=1e-9).windows}
    bound = {(c.row, c.col): c.share_valid for c in found.windows}
    assert exact.keys() <= bound.keys()
    assert all(bound[place] >= share for place, share in exact.items())


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"size": 0}, "set size and stride to at least 1"),
        ({"stride": -1}, "set size and stride to at least 1"),
        ({"valid": 1.5}, "give one from 0 .any. to 1"),
        ({"split": {"train": 0.8}}, "add up to 1"),
        ({"split": {"train": 1.2, "val": -0.2}}, "add up to 1"),
        ({"split": {}}, "add up to 1"),
        ({"split": THREE, "block_px": 15}, "set block_px to at least 16"),
        ({"split": THREE, "buffer_px": -1}, "buffer_px to 0 or more"),
    ],
)
def test_what_cannot_stand_is_refused_with_the_mend(cube, asked, match):
    with pytest.raises(sc.RecipeError, match=match):
        cube.spacenet.chips(**{"size": 16, **asked})


def test_a_cube_smaller_than_a_chip_has_none(cube):
    found = cube.spacenet.chips(512)

    assert len(found) == 0
    assert list(found) == []
    assert list(found.shuffled().pooled()) == []
    assert len(cube.isel(y=slice(0, 0)).spacenet.chips(16)) == 0
    with pytest.raises(sc.RecipeError, match="no chips to make batches of"):
        found.to_xbatcher()


def test_a_cube_without_source_index_is_told_so(cube):
    with pytest.raises(sc.RecipeError, match="no variable 'source_index'"):
        cube[["image"]].spacenet.chips(16)


# Splits


settled = st.builds(
    Splits,
    st.sampled_from([(("a", 0.5), ("b", 0.5)), tuple(THREE.items()), (("all", 1.0),)]),
    block_px=st.integers(8, 40),
    buffer_px=st.integers(0, 9),
    seed=st.integers(-5, 2**40),
)


@settings(max_examples=count(12, of=40))
@given(chosen=settled, stride=st.integers(2, 12))
def test_splits_never_overlap_and_keep_their_distance(chosen, stride):
    some = windows(Block(0, 0, 90, 130), 8, stride)

    found = assigned(some, chosen, (90, 130))

    painted = np.full((90, 130), -1)
    for i, row in enumerate(some.rows.tolist()):
        for j, col in enumerate(some.cols.tolist()):
            if found[i, j] >= 0:
                near = chosen.buffer_px
                around = painted[
                    max(row - near, 0) : row + 8 + near, max(col - near, 0) : col + 8 + near
                ]
                assert set(np.unique(around)) <= {-1, found[i, j]}
                painted[row : row + 8, col : col + 8] = found[i, j]


@given(chosen=settled, part=blocks)
def test_a_part_splits_as_the_whole_does(chosen, part):
    whole = windows(Block(0, 0, 100, 100), 8, 5)
    some = windows(part, 8, 5)

    mine = assigned(some, chosen, (100, 100))

    rows, cols = np.isin(whole.rows, some.rows), np.isin(whole.cols, some.cols)
    np.testing.assert_array_equal(mine, assigned(whole, chosen, (100, 100))[np.ix_(rows, cols)])


@pytest.mark.parametrize("seed", range(5))
def test_each_split_gets_its_share_of_the_ground(seed):
    ground = owners(120, 120, Splits(tuple(THREE.items()), 8, seed=seed))

    shares = np.bincount(ground.ravel()) / ground.size
    np.testing.assert_allclose(shares, list(THREE.values()), atol=0.02)
    other = owners(120, 120, Splits(tuple(THREE.items()), 8, seed=seed + 1))
    assert 0.3 < (ground == other).mean() < 0.6


def test_a_split_of_a_cube_is_the_same_every_time_and_of_every_part(cube):
    asked = {"size": 16, "split": THREE, "block_px": 48, "seed": 7}

    whole = cube.spacenet.chips(**asked)
    part = cube.isel(y=slice(50, 250), x=slice(20, 200)).spacenet.chips(**asked)

    places = {(c.row, c.col): c.split for c in whole.windows}
    inside = {(r, c): s for (r, c), s in places.items() if 50 <= r <= 234 and 20 <= c <= 184}
    assert {(c.row, c.col): c.split for c in part.windows} == inside
    assert set(places.values()) == set(THREE)
    assert whole.windows == cube.spacenet.chips(**asked).windows
    assert repr(whole).endswith(f"test {len(whole.of('test'))}>")
    assert sum(len(whole.of(name)) for name in THREE) == len(whole)
    with pytest.raises(sc.RecipeError, match=r"no split 'dev' .there is train, val, test."):
        whole.of("dev")


def test_pan_and_mul_split_the_same_ground_alike(tmp_path):
    mul = write_cube(tmp_path, Fake(shape_yx=(96, 96)))
    four = Fake(product="PAN", bands=("pan",), shape_yx=(384, 384), pixel_size=2.7e-6)
    pan = write_cube(tmp_path, four)

    coarse = sc.open_cube(mul).spacenet.chips(8, split=THREE, block_px=24)
    fine = sc.open_cube(pan).spacenet.chips(32, split=THREE, block_px=96)

    assert {(4 * c.row, 4 * c.col): c.split for c in coarse.windows} == {
        (c.row, c.col): c.split for c in fine.windows
    }


# Reading


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(
    "view",
    [
        lambda cube: cube,
        lambda cube: cube.isel(y=slice(30, 140), x=slice(7, 99)),
        lambda cube: cube.sel(band=["red", "nir1"]),
        lambda cube: cube.sel(band="red"),
        lambda cube: cube.assign(image=cube.image * 2),
        lambda cube: cube.isel(y=slice(30, 140)).isel(x=slice(7, 99)),
        lambda cube: cube.chunk(y=50, x=50),
    ],
    ids=["whole", "part", "bands", "one band", "changed", "part of a part", "other chunks"],
)
@pytest.mark.parametrize("chunks", ["shard", None])
def test_every_way_of_reading_a_chip_gives_the_same_pixels(url, level, view, chunks):
    cube = view(sc.open_cube(url, level=level, chunks=chunks))
    chips = cube.spacenet.chips(24, stride=37)
    held = cube.image.values

    shown = chips.shuffled(3, window=2)

    assert len(chips) > 3
    for number, pooled in enumerate(shown.pooled()):
        chip = shown.chip(number)
        row, col = chip.row - chips.part.block.row, chip.col - chips.part.block.col
        expected = held[..., row : row + 24, col : col + 24]
        np.testing.assert_array_equal(pooled[0], expected)
        np.testing.assert_array_equal(shown.load(number), expected)
        np.testing.assert_array_equal(shown[number].image.values, expected)


def test_a_chip_is_lazy_and_knows_its_place(cube):
    chips = cube.spacenet.chips(24)

    def refuse(*_args, **_kwargs):
        pytest.fail("dask was asked to compute")

    with dask.config.set(scheduler=refuse):
        chip, few = chips[3], chips[2:5]

    assert chip.image.sizes == {"band": 8, "y": 24, "x": 24}
    assert chip.rio.crs == "EPSG:4326"
    assert [each.row for each in few.windows] == [each.row for each in chips.windows[2:5]]
    xr.testing.assert_identical(chips[-1], chips[len(chips) - 1])
    with pytest.raises(IndexError):
        chips[len(chips)]


@given(
    places=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=40),
    seed=st.integers(0, 99),
    window=st.integers(1, 5),
)
def test_a_shuffle_is_a_permutation_that_files_each_shard_in_one_pool(places, seed, window):
    rows, cols = np.array(places, np.int64).reshape(-1, 2).T
    shards = np.stack([rows // 64, cols // 64], axis=1)

    shown = shuffled(rows, cols, shards, seed, window)

    assert sorted(shown.order.tolist()) == list(range(len(places)))
    assert sum(shown.pools) == len(places)
    ends = np.cumsum((0, *shown.pools))
    pools = [
        {tuple(shard) for shard in shards[shown.order[a:b]].tolist()} for a, b in pairwise(ends)
    ]
    assert all(len(pool) <= window for pool in pools)
    assert sum(map(len, pools)) == len({tuple(shard) for shard in shards.tolist()})


@given(
    chips=st.lists(blocks.filter(lambda b: b.pixels), max_size=6),
    heights=st.lists(st.integers(0, 30), min_size=4, max_size=8),
    widths=st.lists(st.integers(0, 30), min_size=4, max_size=8),
)
def test_what_is_read_of_each_shard_is_just_what_chips_want_of_it(chips, heights, widths):
    tiles = tiling(heights, widths, Block(5, 3, sum(heights), sum(widths)))

    found = boxes(chips, tiles)

    for tile in tiles.blocks:
        wanted = [part for part in (tile.intersection(chip) for chip in chips) if part]
        assert (tile in found) == bool(wanted)
        if wanted:
            box = found[tile]
            assert all(box.intersection(part) == part for part in wanted)
            assert box.row == min(part.row for part in wanted)
            assert box.col + box.width == max(part.col + part.width for part in wanted)


def test_another_seed_is_another_order(cube):
    chips = cube.spacenet.chips(16)

    orders = [[(c.row, c.col) for c in chips.shuffled(seed).windows] for seed in (0, 0, 1)]

    assert orders[0] == orders[1] != orders[2]
    with pytest.raises(sc.RecipeError, match="set it to at least 1"):
        chips.shuffled(window=0)


def test_shuffled_chips_read_each_shard_once(cube, reads):
    chips = cube.spacenet.chips(16, valid=0).shuffled(1, window=3)
    reads.keys.clear()
    reads.size_bytes = 0

    count = sum(1 for _ in chips.pooled())

    shards = reads.pixels("image")
    assert count == len(chips) > 200
    assert len(set(shards)) == 20
    stored = sum((cube_path(cube) / key).stat().st_size for key in set(shards))
    assert reads.size_bytes <= stored * 1.1

    reads.size_bytes = 0
    for number in range(len(chips)):
        chips.load(number)
    assert reads.size_bytes > stored * 3


def cube_path(cube):
    return Path(cube.encoding["source"])


# Sending


def test_chips_travel_by_pickle(cube):
    chips = cube.spacenet.chips(24, split=THREE, block_px=72)
    chips.load(0)

    arrived = pickle.loads(pickle.dumps(chips))  # noqa: S301 - our own

    assert arrived.windows == chips.windows
    np.testing.assert_array_equal(arrived.load(5), chips.load(5))


def test_secrets_do_not_travel(url):
    canaries = {"key": "CANARYKEY", "secret": "CANARYSECRET", "anon": False}
    chips = sc.open_cube(url).spacenet.chips(24)
    opener = LevelOpener("s3://bucket/cube.zarr", canaries)

    with pytest.raises(sc.RecipeError, match="key, secret, which may hold secrets") as caught:
        pickle.dumps(replace(chips, opener=opener))

    assert "CANARY" not in str(caught.value)
    assert pickle.dumps(replace(chips, opener=LevelOpener("s3://b/c.zarr", {"region": "x"})))


# Batches


def test_xbatcher_gives_the_chips(cube):
    chips = cube.spacenet.chips(24, split=THREE, block_px=72).of("train")

    batches = chips.to_xbatcher()

    assert len(batches) == len(chips)
    for number, batch in enumerate(batches):
        xr.testing.assert_identical(batch, chips[number].load())
    assert batches.input_dims == {"y": 24, "x": 24}


def test_samples_are_pixels_in_float_and_targets_beside_them(cube):
    chips = cube.spacenet.chips(24)
    target = (cube.spacenet.valid & (cube.x > float(cube.x[100]))).rename("east")

    plain, paired = ChipSamples(chips), ChipSamples(chips, target=target)
    summed = ChipSamples(chips, target=target, transform=lambda a, b: float(a.sum() + b.sum()))

    image, labels = paired[9]
    assert len(plain) == len(paired) == len(chips)
    assert (plain[9].dtype, image.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    np.testing.assert_array_equal(image, chips.load(9))
    np.testing.assert_array_equal(labels, chips.cut(target, 9))
    assert summed[9] == image.sum() + labels.sum()
    with pytest.raises(IndexError):
        plain[len(chips)]
    np.testing.assert_array_equal(plain[-1], plain[len(plain) - 1])


def test_a_target_elsewhere_is_refused(cube):
    chips = cube.spacenet.chips(24)

    for target in (
        cube.spacenet.valid.isel(x=slice(5)),
        cube.spacenet.valid.shift(x=1).assign_coords(x=cube.x + 1e-5),
        xr.DataArray(np.zeros((301, 210)), dims=("y", "x")),
    ):
        with pytest.raises(sc.RecipeError, match="make it of the same dataset"):
            ChipSamples(chips, target=target)
        with pytest.raises(sc.RecipeError, match="make it of the same dataset"):
            next(iter(chips.pooled(target)))


def test_workers_share_a_stream_and_epochs_differ(cube):
    chips = cube.spacenet.chips(24)
    target = cube.image.isel(band=0).drop_vars("band")

    class Third(ChipStream):
        number = 0

        def share(self):
            return self.number, 3

    seen = []
    for number in range(3):
        stream = Third(chips, seed=5, window=2, target=target)
        stream.number = number
        seen.append([(image[0].tobytes(), first.astype("f4").tobytes()) for image, first in stream])
    alone = ChipStream(chips, seed=5, window=2)
    first = [image.tobytes() for image in alone]
    alone.set_epoch(1)
    second = [image.tobytes() for image in alone]

    assert all(each for each in seen)
    assert all(image == label for each in seen for image, label in each)
    assert sum(map(len, seen)) == len(chips)
    assert len({image for each in seen for image, _ in each}) == len(chips)
    assert sorted(first) == sorted(second)
    assert first != second


def test_without_torch_the_error_says_what_to_install(cube, monkeypatch):
    monkeypatch.setattr("spacenet_cube.cube.chips.chips.find_spec", lambda _name: None)
    chips = cube.spacenet.chips(24)

    for call in (chips.to_torch, chips.to_torch_stream):
        with pytest.raises(sc.MissingExtraError, match="pip install torch"):
            call()


def test_torch_loads_chips_with_workers(cube):
    torch = pytest.importorskip("torch", reason="torch is not installed, and nothing needs it")
    chips = cube.spacenet.chips(24)
    target = cube.spacenet.valid

    def loaded(samples):
        loader = torch.utils.data.DataLoader(
            samples, batch_size=4, num_workers=2, multiprocessing_context="spawn"
        )
        return list(loader)

    maps = loaded(chips.to_torch(target=target))
    streams = loaded(chips.to_torch_stream(target=target, seed=1))

    assert maps[0][0].shape == (4, 8, 24, 24)
    assert maps[0][0].dtype == torch.float32
    assert maps[0][1].dtype == torch.int64
    np.testing.assert_array_equal(maps[0][0][2].numpy(), chips.load(2))
    for found in (maps, streams):
        held = sorted(image.numpy().tobytes() for images, _ in found for image in images)
        assert held == sorted(chips.load(i).astype("f4").tobytes() for i in range(len(chips)))


# Showing


def test_footprints_are_where_the_chips_are(cube):
    chips = cube.spacenet.chips(24, split=THREE, block_px=72)

    table = chips.to_geodataframe()

    assert list(table.columns) == ["row", "col", "split", "share_valid", "geometry"]
    assert table.crs == "EPSG:4326"
    np.testing.assert_allclose(table.geometry.bounds, [chip.bounds for chip in chips.windows])
    assert table["split"].tolist() == [chip.split for chip in chips.windows]
    assert len(cube.spacenet.chips(512).to_geodataframe()) == 0


def test_splits_are_drawn_on_the_picture(cube):
    chips = cube.spacenet.chips(24, split=THREE, block_px=72)

    axes = chips.plot(ax=Figure().add_subplot())
    plain = cube.spacenet.chips(24).plot(ax=Figure().add_subplot())

    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == [f"{name} ({len(chips.of(name))})" for name in THREE]
    assert [len(each.get_paths()) for each in axes.collections] == [
        len(chips.of(name)) for name in THREE
    ]
    assert plain.get_legend().get_texts()[0].get_text().startswith("chips (")


def test_without_extras_the_error_says_what_to_install(cube, monkeypatch):
    chips = cube.spacenet.chips(24)
    monkeypatch.setattr("spacenet_cube.cube.chips.outlines.find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "xbatcher", None)

    for call in (chips.to_geodataframe, chips.to_xbatcher):
        with pytest.raises(sc.MissingExtraError, match=r"pip install 'spacenet-cube\[learn\]'"):
            call()


def test_windows_touching_a_block_are_found():
    some = Windows(np.arange(0, 100, 10), np.arange(0, 50, 10), 10)

    assert some.touching(Block(15, 30, 10, 5)) == (slice(1, 3), slice(3, 4))
