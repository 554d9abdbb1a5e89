"""Overviews answer for stored pixels alone, whatever was done to a dataset before."""

import os

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.cube.analysis import regrid
from spacenet_cube.cube.analysis.stored import stored_array, stored_part
from spacenet_cube.cube.open import open_cube
from spacenet_cube.raster.grid import Block
from tests.tiny_cubes import planned, scenes

EXAMPLES = 2000 if os.environ.get("SPACENET_CUBE_TEST_ALL") else 40


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return _built(tmp_path_factory.mktemp("cubes"))


def _built(folder):
    scenes(folder / "scenes", "cloud")
    return sc.build(planned(folder / "scenes", "cloud"), folder / "cubes", workers=1)


def _rows(cube, draw):
    edges = sorted(draw(st.lists(st.integers(0, cube.sizes["y"]), min_size=2, max_size=2)))
    return cube.isel(y=slice(*edges)) if edges[1] - edges[0] > 1 else cube


def _cols(cube, draw):
    begin = draw(st.integers(0, cube.sizes["x"] - 2))
    return cube.isel(x=slice(begin, None))


def _even_corner(cube, draw):
    first = 2 ** draw(st.integers(0, 3))
    return cube.isel(y=slice(first, None)) if cube.sizes["y"] > first + 1 else cube


def _bands(cube, draw):
    if "band" not in cube.dims:
        return cube
    some = draw(st.lists(st.sampled_from(list(cube.band.values)), min_size=1, unique=True))
    return cube.sel(band=some)


def _one_band(cube, draw):
    return cube.isel(band=[draw(st.integers(0, cube.sizes["band"] - 1))])


def _masked(cube, draw):
    rows = draw(st.integers(1, cube.sizes["y"]))
    clear = xr.DataArray(np.arange(cube.sizes["y"]) >= rows, dims="y")
    return cube.assign(source_index=cube.source_index.where(clear, 0).astype("uint16"))


def _added(cube, _):
    return cube.assign(image=cube.image + np.uint16(3))


def _copied(cube, _):
    return cube.assign(image=cube.image.copy(data=cube.image.data // 2))


def _mapped(cube, _):
    # The template must keep the encoding, as that of map_blocks does.
    made = xr.map_blocks(lambda block: block // 3, cube.image, template=cube.image)
    return cube.assign(image=made) if cube.image.chunks else cube


def _shifted(cube, draw):
    return cube.assign(image=cube.image.shift(y=draw(st.integers(1, 9)), fill_value=0))


def _refilled(cube, draw):
    kept = draw(st.integers(1, cube.sizes["y"]))
    return cube.isel(y=slice(kept)).reindex(y=cube.y, fill_value=0)


def _joined(cube, draw):
    cut = draw(st.integers(1, cube.sizes["y"] - 1))
    return xr.concat([cube.isel(y=slice(cut)), cube.isel(y=slice(cut, None))], "y")


def _loaded(cube, _):
    return cube.load()


def _persisted(cube, _):
    return cube.persist()


def _rechunked(cube, draw):
    return cube.chunk(y=draw(st.sampled_from([7, 32, 64])))


def _edited(cube, _):
    cube = cube.load()
    cube.image.values[..., : cube.sizes["y"] // 2, :] = 9
    return cube


def _copy(cube, _):
    return cube.copy()


OPERATIONS = (
    _rows, _cols, _even_corner, _bands, _one_band, _masked, _added, _copied, _mapped, _shifted,
    _refilled, _joined, _loaded, _persisted, _rechunked, _edited, _copy,
)  # fmt: skip


def _alone(cube):
    """The same dataset in memory, without anything that tells of a cube on disk."""
    found = cube.copy(deep=True).compute().drop_encoding()
    found.encoding = {}
    return found


@given(st.data())
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
    # A failing chain is short enough to read, and each step of making it shorter builds graphs.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_whatever_was_done_a_method_answers_from_the_pixels_at_hand(url, data):
    cube = open_cube(url, level=data.draw(st.sampled_from([0, 0, 0, 1])))
    for operation in data.draw(st.lists(st.sampled_from(OPERATIONS), max_size=20)):
        event(operation.__name__)
        cube = operation(cube, data.draw)
        if min(cube.sizes["y"], cube.sizes["x"]) < 2:
            break
    factor = data.draw(st.sampled_from([2, 3, 4, 8, 12]))
    alone = _alone(cube)

    found, expected = cube.spacenet.coarsen(factor), alone.spacenet.coarsen(factor)

    np.testing.assert_array_equal(found.image.values, expected.image.values)
    np.testing.assert_array_equal(found.source_index.values, expected.source_index.values)
    np.testing.assert_allclose(found.y, expected.y, atol=1e-12)
    assert list(np.atleast_1d(found.band)) == list(np.atleast_1d(expected.band))
    exact, near = cube.spacenet.coverage(), cube.spacenet.coverage(approximate=True)
    np.testing.assert_array_equal(exact.pixels, alone.spacenet.coverage().pixels)
    assert near.share.sum() >= exact.share.sum() - 1e-9
    chips = cube.spacenet.chips(16, valid=0.5), alone.spacenet.chips(16, valid=0.5)
    assert [len(each) for each in chips] == [len(chips[1])] * 2


def test_without_the_proof_a_changed_dataset_would_answer_from_overviews(url, monkeypatch):
    cube = open_cube(url)
    doubled = cube.assign(image=cube.image.copy(data=cube.image.data * 2))
    right, stale = _alone(doubled).spacenet.coarsen(2), stored_part(cube)
    monkeypatch.setattr(regrid, "stored_part", lambda _cube: stale)

    wrong = doubled.spacenet.coarsen(2)

    assert not np.array_equal(wrong.image, right.image)


@pytest.mark.parametrize(
    ("part", "block", "bands"),
    [
        (lambda cube: cube, Block(0, 0, 90, 70), (0, 1)),
        (lambda cube: cube.isel(y=slice(3, 90)).isel(x=slice(5, 55)), Block(3, 5, 87, 50), (0, 1)),
        (lambda cube: cube.isel(band=[1, 0]), Block(0, 0, 90, 70), (1, 0)),
        (lambda cube: cube.isel(band=1, y=slice(8, 16)), Block(8, 0, 8, 70), (1,)),
        (lambda cube: cube.copy(), Block(0, 0, 90, 70), (0, 1)),
    ],
    ids=["whole", "slices of slices", "bands by a list", "one band", "a copy"],
)
@pytest.mark.parametrize("chunks", ["shard", None])
def test_a_selection_is_proved_to_be_stored(url, part, block, bands, chunks):
    found = stored_part(part(open_cube(url, chunks=chunks)))

    assert found is not None
    assert (found.level, found.block, found.bands) == (0, block, bands)


@pytest.mark.parametrize(
    "change",
    [
        lambda cube: cube.isel(y=slice(None, None, 2)),
        lambda cube: cube.isel(y=slice(None, None, -1)),
        lambda cube: cube.assign_coords(y=cube.y + 0.3),
        lambda cube: cube.assign_coords(x=cube.x.values[::-1]),
        lambda cube: cube.persist(),
        lambda cube: cube.load(),
        lambda cube: cube.drop_vars("spatial_ref"),
        lambda cube: cube.rio.write_crs("EPSG:32612"),
        lambda cube: cube.assign(source_index=cube.source_index.isel(y=slice(None, None, -1))),
        lambda cube: cube.assign(source_index=(cube.source_index > 1).astype("uint16")),
        lambda cube: cube.assign(image=cube.image.astype("float32")),
        lambda cube: cube.transpose("y", "x", "band"),
        lambda cube: cube.drop_vars("source_index"),
    ],
)
def test_what_may_differ_from_the_stored_pixels_is_not_proved(url, change):
    assert stored_part(change(open_cube(url))) is None


def test_pixels_of_two_cubes_prove_nothing(url, tmp_path):
    other = open_cube(_built(tmp_path))

    assert stored_part(open_cube(url).assign(source_index=other.source_index)) is None


def test_the_stored_array_has_the_pixels_of_the_selection(url):
    part = open_cube(url).image.isel(band=[1, 0], y=slice(20, 60), x=slice(7, 30))

    direct = stored_array(part)

    assert direct is not None
    assert direct.chunks is None
    np.testing.assert_array_equal(direct.values, part.values)
    assert stored_array(part.persist()) is None
