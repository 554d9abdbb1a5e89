"""Precedence: how a product's rule orders overlapping scenes, or combines them.

Pure.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from spacenet_cube.errors import RecipeError
from spacenet_cube.recipe.model import Product
from spacenet_cube.sources.scene import Scene

_COMBINING = frozenset({"min", "max", "mean", "median", "feather"})


def combines(product: Product) -> bool:
    """Whether the product's rule combines scenes, rather than letting one of them win."""
    return product.mosaic in _COMBINING


def reach_px(product: Product) -> int:
    """Pixels around a block that its mosaic depends on."""
    return product.feather_px if product.mosaic == "feather" else 0


def check_order(product: Product, scenes: Sequence[Scene]) -> None:
    """Refuse a rule that the scenes do not allow.

    Parameters
    ----------
    product
        Holds the rule.
    scenes
        What it would order.

    Raises
    ------
    RecipeError
        If the rule goes by time, and a scene's name tells none.
    """
    if product.mosaic in {"newest", "oldest"}:
        for scene in scenes:
            if scene.acquired is None:
                raise RecipeError(
                    f"mosaic: {product.mosaic} needs the time of every scene, and the name of "
                    f"{scene.id} tells none; use mosaic: order with a list of names in order:"
                )


def precedence(product: Product, scenes: Sequence[Scene]) -> tuple[int, ...]:
    """Numbers of scenes, the winner first.

    Parameters
    ----------
    product
        Holds the rule.
    scenes
        In scene order, which decides among equals.

    Returns
    -------
    tuple of int
        From 1, as `source_index` holds them; the numbers themselves do not depend on it.
    """
    numbers = range(1, len(scenes) + 1)
    match product.mosaic:
        case "last":
            return tuple(reversed(numbers))
        case "newest" | "oldest":
            times = {number: scenes[number - 1].acquired or "" for number in numbers}
            # Sorting is stable, also in reverse: among equal times scene order decides.
            newest = product.mosaic == "newest"
            return tuple(sorted(numbers, key=lambda number: times[number], reverse=newest))
        case "order":
            return tuple(sorted(numbers, key=lambda n: _rank(product.order, scenes[n - 1].id)))
        case _:
            return tuple(numbers)


def _rank(order: Sequence[str], name: str) -> int:
    return next((k for k, wild in enumerate(order) if fnmatchcase(name, wild)), len(order))
