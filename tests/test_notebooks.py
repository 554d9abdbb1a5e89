"""The notebooks run from top to bottom, and are kept with pictures and without errors."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.places import ROOT
from tests.shares import share

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST_BYTES = 400_000


def numbered(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem[:2])


def outputs(book):
    return [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]


def pictures(book):
    kinds = [kind for out in outputs(book) for kind in out.get("data", {})]
    return [kind for kind in kinds if kind.startswith("image/")]


def test_there_are_four():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


# A kernel talks over loopback; what it says of that is no fault of the notebook.
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning:zmq")
@numbered(share(NOTEBOOKS, 1))
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    kept = nbformat.read(path, as_version=4)
    fresh = nbformat.from_dict({**kept, "cells": [dict(cell) for cell in kept.cells]})
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None

    # An error in a cell is raised here with its traceback.
    NotebookClient(
        fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    assert pictures(fresh) == pictures(kept)
    assert [out for out in outputs(fresh) if out.output_type == "error"] == []


@numbered(NOTEBOOKS)
def test_a_notebook_is_kept_with_its_pictures_and_nothing_of_the_machine(path):
    book = nbformat.read(path, as_version=4)
    text = path.read_text(encoding="utf-8")

    nbformat.validate(book)
    assert pictures(book)
    assert {out.output_type for out in outputs(book)} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert [out for out in outputs(book) if out.get("name") == "stderr"] == []
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    assert path.stat().st_size < LARGEST_BYTES
    assert re.findall(r"/(?:home|root|tmp|work|Users|private)/|[A-Z]:\\\\|widget-view", text) == []
    assert book.cells[0].cell_type == "markdown"
