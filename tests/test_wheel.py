"""The built wheel, not the source tree, is what people install."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import spacenet_cube
from tests.places import ROOT

AOIS = ("AOI_1_Rio", "AOI_2_Vegas", "AOI_3_Paris", "AOI_4_Shanghai", "AOI_5_Khartoum")


def run(*args: str | Path, cwd: Path, path: tuple[Path, ...] = ()) -> str:
    """Run this Python elsewhere, with some folders before all others on its path."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_"))
    }
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", "--no-index", "--no-compile", "--target", folder)
    run("-m", "pip", "install", *options, wheel, cwd=folder)
    return folder


def test_the_wheel_holds_what_people_need_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())

    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "spacenet_cube").rglob("*")
        if path.is_file() and not {"__pycache__", "docs"} & set(path.relative_to(ROOT).parts)
    }
    recipes = {
        f"spacenet_cube/recipe/bundled/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")
    }
    assert {name for name in names if ".dist-info/" not in name} == package | recipes
    assert "spacenet_cube/py.typed" in names
    assert wheel.name == f"spacenet_cube-{spacenet_cube.__version__}-py3-none-any.whl"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_passes_the_tests_marked_for_it(installed, tmp_path):
    options = ("-q", "-v", "-m", "wheel", "-p", "no:cacheprovider", "--basetemp", tmp_path / "base")

    # The source tree comes second, for what the tests share among themselves.
    report = run(
        "-m", "pytest", "-c", ROOT / "pyproject.toml", *options, ROOT / "tests",
        cwd=tmp_path, path=(installed, ROOT),
    )  # fmt: skip

    assert f"spacenet_cube: {installed / 'spacenet_cube'}\n" in report
    assert " passed" in report.splitlines()[-1]


@pytest.mark.wheel
def test_the_command_lists_the_bundled_recipes(tmp_path):
    package = Path(spacenet_cube.__file__).parent

    listing = run("-m", "spacenet_cube", "recipes", cwd=tmp_path, path=(package.parent,))

    assert [aoi for aoi in AOIS if aoi not in listing] == []


@pytest.mark.wheel
@pytest.mark.parametrize("aoi", AOIS)
def test_a_bundled_recipe_loads_by_name(aoi):
    assert spacenet_cube.load_recipe(aoi).name == aoi


@pytest.mark.wheel
def test_a_cube_is_built_and_opened(tmp_path):
    aoi, product = "AOI_2_Vegas", "MUL"
    spacenet_cube.write_sample(tmp_path / "corpus", aois=[aoi], products=[product], tile_size=32)
    recipe = spacenet_cube.load_recipe(aoi)
    scenes = spacenet_cube.survey(recipe, product, source=str(tmp_path / "corpus"))

    plan = spacenet_cube.plan(recipe, product, scenes)
    cube = spacenet_cube.build(plan, to=str(tmp_path / "cubes"))

    opened = spacenet_cube.open_cube(cube)
    assert opened.image.dims == ("band", "y", "x")
    assert opened.source_index.max() > 1
