"""Expectations: whether what the survey found is what the recipe says.

Pure.  Every fault is found, each told in one line with its mend.
"""

from collections.abc import Sequence
from itertools import groupby
from math import isclose, isfinite

import numpy as np

from spacenet_cube.core.recipe import Expect, Product
from spacenet_cube.core.scene import Scene

_PIXEL_SIZE_RELATIVE = 1e-4
_SHOWN = 5
_DTYPES = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"})


def faults(product: Product, scenes: Sequence[Scene]) -> list[str]:
    """Compare scenes with each other and with the recipe's expectations.

    Parameters
    ----------
    product
        Holds the bands, nodata and ``expect``.
    scenes
        What the survey found.

    Returns
    -------
    list of str
        One line a fault; empty where all is well.
    """
    found = differences(scenes)
    alike: dict[str, list[str]] = {}
    for scene in scenes:
        for fault in _of_scene(product, scene):
            alike.setdefault(fault, []).append(scene.id)
    found += [f"{_named(ids)}: {fault}" for fault, ids in alike.items()]
    expected = product.expect.scenes
    if expected is not None and len(scenes) != expected:
        found.append(
            f"found {len(scenes)} scenes where the recipe expects {expected}; complete the "
            "source, or correct expect.scenes"
        )
    return found


def differences(scenes: Sequence[Scene]) -> list[str]:
    """Say in what scenes differ that one cube must have in common: CRS and sample type.

    Parameters
    ----------
    scenes
        What the survey found.

    Returns
    -------
    list of str
        One line a difference; empty where they go together.
    """
    found = []
    for what, kind in (("CRS", _crs), ("sample type", _dtype)):
        kinds = [(key, list(group)) for key, group in groupby(sorted(scenes, key=kind), key=kind)]
        if len(kinds) > 1:
            told = " and ".join(f"{key} ({len(some)}, as {some[0].id})" for key, some in kinds)
            found.append(
                f"scenes differ in {what}: {told}; one cube holds one, so split the product, "
                "or exclude the others"
            )
    return found


def _crs(scene: Scene) -> str:
    return scene.crs


def _dtype(scene: Scene) -> str:
    return scene.dtype


def _named(ids: Sequence[str]) -> str:
    """Scenes by name: all of a few, the first of many."""
    shown = ", ".join(ids[:_SHOWN])
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"scene{'s' if len(ids) > 1 else ''} {shown}{more}"


def _of_scene(product: Product, scene: Scene) -> list[str]:
    """Faults of one scene, without its name."""
    found = _unexpected(product.expect, scene)
    most = max(product.band_indexes)
    if scene.count < most:
        found.append(
            f"{scene.count} bands, but the recipe's bands reach to number {most}; "
            "correct bands, or exclude the file"
        )
    if scene.dtype not in _DTYPES:
        found.append(
            f"{scene.dtype} samples, which a cube cannot hold; convert or exclude the file"
        )
    elif not _fits(product.nodata, scene.dtype):
        found.append(
            f"nodata {product.nodata:g} does not fit the {scene.dtype} samples; correct nodata"
        )
    return found


def _fits(nodata: float, dtype: str) -> bool:
    if np.dtype(dtype).kind == "f":
        return not isfinite(nodata) or abs(nodata) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return isfinite(nodata) and nodata == int(nodata) and limits.min <= nodata <= limits.max


def _unexpected(expect: Expect, scene: Scene) -> list[str]:
    """Facts of one scene that the recipe says otherwise."""
    facts: list[tuple[str, object, object, bool]] = [
        ("dtype", scene.dtype, expect.dtype, scene.dtype == expect.dtype),
        ("bands", scene.count, expect.bands, scene.count == expect.bands),
        ("crs", scene.crs, expect.crs, scene.crs == expect.crs),
    ]
    if expect.pixel_size is not None:
        size = (abs(scene.transform.a), abs(scene.transform.e))
        close = all(
            isclose(a, b, rel_tol=_PIXEL_SIZE_RELATIVE)
            for a, b in zip(size, expect.pixel_size, strict=True)
        )
        facts.append(("pixel_size", size, expect.pixel_size, close))
    return [
        f"{name} is {found} where the recipe expects {wanted}; correct expect.{name}, or "
        "exclude the file"
        for name, found, wanted, met in facts
        if wanted is not None and not met
    ]
