"""Opening: what comes out of a published cube, and what is said where there is none."""

import pickle
import shutil
from pathlib import Path

import dask
import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import FsspecStore, LocalStore

from spacenet_cube.cube.guard import GuardedArray
from spacenet_cube.cube.open import choose_level, cube_url, open_cube
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.format.levels import levels
from tests.fake_cube import MUL, PAN, WAVELENGTH_NM, Fake, pixels, sources, write_cube

IMAGE_DIMS = 3
EXPECTED = np.where(sources(Fake()) > 0, pixels(Fake()), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("cubes")
    write_cube(made)
    return made


@pytest.fixture(scope="module")
def url(folder):
    return str(folder / "AOI_2_Vegas" / "MUL.zarr")


@pytest.fixture
def nothing_computes():
    def refuse(*_args, **_kwargs):
        pytest.fail("dask was asked to compute")

    with dask.config.set(scheduler=refuse):
        yield


def test_a_cube_opens_with_its_pixels_its_bands_and_its_crs(url):
    cube = open_cube(url)

    assert cube.image.dims == ("band", "y", "x")
    assert cube.image.dtype == np.uint16
    assert tuple(cube.band.values) == MUL
    assert cube.rio.crs == "EPSG:4326"
    assert cube.image.rio.nodata == 0
    assert cube.image.sel(band="nir1").wavelength == WAVELENGTH_NM["nir1"]
    np.testing.assert_array_equal(cube.image.values, EXPECTED)
    np.testing.assert_array_equal(cube.source_index.values, sources(Fake()))


@pytest.mark.usefixtures("nothing_computes")
def test_opening_computes_nothing(url):
    cube = open_cube(url, level=1)

    assert cube.image.chunks is not None
    assert cube.source_index.chunks is not None


def test_plain_xarray_opens_the_same_pixels(url):
    with xr.open_zarr(url, decode_coords="all") as plain:
        assert plain.rio.crs == "EPSG:4326"
        found = plain.image.fillna(0).astype("uint16")
        np.testing.assert_array_equal(found.values, open_cube(url).image.values)


def test_a_band_is_selected_by_its_name(url):
    band = open_cube(url).image.sel(band="nir1")

    np.testing.assert_array_equal(band.values, EXPECTED[MUL.index("nir1")])


def test_an_aoi_and_a_product_name_a_cube(folder, monkeypatch):
    by_root = open_cube("AOI_2_Vegas", "MS", root=folder)
    monkeypatch.setenv("SPACENET_CUBE_ROOT", str(folder))
    by_environment = open_cube("AOI_2_Vegas", "MUL")

    xr.testing.assert_identical(by_root, by_environment)


@pytest.mark.parametrize(
    ("alias", "product"),
    [("MS", "MUL"), ("PS-MS", "MUL-PanSharpen"), ("PS-RGB", "RGB-PanSharpen"), ("PAN", "PAN")],
)
def test_todays_names_of_products_are_understood(alias, product):
    url = cube_url("AOI_3_Paris", alias, "s3://bucket/")

    assert url == f"s3://bucket/AOI_3_Paris/{product}.zarr"


def test_a_cube_is_looked_for_in_the_folder_cubes(monkeypatch):
    monkeypatch.delenv("SPACENET_CUBE_ROOT", raising=False)

    assert cube_url("AOI_2_Vegas", "PAN") == "cubes/AOI_2_Vegas/PAN.zarr"


def test_dask_chunks_are_shards_with_all_bands(url):
    cube = open_cube(url)

    assert cube.image.chunks == ((8,), (64,) * 4 + (45,), (64, 64, 64, 18))
    assert cube.source_index.chunks == cube.image.chunks[1:]


def test_chunks_auto_are_whole_shards_alike_for_both_arrays(url):
    with dask.config.set({"array.chunk-size": "300 kB"}):
        cube = open_cube(url, chunks="auto")

    assert cube.source_index.chunks == cube.image.chunks[1:]
    assert cube.image.chunks[1][0] == 128


def test_chunks_by_dimension_leave_the_rest_as_shards(url):
    cube = open_cube(url, chunks={"y": 128})

    assert cube.image.chunks == ((8,), (128, 128, 45), (64, 64, 64, 18))


def test_without_chunks_there_is_no_dask(url):
    cube = open_cube(url, chunks=None)

    assert cube.image.chunks is None
    np.testing.assert_array_equal(cube.image.isel(y=3).values, EXPECTED[:, 3])


def test_a_cube_without_shards_has_tasks_of_many_chunks(tmp_path):
    url = write_cube(tmp_path, Fake(sharded=False))

    assert open_cube(url).image.chunks == ((8,), (301,), (210,))


@pytest.mark.parametrize("chunks", ["shards", {"band_": 1}, 3])
def test_chunks_that_make_no_sense_are_refused(url, chunks):
    with pytest.raises(RecipeError, match="give 'shard', 'auto', None"):
        open_cube(url, chunks=chunks)


@pytest.mark.parametrize("number", range(5))
def test_a_level_is_a_smaller_picture_of_the_same_ground(url, number):
    cube = open_cube(url, level=number)

    assert cube.sizes["y"] == -(-301 // 2**number)
    assert cube.rio.crs == "EPSG:4326"
    assert cube.rio.bounds()[0] == pytest.approx(-115.3075176, abs=1e-9)
    assert cube.rio.bounds()[3] == pytest.approx(36.2639592, abs=1e-9)
    np.testing.assert_array_equal(cube.image.values, EXPECTED[:, :: 2**number, :: 2**number])


def test_a_level_has_the_attributes_of_the_root_and_its_own(url):
    native, level = open_cube(url), open_cube(url, level=2)

    assert level.attrs["license"] == native.attrs["license"]
    assert level.attrs["spacenet_cube"] == native.attrs["spacenet_cube"]
    assert level.attrs["spatial:shape"] == [76, 53]


@pytest.mark.parametrize(
    ("resolution", "number"),
    [(1e-9, 0), (1.08e-5, 0), (2.15e-5, 0), (2.16e-5, 1), (5e-5, 2), (1.0, 4)],
)
def test_a_resolution_gives_the_coarsest_level_that_is_fine_enough(url, resolution, number):
    expected = open_cube(url, level=number)

    assert open_cube(url, resolution=resolution).sizes == expected.sizes


def test_a_level_that_is_not_there_names_those_that_are(url):
    with pytest.raises(RecipeError, match=r"no level 9; give one of 0 \(301 x 210 .* 4 \(19 x 14"):
        open_cube(url, level=9)
    with pytest.raises(RecipeError, match="no level -1"):
        open_cube(url, level=-1)


def test_level_and_resolution_together_are_refused(url):
    with pytest.raises(RecipeError, match="give one of them"):
        open_cube(url, level=1, resolution=1e-5)


@pytest.mark.parametrize("resolution", [0.0, -1.0, float("nan")])
def test_a_resolution_that_is_no_pixel_size_is_refused(url, resolution):
    with pytest.raises(RecipeError, match="give one above 0"):
        choose_level(levels(open_cube(url).attrs), resolution=resolution)


def test_where_nothing_is_the_error_says_so(tmp_path):
    with pytest.raises(StoreError, match=r"no cube at .*PAN\.zarr.*build it with") as caught:
        open_cube("AOI_2_Vegas", "PAN", root=tmp_path)

    assert caught.value.__cause__ is not None
    assert not list(tmp_path.iterdir())


def test_an_aoi_alone_is_told_to_name_a_product():
    with pytest.raises(StoreError, match=r"give a product too.*'AOI_2_Vegas', 'MUL'"):
        open_cube("AOI_2_Vegas")


def test_an_unfinished_build_is_named(url, tmp_path):
    partial = tmp_path / "MUL.zarr"
    shutil.copytree(url, partial)
    (partial / "zarr.json").unlink()
    Path(f"{partial}.build").mkdir()

    with pytest.raises(StoreError, match=r"is not published.*unfinished build"):
        open_cube(partial)


def test_a_zarr_group_of_somebody_else_is_refused(tmp_path):
    zarr.create_group(str(tmp_path / "other.zarr"))

    with pytest.raises(StoreError, match="no cube of spacenet_cube"):
        open_cube(tmp_path / "other.zarr")


def test_a_damaged_root_is_one_clear_error(tmp_path):
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{")

    with pytest.raises(StoreError, match="cannot be read: JSONDecodeError"):
        open_cube(tmp_path / "bad.zarr")


def test_a_path_with_a_product_and_a_root_without_one_are_refused():
    with pytest.raises(RecipeError, match="is a path and comes with product 'MUL'"):
        open_cube("cubes/AOI_2_Vegas/MUL.zarr", "MUL")
    with pytest.raises(RecipeError, match="a root but no product"):
        open_cube("AOI_2_Vegas", root="cubes")


@pytest.mark.parametrize("chunks", ["shard", None])
def test_a_missing_chunk_raises_and_never_reads_as_nodata(url, tmp_path, chunks):
    broken = tmp_path / "MUL.zarr"
    shutil.copytree(url, broken)
    (broken / "image" / "c" / "0" / "0" / "0").unlink()

    cube = pickle.loads(pickle.dumps(open_cube(broken, chunks=chunks)))  # noqa: S301 - our own

    with pytest.raises(StoreError, match=r"ChunkNotFound.*image.*spacenet-cube verify") as raised:
        cube.image.isel(y=0, x=0).load()
    assert f"verify {broken}'" in str(raised.value)
    np.testing.assert_array_equal(cube.image[:, 64:, :64].values, EXPECTED[:, 64:, :64])


@pytest.mark.parametrize("chunks", ["shard", None])
def test_a_damaged_chunk_raises_and_says_what_names_the_damage(url, tmp_path, chunks):
    broken = tmp_path / "MUL.zarr"
    shutil.copytree(url, broken)
    shard = broken / "image" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[7] ^= 1
    shard.write_bytes(content)

    cube = pickle.loads(pickle.dumps(open_cube(broken, chunks=chunks)))  # noqa: S301 - our own

    with pytest.raises(StoreError, match=r"chunk of image .*checksum.*spacenet-cube verify"):
        cube.image.load()


def test_opening_leaves_the_configuration_of_zarr_alone(url):
    before = dict(zarr.config.config)

    open_cube(url).image[0].load()

    assert dict(zarr.config.config) == before


def test_a_cube_opens_by_every_kind_of_address(url):
    memory = "memory://spacenet-cube-test/MUL.zarr"
    target = fsspec.filesystem("memory")
    target.put(url, "/spacenet-cube-test/MUL.zarr", recursive=True)

    for address in (url, f"{url}/", Path(url), f"file://{url}", memory):
        cube = open_cube(address, level=1)
        np.testing.assert_array_equal(cube.image.values, EXPECTED[:, ::2, ::2])
    target.rm("/spacenet-cube-test", recursive=True)


def _counted(monkeypatch, kind):
    keys = []
    get = kind.get

    async def counted(self, key, *args, **kwargs):
        keys.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(kind, "get", counted)
    return keys


@pytest.mark.parametrize("level", [0, 2])
def test_one_read_opens_all_metadata_and_one_each_the_coordinates(url, monkeypatch, level):
    keys = _counted(monkeypatch, FsspecStore)
    target = fsspec.filesystem("memory")
    target.put(url, "/spacenet-cube-count/MUL.zarr", recursive=True)

    open_cube("memory://spacenet-cube-count/MUL.zarr", level=level)

    assert keys.count("zarr.json") == 1
    assert sorted(key.split("/")[-3] for key in keys if key != "zarr.json") == ["band", "x", "y"]
    target.rm("/spacenet-cube-count", recursive=True)


def test_storage_options_never_show(url):
    cube = open_cube(url, storage_options={"secret": "hunter2"})

    assert "hunter2" not in repr(cube.encoding)
    assert "hunter2" not in repr(cube)


def test_two_openings_make_the_same_graph(url):
    assert open_cube(url).image.data.name == open_cube(url).image.data.name
    assert open_cube(url).image.data.name != open_cube(url, level=1).image.data.name


def test_one_band_is_read_without_the_others(url, monkeypatch):
    read_bytes = []
    get = LocalStore.get_sync

    def counted(self, key, **kwargs):
        found = get(self, key, **kwargs)
        read_bytes.append(0 if found is None else len(found))
        return found

    monkeypatch.setattr(LocalStore, "get_sync", counted)
    open_cube(url).image.load()
    whole = sum(read_bytes)
    read_bytes.clear()
    open_cube(url).image.sel(band="nir1").load()

    assert 0 < sum(read_bytes) < whole / 4


def test_a_part_of_a_cube_can_be_written_and_opened_again(url, tmp_path):
    part = open_cube(url).isel(y=slice(64, 128), x=slice(0, 64))

    part.to_zarr(tmp_path / "part.zarr", consolidated=False)

    with xr.open_zarr(tmp_path / "part.zarr", consolidated=False, mask_and_scale=False) as again:
        np.testing.assert_array_equal(again.image.values, EXPECTED[:, 64:128, :64])


def test_a_cube_of_one_band_opens(tmp_path):
    cube = open_cube(write_cube(tmp_path, Fake(product="PAN", bands=PAN)))

    assert cube.image.sel(band="pan").shape == (301, 210)


@pytest.mark.parametrize("chunks", ["shard", None])
@pytest.mark.parametrize(
    "bands",
    [["nir1"], "nir1", ["red", "nir1"], ["nir1", "red"], ["coastal", "blue", "nir2"], list(MUL)],
)
def test_bands_that_are_asked_for_are_those_that_are_picked_afterwards(url, bands, chunks):
    names = [bands] if isinstance(bands, str) else bands
    for level in (0, 1):
        expected = open_cube(url, level=level, chunks=chunks).sel(band=names)

        cube = open_cube(url, level=level, bands=bands, chunks=chunks)

        xr.testing.assert_identical(cube, expected)
        assert cube.image.chunks is None or cube.image.chunks[0] == (len(names),)
        assert cube.encoding["source"] == expected.encoding["source"]
    assert cube.spacenet.levels == expected.spacenet.levels


def test_no_other_band_is_read(url, monkeypatch):
    asked, read = [], GuardedArray.__getitem__

    def noting(array, key):
        if len(key.tuple) == IMAGE_DIMS:
            asked.append(key.tuple[0])
        return read(array, key)

    monkeypatch.setattr(GuardedArray, "__getitem__", noting)
    found = open_cube(url, bands=["red", "nir1"]).image.mean(("y", "x")).compute()

    red, nir1 = MUL.index("red"), MUL.index("nir1")
    assert {tuple(range(len(MUL))[one]) for one in asked} == {(red, nir1)}
    assert found.band.values.tolist() == ["red", "nir1"]


@pytest.mark.parametrize("bands", [["red", "swir"], [], ["red", "red"]])
def test_bands_that_make_no_sense_are_refused_by_naming_those_there(url, bands):
    with pytest.raises(RecipeError, match="give some of coastal, blue"):
        open_cube(url, bands=bands)
