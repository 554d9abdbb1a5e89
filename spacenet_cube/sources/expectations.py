"""Expectations: whether what the survey found is what the recipe says.

Pure.  Every fault is found, each told in one line with its mend.
"""

from collections.abc import Mapping, Sequence
from math import isclose

from spacenet_cube.raster.crs import crs_name, same_crs
from spacenet_cube.recipe.grids import NativeGrid
from spacenet_cube.recipe.model import Expect, Product
from spacenet_cube.sources.nodata import contradiction, held, stated
from spacenet_cube.sources.scene import Scene

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
    found = differences(scenes, native=isinstance(product.grid, NativeGrid))
    tags = contradiction(product, scenes) if scenes else None
    found += [tags] if tags else []
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


def differences(scenes: Sequence[Scene], *, native: bool = True) -> list[str]:
    """Say in what scenes differ that one cube must have in common: CRS and sample type.

    Onto a grid that the recipe names, each scene is warped from its own CRS.

    Parameters
    ----------
    scenes
        What the survey found.
    native
        Whether pixels pass through unchanged, so that all scenes must be of one CRS.

    Returns
    -------
    list of str
        One line a difference; empty where they go together.
    """
    found = []
    kinds = _by_crs(scenes) if native else {}
    if len(kinds) > 1:
        found.append(
            f"scenes differ in CRS: {_told(kinds)}; a native grid has one, so give the product a "
            "grid to warp them onto, such as grid: {crs: utm, resolution: 0.5}, split the product, "
            "or exclude the others"
        )
    kinds = {}
    for scene in sorted(scenes, key=lambda one: one.dtype):
        kinds.setdefault(scene.dtype, []).append(scene)
    if len(kinds) > 1:
        found.append(
            f"scenes differ in sample type: {_told(kinds)}; one cube holds one, so split the "
            "product, or exclude the others"
        )
    return found


def _told(kinds: Mapping[str, Sequence[Scene]]) -> str:
    return " and ".join(f"{key} ({len(some)}, as {some[0].id})" for key, some in kinds.items())


def _by_crs(scenes: Sequence[Scene]) -> dict[str, list[Scene]]:
    """Scenes by what their CRS means, under one of its names."""
    found: dict[str, list[Scene]] = {}
    for scene in sorted(scenes, key=lambda one: one.crs):
        same = next((text for text in found if same_crs(text, scene.crs)), scene.crs)
        found.setdefault(same, []).append(scene)
    names = [crs_name(text) for text in found]
    twice = {name for name in names if names.count(name) > 1}
    return {
        f"{name} (as in {some[0].id})" if name in twice else name: some
        for name, some in zip(names, found.values(), strict=True)
    }


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
    given = stated(product)
    if scene.dtype in _DTYPES and given is not None and held(given, scene.dtype) is None:
        found.append(f"nodata {given:g} does not fit the {scene.dtype} samples; correct nodata")
    return found


def _unexpected(expect: Expect, scene: Scene) -> list[str]:
    """Facts of one scene that the recipe says otherwise."""
    facts: list[tuple[str, object, object, bool]] = [
        ("dtype", scene.dtype, expect.dtype, scene.dtype == expect.dtype),
        ("bands", scene.count, expect.bands, scene.count == expect.bands),
        (
            "crs",
            crs_name(scene.crs),
            expect.crs,
            expect.crs is not None and same_crs(scene.crs, expect.crs),
        ),
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
