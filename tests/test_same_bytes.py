"""Cubes have the bytes that were recorded in `same_bytes.json`, whatever moved in the code since.

`python -m tests.test_same_bytes` records them anew; do so only where bytes must change, and say
why in the changelog.  What varies from run to run is held still, and nothing else:

- The root document names the time at which each local source was last changed.  The sources
  here are all given the same time.
- The root document names the version of this package, so its digest and that of the manifest
  change with each release.  They are checked, then replaced by words.
- An icechunk repository names its objects at random.  The objects that readers see are compared.
"""

import json
import os
import random
import sys
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest

import spacenet_cube as sc
from spacenet_cube.builds.state.first_step import begun
from spacenet_cube.builds.tasks import inputs as core_inputs
from spacenet_cube.recipe.model import Encoding
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import locate
from tests import tiny_cubes

RECORDED = Path(__file__).with_name("same_bytes.json")
CHANGED_NS = 1_500_000_000_000_000_000
"""When each source was last changed, nanoseconds since 1970."""
PAIRS = [
    (aoi, product.name) for aoi in sc.bundled_recipes() for product in sc.load_recipe(aoi).products
]
CUBES = [(*pair, profile) for pair in PAIRS for profile in ("cloud", "gdal312")]
SHARE = random.Random(7).sample(CUBES, 4)  # noqa: S311 - a fixed share, no secret
"""Sample cubes of `make test`; with SPACENET_CUBE_TEST_ALL=1 every one is built."""
LIBRARIES = ("numcodecs", "numpy", "pyproj", "rasterio", "zarr")
"""What else decides bytes."""

Digests = dict[str, str]


def unchanging(folder: Path) -> Path:
    """Give every file of a folder the same time of change."""
    for path in folder.rglob("*"):
        os.utime(path, ns=(CHANGED_NS, CHANGED_NS))
    return folder


def digests(cube: str) -> Digests:
    """Digests of a cube: of its chunks, its metadata documents and its manifest."""
    place = locate(cube)
    objects = {key: bytes((place / key).read_bytes()) for key in entries(place)}
    beside = place.beside(".manifest")
    ((name, manifest),) = ((key, bytes((beside / key).read_bytes())) for key in entries(beside))
    root_digest = json.loads(manifest.partition(b"\n")[0])["root_sha256"].encode()
    assert name == f"{sha256(manifest).hexdigest()}.jsonl"
    words = {
        f"spacenet_cube {sc.__version__}".encode(): b"this software",
        sha256(manifest).hexdigest().encode(): b"this manifest",
        root_digest: b"this root",
    }
    chunks = {key: value for key, value in objects.items() if not key.endswith("zarr.json")}
    documents = {key: _replaced(objects[key], words) for key in set(objects) - set(chunks)}
    return {
        "chunks": _digest(chunks),
        "documents": _digest(documents),
        "manifest": _digest({"": _replaced(manifest, words)}),
    }


def _replaced(content: bytes, words: dict[bytes, bytes]) -> bytes:
    for found, word in words.items():
        content = content.replace(found, word)
    return content


def _digest(objects: dict[str, bytes]) -> str:
    assert objects
    rows = [f"{key} {sha256(objects[key]).hexdigest()}\n" for key in sorted(objects)]
    return sha256("".join(rows).encode()).hexdigest()


def sample_cube(aoi: str, name: str, profile: str, folder: Path) -> Digests:
    """Build a cube of the sample corpus, in many units."""
    recipe = sc.load_recipe(aoi)
    encoding = Encoding(chunk=16, shard=32, profile=profile)
    product = recipe.product(name).model_copy(update={"encoding": encoding})
    corpus = folder / "corpus"
    sc.write_sample(corpus, aois=[aoi], products=[name], tile_size=32)
    scenes = sc.survey(recipe, product, source=unchanging(corpus), scratch=folder / "scratch")
    return digests(sc.build(sc.plan(recipe, product, scenes), folder / "cubes", workers=2))


def tiny_plan(kind: str, folder: Path) -> sc.Plan:
    """Plan a cube of noise in two scenes."""
    tiny_cubes.scenes(folder, kind)
    return tiny_cubes.planned(unchanging(folder), kind)


def tiny_cube(kind: str, folder: Path) -> Digests:
    """Build a cube of noise."""
    return digests(sc.build(tiny_plan(kind, folder / "source"), folder / "cubes"))


def versioned_cube(kind: str, folder: Path) -> Digests:
    """Build the same as the first version of a cube that keeps versions."""
    to = f"icechunk+file://{folder}/versions"
    return digests(sc.build(tiny_plan(kind, folder / "source"), to))


def begun_build(kind: str, folder: Path) -> Digests:
    """What decides whether a build that was begun goes on, and which of its tasks are done."""
    planned = tiny_plan(kind, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_inputs, "__version__", "this software")
        made_from = core_inputs.inputs(planned)
    wanted = begun(planned)
    return {"plan": wanted.plan, "settings": wanted.settings} | made_from


@pytest.fixture(scope="module")
def recorded() -> dict[str, Digests]:
    found: dict[str, Digests] = json.loads(RECORDED.read_text())
    return found


def compare(name: str, found: Digests, recorded: dict[str, Digests]) -> None:
    """Compare with what was recorded; where libraries changed since, say which."""
    made_by = recorded["libraries"]
    others = {each: made_by[each] for each in LIBRARIES if version(each) != made_by[each]}
    assert found == recorded[name], f"recorded with {others}" if others else "recorded as is"


@pytest.mark.parametrize(
    ("aoi", "name", "profile"),
    CUBES if os.environ.get("SPACENET_CUBE_TEST_ALL") == "1" else SHARE,
)
def test_a_sample_cube_has_the_recorded_bytes(aoi, name, profile, tmp_path, recorded):
    found = sample_cube(aoi, name, profile, tmp_path)

    compare(f"{aoi} {name} {profile}", found, recorded)


@pytest.mark.parametrize("kind", tiny_cubes.KINDS)
def test_a_tiny_cube_has_the_recorded_bytes(kind, tmp_path, recorded):
    compare(f"tiny {kind}", tiny_cube(kind, tmp_path), recorded)


@pytest.mark.parametrize("kind", tiny_cubes.KINDS)
def test_a_versioned_cube_has_the_recorded_bytes_of_the_plain_one(kind, tmp_path, recorded):
    compare(f"tiny {kind}", versioned_cube(kind, tmp_path), recorded)


@pytest.mark.parametrize("kind", tiny_cubes.KINDS)
def test_a_build_that_was_begun_goes_on_where_the_recorded_digests_are_the_same(
    kind, tmp_path, recorded
):
    compare(f"begun {kind}", begun_build(kind, tmp_path), recorded)


def record() -> None:
    """Write what this tree builds to `same_bytes.json`."""
    found: dict[str, Digests] = {"libraries": {each: version(each) for each in LIBRARIES}}
    with tempfile.TemporaryDirectory() as scratch:
        below = (Path(scratch) / str(number) for number in range(1000))
        for aoi, name, profile in CUBES:
            found[f"{aoi} {name} {profile}"] = sample_cube(aoi, name, profile, next(below))
        for kind in tiny_cubes.KINDS:
            found[f"tiny {kind}"] = tiny_cube(kind, next(below))
            found[f"begun {kind}"] = begun_build(kind, next(below))
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(f"{len(found) - 1} recorded\n")


if __name__ == "__main__":
    record()
