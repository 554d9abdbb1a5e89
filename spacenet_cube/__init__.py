"""SpaceNet's rasters, or any folder of GeoTIFFs, as chunked Zarr cubes by recipe.

The verbs, in pipeline order::

    recipe = load_recipe("AOI_2_Vegas")
    scenes = survey(recipe, "MUL", source="corpus")
    planned = plan(recipe, "MUL", scenes)
    url = build(planned, "cubes")
    cube = open_cube(url)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spacenet_cube.errors import (
    CubeError,
    CubeExistsError,
    MissingExtraError,
    RecipeError,
    SourceError,
    StoreError,
    VerifyError,
)
from spacenet_cube.version import __version__

if TYPE_CHECKING:
    from spacenet_cube.building import build
    from spacenet_cube.chips import Chips
    from spacenet_cube.core.chipping import Chip
    from spacenet_cube.core.condition import BuildStatus
    from spacenet_cube.core.findings import LEVELS, Fault, Sampling, Verification
    from spacenet_cube.core.plan import Plan, plan
    from spacenet_cube.core.scene import Scene
    from spacenet_cube.corpus import Corpus, open_corpus
    from spacenet_cube.distributing import connect
    from spacenet_cube.drawing import quicklook
    from spacenet_cube.info import cube_info
    from spacenet_cube.labels import read_labels
    from spacenet_cube.likeness import reference_grid
    from spacenet_cube.opening import open_cube
    from spacenet_cube.recipe.bands import SENSORS, Band
    from spacenet_cube.recipe.files import bundled_recipes, load_recipe, parse_recipe
    from spacenet_cube.recipe.model import Recipe
    from spacenet_cube.repairing import Repaired, repair
    from spacenet_cube.revisions import history, rollback, tag
    from spacenet_cube.sample import write_sample
    from spacenet_cube.status import build_status
    from spacenet_cube.storage.icechunk.version import Version
    from spacenet_cube.surveying import survey
    from spacenet_cube.updating import Updated, update
    from spacenet_cube.verifying import verify

_HOMES = {
    "bundled_recipes": "recipe.files",
    "load_recipe": "recipe.files",
    "parse_recipe": "recipe.files",
    "Recipe": "recipe.model",
    "write_sample": "sample",
    "survey": "surveying",
    "reference_grid": "likeness",
    "Scene": "core.scene",
    "plan": "core.plan",
    "Plan": "core.plan",
    "connect": "distributing",
    "build": "building",
    "update": "updating",
    "Updated": "updating",
    "build_status": "status",
    "BuildStatus": "core.condition",
    "verify": "verifying",
    "Verification": "core.findings",
    "Fault": "core.findings",
    "Sampling": "core.findings",
    "LEVELS": "core.findings",
    "repair": "repairing",
    "Repaired": "repairing",
    "history": "revisions",
    "tag": "revisions",
    "rollback": "revisions",
    "Version": "storage.icechunk.version",
    "open_cube": "opening",
    "open_corpus": "corpus",
    "Corpus": "corpus",
    "Chips": "chips",
    "Chip": "core.chipping",
    "read_labels": "labels",
    "cube_info": "info",
    "quicklook": "drawing",
    "SENSORS": "recipe.bands",
    "Band": "recipe.bands",
}

__all__ = [  # noqa: RUF022 - in pipeline order
    "bundled_recipes",
    "load_recipe",
    "parse_recipe",
    "Recipe",
    "write_sample",
    "survey",
    "reference_grid",
    "Scene",
    "plan",
    "Plan",
    "connect",
    "build",
    "update",
    "Updated",
    "build_status",
    "BuildStatus",
    "verify",
    "Verification",
    "Fault",
    "Sampling",
    "LEVELS",
    "repair",
    "Repaired",
    "history",
    "tag",
    "rollback",
    "Version",
    "open_cube",
    "open_corpus",
    "Corpus",
    "Chips",
    "Chip",
    "read_labels",
    "cube_info",
    "quicklook",
    "SENSORS",
    "Band",
    "CubeError",
    "RecipeError",
    "SourceError",
    "StoreError",
    "CubeExistsError",
    "VerifyError",
    "MissingExtraError",
    "__version__",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import a public name when it is first used, so that ``--help`` is quick."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Every public name, imported yet or not."""
    return sorted(__all__)
