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
    from spacenet_cube.builds.build import build
    from spacenet_cube.builds.cluster.client import connect
    from spacenet_cube.builds.state.status import BuildStatus, build_status
    from spacenet_cube.builds.update import Updated, update
    from spacenet_cube.builds.versioned.history import history, rollback, tag
    from spacenet_cube.cube.chips.chips import Chips
    from spacenet_cube.cube.chips.labels import read_labels
    from spacenet_cube.cube.chips.windows import Chip
    from spacenet_cube.cube.corpus import Corpus, open_corpus
    from spacenet_cube.cube.info import cube_info
    from spacenet_cube.cube.open import open_cube
    from spacenet_cube.cube.quicklook import quicklook
    from spacenet_cube.integrity.findings import LEVELS, Fault, Sampling, Verification
    from spacenet_cube.integrity.repair import Repaired, repair
    from spacenet_cube.integrity.verify import verify
    from spacenet_cube.plans.plan import Plan, plan
    from spacenet_cube.plans.reference import reference_grid
    from spacenet_cube.recipe.bands import SENSORS, Band
    from spacenet_cube.recipe.files import bundled_recipes, load_recipe, parse_recipe
    from spacenet_cube.recipe.model import Recipe
    from spacenet_cube.sample.corpus import write_sample
    from spacenet_cube.sources.scene import Scene
    from spacenet_cube.sources.survey import survey
    from spacenet_cube.storage.icechunk.version import Version

_HOMES = {
    "bundled_recipes": "recipe.files",
    "load_recipe": "recipe.files",
    "parse_recipe": "recipe.files",
    "Recipe": "recipe.model",
    "write_sample": "sample.corpus",
    "survey": "sources.survey",
    "reference_grid": "plans.reference",
    "Scene": "sources.scene",
    "plan": "plans.plan",
    "Plan": "plans.plan",
    "connect": "builds.cluster.client",
    "build": "builds.build",
    "update": "builds.update",
    "Updated": "builds.update",
    "build_status": "builds.state.status",
    "BuildStatus": "builds.state.status",
    "verify": "integrity.verify",
    "Verification": "integrity.findings",
    "Fault": "integrity.findings",
    "Sampling": "integrity.findings",
    "LEVELS": "integrity.findings",
    "repair": "integrity.repair",
    "Repaired": "integrity.repair",
    "history": "builds.versioned.history",
    "tag": "builds.versioned.history",
    "rollback": "builds.versioned.history",
    "Version": "storage.icechunk.version",
    "open_cube": "cube.open",
    "open_corpus": "cube.corpus",
    "Corpus": "cube.corpus",
    "Chips": "cube.chips.chips",
    "Chip": "cube.chips.windows",
    "read_labels": "cube.chips.labels",
    "cube_info": "cube.info",
    "quicklook": "cube.quicklook",
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
