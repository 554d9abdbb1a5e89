"""Levels: the resolutions a published cube offers, as its attributes tell them.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spacenet_cube.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a cube."""

    number: int
    """0 is native; level n has pixels 2**n as large."""

    name: str
    """Name of the group that holds it: ``.`` for the native level, else ``ovr_2x`` ..."""

    shape_yx: tuple[int, int]
    """Rows and columns."""

    resolution_yx: tuple[float, float]
    """Height and width of a pixel in CRS units (degrees for EPSG:4326, metres for UTM)."""

    @property
    def resolution(self) -> float:
        """The longer edge of a pixel in CRS units."""
        return max(self.resolution_yx)


def levels(attributes: Mapping[str, Any]) -> tuple[Level, ...]:
    """Read the levels of a cube from the attributes of its root, finest first.

    Parameters
    ----------
    attributes
        Attributes that hold ``multiscales``, with each level's ``spatial:shape`` and
        ``spatial:transform`` (rasterio's order).

    Returns
    -------
    tuple of Level
        Level n at index n.

    Raises
    ------
    RecipeError
        If the attributes tell of no levels.

    Examples
    --------
    >>> entry = {"asset": ".", "spatial:shape": [5, 7]}
    >>> entry["spatial:transform"] = [0.5, 0.0, 0.0, 0.0, -0.5, 9.0]
    >>> levels({"multiscales": {"layout": [entry]}})[0].resolution
    0.5
    """
    found = []
    for number, entry in enumerate(told(attributes, "multiscales")["layout"]):
        (rows, cols), (a, _, _, _, e, *_) = entry["spatial:shape"], entry["spatial:transform"]
        found.append(Level(number, entry["asset"], (rows, cols), (abs(e), abs(a))))
    return tuple(found)


def told(attributes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An attribute that every cube has.

    Parameters
    ----------
    attributes
        Attributes of a cube's root.
    name
        Which of them.

    Returns
    -------
    Mapping
        Its value.

    Raises
    ------
    RecipeError
        If it is not there.
    """
    if name not in attributes:
        raise RecipeError(
            f"the dataset has no attribute '{name}', which every cube has; "
            "take it from open_cube, and keep its attributes"
        )
    found: Mapping[str, Any] = attributes[name]
    return found


def level_name(level: int) -> str:
    """Name of a level's group: empty for the native one, which is the root.

    Examples
    --------
    >>> [level_name(level) for level in range(3)]
    ['', 'ovr_2x', 'ovr_4x']
    """
    return "" if level == 0 else f"ovr_{2**level}x"
