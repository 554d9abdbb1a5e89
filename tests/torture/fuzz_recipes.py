"""Fuzzed recipes: real ones mutated, and others made by a grammar that knows the tricks.

Each is read; where it stands, its sources are surveyed and planned.
"""

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from spacenet_cube.builds.tasks.cost import cost
from spacenet_cube.plans.documents import group_documents
from spacenet_cube.plans.plan import plan
from spacenet_cube.plans.reference import reference_grid
from spacenet_cube.raster.grid import Block
from spacenet_cube.recipe.files import bundled_recipes, parse_recipe
from spacenet_cube.recipe.grids import LikeGrid
from spacenet_cube.sources.survey import survey
from tests.places import ROOT
from tests.scenes import coordinates, write_geotiff
from tests.torture.arena import Outcome, arena, figures
from tests.torture.score import Score

CANARY = "canary-outside.geojson"
_BASE = (
    "name: A\nlicence: {spdx: X, attribution: Y}\nproducts:\n- name: P\n"
    "  sources: '*.tif'\n  bands: [red, green]\n"
)
_NUMBERS = (
    "0", "-1", "1", "0.5", "2", "1.0e-300", "1.0e+300", ".nan", ".inf", "-.inf", "9" * 400,
    "9" * 5000, "1000000000", "1099511627776", "1e-9", "0x10", "1:30:00", "1_000", "true", "~",
    "-0.0", "5e-324", "18446744073709551616",
)  # fmt: skip
_TEXTS = (
    "no", "on", "''", "'*'", "'**'", "'**/**/*.tif'", "'*a*a*a*a*a*a*a*a*a*a*a*.tif'", "'[a'",
    "'[!a]*'", "'a**'", "/etc/passwd", "../../etc/passwd", "~/x", "'C:\\x'", "file:///etc/passwd",
    "/vsicurl/http://127.0.0.1:9/x", "zip+http://127.0.0.1:9/x", "GTIFF_DIR:1:/etc/passwd",
    "'filecache::memory://x'", "'reference://x'", "'memory://x'", '"a\\0b"', '"a\\nb"',
    '"\\u202e"', '"\\ud800"', "'e\u0301'", "&a x", "*a", "!!python/name:os.system", "!x y", "<<",
    "{}", "[]", "[[[[]]]]", "{a: {a: {a: {}}}}", "EPSG:4326", "EPSG:4978", "EPSG:99999", "utm",
    "'+init=/etc/passwd:x'", "'+proj=longlat +nadgrids=/etc/passwd'", "'+proj=utm +zone=11'",
    "'GEOGCS[' ", "'POLYGON ((0 0, 1 0, 1 1, 0 0))'", "'POLYGON ((nan 0, 1 0, 1 1))'",
    f"../{CANARY}", CANARY, "inside.geojson", "native", "P", "'a' * 3", "2001-01-01", "'%s%n'",
)  # fmt: skip
_KEYS = (
    "name", "title", "source", "storage", "licence", "area", "products", "aliases", "sources",
    "exclude", "sensor", "bands", "nodata", "mosaic", "order", "feather_px", "cutlines", "grid",
    "encoding", "expect", "crs", "resolution", "anchor", "like", "factor", "resampling",
    "tolerance_px", "bbox", "polygon", "chunk", "shard", "profile", "dtype", "pixel_size",
    "scenes", "index", "wavelength_nm", "edges_nm", "spdx", "attribution", "endpoint_url", "kind",
)  # fmt: skip
_LINES = (
    "  grid: {crs: EPSG:32611, resolution: @}\n",
    "  grid: {crs: EPSG:32611, resolution: [@, @], anchor: [@, @]}\n",
    "  grid: {crs: #, resolution: 1}\n",
    "  grid: {like: #, factor: @}\n",
    "  grid: {tolerance_px: @}\n",
    "  nodata: @\n",
    "  mosaic: feather\n  feather_px: @\n",
    "  mosaic: order\n  order: [#]\n",
    "  exclude: [#, #]\n",
    "  encoding: {chunk: @, shard: @}\n",
    "  expect: {pixel_size: [@, @], bands: @, scenes: @, crs: #}\n",
    "  cutlines: [{scenes: #, polygon: #, crs: #}]\n",
    "  cutlines: [{scenes: a,polygon: {type: Polygon, coordinates: [[[@, @], [@, 1], [1, 2]]]}}]\n",
    "area: {bbox: [@, @, @, @]}\n",
    "area: {polygon: #}\n",
    "source: #\n",
    "storage: {anonymous: #, concurrency: @, timeout_s: @, endpoint_url: #}\n",
    "title: #\n",
)


def _filled(line: str, rng: random.Random) -> str:
    made = "".join(
        rng.choice(_NUMBERS) if sign == "@" else rng.choice(_TEXTS) if sign == "#" else sign
        for sign in line
    )
    return made if rng.random() < 0.97 else made * rng.randint(2, 3000)


def _by_grammar(rng: random.Random, _: list[str]) -> str:
    return _BASE + "".join(_filled(rng.choice(_LINES), rng) for _ in range(rng.randint(1, 3)))


def _by_bytes(rng: random.Random, real: list[str]) -> str:
    signs = list(rng.choice(real))
    for _ in range(rng.randint(1, 8)):
        at, size = rng.randrange(len(signs)), rng.choice((0, 1, 1, 5, 40))
        new = rng.choice(("", "\t", ":", "-", "{", "[", "&", "*", "!", "\0", "\n", "\U0001f600"))
        signs[at : at + size] = [new * rng.choice((1, 1, 3, 2000))]
    return "".join(signs)


def _by_tree(rng: random.Random, real: list[str]) -> str:
    tree: Any = yaml.safe_load(rng.choice(real))
    for _ in range(rng.randint(1, 4)):
        node = tree
        while isinstance(node, (dict, list)) and node:
            key: Any = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if not isinstance(node[key], (dict, list)) or rng.random() < 0.3:
                key = rng.choice(_KEYS) if isinstance(node, dict) and rng.random() < 0.3 else key
                node[key] = f"@{rng.randrange(10**9)}@"
                break
            node = node[key]
    lines = yaml.safe_dump(tree, allow_unicode=True)
    while "@" in lines:
        head, _, rest = lines.partition("'@") if "'@" in lines else lines.partition("@")
        lines = head + rng.choice(_NUMBERS + _TEXTS) + rest.partition("@")[2].removeprefix("'")
    return lines


def _by_flood(rng: random.Random, _: list[str]) -> str:
    what = rng.choice(("- ", "[", "{a: ", "? ", "a: b\n", "- a\n", "#\n", "a ", "'", "\n", "1,"))
    return rng.choice(("", _BASE + "  title: ")) + what * rng.choice((30, 3000, 100_000))


_WAYS: tuple[tuple[Callable[[random.Random, list[str]], str], float], ...] = (
    (_by_grammar, 0.45),
    (_by_tree, 0.3),
    (_by_bytes, 0.23),
    (_by_flood, 0.02),
)


def recipe_text(seed: int, real: list[str]) -> str:
    """The fuzzed recipe of a seed."""
    rng = random.Random(seed)
    (way,) = rng.choices([way for way, _ in _WAYS], [share for _, share in _WAYS])
    return way(rng, real)


def trial(text: str, folder: Path) -> str:
    """Read a recipe and, where it stands, survey and plan its first product."""
    if text == "control":
        (folder.parent / CANARY).read_text()
        return "fine"
    recipe = parse_recipe(text, "fuzzed", folder=folder)
    product, source = recipe.products[0], folder / "source"
    # A recipe's own source, and a cube whose grid it takes, are places that it declares.
    if isinstance(product.grid, LikeGrid) and recipe.reference_product(product) is None:
        return "fine"
    reference = reference_grid(recipe, product, lambda other: survey(recipe, other, source=source))
    planned = plan(recipe, product, survey(recipe, product, source=source), reference=reference)
    json.dumps([planned.to_dict(), group_documents(planned)], allow_nan=False)
    cost(planned, workers=2, remote_target=False)
    return "fine"


def run(n: int, seed: int) -> Score:
    """Try n recipes; the first trial touches a canary, and must be seen to."""
    real = [_path_of(name).read_text() for name in bundled_recipes()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "arena"
        (folder / "source").mkdir(parents=True)
        shape = '{"type": "Polygon", "coordinates": [[[-118, 36], [-116, 36], [-116, 37]]]}'
        (folder.parent / CANARY).write_text(shape)
        (folder / "inside.geojson").write_text(shape)
        image = coordinates(Block(0, 0, 40, 40)).astype("uint16")
        write_geotiff(folder / "source" / "a.tif", image)
        Path(folder / "source" / "loop").symlink_to(folder)
        with arena("tests.torture.fuzz_recipes", folder) as held:
            control = held.run("control")
            assert control.foreign, "the watch saw no canary that was touched on purpose"
            seeds = range(seed * 1_000_000, seed * 1_000_000 + n)
            outcomes = [held.run(recipe_text(each, real)) for each in seeds]
    return score("fuzz-recipes", "fuzzed recipes are refused or read, in bounds", outcomes, seed)


def score(row: str, said: str, outcomes: list[Outcome], seed: int, **more: Any) -> Score:
    """The score of trials in an arena."""
    faults = [(number, each.fault) for number, each in enumerate(outcomes) if each.fault]
    told = tuple(f"trial {number}: {fault}" for number, fault in faults)
    n = len(outcomes)
    return Score(row, said, n - len(faults), n, seed, {**figures(outcomes), **more}, told)


def _path_of(name: str) -> Path:
    return ROOT / "recipes" / f"{name}.yaml"
