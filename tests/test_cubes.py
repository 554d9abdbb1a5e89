"""All 18 cubes, from corpus to `xr.open_zarr`, against mosaics made without this project."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.merge
import rioxarray  # noqa: F401 - gives xarray its .rio
import xarray as xr

import spacenet_cube as sc
from spacenet_cube.recipe.model import Encoding, Product
from tests.shares import share

PAIRS = [
    (recipe, product.name)
    for recipe in sc.bundled_recipes()
    for product in sc.load_recipe(recipe).products
]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    sc.write_sample(folder, tile_size=64)
    return folder


def in_small_shards(product: Product, shard: int = 32) -> Product:
    """The product cut into many units, so that their joints are tested."""
    return product.model_copy(update={"encoding": Encoding(chunk=16, shard=shard)})


def source_files(corpus: Path, aoi: str, product: str, scratch: Path) -> list[Path]:
    """The rasters of a product, found and unpacked without this project."""
    folder = corpus / aoi / "srcData" / "rasterData"
    if aoi == "AOI_1_Rio":
        with tarfile.open(folder / f"{product}.tar.gz") as tar:
            tar.extractall(scratch, filter="data")
        return sorted(scratch.rglob("*.tif"))
    return sorted(p for p in (folder / product).glob("*.TIF") if not p.stem.endswith("_COG"))


def test_there_are_eighteen_products():
    assert len(PAIRS) == 18


@pytest.mark.parametrize(("aoi", "name"), share(PAIRS, 6, always=[("AOI_1_Rio", "8-Band")]))
def test_a_cube_equals_rasterios_own_merge_of_the_same_files(corpus, aoi, name, tmp_path):
    recipe = sc.load_recipe(aoi)
    product = in_small_shards(recipe.product(name))
    files = source_files(corpus, aoi, name, tmp_path / "members")
    merged, transform = rasterio.merge.merge(files, nodata=0)

    planned = sc.plan(recipe, product, sc.survey(recipe, product, source=corpus))
    url = sc.build(planned, tmp_path / "cubes", workers=2)

    assert len(planned.units) > 1 or max(planned.grid.shape_yx) <= 64  # one unit
    with xr.open_zarr(url, chunks=None, mask_and_scale=False) as cube:
        np.testing.assert_array_equal(cube.image.values, merged)
        np.testing.assert_array_equal(cube.source_index.values > 0, merged.any(axis=0))
        assert cube.image.dtype == merged.dtype
        assert cube.image.dims == ("band", "y", "x")
        assert list(cube.band.values) == [band.name for band in product.band_values]
        assert cube.rio.crs == rasterio.CRS.from_epsg(4326)
        np.testing.assert_allclose(
            tuple(cube.rio.transform())[:6], tuple(transform)[:6], rtol=1e-12, atol=1e-9
        )


@pytest.mark.parametrize(("aoi", "name"), [("AOI_2_Vegas", "PAN"), ("AOI_1_Rio", "8-Band")])
def test_each_pixel_comes_from_the_scene_that_source_index_names(corpus, aoi, name, tmp_path):
    recipe = sc.load_recipe(aoi)
    product = in_small_shards(recipe.product(name))
    scenes = sc.survey(recipe, product, source=corpus, scratch=tmp_path / "scratch")
    url = sc.build(sc.plan(recipe, product, scenes), tmp_path)

    with xr.open_zarr(url, chunks=None, mask_and_scale=False) as cube:
        listed = cube.attrs["spacenet_cube"]["scenes"]
        assert [scene["index"] for scene in listed] == list(range(1, len(scenes) + 1))
        left, top = cube.rio.bounds()[0], cube.rio.bounds()[3]
        width, height = (abs(edge) for edge in cube.rio.resolution())
        for scene, told in zip(scenes, listed, strict=True):
            assert told["id"] == scene.id
            row = round((top - scene.box.north) / height)
            col = round((scene.box.west - left) / width)
            window = np.s_[row : row + scene.shape_yx[0], col : col + scene.shape_yx[1]]
            with rasterio.open(scene.href) as raster:
                pixels = raster.read()
            np.testing.assert_array_equal(cube.image.values[:, *window], pixels)
            expected = np.where(pixels.any(axis=0), told["index"], 0)
            np.testing.assert_array_equal(cube.source_index.values[window], expected)


def test_products_of_an_area_nest(corpus):
    recipe = sc.load_recipe("AOI_3_Paris")
    grids = {
        name: sc.plan(recipe, name, sc.survey(recipe, name, source=corpus)).grid
        for name in ("PAN", "MUL", "MUL-PanSharpen", "RGB-PanSharpen")
    }

    for name, grid in grids.items():
        factor = 4 if name == "MUL" else 1
        assert grid.transform @ (0, 0) == grids["PAN"].transform @ (0, 0), name
        assert grid.resolution_xy == tuple(e * factor for e in grids["PAN"].resolution_xy)


def write_coordinates(path: Path, row: int, col: int, shape_yx: tuple[int, int]) -> None:
    """A GeoTIFF whose pixels hold their own row and column on the lattice, from 1."""
    edge = 2.7e-6
    noisy = edge * (1 + 3e-9) if (row, col) == (0, 0) else edge
    transform = rasterio.Affine(noisy, 0, -115.3 + col * edge, 0, -edge, 36.2 - row * edge)
    rows, cols = np.indices(shape_yx)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=shape_yx[0],
        width=shape_yx[1],
        count=2,
        dtype="uint16",
        crs="EPSG:4326",
        transform=transform,
    ) as raster:
        raster.write(np.stack([rows + row + 1, cols + col + 1]).astype("uint16"))


COORDINATES = """
name: coordinates
source: {source}
licence: {{spdx: CC0-1.0, attribution: nobody}}
products:
  - name: rc
    sources: "*.tif"
    bands: [row, col]
    encoding: {{chunk: 16, shard: 32, profile: {profile}}}
"""


@pytest.mark.wheel
@pytest.mark.parametrize("profile", ["cloud", "gdal312"])
def test_every_pixel_stands_on_its_own_row_and_column(tmp_path, profile):
    (tmp_path / "in").mkdir()
    sizes = {(0, 0): (70, 90), (0, 90): (70, 41), (70, 0): (33, 90), (70, 90): (20, 38)}
    for (row, col), shape_yx in sizes.items():
        write_coordinates(tmp_path / f"in/t_{row}_{col}.tif", row, col, shape_yx)
    recipe = sc.parse_recipe(COORDINATES.format(source=tmp_path / "in", profile=profile))

    url = sc.build(sc.plan(recipe, "rc", sc.survey(recipe, "rc")), tmp_path / "out")

    with xr.open_zarr(url, chunks=None, mask_and_scale=False) as cube:
        held = cube.source_index.values > 0
        rows, cols = np.indices(held.shape)
        assert held.shape == (103, 131)
        np.testing.assert_array_equal(cube.image.values[0], np.where(held, rows + 1, 0))
        np.testing.assert_array_equal(cube.image.values[1], np.where(held, cols + 1, 0))
        np.testing.assert_allclose(cube.x, -115.3 + (cols[0] + 0.5) * 2.7e-6, rtol=0, atol=1e-12)
        np.testing.assert_allclose(cube.y, 36.2 - (rows[:, 0] + 0.5) * 2.7e-6, rtol=0, atol=1e-12)
        assert held.sum() == sum(h * w for h, w in sizes.values())


def test_overviews_shrink_by_two_until_one_fits_a_chunk_and_keep_the_corner(corpus, tmp_path):
    recipe = sc.load_recipe("AOI_5_Khartoum")
    product = in_small_shards(recipe.product("RGB-PanSharpen"))
    planned = sc.plan(recipe, product, sc.survey(recipe, product, source=corpus))
    url = sc.build(planned, tmp_path)

    with rasterio.open(source_files(corpus, recipe.name, product.name, tmp_path)[0]) as raster:
        corner = (raster.transform.c, raster.transform.f)
    below = xr.open_zarr(url, chunks=None, mask_and_scale=False)
    for level in range(1, len(planned.levels)):
        name = f"ovr_{2**level}x"
        cube = xr.open_zarr(url, group=name, chunks=None, mask_and_scale=False)
        rows, cols = ((n + 1) // 2 for n in below.image.shape[1:])
        assert cube.image.shape == (3, rows, cols)
        transform = cube.rio.transform()
        assert (transform.c, transform.f) == corner
        assert transform.a == planned.grid.transform.a * 2**level
        padded = np.pad(below.source_index.values > 0, ((0, rows * 2), (0, cols * 2)))
        quads = padded[: rows * 2, : cols * 2].reshape(rows, 2, cols, 2).any(axis=(1, 3))
        np.testing.assert_array_equal(cube.source_index.values > 0, quads)
        below = cube
    assert max(below.image.shape[1:]) <= product.encoding.chunk


def test_a_cube_carries_licence_attribution_and_the_names_of_its_sources(corpus, tmp_path):
    recipe = sc.load_recipe("AOI_4_Shanghai")
    url = sc.build(sc.plan(recipe, "MUL", sc.survey(recipe, "MUL", source=corpus)), tmp_path)

    with xr.open_zarr(url) as cube:
        assert cube.attrs["license"] == "CC-BY-SA-4.0"
        assert "SpaceNet" in cube.attrs["attribution"]
        own = cube.attrs["spacenet_cube"]
        assert own["catalog_id"] == "104001000C924900"
        assert own["scenes"][0]["acquired"] == "2015-06-06T02:35:37Z"
        assert own["scenes"][0]["row_col"] == [1, 1]
        np.testing.assert_allclose(cube.wavelength.sel(band="nir1"), 824.04)
        np.testing.assert_allclose(cube.fwhm.sel(band="nir1"), 125.0)
        assert cube.wavelength.attrs["units"] == "nm"


def test_the_same_build_gives_the_same_bytes_whatever_the_number_of_workers(corpus, tmp_path):
    recipe = sc.load_recipe("AOI_2_Vegas")
    product = in_small_shards(recipe.product("MUL-PanSharpen"))
    planned = sc.plan(recipe, product, sc.survey(recipe, product, source=corpus))

    trees = []
    for workers in (1, 3):
        root = Path(sc.build(planned, tmp_path / str(workers), workers=workers))
        files = (path for path in root.rglob("*") if path.is_file())
        trees.append({path.relative_to(root): path.read_bytes() for path in files})

    assert trees[0] == trees[1]


def test_an_unpublished_cube_cannot_be_opened(corpus, tmp_path):
    recipe = sc.load_recipe("AOI_2_Vegas")
    planned = sc.plan(recipe, "MUL", sc.survey(recipe, "MUL", source=corpus))
    broken = corpus / "AOI_2_Vegas" / "srcData" / "rasterData" / "MUL"
    victim = min(broken.glob("*R4C4*.TIF"))
    content = victim.read_bytes()

    try:
        victim.write_bytes(content[: len(content) // 2])
        with pytest.raises(sc.SourceError, match=r"R4C4.*not the one that was surveyed"):
            sc.build(planned, tmp_path)
    finally:
        victim.write_bytes(content)

    with pytest.raises(FileNotFoundError):
        xr.open_zarr(tmp_path / planned.cube_path)
    with pytest.raises(sc.StoreError, match="unfinished build"):
        sc.open_cube(tmp_path / planned.cube_path)
    again = sc.plan(recipe, "MUL", sc.survey(recipe, "MUL", source=corpus))
    url = sc.build(again, tmp_path)
    assert xr.open_zarr(url).image.shape[0] == 8
    assert sorted(path.name for path in (tmp_path / "AOI_2_Vegas").iterdir()) == [
        "MUL.zarr",
        "MUL.zarr.manifest",
    ]


def test_what_no_build_left_is_kept_and_named(corpus, tmp_path, caplog):
    recipe = sc.load_recipe("AOI_2_Vegas")
    planned = sc.plan(recipe, "MUL", sc.survey(recipe, "MUL", source=corpus))
    precious = tmp_path / planned.cube_path / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("the only copy")

    for replace in (False, True):
        caplog.clear()
        assert xr.open_zarr(sc.build(planned, tmp_path, replace=replace)).image.shape[0] == 8
        assert "thesis.txt" in caplog.text
    assert precious.read_text() == "the only copy"
