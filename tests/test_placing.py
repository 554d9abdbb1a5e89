"""Placing: onto which grid, snapped how, and cut where."""

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.errors import RecipeError
from spacenet_cube.plans.placement import common_step_px, utm_of
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block, Grid
from spacenet_cube.raster.polygons import inside, on_grid, polygons_from
from spacenet_cube.recipe.files import area_of, load_recipe, parse_recipe
from spacenet_cube.recipe.grids import Area
from spacenet_cube.recipe.model import Recipe
from tests.scenes import LICENCE, UTM, Lattice, product, recipe
from tests.shares import count
from tests.warping import RIO, chip, made_of, noise

few = settings(max_examples=count(8, of=25))
VEGAS = Lattice(-115.3075176, 36.2639592, 2.7e-6, 2.7e-6, "EPSG:4326")


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ((-43.5, -22.9), "EPSG:32723"),
        ((-115.2, 36.2), "EPSG:32611"),
        ((2.3, 48.9), "EPSG:32631"),
        ((121.6, 31.2), "EPSG:32651"),
        ((32.5, 15.7), "EPSG:32636"),
        ((179.9, 1.0), "EPSG:32660"),
        ((-179.9, -1.0), "EPSG:32701"),
    ],
)
def test_utm_is_the_zone_that_the_scenes_lie_in(at, code):
    assert utm_of([chip(at=at)]) == code


def test_where_utm_ends_a_polar_crs_is_asked_for():
    with pytest.raises(RecipeError, match="name a polar CRS"):
        utm_of([chip(at=(10.0, 85.0))])


@few
@given(
    resolution=st.sampled_from([0.3, 0.5, 2.0, 7.25]),
    anchor=st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
    turn=st.floats(0, 360),
)
def test_a_target_grid_holds_every_scene_and_its_corners_lie_on_the_anchors_lattice(
    resolution, anchor, turn
):
    one = chip(shape_yx=(50, 60), turn=turn)
    grid = {"crs": RIO, "resolution": resolution, "anchor": anchor}
    made = plan(recipe(product(grid=grid)), "P", [one])

    steps = (
        (made.grid.transform.c - anchor[0]) / resolution,
        (made.grid.transform.f - anchor[1]) / resolution,
    )
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    landed = made.seats[0].block
    rows, cols = made.grid.shape_yx
    # landing() has a pixel to spare on every side, and so never more than two beyond the grid.
    assert -2 <= landed.row <= 1
    assert -2 <= landed.col <= 1
    assert rows <= landed.row + landed.height <= rows + 2
    assert cols <= landed.col + landed.width <= cols + 2


def test_rounding_noise_in_a_footprint_never_adds_a_row():
    lattice = Lattice()
    scenes = [lattice.cut("a.tif", Block(0, 0, 40, 60))]
    noisy = scenes[0].transform @ Affine.translation(0.004, -0.004)
    grid = {"crs": UTM, "resolution": 0.5}

    made = plan(recipe(product(grid=grid)), "P", [replace(scenes[0], transform=noisy)])

    assert made.grid.shape_yx == (40, 60)
    assert made.grid.transform == lattice.transform()


def test_products_of_one_recipe_with_one_anchor_share_their_corners():
    products = [
        product(name=name, grid={"crs": "utm", "resolution": size})
        for name, size in (("PAN", 0.5), ("MUL", 2.0), ("PS", 0.5))
    ]
    wanted = recipe(*products)
    pan = chip(shape_yx=(401, 399), pixel=4.5e-6)
    mul = chip(shape_yx=(101, 100), pixel=1.8e-5, at=(-43.500002, -22.899999))

    grids = [plan(wanted, p, [one]).grid for p, one in zip(products, (pan, mul, pan), strict=True)]

    for grid in grids:
        np.testing.assert_allclose(
            np.array([grid.transform.c, grid.transform.f]) % 2.0, 0, atol=1e-9
        )
    assert grids[0].transform.c == grids[2].transform.c


@few
@given(rows=st.integers(1, 90), cols=st.integers(1, 90), factor=st.sampled_from([2, 4]))
def test_a_grid_like_another_nests_in_it_edge_by_edge(rows, cols, factor):
    pan = VEGAS.cut("pan.tif", Block(0, 0, rows * factor, cols * factor), count=1)
    coarse = Lattice(VEGAS.west, VEGAS.north, 2.7e-6 * factor, 2.7e-6 * factor, "EPSG:4326")
    mul = coarse.cut("mul.tif", Block(0, 0, rows, cols), count=1)
    wanted = recipe(
        product(name="PAN"), product(name="MUL", grid={"like": "PAN", "factor": factor})
    )

    fine = plan(wanted, "PAN", [pan]).grid
    made = plan(wanted, "MUL", [mul], reference=fine)

    assert made.grid.shape_yx == (rows, cols)
    assert made.seats[0].warp is None
    for place in range(cols + 1):
        edge = made.grid.transform @ (place, 0)
        assert edge == pytest.approx(fine.transform @ (place * factor, 0), abs=1e-12)


def test_a_scene_off_the_grid_it_shall_be_like_is_resampled():
    reference = Grid((50, 60), VEGAS.transform(), "EPSG:4326")
    wanted = recipe(product(name="PAN"), product(name="MUL", grid={"like": "PAN"}))
    shifted = VEGAS.cut("b.tif", Block(0, 0, 50, 60))
    shifted = replace(shifted, transform=shifted.transform @ Affine.translation(0.3, 0))

    made = plan(
        wanted, "MUL", [VEGAS.cut("a.tif", Block(0, 0, 50, 60)), shifted], reference=reference
    )

    assert made.grid == reference
    assert [seat.warp is None for seat in made.seats] == [True, False]


def test_a_likeness_without_its_reference_says_what_to_pass():
    wanted = recipe(product(name="PAN"), product(name="MUL", grid={"like": "PAN"}))

    with pytest.raises(RecipeError, match="pass reference=reference_grid"):
        plan(wanted, "MUL", [VEGAS.cut("a.tif", Block(0, 0, 50, 60))])


def test_the_reference_is_found_by_product_by_alias_and_by_cube(tmp_path):
    products = (product(name="PAN", aliases=("P0",)), product(name="MUL", grid={"like": "p0"}))
    wanted = recipe(*products)
    pan = [VEGAS.cut("a.tif", Block(0, 0, 50, 60))]
    made = plan(wanted, "PAN", pan)
    document = {"attributes": {
        "spatial:shape": [50, 60], "spatial:transform": list(made.grid.transform)[:6],
        "proj:code": "EPSG:4326",
    }}  # fmt: skip
    (tmp_path / "zarr.json").write_text(json.dumps(document))
    other = product(name="X", grid={"like": str(tmp_path)})

    assert sc.reference_grid(wanted, "PAN", lambda _: pan) is None
    assert sc.reference_grid(wanted, "MUL", lambda _: pan) == made.grid
    assert sc.reference_grid(wanted, other, lambda _: pan) == made.grid
    with pytest.raises(RecipeError, match=r"neither a product of AOI .* nor a published cube"):
        sc.reference_grid(wanted, product(name="X", grid={"like": "nowhere"}), lambda _: pan)


@pytest.mark.parametrize("name", ["AOI_2_Vegas", "AOI_3_Paris", "AOI_4_Shanghai", "AOI_5_Khartoum"])
def test_bundled_products_are_cut_on_the_edges_of_the_coarsest(name):
    bundled = load_recipe(name)
    fine = Grid((100, 100), VEGAS.transform(), "EPSG:4326")
    coarse = Grid((25, 25), VEGAS.transform() @ Affine.scale(4), "EPSG:4326")

    steps = {
        p.name: common_step_px(bundled, p, coarse if p.name == "MUL" else fine)
        for p in bundled.products
    }

    assert steps == {p.name: ((1, 1) if p.name == "MUL" else (4, 4)) for p in bundled.products}


@few
@given(west=st.floats(0, 0.9), north=st.floats(0, 0.9), size=st.floats(0.05, 1.5))
def test_an_area_cuts_pan_and_mul_alike_and_keeps_every_pixel_in_its_place(west, north, size):
    bundled = load_recipe("AOI_2_Vegas")
    pan = VEGAS.cut("a.tif", Block(0, 0, 160, 240), count=1)
    coarse = Lattice(VEGAS.west, VEGAS.north, 1.08e-5, 1.08e-5, "EPSG:4326")
    mul = coarse.cut("a.tif", Block(0, 0, 40, 60), count=8)
    left, top = VEGAS.west + west * 240 * 2.7e-6, VEGAS.north - north * 160 * 2.7e-6
    box = (left, top - size * 160 * 2.7e-6, left + size * 240 * 2.7e-6, top)
    limited = bundled.with_area(Area(bbox=box))

    whole = plan(bundled, "PAN", [pan])
    fine, wide = plan(limited, "PAN", [pan]), plan(limited, "MUL", [mul])

    assert (fine.grid.transform.c, fine.grid.transform.f) == pytest.approx(
        (wide.grid.transform.c, wide.grid.transform.f), abs=1e-12
    )
    assert fine.grid.shape_yx == tuple(4 * n for n in wide.grid.shape_yx)
    col, row = ~whole.grid.transform @ (fine.grid.transform.c, fine.grid.transform.f)
    assert (col, row) == pytest.approx((round(col), round(row)), abs=1e-6)
    shared = fine.seats[0].block
    assert (shared.row, shared.col) == (-round(row), -round(col))
    cut = fine.grid.box
    assert cut.west <= max(left, VEGAS.west) + 1e-7
    assert cut.east >= min(box[2], whole.grid.box.east) - 1e-7


def test_an_area_beside_the_scenes_says_where_they_lie():
    limited = recipe().with_area(Area(bbox=(0, 0, 1, 1)))

    with pytest.raises(RecipeError, match="holds nothing of the scenes, which lie within"):
        plan(limited, "P", [Lattice().cut("a.tif", Block(0, 0, 4, 4))])


def test_pixels_outside_a_polygon_hold_no_data():
    one = chip(shape_yx=(60, 70), count=2)
    image = noise(np.random.default_rng(1), (2, 60, 70), "uint16")
    ring = [[-43.4996, -22.9002], [-43.4991, -22.9003], [-43.4993, -22.9009], [-43.4996, -22.9002]]
    area = Area(polygon={"type": "Polygon", "coordinates": [ring]})
    wanted = recipe(product(count=2, grid={"crs": RIO, "resolution": 2.0}))

    made = plan(wanted.with_area(area), "P", [one])
    whole_plan = plan(wanted, "P", [one])
    cut, index = made_of(made, {one.id: image})
    whole, held = made_of(whole_plan, {one.id: image})

    col, row = ~whole_plan.grid.transform @ (made.grid.transform.c, made.grid.transform.f)
    there = Block(round(row), round(col), *made.grid.shape_yx)
    assert there.pixels < whole_plan.grid.shape_yx[0] * whole_plan.grid.shape_yx[1] / 2
    kept = inside(on_grid(area.shape, area.crs, made.grid), Block(0, 0, *made.grid.shape_yx))
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_array_equal(index, np.where(kept, held[there.yx], 0))
    np.testing.assert_array_equal(cut, np.where(kept, whole[:, *there.yx], 0))


@few
@given(
    points=st.lists(st.tuples(st.floats(-2, 12), st.floats(-2, 12)), min_size=3, max_size=7),
    row=st.integers(-3, 8),
    col=st.integers(-3, 8),
)
def test_a_pixel_is_inside_where_its_centre_is_by_the_even_odd_rule(points, row, col):
    polygon = ((tuple(points),),)
    block = Block(row, col, 6, 7)

    found = inside(polygon, block)

    for i in range(6):
        for j in range(7):
            x, y = col + j + 0.5, row + i + 0.5
            crossings = 0
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                    crossings += 1
            assert found[i, j] == crossings % 2


@pytest.mark.parametrize(
    ("given_", "parts"),
    [
        ("POLYGON ((0 0, 1 0, 1 1, 0 0))", 1),
        ("polygon z ((0 0 5, 9 0 5, 9 9 5, 0 0 5), (2 1 5, 3 1 5, 3 2 5, 2 1 5))", 1),
        ("MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))", 2),
        ({"type": "Polygon", "coordinates": [[[0, 0, 9], [1, 0, 9], [1, 1, 9], [0, 0, 9]]]}, 1),
        ({"type": "Feature", "geometry": {
            "type": "MultiPolygon", "coordinates": [[[[0, 0], [1, 0], [1, 1], [0, 0]]]]}}, 1),
        ({"type": "FeatureCollection", "features": [
            {"type": "Feature", "geometry": {
                "type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}},
            {"type": "Polygon", "coordinates": [[[5, 5], [6, 5], [6, 6], [5, 5]]]}]}, 2),
        ("POLYGON\n((0 0,1 0,1 1))", 1),
        ("POLYGON ZM ((0 0 5 6, 1 0 5 6, 1 1 5 6, 0 0 5 6))", 1),
    ],
)  # fmt: skip
def test_polygons_are_read_from_wkt_and_geojson(given_, parts):
    found = polygons_from(given_)

    assert len(found) == parts
    assert found[0][0][0] == (0.0, 0.0)
    assert all(ring[0] == ring[-1] for polygon in found for ring in polygon)


corners = st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))


@given(st.lists(st.lists(st.lists(corners, min_size=3), min_size=1), min_size=1))
def test_wkt_and_geojson_of_the_same_polygons_are_read_alike(rings):
    closed = [[[*ring, ring[0]] for ring in polygon] for polygon in rings]
    text = ", ".join(
        "(" + ", ".join("(" + ", ".join(f"{x!r} {y!r}" for x, y in r) + ")" for r in p) + ")"
        for p in closed
    )
    expected = tuple(tuple(tuple(r if r[0] == r[-1] else (*r, r[0])) for r in p) for p in rings)

    assert polygons_from({"type": "MultiPolygon", "coordinates": rings}) == expected
    assert polygons_from(f"MULTIPOLYGON ({text})") == tuple(
        tuple(map(tuple, polygon)) for polygon in closed
    )


@pytest.mark.parametrize(
    "text",
    [
        "POINT (1 2)",
        "POLYGON ((a b, c d))",
        "x.shp",
        "",
        "POLYGON EMPTY",
        "POLYGON ((0 0, 1 0, 1 1, 0 0)) POLYGON",
        "POLYGON ((0 0, 1 0, 1 1, 0 0)",
        "POLYGONS ((0 0, 1 0, 1 1, 0 0))",
        "SRID=4326;POLYGON ((0 0, 1 0, 1 1, 0 0))",
        "GEOMETRYCOLLECTION (" * 100_000,
        "POLYGON " + "(" * 1_000_000,
    ],
)
def test_what_is_no_polygon_is_refused(text):
    with pytest.raises(ValueError, match=r"polygon|ring") as refused:
        polygons_from(text)
    assert len(str(refused.value)) < 300


def nested(depth):
    """A list in a list in a list."""
    found: Any = 0
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    "coordinates",
    [
        None,
        7,
        "0 0, 1 1",
        {"0": 0},
        [[["0", "0"], ["1", "0"], ["1", "1"]]],
        [[[True, 0], [1, 0], [1, 1]]],
        [[[None, 0], [1, 0], [1, 1]]],
        [[[math.nan, 0], [1, 0], [1, 1]]],
        [[[math.inf, 0], [1, 0], [1, 1]]],
        [[[10**400, 0], [1, 0], [1, 1]]],
        [[[0], [1], [2]]],
        [[0, 0], [1, 0], [1, 1]],
        [[[[0, 0], [1, 0], [1, 1]]]],
        [[[0, 0], [1, 0], [object(), 1]]],
        [],
        [[]],
        nested(30),
        nested(100_000),
    ],
)
def test_hostile_geojson_is_refused_in_few_words(coordinates):
    begun = time.process_time()
    for value in (
        {"type": "Polygon", "coordinates": coordinates},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": coordinates}},
    ):
        with pytest.raises(ValueError, match=r"GeoJSON of type|the polygon") as refused:
            polygons_from(value)
        assert len(str(refused.value)) < 300
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"type": "FeatureCollection"},
        {"type": "FeatureCollection", "features": 1},
        {"type": "FeatureCollection", "features": [1]},
        {"type": "FeatureCollection", "features": []},
        {"type": "Feature"},
        {"type": "Point", "coordinates": [1, 2]},
        {"type": ["Polygon"]},
        {"type": "FeatureCollection", "features": ["Polygon", None]},
    ],
)
def test_geojson_without_an_area_is_refused(value):
    with pytest.raises(ValueError, match=r"has no area|list of features|0 points"):
        polygons_from(value)


def test_deeply_nested_collections_are_refused():
    value: dict[str, Any] = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}
    for _ in range(100_000):
        value = {"type": "FeatureCollection", "features": [value]}

    with pytest.raises(ValueError, match="has no area"):
        polygons_from(value)


def test_a_ring_that_encloses_nothing_is_refused():
    for ring in ("0 0, 1 1", "0 0, 1 1, 0 0", "0 0"):
        with pytest.raises(RecipeError, match="ring"):
            parse_recipe(
                RECIPE.replace("    GRID\n", "") + f"area: {{polygon: 'POLYGON (({ring}))'}}\n"
            )


RECIPE = """\
name: A
licence: {spdx: CC0-1.0, attribution: nobody}
source: /nowhere
products:
  - name: P
    sources: ["*.tif"]
    bands: [red]
    GRID
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("grid: {crs: utm}", "line 8: products[0].grid: 'resolution' is missing"),
        ("grid: {crs: EPSG:1, resolution: 1}", "CRS 'EPSG:1' is unknown: give a code"),
        ("grid: {crs: utm, resolution: 0}", "greater than or equal to 0.000000001"),
        ("grid: {crs: utm, resolution: 1, resampling: bicubic}", "line 8: .*'bicubic' cannot"),
        ("grid: {crs: utm, resolution: 1, step: 3}", "'step' is not a key"),
        ("grid: metric", "grid 'metric' is unknown: give native, or a mapping"),
        ("grid: {like: PAN, factor: 0}", "greater than or equal to 1"),
        ("mosaic: newish", "'newish' cannot stand"),
        ("mosaic: order", "mosaic: order and a list of patterns in order: belong together"),
        ("order: ['a*']", "mosaic: order and a list of patterns in order: belong together"),
        ("cutlines: [{scenes: 'a*', polygon: 'POINT (1 2)'}]", "is no polygon: give WKT"),
        ("cutlines: [{scenes: 'a*', polygon: '../x.geojson'}]", "must lie beside the recipe"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_by_line_with_the_mend(line, told):
    with pytest.raises(RecipeError, match=told.replace("[0]", r"\[0\]")):
        parse_recipe(RECIPE.replace("GRID", line))


def test_a_chain_of_likenesses_is_refused():
    names = ("A", "B", "C")
    products = [
        {"name": n, "sources": ["*.tif"], "bands": ["red"], **({"grid": {"like": o}} if o else {})}
        for n, o in zip(names, (None, "A", "B"), strict=True)
    ]
    with pytest.raises(ValueError, match="C takes its grid from B, which takes it from A"):
        Recipe.model_validate({"name": "R", "licence": LICENCE, "products": products})


def test_a_polygon_file_beside_the_recipe_is_read(tmp_path):
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    (tmp_path / "edge.geojson").write_text(json.dumps(square))
    line = "cutlines: [{scenes: 'a*', polygon: edge.geojson}]"
    (tmp_path / "r.yaml").write_text(
        RECIPE.replace("GRID", line) + "area: {polygon: edge.geojson}\n"
    )

    found = load_recipe(tmp_path / "r.yaml")

    assert found.area is not None
    assert found.products[0].cutlines[0].polygon == polygons_from(square)
    assert found.area.polygon == polygons_from(square)


def test_an_area_is_a_bbox_or_a_polygon(tmp_path):
    (tmp_path / "a.geojson").write_text("{}")

    assert area_of() is None
    with pytest.raises(RecipeError, match="give west, south, east, north"):
        area_of([1, 1, 0, 0])
    with pytest.raises(RecipeError, match="has no area"):
        area_of(None, tmp_path / "a.geojson")
    with pytest.raises(RecipeError, match="is no file; name a GeoJSON file"):
        area_of(None, tmp_path / "missing.geojson")


def test_a_resolution_in_the_wrong_unit_is_noticed():
    one = chip()

    with pytest.raises(RecipeError, match=r"a\.tif: .*correct the grid's resolution"):
        plan(recipe(product(grid={"crs": "EPSG:4326", "resolution": 2.0})), "P", [one])


def test_the_error_of_a_native_product_names_a_grid_that_then_builds():
    scenes = [chip("a.tif"), chip("b.tif", pixel=1.79e-5)]
    with pytest.raises(RecipeError, match=r"grid: \{crs: utm, resolution: 0.5\}"):
        plan(recipe(), "P", scenes)

    mended = plan(recipe(product(grid={"crs": "utm", "resolution": 0.5})), "P", scenes)

    assert mended.grid.crs == RIO
