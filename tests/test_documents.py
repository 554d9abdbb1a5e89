"""Documents: what zarr-python would have written, and what CF, GDAL and the conventions read."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives .rio
import xarray as xr
import zarr
import zarr_cm
from affine import Affine
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from xarray.backends.zarr import FillValueCoder
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore, MemoryStore

from spacenet_cube.builds.build import build
from spacenet_cube.format.levels import level_name
from spacenet_cube.plans.documents import coordinate_arrays, fill_of, group_documents, pixel_arrays
from spacenet_cube.plans.georeference import level_attributes, spatial_ref
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block, Grid
from tests.scenes import LAMBERT, UTM, Lattice, coordinates, product, recipe, scene, write_geotiff

NAN = float("nan")
PROFILES = ("cloud", "gdal312")
CHUNK, SHARD = 16, 32
GRIDS = {
    "EPSG:4326": Affine(2.7e-6, 0.0, -115.3075176, 0.0, -2.7e-6, 36.2639592),
    UTM: Affine(0.3, 0.0, 661_000.1, 0.0, -0.3, 4_010_000.7),
    LAMBERT: Affine(1.5, 0.0, -7_000.0, 0.0, -2.5, 9_000.0),
}
crses = pytest.mark.parametrize("crs", GRIDS, ids=["geographic", "projected", "without a code"])


def planned(
    *,
    profile="cloud",
    dtype="uint16",
    nodata=0.0,
    crs="EPSG:4326",
    count=3,
    shape_yx=(61, 75),
    **more,
):
    wanted = product(count=count, chunk=CHUNK, shard=SHARD, profile=profile, nodata=nodata, **more)
    only = scene(
        "15OCT22183656-M2AS_R1C1-055649178030_01_P001.TIF",
        shape_yx=shape_yx,
        transform=GRIDS[crs],
        crs=crs,
        dtype=dtype,
        count=count,
        acquired="2015-10-22T18:36:56Z",
        row_col=(1, 1),
    )
    return plan(recipe(wanted), "P", [only])


@pytest.fixture(scope="module", params=PROFILES)
def published(request, tmp_path_factory):
    """A cube built from four scenes with odd sizes, its path and the image it holds."""
    folder = tmp_path_factory.mktemp(request.param)
    blocks = [
        Block(0, 0, 50, 60),
        Block(0, 60, 50, 41),
        Block(50, 0, 27, 60),
        Block(50, 60, 27, 41),
    ]
    image = (coordinates(Block(0, 0, 77, 101), count=3) % 60_000 + 1).astype(np.uint16)
    lattice = Lattice()
    scenes = []
    for number, block in enumerate(blocks):
        one = lattice.cut(f"s{number}.tif", block)
        href = write_geotiff(folder / one.id, image[:, *block.yx], transform=one.transform)
        scenes.append(lattice.cut(f"s{number}.tif", block, href=href))
    wanted = product(chunk=CHUNK, shard=SHARD, profile=request.param)
    made = plan(recipe(wanted), "P", scenes)
    return made, Path(build(made, folder, workers=1)), image


def documents_of(path):
    return {
        str(file.parent.relative_to(path)).removeprefix("."): json.loads(file.read_text())
        for file in path.rglob("zarr.json")
    }


def pixel_codecs(profile, itemsize, chunk=CHUNK * CHUNK):
    """What the design calls for, in zarr-python's own words: one blosc block a chunk."""
    if profile == "gdal312":
        return [ZstdCodec(level=1, checksum=True)]
    blosc = BloscCodec(
        cname="zstd",
        clevel=1,
        shuffle="bitshuffle",
        typesize=itemsize,
        blocksize=chunk * itemsize,
    )
    return [blosc, Crc32cCodec()]


def written_by_zarr(**parameters):
    """The document that zarr-python stores for an array."""
    store = MemoryStore()
    zarr.create_array(store, **parameters)
    stored = store._store_dict["zarr.json"]  # noqa: SLF001 - the shortest way to the bytes
    return json.loads(stored.to_bytes())


PIXELS = [
    ("uint8", 0.0, 0),
    ("int8", -128.0, -128),
    ("uint16", 0.0, 0),
    ("uint16", 65_535.0, 65_535),
    ("int16", -9999.0, -9999),
    ("uint32", 4_294_967_295.0, 4_294_967_295),
    ("int32", -2_147_483_648.0, -2_147_483_648),
    ("float32", NAN, NAN),
    ("float32", -9999.0, -9999.0),
    ("float64", float("inf"), float("inf")),
    ("float64", -0.1, -0.1),
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("dtype", "nodata", "fill"), PIXELS)
def test_the_image_is_the_document_zarr_python_writes(profile, dtype, nodata, fill):
    made = planned(profile=profile, dtype=dtype, nodata=nodata)
    ours = pixel_arrays(made, 0)["image"].document()

    theirs = written_by_zarr(
        shape=(3, 61, 75),
        chunks=(1, CHUNK, CHUNK),
        shards=(3, SHARD, SHARD) if profile == "cloud" else None,
        dtype=dtype,
        compressors=pixel_codecs(profile, np.dtype(dtype).itemsize),
        fill_value=fill,
        attributes=ours["attributes"],
        dimension_names=("band", "y", "x"),
    )

    assert ours == theirs


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_source_index_is_the_document_zarr_python_writes(profile, level):
    made = planned(profile=profile)
    ours = pixel_arrays(made, level)["source_index"].document()

    theirs = written_by_zarr(
        shape=[(61, 75), (31, 38), (16, 19)][level],
        chunks=(CHUNK, CHUNK),
        shards=(SHARD, SHARD) if profile == "cloud" else None,
        dtype="uint16",
        compressors=pixel_codecs(profile, 2),
        fill_value=0,
        attributes=ours["attributes"],
        dimension_names=("y", "x"),
    )

    assert ours == theirs


@pytest.mark.parametrize("profile", PROFILES)
def test_coordinates_are_the_documents_zarr_python_writes_each_in_one_chunk(profile):
    made = planned(profile=profile)

    for name, (spec, values) in coordinate_arrays(made, 0).items():
        ours = spec.document()
        dtype = "string" if name == "band" else values.dtype
        codecs = pixel_codecs(profile, 8, chunk=0)
        if name == "band":
            codecs = [ZstdCodec(level=3, checksum=True)]
        if name == "spatial_ref":
            codecs = None
        theirs = written_by_zarr(
            shape=values.shape,
            chunks=values.shape or "auto",
            dtype=dtype,
            compressors=codecs,
            fill_value=NAN if name in {"wavelength", "fwhm"} else "" if name == "band" else 0,
            attributes=ours["attributes"],
            dimension_names=[] if name == "spatial_ref" else [name if name in "yx" else "band"],
        )
        if not values.shape:
            # Of no dimension zarr-python writes no names, and keeps an empty list that it reads.
            theirs["dimension_names"] = []
        assert ours == theirs, name


def test_the_tree_holds_every_document_and_nothing_else(published):
    made, path, _ = published

    stored = documents_of(path)
    manifest = stored[""]["attributes"]["spacenet_cube"].pop("manifest")

    assert (path.with_name(f"{path.name}.manifest") / f"{manifest['sha256']}.jsonl").is_file()
    assert stored == group_documents(made)
    assert set(stored) == {
        f"{level_name(level)}/{name}".strip("/")
        for level in range(len(made.levels))
        for name in (
            "",
            "band",
            "fwhm",
            "image",
            "source_index",
            "spatial_ref",
            "wavelength",
            "x",
            "y",
        )
    }


def test_the_root_is_stored_last_and_arrays_before_their_group():
    order = list(group_documents(planned()))

    assert order[-1] == ""
    for number, path in enumerate(order[:-1]):
        if path.startswith("ovr_") and "/" not in path:
            assert not any(later.startswith(f"{path}/") for later in order[number:])


def test_consolidated_metadata_is_what_zarr_python_consolidates(published):
    made, path, _ = published
    store = LocalStore(path)
    groups = [level_name(level) for level in range(len(made.levels))]
    ours = {group: zarr.open_group(store, path=group, mode="r").metadata for group in groups}
    ours_stored = documents_of(path)

    for group in groups[::-1]:
        with pytest.warns(ZarrUserWarning, match="Consolidated metadata is currently not part"):
            zarr.consolidate_metadata(store, path=group)

    theirs = {group: zarr.open_group(store, path=group, mode="r").metadata for group in groups}
    assert ours == theirs
    # zarr-python adds an empty object to groups inside; readers fill it from the members beside.
    empty = {"kind": "inline", "must_understand": False, "metadata": {}}
    for group, document in documents_of(path).items():
        for member in document.get("consolidated_metadata", {}).get("metadata", {}).values():
            if member["node_type"] == "group":
                assert member.pop("consolidated_metadata") == empty
        assert document == ours_stored[group]


@crses
def test_every_group_and_spatial_array_keeps_the_conventions_it_declares(crs):
    made = planned(crs=crs)

    documents = group_documents(made)

    conventions = (zarr_cm.proj, zarr_cm.spatial)
    for path, document in documents.items():
        name = path.rsplit("/", maxsplit=1)[-1]
        if document["node_type"] == "group" or name in {"image", "source_index"}:
            for convention in conventions:
                convention.validate_node_metadata(document)
            zarr_cm.validate_all(document["attributes"])
        else:
            assert "zarr_conventions" not in document["attributes"]
    zarr_cm.multiscales.validate_node_metadata(documents[""])


@crses
def test_conventions_are_named_word_for_word_as_their_schemas_demand(crs):
    declared = group_documents(planned(crs=crs))[""]["attributes"]["zarr_conventions"]

    assert [(entry["name"], entry["uuid"]) for entry in declared] == [
        ("proj", "f17cb550-5864-4468-aeb7-f3180cfb622f"),
        ("spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"),
        ("multiscales", "d35379db-88df-4056-af3a-620245f8e347"),
    ]
    for entry in declared:
        home = f"zarr-conventions/{entry['name']}"
        assert set(entry) == {"uuid", "name", "schema_url", "spec_url", "description"}
        assert entry["schema_url"] == (
            f"https://raw.githubusercontent.com/{home}/refs/tags/v0.1/schema.json"
        )
        assert entry["spec_url"] == f"https://github.com/{home}/blob/v0.1/README.md"


@crses
def test_multiscales_lists_each_level_with_its_own_shape_and_transform(crs):
    made = planned(crs=crs)
    documents = group_documents(made)

    layout = documents[""]["attributes"]["multiscales"]["layout"]

    assert [entry["asset"] for entry in layout] == [".", "ovr_2x", "ovr_4x", "ovr_8x"]
    assert [entry.get("derived_from") for entry in layout] == [None, ".", "ovr_2x", "ovr_4x"]
    assert [entry["transform"]["scale"] for entry in layout] == [[1, 1], [2, 2], [2, 2], [2, 2]]
    assert all(entry["transform"]["translation"] == [0, 0] for entry in layout)
    for entry in layout:
        attributes = documents[entry["asset"].strip(".")]["attributes"]
        assert entry["spatial:shape"] == attributes["spatial:shape"]
        assert entry["spatial:transform"] == attributes["spatial:transform"]


@crses
def test_pyproj_reads_the_crs_from_the_cf_attributes(crs):
    attributes = spatial_ref(Grid((4, 5), GRIDS[crs], crs))

    without_wkt = {
        key: value for key, value in attributes.items() if key not in {"crs_wkt", "spatial_ref"}
    }

    assert CRS.from_cf(attributes).equals(CRS.from_user_input(crs))
    assert CRS.from_wkt(attributes["spatial_ref"]).equals(CRS.from_user_input(crs))
    assert without_wkt["grid_mapping_name"] == CRS.from_user_input(crs).to_cf()["grid_mapping_name"]


@crses
def test_geotransform_is_in_the_order_of_gdal_and_spatial_transform_in_that_of_rasterio(crs):
    grid = Grid((4, 5), GRIDS[crs], crs)

    geotransform = [float(part) for part in spatial_ref(grid)["GeoTransform"].split()]

    attributes = level_attributes(grid)
    assert tuple(geotransform) == GRIDS[crs].to_gdal()
    assert attributes["spatial:transform"] == list(GRIDS[crs])[:6]
    assert attributes["spatial:bbox"] == pytest.approx(list(grid.geobox.boundingbox))
    assert attributes["spatial:dimensions"] == ["y", "x"]
    assert attributes["spatial:shape"] == [4, 5]


@crses
def test_proj_names_the_code_or_else_the_crs_itself(crs):
    attributes = level_attributes(Grid((4, 5), GRIDS[crs], crs))

    if crs.startswith("EPSG:"):
        assert attributes["proj:code"] == crs
        assert "proj:wkt2" not in attributes
    else:
        assert "proj:code" not in attributes
        assert CRS.from_wkt(attributes["proj:wkt2"]).equals(CRS.from_wkt(crs))


@crses
def test_axes_carry_the_cf_attributes_of_their_crs(crs):
    arrays = coordinate_arrays(planned(crs=crs), 0)

    x, y = arrays["x"][0].attributes, arrays["y"][0].attributes

    assert (x["axis"], y["axis"]) == ("X", "Y")
    if crs == "EPSG:4326":
        assert (x["standard_name"], y["standard_name"]) == ("longitude", "latitude")
        assert (x["units"], y["units"]) == ("degrees_east", "degrees_north")
    else:
        assert x["standard_name"] == "projection_x_coordinate"
        assert y["standard_name"] == "projection_y_coordinate"
        assert x["units"] == y["units"] == "metre"


def test_nodata_is_the_fill_value_and_the_same_for_cf_and_zarr():
    for dtype, nodata, _ in PIXELS:
        document = pixel_arrays(planned(dtype=dtype, nodata=nodata), 0)["image"].document()
        told = FillValueCoder.decode(document["attributes"]["_FillValue"], np.dtype(dtype))
        np.testing.assert_equal(float(told), float(document["fill_value"]))
    assert fill_of(NAN, "float32") == "NaN"
    assert fill_of(float("-inf"), "float64") == "-Infinity"
    assert isinstance(fill_of(-9999.0, "int16"), int)


def test_bands_without_wavelengths_have_no_wavelength_array():
    made = planned(bands=("x", "y2", "z"), sensor=None)

    arrays = coordinate_arrays(made, 0)

    assert set(arrays) == {"band", "y", "x", "spatial_ref"}
    assert pixel_arrays(made, 0)["image"].attributes["coordinates"] == "spatial_ref"


def test_a_band_of_unknown_wavelength_is_nan_among_known_ones():
    bands = ({"name": "a", "wavelength_nm": 500.0, "edges_nm": [480, 530]}, "b", "c")

    arrays = coordinate_arrays(planned(bands=bands, sensor=None), 0)

    np.testing.assert_array_equal(arrays["wavelength"][1], [500, NAN, NAN])
    np.testing.assert_array_equal(arrays["fwhm"][1], [50, NAN, NAN])


def test_the_root_tells_the_licence_and_where_every_pixel_comes_from():
    made = planned(catalog_id="10400100137F4900", title="A title")

    attributes = group_documents(made)[""]["attributes"]

    assert attributes["license"] == "CC0-1.0"
    assert attributes["attribution"] == "nobody"
    assert attributes["title"] == "A title"
    own = attributes["spacenet_cube"]
    assert (own["format"], own["aoi"], own["product"]) == (1, "AOI", "P")
    assert (own["sensor"], own["mosaic"], own["plan"]) == ("WorldView-3", "first", made.digest)
    (only,) = own["scenes"]
    west, south, east, north = only.pop("bbox")
    assert (west, north) == (-115.3075176, 36.2639592)
    assert (east, south) == pytest.approx((west + 75 * 2.7e-6, north - 61 * 2.7e-6))
    assert only == {
        "index": 1,
        "id": "15OCT22183656-M2AS_R1C1-055649178030_01_P001.TIF",
        "key": "scenes/15OCT22183656-M2AS_R1C1-055649178030_01_P001.TIF",
        "size_bytes": 1234,
        "etag": None,
        "acquired": "2015-10-22T18:36:56Z",
        "catalog_id": "10400100137F4900",
        "row_col": [1, 1],
        "imagery": None,
    }


@crses
def test_documents_are_json_without_places_of_this_machine(crs):
    text = json.dumps(group_documents(planned(crs=crs)), allow_nan=False)

    assert "/somewhere" not in text


def test_xarray_opens_every_level_with_pixels_scenes_and_crs(published):
    made, path, image = published

    for level, grid in enumerate(made.levels):
        group = level_name(level) or None
        with xr.open_zarr(path, group=group, decode_coords="all", chunks=None) as cube:
            assert cube.image.dims == ("band", "y", "x")
            assert cube.image.shape[1:] == grid.shape_yx
            assert list(cube.band.values) == ["red", "green", "blue"]
            assert cube.rio.crs == UTM
            assert cube.rio.transform() == grid.transform
            assert cube.image.rio.nodata == 0 or cube.image.rio.encoded_nodata == 0
            if level == 0:
                np.testing.assert_array_equal(cube.image, image)
                np.testing.assert_array_equal(np.unique(cube.source_index), [1, 2, 3, 4])


def test_the_gdal_of_todays_wheels_opens_a_gdal312_cube_and_no_sharded_one(published):
    made, path, image = published
    names = [f"{level_name(level)}/image".lstrip("/") for level in range(len(made.levels))]

    if made.product.encoding.profile == "cloud":
        # When this fails, GDAL 3.13 is here and the profile gdal312 may go.
        with pytest.raises(RasterioIOError):
            rasterio.open(f'ZARR:"{path}":/image').close()
        return

    for grid, name in zip(made.levels, names, strict=True):
        with rasterio.open(f'ZARR:"{path}":/{name}') as source:
            assert source.crs == UTM
            assert source.transform.almost_equals(grid.transform, precision=1e-9)
            assert source.shape == grid.shape_yx
            assert (source.count, source.dtypes[0], source.nodata) == (3, "uint16", 0)
            found = source.read()
        if name == "image":
            np.testing.assert_array_equal(found, image)
    with rasterio.open(f'ZARR:"{path}":/source_index') as source:
        assert set(np.unique(source.read())) == {1, 2, 3, 4}
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(f'ZARR:"{path}"') as container,
    ):
        assert any(name.endswith(":/image") for name in container.subdatasets)
