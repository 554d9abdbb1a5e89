"""Nodata: the value that marks samples without data, in one band or in all of them.

Pure.  A file's nodata tag marks single samples, as GDAL has it.  A recipe's plain value
marks a pixel where every band holds it: in 8-bit and 11-bit imagery a 0 in one band is data.
"""

from collections.abc import Sequence

import numpy as np

from spacenet_cube.errors import RecipeError
from spacenet_cube.recipe.model import Nodata, Product
from spacenet_cube.sources.scene import Scene

DEFAULT = 0.0
"""Where neither the recipe nor a file gives a value."""


def held(value: float | None, dtype: str) -> float | None:
    """A nodata value as samples of a type hold it.

    Parameters
    ----------
    value
        As a recipe or a file's tag gives it.
    dtype
        numpy's name of the sample type.

    Returns
    -------
    float or None
        Rounded to the type; None where no sample can be equal to it, so that it marks nothing.

    Examples
    --------
    >>> held(-9999.9, "float32"), held(-9999, "uint8"), held(0, "uint8")
    (-9999.900390625, None, 0.0)
    """
    if value is None:
        return None
    kind = np.dtype(dtype)
    if kind.kind != "f":
        limits = np.iinfo(kind)
        whole = np.isfinite(value) and float(value).is_integer()
        return float(value) if whole and limits.min <= value <= limits.max else None
    with np.errstate(over="ignore"):
        rounded = float(kind.type(value))
    return rounded if np.isfinite(rounded) == np.isfinite(value) else None


def stated(product: Product) -> float | None:
    """The value that a recipe gives, or None.

    Parameters
    ----------
    product
        The product's part of the recipe.

    Returns
    -------
    float or None
        As it is written.
    """
    return product.nodata.value if isinstance(product.nodata, Nodata) else product.nodata


def contradiction(product: Product, scenes: Sequence[Scene]) -> str | None:
    """Why no value can be taken from the files' tags, if the recipe gives none.

    Parameters
    ----------
    product
        The product's part of the recipe.
    scenes
        What the survey found.

    Returns
    -------
    str or None
        One line; None where a value can be taken.
    """
    if stated(product) is not None:
        return None
    kinds: dict[str, list[str]] = {}
    for scene in scenes:
        tag = held(scene.nodata, scene.dtype)
        kinds.setdefault("none" if tag is None else f"{tag:.9g}", []).append(scene.id)
    if len(kinds) == 1 or kinds.keys() == {"none", "0"}:
        return None
    told = " and ".join(f"{tag} ({len(ids)}, as {ids[0]})" for tag, ids in sorted(kinds.items()))
    return (
        f"files differ in their nodata tag: {told}, and the recipe gives no nodata; add the value "
        "that the cube shall hold, such as nodata: -9999 (each file's own tag is honoured too)"
    )


def settled(product: Product, scenes: Sequence[Scene]) -> float:
    """The cube's nodata: the recipe's, else that of the files' tags, else 0.

    Parameters
    ----------
    product
        The product's part of the recipe.
    scenes
        At least one, all of one sample type.

    Returns
    -------
    float
        As samples hold it.

    Raises
    ------
    RecipeError
        If the files' tags differ and the recipe gives no value.
    """
    why = contradiction(product, scenes)
    if why:
        raise RecipeError(f"{product.name}: {why}")
    dtype, given = scenes[0].dtype, stated(product)
    if given is not None:
        rounded = held(given, dtype)
        return given if rounded is None else rounded
    tags = (held(scene.nodata, dtype) for scene in scenes)
    return next((tag for tag in tags if tag is not None), DEFAULT)


def marks_each_band(product: Product) -> bool | None:
    """Whether the recipe says that nodata marks single samples; None where it leaves that open.

    Parameters
    ----------
    product
        The product's part of the recipe.

    Returns
    -------
    bool or None
        None: files' tags do, and the recipe's plain value does not.
    """
    return product.nodata.each_band if isinstance(product.nodata, Nodata) else None
