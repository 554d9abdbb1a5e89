"""The pages: their commands and options exist, their Python runs, their links lead somewhere."""

import ast
import os
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from markdown_it import MarkdownIt

import spacenet_cube
from spacenet_cube import docs
from spacenet_cube.cli import app
from spacenet_cube.cube.accessor import SpacenetAccessor

FOLDER = Path(docs.__file__).parent
README = FOLDER.parents[1] / "README.md"
PAGES = [README, *sorted(FOLDER.glob("*.md")), FOLDER.parent / "deploy" / "README.md"]
COMMANDS = typer.main.get_command(app.app).commands  # type: ignore[attr-defined]
FOREIGN = {"--local-directory"}
"""Options of other programs that pages mention."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    return [one.content for one in tokens if one.type == "fence" and one.info == language]


def inline_code(page: Path) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    inside = [child for one in tokens for child in one.children or ()]
    return [child.content for child in inside if child.type == "code_inline"]


def shown_commands(page: Path) -> list[list[str]]:
    """Our commands in blocks and in the text, split as a shell would."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines if "spacenet-cube" in line]
    words += [one.split() for one in inline_code(page)]
    return [each[1:] for each in words if each[:1] == ["spacenet-cube"] and len(each) > 1]


@every_page
def test_every_command_and_option_on_a_page_exists(page):
    for name, *rest in shown_commands(page):
        if name == "COMMAND":
            continue
        options = {opt for parameter in COMMANDS[name].params for opt in parameter.opts}
        used = {word for word in rest if word.startswith("-")}
        assert used <= options | {"--help"}, name


@every_page
def test_every_option_in_the_text_is_one_of_some_command(page):
    options = {opt for one in COMMANDS.values() for each in one.params for opt in each.opts}
    used = {
        found for one in inline_code(page) for found in re.findall(r"(?<!\S)--[a-z][a-z-]+", one)
    }

    assert used - options - FOREIGN - {"--help", "--version"} == set()


@every_page
def test_python_on_a_page_compiles_and_uses_names_that_exist(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sc":
                assert node.attr in spacenet_cube.__all__
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith(".spacenet"):
                assert hasattr(SpacenetAccessor, node.attr)


@every_page
def test_recipes_on_a_page_are_checked_by_the_recipes_model(page, tmp_path):
    for block in blocks(page, "yaml"):
        if block.startswith("name:"):
            spacenet_cube.parse_recipe(block, folder=tmp_path)


@every_page
def test_links_on_a_page_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)|\{download\}`[^<`]*<([^>\s]+)>`", page.read_text()):
        path, _, heading = "".join(target).partition("#")
        if path.startswith(("http://", "https://", "mailto:")):
            continue
        # Sphinx copies the notebooks into its folder.
        place = page.parent / path if path else page
        found = place if place.exists() else FOLDER.parents[1] / path
        assert found.exists(), path
        if heading and not heading.startswith("keys-"):
            assert heading in {slug(line) for line in headings(found)}


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_readme_has_at_most_900_words():
    assert len(README.read_text().split()) <= 900


@pytest.fixture
def viewer() -> ModuleType:
    matplotlib: ModuleType = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    return matplotlib


def run(page: Path, folder: Path) -> dict[str, Any]:
    """Run all Python of a page, block after block, in a folder."""
    names: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks(page, "python"):
            exec(block, names)  # noqa: S102 - what the page tells people to run
    finally:
        os.chdir(before)
    return names


def test_the_quickstart_runs(tmp_path, viewer, capsys):
    names = run(FOLDER / "quickstart.md", tmp_path)

    assert (tmp_path / "vegas.png").stat().st_size > 0
    assert names["url"].endswith("cubes/AOI_2_Vegas/MUL.zarr")
    assert "nir1" in capsys.readouterr().out
    viewer.pyplot.close("all")


def test_the_readme_runs_after_the_demo(tmp_path, viewer):
    aoi, product = "AOI_2_Vegas", "MUL-PanSharpen"
    spacenet_cube.write_sample(tmp_path / "corpus", aois=[aoi], products=[product], tile_size=512)
    recipe = spacenet_cube.load_recipe(aoi)
    scenes = spacenet_cube.survey(recipe, product, source=str(tmp_path / "corpus"))
    spacenet_cube.build(spacenet_cube.plan(recipe, product, scenes), tmp_path / "demo" / "cubes")

    names = run(README, tmp_path)

    assert names["pixels"].shape == (8, 256, 256)
    assert -1 < float(names["ndvi"].mean()) < 1
    viewer.pyplot.close("all")


@every_page
def test_no_page_holds_the_marks_of_a_merge(page):
    assert re.findall(r"^(?:<{7}|>{7}) .*$", page.read_text(), re.MULTILINE) == []
