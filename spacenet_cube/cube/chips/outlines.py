"""Footprints: chips as outlines on the ground, in a table and on a picture."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import shapely

from spacenet_cube.cube.chips.windows import Chip
from spacenet_cube.errors import MissingExtraError

if TYPE_CHECKING:
    import geopandas
    from matplotlib.axes import Axes

_COLOURS = ("#2b83ba", "#e66101", "#f0e442", "#1a9641", "#b2479b", "#66ccee")
_COLUMNS = ("row", "col", "split", "share_valid")


def footprints(chips: Sequence[Chip], crs: str) -> "geopandas.GeoDataFrame":
    """Outlines of chips as a table.

    Parameters
    ----------
    chips
        What to list.
    crs
        Coordinate reference system of their bounds.

    Returns
    -------
    geopandas.GeoDataFrame
        One row a chip: row, col, split, share_valid and geometry.

    Raises
    ------
    MissingExtraError
        If geopandas is not installed.
    """
    if find_spec("geopandas") is None:
        raise MissingExtraError(
            "footprints of chips need geopandas, which is not installed; "
            "run: pip install 'spacenet-cube[learn]'"
        )
    import geopandas  # noqa: PLC0415 - an extra

    edges = np.array([chip.bounds for chip in chips]).reshape(-1, 4)
    columns = {name: [getattr(chip, name) for chip in chips] for name in _COLUMNS}
    return geopandas.GeoDataFrame(columns, geometry=shapely.box(*edges.T), crs=crs)


def draw(chips: Sequence[Chip], names: Sequence[str | None], axes: "Axes") -> "Axes":
    """Draw outlines of chips on axes in their CRS, coloured by split.

    Parameters
    ----------
    chips
        What to draw.
    names
        Splits, in the order of the key; (None,) where nothing was split.
    axes
        Matplotlib axes.

    Returns
    -------
    matplotlib.axes.Axes
        The same.
    """
    from matplotlib.collections import PatchCollection  # noqa: PLC0415 - an extra
    from matplotlib.patches import Patch, Rectangle  # noqa: PLC0415 - an extra

    keys = []
    for number, name in enumerate(names):
        edge = _COLOURS[number % len(_COLOURS)]
        own = [chip.bounds for chip in chips if chip.split == name]
        patches = [Rectangle((w, s), e - w, n - s) for w, s, e, n in own]
        face, label = f"{edge}59", f"{name or 'chips'} ({len(own)})"
        axes.add_collection(PatchCollection(patches, facecolor=face, edgecolor=edge, linewidth=0.9))
        keys.append(Patch(facecolor=face, edgecolor=edge, label=label))
    axes.legend(handles=keys, loc="lower right", fontsize=8, framealpha=0.9)
    return axes
