"""Zones and exports: exactextract on the GeoTIFF that the cube itself exports."""

import dask.array as da
import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from exactextract import exact_extract
from geopandas.testing import assert_geodataframe_equal

from spacenet_cube.cube.analysis.formulas.zones import TABLES, column
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError, StoreError
from tests.fake_cube import MUL, Fake, write_cube

WEST, NORTH = Fake().upper_left_xy
PX = Fake().pixel_size
EXACT = (
    "count", "sum", "mean", "min", "max", "variance", "stdev", "coefficient_of_variation",
    "median", "mode", "majority", "minority", "variety", "quantile(q=0.9)",
)  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"))


@pytest.fixture
def cube(url):
    return open_cube(url)


def features():
    """Round, square, slanted and tiny ones; one in nothing, one outside, one across all blocks."""

    def at(col, row, radius):
        return shapely.Point(WEST + col * PX, NORTH - row * PX).buffer(radius * PX)

    slanted = shapely.Polygon(
        [(WEST + x * PX, NORTH - y * PX) for x, y in ((10, 10), (200, 60), (90, 280))]
    )
    shapes = [at(64, 64, 9.3), at(30, 200, 0.2), at(200, 295, 3), at(900, 64, 5), slanted]
    shapes += [at(100, 150, 80).difference(at(100, 150, 50)), shapely.MultiPolygon()]
    return geopandas.GeoDataFrame(
        {"name": list("abcdefg")}, geometry=shapes, crs=4326, index=range(10, 17)
    )


class Asked:
    """An array that remembers which bands it was asked for."""

    ndim, dtype = 3, np.dtype("uint16")

    def __init__(self, content):
        self.content, self.bands = content, set()
        self.shape = content.shape

    def __getitem__(self, where):
        one = where[0]
        self.bands |= {one} if isinstance(one, int) else set(range(*one.indices(self.shape[0])))
        return self.content[where]


def test_one_band_is_read_as_one_and_not_as_all(cube):
    source = Asked(cube.image.values)
    lazy = da.from_array(source, chunks=cube.image.data.chunks, name="asked", meta=source.content)
    bands = cube.image.copy(data=lazy)
    source.bands.clear()

    found = cube.spacenet.zonal(features(), ("mean",), image=bands.sel(band="nir1")).compute()

    assert source.bands == {MUL.index("nir1")}
    expected = cube.spacenet.zonal(features(), ("mean",)).compute()["nir1_mean"]
    np.testing.assert_array_equal(found.filter(like="mean").iloc[:, 0], expected)


def test_zones_equal_exactextract_on_the_exported_geotiff(cube, tmp_path):
    frame = features().iloc[:-1]
    # Floats, because exactextract rounds the quantiles of integers.
    floats = cube.image.astype("float32").assign_attrs(cube.image.attrs)
    path = cube.spacenet.to_cog(tmp_path / "cube.tif", floats)

    found = cube.spacenet.zonal(frame, EXACT).compute()

    expected = exact_extract(str(path), frame, list(EXACT), output="pandas")
    for number, band in enumerate(MUL, start=1):
        for stat in map(column, EXACT):
            ours = found[f"{band}_{stat}"].to_numpy(float)
            theirs = expected[f"band_{number}_{stat}"].to_numpy(float)
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=f"{band} {stat}")
    assert found["red_count"].iloc[0] == pytest.approx(np.pi * 9.3**2, rel=0.01)


def test_the_table_keeps_its_order_its_index_and_its_crs(cube):
    frame = features().to_crs(32611)

    found = cube.spacenet.zonal(frame, ["mean", "count"]).compute()

    assert found.crs == frame.crs
    assert list(found.index) == list(range(10, 17))
    assert list(found.columns[:4]) == ["name", "geometry", "coastal_mean", "coastal_count"]
    assert found["red_count"].tolist()[2:4] == [0, 0]
    assert found["red_mean"].isna().tolist() == [False, False, True, True, False, False, True]


def test_an_index_has_columns_of_bare_names(cube):
    found = cube.spacenet.zonal(features(), "mean", image=cube.spacenet.ndvi()).compute()

    assert list(found.columns) == ["name", "geometry", "mean"]
    assert found["mean"].between(-1, 1).sum() == 4


def test_the_blocks_do_not_show(url, cube):
    for stats in (["mean", "variance"], TABLES):
        whole = open_cube(url, chunks={"y": 301, "x": 210}).spacenet.zonal(features(), stats)
        eager = open_cube(url, chunks=None).spacenet.zonal(features(), stats)
        found = cube.spacenet.zonal(features(), stats).compute()
        for other in (whole, eager):
            assert_geodataframe_equal(found, other.compute())


def test_what_cannot_be_is_refused(cube):
    with pytest.raises(RecipeError, match="no statistic 'medium'; give some of count"):
        cube.spacenet.zonal(features(), ["medium"])
    with pytest.raises(RecipeError, match="features have no CRS"):
        cube.spacenet.zonal(features().set_crs(None, allow_override=True))
    with pytest.raises(RecipeError, match="takes a geopandas GeoDataFrame, not list"):
        cube.spacenet.zonal([1, 2])


def test_an_export_is_a_cloud_optimized_geotiff(tmp_path):
    cube = open_cube(write_cube(tmp_path, Fake(shape_yx=(1300, 1100), chunk=256, shard=512)))

    path = cube.spacenet.to_cog(tmp_path / "cube.tif")

    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.block_shapes == [(512, 512)] * 8
        assert file.overviews(1) == [2, 4]
        assert file.descriptions == MUL
        assert (file.crs, file.nodata, file.dtypes[0]) == ("EPSG:4326", 0, "uint16")
        assert file.transform == rasterio.Affine(PX, 0, WEST, 0, -PX, NORTH)
        assert file.tags()["TIFFTAG_COPYRIGHT"].startswith("The SpaceNet Dataset")
        np.testing.assert_array_equal(file.read(), cube.image.values)
    # Of a COG the overviews' directories come before any pixels, the main image's first of all.
    assert b"LAYOUT=IFDS_BEFORE_DATA" in path.read_bytes()[:512]
    assert sorted(each.name for each in tmp_path.glob("*.tif*")) == ["cube.tif"]
    assert not list(tmp_path.glob(".cube*"))


def test_an_index_and_a_picture_are_exported_too(cube, tmp_path):
    ndvi, rgb = cube.spacenet.ndvi(), cube.spacenet.rgb()

    for name, image in (("ndvi", ndvi), ("rgb", rgb)):
        with rasterio.open(cube.spacenet.to_cog(tmp_path / name, image)) as file:
            values = file.read()
            assert file.descriptions == (("ndvi",) if name == "ndvi" else ("red", "green", "blue"))
            assert np.isnan(file.nodata) if name == "ndvi" else file.nodata == 0
        expected = image.values[None] if name == "ndvi" else np.moveaxis(rgb.values, -1, 0)
        np.testing.assert_array_equal(values, expected)


def test_an_export_that_cannot_be_is_refused_and_leaves_nothing(cube, tmp_path):
    (tmp_path / "there.tif").write_text("kept")

    with pytest.raises(RecipeError, match="give overwrite=True"):
        cube.spacenet.to_cog(tmp_path / "there.tif")
    with pytest.raises(RecipeError, match="is a URL"):
        cube.spacenet.to_cog("s3://bucket/cube.tif")
    with pytest.raises(RecipeError, match="makes no file"):
        cube.isel(x=slice(0, 0)).spacenet.to_cog(tmp_path / "none.tif")
    with pytest.raises(StoreError, match=r"cube\.tif cannot be written"):
        cube.spacenet.to_cog(tmp_path / "nowhere" / "cube.tif")
    with pytest.raises(RecipeError, match="no compression 'JPEG'"):
        cube.spacenet.to_cog(tmp_path / "cube.tif", compression="JPEG")
    assert [each.name for each in tmp_path.iterdir()] == ["there.tif"]
    assert (tmp_path / "there.tif").read_text() == "kept"
