"""The reference: every public name, every method, every recipe key and every option is there."""

import shutil
from pathlib import Path

import pytest
import sphobjinv
import typer
from sphinx.application import Sphinx

import spacenet_cube
from spacenet_cube import docs
from spacenet_cube.cli import app as cli
from spacenet_cube.cube.accessor import SpacenetAccessor
from spacenet_cube.docs import generated, inventories, offline

PAGES = Path(docs.__file__).parent


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """Names that the pages document, as Sphinx finds them in the two pages of the reference."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("api.rst", "accessor.rst"):
        shutil.copy(PAGES / name, folder)
    app = Sphinx(
        srcdir=folder,
        confdir=None,
        outdir=folder / "html",
        doctreedir=folder / "doctrees",
        buildername="dummy",
        status=None,
        warning=None,
        confoverrides={
            "root_doc": "api",
            "extensions": ["sphinx.ext.autodoc", "numpydoc"],
            "numpydoc_show_class_members": False,
        },
    )
    app.build()
    return {entry[0] for entry in app.env.domains.python_domain.get_objects()}


def test_every_public_name_is_documented(documented):
    wanted = {f"spacenet_cube.{name}" for name in spacenet_cube.__all__}

    assert wanted - documented == set()


def test_every_method_of_the_accessor_is_documented(documented):
    methods = {name for name in dir(SpacenetAccessor) if not name.startswith("_")}
    page = {name.rpartition(".")[2] for name in documented if "SpacenetAccessor." in name}

    assert methods
    assert page == methods


def test_every_key_of_a_recipe_has_a_row_with_its_meaning():
    schema = spacenet_cube.Recipe.model_json_schema()
    page = generated.recipe_keys(schema)

    for name, part in {"Recipe": schema, **schema["$defs"]}.items():
        section = page.partition(f"### {name}\n")[2].partition("\n### ")[0]
        for key, field in part["properties"].items():
            row = next((line for line in section.splitlines() if line.startswith(f"| `{key}`")), "")
            assert "const" in field or len(row.split("|")[4].strip()) > 0, (name, key)


def test_every_option_of_a_command_has_a_row_with_its_help():
    page = generated.commands(cli.app)
    group = typer.main.get_command(cli.app)

    for name, command in group.commands.items():  # type: ignore[attr-defined]
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            is_option = parameter.opts[0].startswith("-")
            place = str(parameter.metavar or parameter.name).upper()
            shown = parameter.opts if is_option else [place]
            if parameter.name != "help":
                assert f"| `{'` `'.join(shown)}` |" in section


def test_the_committed_inventories_hold_the_names_that_are_listed(tmp_path):
    inventories.write(tmp_path)

    for project in inventories.HOMES:
        made = sphobjinv.Inventory(str(tmp_path / f"{project}.inv"))
        kept = sphobjinv.Inventory(str(inventories.FOLDER / f"{project}.inv"))
        assert made.data_file() == kept.data_file()
    assert inventories.HOMES.keys() == inventories.NAMES.keys()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="//host/a.js">', ["//host/a.js"]),
        ('<link rel="stylesheet" href="https://host/a.css">', ["https://host/a.css"]),
        ('<link href="https://host/a.css" rel="stylesheet">', ["https://host/a.css"]),
        ("@font-face { src: url(https://host/f.woff2) }", ["https://host/f.woff2"]),
        ('<a href="https://host/">', []),
        ('<link rel="canonical" href="https://host/">', []),
        ('<script src="_static/a.js">', []),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(text, found):
    assert offline.loads(text) == found
