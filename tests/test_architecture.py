"""Who may know whom (spacenet_cube/docs/design.md), read off the source without importing it.

A new module needs one line in ``LAYERS``.  An exception needs a line with its reason.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import spacenet_cube

PACKAGE = Path(spacenet_cube.__file__).parent

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"compat", "errors", "version"}),
    frozenset({"core"}),
    frozenset({"heap", "storage", "scratch"}),
    frozenset({"ledger", "locking", "overlap"}),
    frozenset({"belongings"}),
    frozenset(
        {
            "accessor",
            "accessor_analysis",
            "accessor_learning",
            "analysis",
            "archive",
            "dealer",
            "roster",
            "scheduler",
            "cluster_faults",
            "corpus",
            "batches",
            "chips",
            "choosing",
            "cutting",
            "footprints",
            "info",
            "labels",
            "likeness",
            "listing",
            "opening",
            "roots",
            "publish",
            "drawing",
            "read",
            "recipes",
            "resampling",
            "revisions",
            "sample",
            "surveying",
            "torching",
            "cache",
            "guarding",
            "header",
            "inspecting",
            "inventory",
            "mirror",
            "pinning",
            "carrying",
            "shelf",
            "staging",
            "keeping",
            "running",
            "status",
            "write",
        }
    ),
    frozenset({"clearing", "estimating", "resuming", "working"}),
    frozenset({"desk"}),
    frozenset({"distributing", "versioning"}),
    frozenset({"building"}),
    frozenset({"comparing", "updating"}),
    frozenset({"verifying"}),
    frozenset({"repairing"}),
    frozenset({"terminal"}),
    frozenset({"asking", "leaving", "options"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
    frozenset({"docs"}),
)
"""From the bottom up.  A module imports from layers below its own; a folder is one module."""

NEIGHBOURS: dict[tuple[str, str], str] = {
    ("accessor", "accessor_analysis"): "a part of it",
    ("accessor", "accessor_learning"): "a part of it",
    ("accessor", "analysis"): "its methods are functions there",
    ("accessor_analysis", "analysis"): "its methods are functions there",
    ("accessor_learning", "analysis"): "it asks a dataset for its opener",
    ("analysis", "resampling"): "a cube is brought to another grid as scenes are",
    ("likeness", "publish"): "a cube's grid is read from the document that publishes it",
    ("info", "opening"): "a description is given the URL of a cube",
    ("info", "roots"): "a description is of the root's metadata",
    ("opening", "roots"): "a cube is opened at its root",
    ("drawing", "roots"): "a quicklook does not believe metadata blindly",
    ("corpus", "opening"): "a corpus opens each of its cubes",
    ("drawing", "info"): "ground measures a cube's extent for both",
    ("revisions", "publish"): "a version holds a cube where its root document is",
    ("status", "publish"): "what is published is told by the root document",
    ("opening", "recipes"): "an alias of a product is told by its recipe",
    ("opening", "guarding"): "a damaged chunk is told in words that name the cube",
    ("opening", "analysis"): "an opened cube carries what its parts are asked for",
    ("opening", "accessor"): "opening a cube registers ds.spacenet",
    ("drawing", "opening"): "a quicklook is given the URL of a cube",
    ("accessor_learning", "batches"): "the opener of levels is described where chips need it",
    ("accessor_learning", "chips"): "what cube.spacenet.chips gives",
    ("accessor_learning", "choosing"): "cube.spacenet.chips",
    ("accessor_learning", "labels"): "cube.spacenet.rasterize",
    ("cluster_faults", "roster"): "what a worker had is named",
    ("dealer", "cluster_faults"): "faults are told in words",
    ("dealer", "roster"): "workers are those that the scheduler knows",
    ("chips", "batches"): "chips come as samples and streams",
    ("chips", "cutting"): "chips are cut from shards",
    ("chips", "footprints"): "chips are listed and drawn",
    ("chips", "torching"): "chips come as torch's datasets",
    ("choosing", "chips"): "what is chosen are chips",
    ("choosing", "cutting"): "what is valid is counted in the tiles an array is read in",
    ("choosing", "batches"): "the opener of levels is described where chips need it",
    ("cutting", "batches"): "the opener of levels is described where chips need it",
    ("labels", "cutting"): "labels are burned in the tiles an array is read in",
    ("torching", "batches"): "torch's datasets are samples and streams with tensors",
    ("archive", "listing"): "an archive is known by what its listing says",
    ("archive", "shelf"): "members are put on a shelf",
    ("header", "cache"): "a header that was read before is recalled",
    ("header", "mirror"): "a remote header is parsed from a sparse local file",
    ("header", "read"): "headers are read where pixels are, under one GDAL environment",
    ("shelf", "listing"): "a shelf is known by the archive its members are of",
    ("keeping", "staging"): "mirrors that are kept are mirrors all the same",
    ("read", "pinning"): "a local file is held to what was surveyed at each read",
    ("surveying", "pinning"): "a survey hashes what it is to pin",
    ("staging", "mirror"): "a stage keeps mirrors of remote scenes",
    ("surveying", "archive"): "a survey unpacks the archives it finds",
    ("surveying", "header"): "a survey reads headers",
    ("surveying", "listing"): "a survey opens what the listing found",
    ("surveying", "shelf"): "a survey looks at members like at any other raster",
}
"""(module, other module of its layer that it may import): why."""

CORE_STDLIB = frozenset({
    "__future__", "abc", "array", "base64", "bisect", "collections", "contextlib", "copy",
    "dataclasses",
    "datetime", "decimal", "difflib", "enum", "fnmatch", "fractions", "functools", "hashlib",
    "heapq", "itertools",
    "json", "math", "numbers", "operator", "pathlib", "re", "stat", "statistics", "string",
    "struct", "textwrap", "types", "typing", "unicodedata", "urllib.parse", "xml.parsers.expat",
})  # fmt: skip
"""What core may use of the standard library: nothing that opens, waits or varies."""

CORE_OTHERS = frozenset(
    {"affine", "google_crc32c", "numpy", "odc.geo", "pydantic", "pyproj", "shapely", "zarr_cm"}
)
"""What core may use of other packages."""

IMPURE_NAMES = frozenset({
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "numpy.load", "numpy.save",
    "numpy.savez", "numpy.fromfile", "numpy.memmap", "numpy.loadtxt", "numpy.genfromtxt",
    "numpy.random",
})  # fmt: skip
"""Names of those that open a file or vary from run to run."""

IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})
"""Builtins that core never calls."""

CLOCKS = frozenset({"now", "utcnow", "today"})
"""Methods that read a clock."""

ONE_HOME: dict[str, frozenset[str]] = {
    "fsspec": frozenset({"storage"}),
    "s3fs": frozenset({"storage"}),
    "obstore": frozenset({"storage"}),
    "botocore": frozenset({"storage"}),
    "icechunk": frozenset({"storage"}),
    "aiohttp": frozenset({"storage"}),
}
"""Packages that understand URLs and credentials, and the module that does so for all others."""

HARMLESS: dict[str, str] = {}
"""A name of those packages that any module may use: why."""

HEAVY = frozenset({
    "dask", "matplotlib", "numpy", "odc", "pandas", "pydantic", "rasterio", "rioxarray", "s3fs",
    "shapely", "xarray", "zarr",
})  # fmt: skip
"""What ``spacenet-cube --help`` has no use for."""


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One imported name, wherever in a module it stands."""

    module: str
    """Who imports, as ``core.grid``; the package itself is the empty string."""

    line: int
    """Where, counted from 1."""

    name: str
    """What, in full: ``numpy``, ``pathlib.Path`` or ``spacenet_cube.core.grid.Grid``."""

    def __str__(self) -> str:
        return f"{self.module or 'spacenet_cube'}:{self.line} imports {self.name}"


def modules(package: Path) -> dict[str, ast.Module]:
    """Parse every module of a package, by name."""
    names = {
        path: ".".join(path.relative_to(package).with_suffix("").parts).removesuffix("__init__")
        for path in sorted(package.rglob("*.py"))
    }
    return {name.rstrip("."): ast.parse(path.read_bytes()) for path, name in names.items()}


def imports(package: Path) -> list[Import]:
    """List every import of every module, those inside functions too."""
    return [found for name, tree in modules(package).items() for found in _imports(name, tree)]


def _imports(module: str, tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            # Ruff (TID252) keeps relative imports of parents out; siblings are not used either.
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(module, node.lineno, f"{origin}.{alias.name}")


def inner(name: str, known: dict[str, ast.Module]) -> str | None:
    """Name the module of ours an import reaches; None where it reaches somebody else's."""
    parts = name.split(".")
    if parts[0] != "spacenet_cube":
        return None
    while len(parts) > 1 and ".".join(parts[1:]) not in known:
        parts.pop()
    return ".".join(parts[1:])


def part(module: str) -> str:
    """Give the module or folder at the top of the package that a module belongs to."""
    return module.partition(".")[0]


def layer(module: str) -> int | None:
    """Number a module's layer from the bottom; None where the table lacks it."""
    return next((k for k, names in enumerate(LAYERS) if part(module) in names), None)


def within(name: str, allowed: frozenset[str]) -> bool:
    """Say whether a dotted name is one of, or inside one of, the allowed."""
    return any(f"{name}.".startswith(f"{one}.") for one in allowed)


def unlisted(package: Path) -> list[str]:
    """Find modules without a layer."""
    return sorted({part(name) for name in modules(package) if name and layer(name) is None})


def upward(package: Path) -> list[str]:
    """Find imports of a higher layer, or of a neighbour that is not allowed for."""
    known = modules(package)
    wrong = []
    for found in imports(package):
        target = inner(found.name, known)
        if target is None or not found.module or part(target) == part(found.module):
            continue
        if target == "":
            wrong.append(f"{found}: name the module it comes from")
            continue
        mine, theirs = layer(found.module), layer(target)
        if mine is None or theirs is None:
            continue
        if theirs > mine or (
            theirs == mine and (part(found.module), part(target)) not in NEIGHBOURS
        ):
            wrong.append(str(found))
    return wrong


def cycles(package: Path) -> list[str]:
    """Find one circle of imports, if there is any."""
    known = modules(package)
    graph: dict[str, set[str]] = {name: set() for name in known if name}
    for found in imports(package):
        target = inner(found.name, known)
        if found.module and target and target != found.module:
            graph[found.module].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def relative(package: Path) -> list[str]:
    """Find imports that do not say where they come from."""
    return [str(found) for found in imports(package) if found.name.startswith(".")]


def impure_imports(package: Path) -> list[str]:
    """Find what core imports and may not."""
    return [
        str(found)
        for found in imports(package)
        if part(found.module) == "core"
        and not found.name.startswith("spacenet_cube")
        and (not within(found.name, CORE_STDLIB | CORE_OTHERS) or within(found.name, IMPURE_NAMES))
    ]


def impure_calls(package: Path) -> list[str]:
    """Find where core opens, prints, reads a clock, or uses a name that does."""
    return [
        f"{name}:{node.lineno} uses {ast.unparse(node.func)}"
        for name, tree in modules(package).items()
        if part(name) == "core"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_impure(ast.unparse(node.func))
    ]


def _is_impure(call: str) -> bool:
    full = call.replace("np.", "numpy.", 1) if call.startswith("np.") else call
    _, dot, last = call.rpartition(".")
    return call in IMPURE_CALLS or within(full, IMPURE_NAMES) or bool(dot and last in CLOCKS)


def strayed(package: Path) -> list[str]:
    """Find imports of a package outside the one module that is its home."""
    return [
        str(found)
        for found in imports(package)
        for name, homes in ONE_HOME.items()
        if within(found.name, frozenset({name}))
        and part(found.module) not in homes
        and found.name not in HARMLESS
    ]


RULES = (unlisted, upward, cycles, relative, impure_imports, impure_calls, strayed)


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_the_rule(rule):
    assert rule(PACKAGE) == []


@pytest.mark.parametrize(
    ("rule", "module", "source", "found"),
    [
        (unlisted, "misc.py", "", "misc"),
        (upward, "core/grid.py", "import spacenet_cube.storage", "core.grid:1"),
        (upward, "errors.py", "from spacenet_cube.core.grid import Grid", "errors:1"),
        (upward, "core/grid.py", "def f():\n    from spacenet_cube import building", "core.grid:2"),
        (upward, "building.py", "from spacenet_cube.cli import main", "building:1"),
        (upward, "read.py", "from spacenet_cube.write import put", "read:1"),
        (upward, "read.py", "from spacenet_cube import open_cube", "name the module"),
        (cycles, "core/grid.py", "from spacenet_cube.core.scene import Scene", "core.grid"),
        (relative, "building.py", "from .core import grid", "building:1"),
        (relative, "building.py", "from . import storage", "building:1"),
        (impure_imports, "core/grid.py", "import os", "imports os"),
        (impure_imports, "core/grid.py", "import os.path", "imports os.path"),
        (impure_imports, "core/grid.py", "from time import time", "imports time.time"),
        (impure_imports, "core/grid.py", "from pathlib import Path", "imports pathlib.Path"),
        (impure_imports, "core/grid.py", "from numpy.random import rand", "numpy.random"),
        (impure_imports, "core/grid.py", "import odc.stac", "imports odc.stac"),
        (impure_imports, "core/grid.py", "import numpyx", "imports numpyx"),
        (impure_imports, "core/grid.py", "if 1:\n    import zarr", "core.grid:2 imports zarr"),
        (impure_calls, "core/grid.py", "x = open('x')", "core.grid:1 uses open"),
        (impure_calls, "core/grid.py", "np.random.default_rng()", "uses np.random"),
        (impure_calls, "core/grid.py", "import pathlib\npathlib.Path()", "uses pathlib.Path"),
        (impure_calls, "core/grid.py", "datetime.now(UTC)", "uses datetime.now"),
        (strayed, "read.py", "import fsspec.core", "imports fsspec.core"),
    ],
)
def test_a_broken_rule_is_found(rule, module, source, found, tmp_path, monkeypatch):
    # A small package with a table of its own, so that the project's modules may be renamed.
    layers = ("errors",), ("core",), ("storage",), ("read", "write"), ("building",), ("cli",)
    monkeypatch.setitem(globals(), "LAYERS", tuple(frozenset(names) for names in layers))
    monkeypatch.setitem(globals(), "ONE_HOME", {"fsspec": frozenset({"storage"})})
    sound = {
        "__init__.py": "import spacenet_cube.building",
        "building.py": "from spacenet_cube import read",
        "cli.py": "from spacenet_cube import building",
        "core/__init__.py": "",
        "core/grid.py": "from pathlib import PurePosixPath\nimport numpy as np",
        "core/scene.py": "from spacenet_cube.core.grid import Grid",
        "errors.py": "",
        "read.py": "from spacenet_cube.storage import Place",
        "storage.py": "import fsspec",
        "write.py": "",
    }
    (tmp_path / "core").mkdir()
    for name, text in sound.items():
        (tmp_path / name).write_text(text)
    before = {each: each(tmp_path) for each in RULES}

    (tmp_path / module).write_text(source)

    assert before == {each: [] for each in RULES}
    assert any(found in line for line in rule(tmp_path))


def test_every_exception_is_still_needed():
    known = modules(PACKAGE)
    used = {
        (part(found.module), part(inner(found.name, known) or "")) for found in imports(PACKAGE)
    }

    assert set(NEIGHBOURS) - used == set()
    assert set(HARMLESS) - {found.name for found in imports(PACKAGE)} == set()


def test_a_module_has_one_layer():
    listed = [name for names in LAYERS for name in names]

    assert sorted(listed) == sorted(set(listed))


def test_every_public_name_is_there():
    assert [name for name in spacenet_cube.__all__ if not hasattr(spacenet_cube, name)] == []


def test_no_public_name_turns_into_a_module_once_all_modules_are_imported():
    left_out = {"__main__", "torching"}  # One runs when imported, and one needs torch.
    names = sorted(f"spacenet_cube.{name}" for name in modules(PACKAGE) if name not in left_out)
    program = f"""
import importlib, types, spacenet_cube
for name in {names}:
    importlib.import_module(name.rstrip("."))
public = {{name: getattr(spacenet_cube, name) for name in spacenet_cube.__all__}}
print(*[name for name, value in public.items() if isinstance(value, types.ModuleType)])
"""

    assert run(program).split() == []


@pytest.mark.parametrize(
    "program",
    [
        "import spacenet_cube",
        """
import spacenet_cube.cli, sys
sys.argv = ["spacenet-cube", "--help"]
try:
    spacenet_cube.cli.main()
except SystemExit as stop:
    assert not stop.code, stop.code
""",
    ],
    ids=["import", "help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(program):
    report = "\nimport sys; print('loaded:', *{name.partition('.')[0] for name in sys.modules})"

    loaded = run(program + report).rpartition("loaded:")[2].split()

    assert "spacenet_cube" in loaded
    assert sorted(HEAVY.intersection(loaded)) == []


def run(program: str) -> str:
    """Run a program in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
