"""Labels: what is burned block by block is what GDAL burns at once."""

import json
import pickle

import dask
import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio import features as burner
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

import spacenet_cube as sc
from spacenet_cube.cube.chips.geojson import features
from spacenet_cube.cube.chips.labels import rasterize
from tests.fake_cube import Fake, write_cube
from tests.shares import count
from tests.test_real_chips import at, build

PIXEL = 1.08e-5
WEST, NORTH = Fake().upper_left_xy


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_cube(tmp_path_factory.mktemp("cubes"), Fake(bands=("red",)))


@pytest.fixture
def cube(url):
    return sc.open_cube(url)


def frame(*shapes, crs="OGC:CRS84", **columns):
    """Labels from shapes in pixels (column, row) of the fake cube."""
    placed = [
        shapely.transform(shape, lambda xy: xy * [PIXEL, -PIXEL] + [WEST, NORTH])
        for shape in shapes
    ]
    return geopandas.GeoDataFrame(columns, geometry=placed, crs=crs)


def at_once(cube, labels, value=1, **options):
    """What GDAL burns on the whole array."""
    shapes = labels.to_crs(cube.rio.crs).geometry
    values = [value] * len(shapes) if np.isscalar(value) else value
    return burner.rasterize(
        [pair for pair in zip(shapes, values, strict=True) if not pair[0].is_empty],
        out_shape=(cube.sizes["y"], cube.sizes["x"]),
        transform=cube.rio.transform(recalc=False),
        **options,
    )


# Against GDAL, on real labels


@pytest.mark.parametrize("chip", ["img225", "img2144"])
def test_buildings_of_vegas_equal_gdals_pixel_by_pixel(shared, tmp_path, chip):
    settled = at("vegas_chips", shared / "AOI_2_Vegas" / "RGB-PanSharpen").model_dump(mode="json")
    settled["products"][0] |= {"sources": f"*_{chip}.tif", "expect": {"scenes": 1}}
    recipe = sc.Recipe.model_validate(settled)
    cube = sc.open_cube(build(recipe, "chips", tmp_path)).chunk(y=200, x=300)
    buildings = sc.read_labels(shared / "AOI_2_Vegas" / "buildings")

    found = cube.spacenet.rasterize(buildings)
    numbered = cube.spacenet.rasterize(buildings, instances=True)

    assert len(buildings) == 166
    assert found.chunks == cube.source_index.chunks
    expected = at_once(cube, buildings, dtype="uint8")
    assert expected.mean() > 0.2
    np.testing.assert_array_equal(found.values, expected)
    whole = at_once(cube, buildings, np.arange(1, 167), dtype="uint32")
    assert len(np.unique(whole)) > 30
    np.testing.assert_array_equal(numbered.values, whole)


@pytest.mark.parametrize(
    ("product", "resolution"), [("3band", 0.5), ("8band", 2.0)], ids=["3band", "8band"]
)
def test_buildings_of_rio_equal_gdals_on_a_warped_cube(shared, tmp_path, product, resolution):
    settled = at("rio_chips", shared / "AOI_1_Rio").model_dump(mode="json", exclude_unset=True)
    for each in settled["products"]:
        each["grid"] = {"crs": "utm", "resolution": resolution}
    recipe = sc.Recipe.model_validate(settled)
    cube = sc.open_cube(build(recipe, product, tmp_path))
    buildings = sc.read_labels(shared / "AOI_1_Rio" / "buildings")

    found = cube.spacenet.rasterize(buildings)

    assert cube.rio.crs.to_epsg() == 32723
    expected = at_once(cube, buildings, dtype="uint8")
    assert expected.sum() * resolution**2 > 3_000
    np.testing.assert_array_equal(found.values, expected)


# Laws


corners = st.tuples(st.floats(-20, 230), st.floats(-20, 320))
polygons = st.lists(corners, min_size=3, max_size=6).map(Polygon)
lines = st.lists(corners, min_size=2, max_size=5).map(LineString)


@settings(max_examples=count(8, of=20))
@given(
    shapes=st.lists(st.one_of(polygons, lines, corners.map(Point)), max_size=5),
    chunk=st.integers(20, 120),
    all_touched=st.booleans(),
)
@example(
    shapes=[LineString([(126.5400226649223, 2.0), (104.66134014276368, -19.999999999999996)])],
    chunk=114,
    all_touched=True,
)
def test_neither_chunks_nor_the_part_have_a_say_in_the_result(url, shapes, chunk, all_touched):
    cube = sc.open_cube(url)
    labels = frame(*shapes, number=range(1, len(shapes) + 1))
    whole = rasterize(cube.chunk(y=-1, x=-1), labels, "number", all_touched=all_touched)
    part = {"y": slice(33, 210), "x": slice(60, 205)}

    cut = rasterize(cube.chunk(y=chunk, x=chunk), labels, "number", all_touched=all_touched)
    inside = rasterize(cube.isel(part), labels, "number", all_touched=all_touched)

    np.testing.assert_array_equal(cut.values, whole.values)
    np.testing.assert_array_equal(inside.values, whole.isel(part).values)


@settings(max_examples=count(6, of=12))
@given(shapes=st.lists(polygons, min_size=1, max_size=4))
def test_polygons_equal_gdals_on_the_whole_array(url, shapes):
    cube = sc.open_cube(url)
    # Off the lines of centres, where a billionth of a pixel decides.
    shapes = [shapely.set_precision(each, 0.25, mode="pointwise") for each in shapes]
    shapes = [shapely.transform(each, lambda xy: xy + 0.123) for each in shapes]

    found = cube.spacenet.rasterize(frame(*shapes))

    np.testing.assert_array_equal(found.values, at_once(cube, frame(*shapes), dtype="uint8"))


# What labels become


def test_roads_get_their_width_in_metres(cube):
    height_m = 1.08e-5 * 110_980
    road = LineString([(20, 150, 0.0), (180, 150, 0.0)])

    thin = cube.spacenet.rasterize(frame(road))
    wide = cube.spacenet.rasterize(frame(road), buffer_m=10)

    assert thin.sum() == 161
    across = int((wide.isel(x=100) > 0).sum())
    assert across == pytest.approx(20 / height_m, abs=1.01)
    assert wide.dtype == np.uint8


def test_the_later_of_two_features_is_seen_and_instances_are_numbered_by_row(cube):
    labels = frame(box(10, 10, 100, 100), Polygon(), box(50, 50, 150, 90), lanes=["2", "9", "4"])

    lanes = cube.spacenet.rasterize(labels, "lanes")
    numbers = cube.spacenet.rasterize(labels, instances=True)

    assert (lanes.dtype, numbers.dtype, lanes.name) == (np.int32, np.uint32, "lanes")
    assert [int(lanes[60, col]) for col in (5, 20, 70, 120)] == [0, 2, 4, 4]
    assert [int(numbers[60, col]) for col in (5, 20, 70, 120)] == [0, 1, 3, 3]


def test_fill_and_type_are_as_asked(cube):
    labels = frame(box(10, 10, 20, 20), share=[0.25])

    found = cube.spacenet.rasterize(labels, "share", fill=-1, dtype="float64")
    missing = cube.spacenet.rasterize(labels, "share", fill=float("nan"))

    assert (float(found[15, 15]), float(found[0, 0])) == (0.25, -1)
    assert (found.dtype, missing.dtype) == (np.float64, np.float32)
    assert np.isnan(missing[0, 0])
    assert missing[15, 15] == 0.25


def test_labels_come_in_any_crs_with_holes_parts_and_heights(cube):
    holed = Polygon(box(10, 10, 60, 60).exterior, [box(20, 20, 40, 40).exterior])
    lifted = shapely.force_3d(MultiPolygon([holed, box(100, 200, 130, 260)]), 7)
    labels = frame(lifted)

    found = cube.spacenet.rasterize(labels.to_crs("EPSG:32611"))

    assert int(found.sum()) == 50 * 50 - 20 * 20 + 30 * 60
    np.testing.assert_array_equal(found, cube.spacenet.rasterize(labels))
    assert found.rio.crs == "EPSG:4326"
    xr.testing.assert_equal(found.y, cube.y)


def test_no_labels_are_all_fill(cube):
    nothing = cube.spacenet.rasterize(frame(), fill=7)
    empty = cube.isel(y=slice(0, 0)).spacenet.rasterize(frame(box(0, 0, 9, 9)))

    assert (nothing == 7).all()
    assert empty.values.shape == (0, 210)


@pytest.mark.parametrize("level", [0, 2])
def test_labels_fit_a_level_and_a_cube_without_dask(url, level):
    cube = sc.open_cube(url, level=level)
    labels = frame(box(40, 80, 120, 200))

    found = cube.spacenet.rasterize(labels)
    eager = sc.open_cube(url, level=level, chunks=None).spacenet.rasterize(labels)

    assert int(found.sum()) == 80 * 120 // 4**level
    assert eager.chunks is not None
    np.testing.assert_array_equal(found, eager)


def test_burning_is_lazy_and_a_task_holds_only_what_it_burns(cube):
    def refuse(*_args, **_kwargs):
        pytest.fail("dask was asked to compute")

    many = [box(col, row, col + 3, row + 3) for row in range(0, 300, 5) for col in range(0, 210, 5)]
    with dask.config.set(scheduler=refuse):
        found = cube.spacenet.rasterize(frame(*many), instances=True)

    graph = dict(found.data.__dask_graph__())
    one_bytes = len(shapely.to_wkb(many[0]))
    sizes = [len(pickle.dumps(task)) for task in graph.values()]
    assert len(graph) == 20
    # 64 pixels and the two at each side hold at most 14 x 14 of these, of 2,520.
    assert max(sizes) < 14 * 14 * (one_bytes + 30) + 2000
    assert found.chunks == cube.source_index.chunks


def test_the_same_labels_have_the_same_name_in_a_graph(cube):
    first, again, other = (
        cube.spacenet.rasterize(frame(box(0, 0, edge, 9))).data.name for edge in (9, 9, 8)
    )

    assert first == again != other


@pytest.mark.parametrize(
    ("labels", "asked", "match"),
    [
        (frame(Point(1, 1), crs=None), {}, "set_crs"),
        (frame(Point(1, 1), a=[1]), {"column": "b"}, r"no column 'b' .they have a."),
        (frame(Point(1, 1), a=["dirt"]), {"column": "a"}, "make a column of numbers"),
        (frame(Point(1, 1), Point(2, 2), a=[1, None]), {"column": "a"}, "no value in 1 of 2"),
        (frame(Point(1, 1), a=[300]), {"column": "a", "dtype": "uint8"}, "does not hold 300"),
        (frame(Point(1, 1), a=[0.5]), {"column": "a", "dtype": "uint8"}, "does not hold 0.5"),
        (frame(Point(1, 1)), {"fill": -1}, "does not hold -1"),
        (frame(Point(1, 1), a=[1e300]), {"column": "a"}, "does not hold 1e"),
        (frame(Point(1, 1)), {"dtype": "complex64"}, "cannot be complex64"),
        (frame(Point(1, 1), a=[1]), {"column": "a", "instances": True}, "give one of them"),
    ],
)
def test_what_cannot_be_burned_is_refused_with_the_mend(cube, labels, asked, match):
    with pytest.raises(sc.RecipeError, match=match):
        cube.spacenet.rasterize(labels, **asked)


# Reading


def collection(*features, **members):
    return json.dumps({"type": "FeatureCollection", **members, "features": features})


def feature(identifier, **properties):
    geometry = {"type": "Polygon", "coordinates": [[[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]]}
    return {"type": "Feature", "id": identifier, "properties": properties, "geometry": geometry}


def test_files_of_a_folder_are_joined_and_ids_kept(tmp_path):
    (tmp_path / "b_img10.geojson").write_text(collection(feature("way/7", id="x", paved=1)))
    (tmp_path / "a_img2.geojson").write_text(collection(feature(3, road_type="5"), feature(4)))
    (tmp_path / "c_img3.geojson").write_text(collection())
    (tmp_path / "notes.txt").write_text("no label")

    found = sc.read_labels(tmp_path)
    alone = sc.read_labels(tmp_path / "b_img10.geojson")

    assert found["feature_id"].tolist() == [3, 4, "way/7"]
    assert found["file"].tolist() == ["a_img2.geojson"] * 2 + ["b_img10.geojson"]
    assert found.index.tolist() == [0, 1, 2]
    assert found.loc[2, "id"] == "x"
    assert not found.has_z.any()
    assert found.crs.to_authority() == ("OGC", "CRS84")
    assert len(alone) == 1


def test_files_in_other_crss_are_brought_into_the_first_ones(tmp_path):
    metric = {"name": "urn:ogc:def:crs:EPSG::32611"}
    (tmp_path / "a.geojson").write_text(collection(feature(1)))
    (tmp_path / "b.geojson").write_text(
        collection(feature(2), crs={"type": "name", "properties": metric})
    )

    found = sc.read_labels(tmp_path)

    assert found.geometry[0].bounds == (0, 0, 1, 1)
    assert found.geometry[1].bounds[0] == pytest.approx(-121.489, abs=0.01)


def test_a_folder_of_empty_files_has_no_label(shared):
    empty = shared / "AOI_1_Rio" / "buildings" / "013022223130_Public_img1_Geo.geojson"

    found = sc.read_labels(empty)

    assert empty.stat().st_size == 217
    assert len(found) == 0
    assert found.crs is not None


def test_labels_are_burned_straight_from_a_path(cube, tmp_path):
    labels = frame(box(10, 10, 50, 50))
    (tmp_path / "a.geojson").write_text(labels.to_json())

    found = cube.spacenet.rasterize(tmp_path)

    np.testing.assert_array_equal(found, cube.spacenet.rasterize(labels))


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"features": [1]}',
        b'{"features": [{"type": "Feature"}]}',
        b"\xff\xfe",
        b'{"features": ' + b"[" * 100_000,
        b'{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], ["a", 1]]]}}]}',
        b'{"features": [{"geometry": {"type": "LineString", "coordinates": [[0, 0]]}}]}',
        b'{"features": [{"geometry": {"type": "Point", "coordinates": [NaN, 0]}}]}',
        b'{"features": [{"geometry": {"type": "Point", "coordinates": '
        + b"[" * 900
        + b"]" * 900
        + b"}}]}",
        b'{"features": [{"geometry": 5}]}',
    ],
)
def test_what_is_no_geojson_is_named(content):
    with pytest.raises(sc.SourceError, match=r"bad.geojson is no GeoJSON feature collection"):
        features(content, "bad.geojson")


def test_a_crs_that_nobody_knows_is_named():
    text = collection(crs={"properties": {"name": "urn:ogc:def:crs:MARS::1"}})

    with pytest.raises(sc.SourceError, match="names a CRS that is not known"):
        features(text.encode(), "mars.geojson")


def test_missing_labels_are_named(cube, tmp_path):
    with pytest.raises(sc.SourceError, match=r"gone.geojson cannot be read"):
        cube.spacenet.rasterize(tmp_path / "gone.geojson")
    with pytest.raises(sc.SourceError, match=r"holds no .geojson file"):
        sc.read_labels(tmp_path)


def test_without_geopandas_the_error_says_what_to_install(cube, monkeypatch):
    labels = frame(Point(1, 1))
    monkeypatch.setattr("spacenet_cube.cube.chips.labels.find_spec", lambda _name: None)

    for call in (lambda: sc.read_labels("x"), lambda: cube.spacenet.rasterize(labels)):
        with pytest.raises(sc.MissingExtraError, match=r"pip install 'spacenet-cube\[learn\]'"):
            call()
