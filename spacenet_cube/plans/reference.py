"""Likeness: the grid that a product takes from another product, or from a cube.

Not pure: reads the cube's root document, and surveys the other product.
"""

import json
from collections.abc import Callable, Sequence
from math import isfinite

from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from spacenet_cube.errors import RecipeError
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.crs import refuse_files
from spacenet_cube.raster.grid import Grid
from spacenet_cube.recipe.grids import LikeGrid
from spacenet_cube.recipe.model import Product, Recipe
from spacenet_cube.sources.scene import Scene
from spacenet_cube.storage.base.entries import ROOT
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.resolve import locate

_UNSOUND = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    CRSError,
)

SurveyOf = Callable[[Product], Sequence[Scene]]
"""Finds the scenes of a product."""


def reference_grid(recipe: Recipe, product: str | Product, survey_of: SurveyOf) -> Grid | None:
    """Find the grid that a product's ``like`` names.

    Parameters
    ----------
    recipe
        Where a product of that name is looked for first.
    product
        Name or alias of one of its products, or the product itself.
    survey_of
        Surveys a product of the recipe.

    Returns
    -------
    Grid or None
        None where the product has a grid of its own.

    Raises
    ------
    RecipeError
        If ``like`` names neither a product nor a cube.

    Examples
    --------
    ``reference_grid(recipe, "MUL", lambda other: survey(recipe, other))``
    """
    wanted = recipe.product(product) if isinstance(product, str) else product
    if not isinstance(wanted.grid, LikeGrid):
        return None
    other = recipe.reference_product(wanted)
    if other is not None:
        return plan(recipe, other, survey_of(other)).grid
    return _grid_of_cube(recipe, wanted.grid.like)


def _grid_of_cube(recipe: Recipe, name: str) -> Grid:
    """The grid of a published cube, from its conventions."""
    cube = locate(name)
    try:
        attributes = json.loads((cube / ROOT).read_bytes())["attributes"]
        rows, cols = (int(edge) for edge in attributes["spatial:shape"])
        transform = Affine(*(float(number) for number in attributes["spatial:transform"][:6]))
        crs = attributes.get("proj:code") or attributes["proj:wkt2"]
        _refuse_unsound((rows, cols), transform, crs)
    except (*FAULTS, *_UNSOUND) as error:
        known = ", ".join(product.name for product in recipe.products)
        raise RecipeError(
            f"grid: like: {name!r} is neither a product of {recipe.name} ({known}) nor a published "
            f"cube ({type(error).__name__}: {error}); correct the name or the path"
        ) from error
    return Grid((rows, cols), transform, crs)


def _refuse_unsound(shape_yx: tuple[int, int], transform: Affine, crs: str) -> None:
    """Refuse what a foreign cube says of its grid, where no grid is so."""
    numbers = tuple(transform)[:6]
    if min(shape_yx) < 1 or not all(map(isfinite, numbers)) or transform.a <= 0 <= transform.e:
        message = f"its grid is {shape_yx} with transform {numbers}"
        raise ValueError(message)
    refuse_files(" ".join(str(crs).split()))
    CRS.from_user_input(crs)
