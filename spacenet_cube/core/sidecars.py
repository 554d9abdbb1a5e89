"""Sidecars: which ``.IMD`` or ``.XML`` belongs to which raster.

Pure.  A delivery has one metadata file for each raster, or one for all tiles of a product,
whose name lacks the tile's row and column.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_TILE = re.compile(r"_r\d+c\d+(?=[-_.]|$)", re.IGNORECASE)
_ORDER = (".imd", ".xml")


def sidecar_of(key: str, sidecars: Iterable[str]) -> str | None:
    """Find the metadata file that tells of a raster.

    Parameters
    ----------
    key
        The raster's key.
    sidecars
        Keys of the metadata files there are.

    Returns
    -------
    str or None
        In the raster's own folder: of its own name rather than of its product's, and
        ``.IMD`` rather than ``.XML``.

    Examples
    --------
    >>> sidecar_of("MS/a-M2AS_R1C1-1_P001.TIF", ["MS/a-M2AS-1_P001.XML", "MS/README.XML"])
    'MS/a-M2AS-1_P001.XML'
    """
    raster = PurePosixPath(key)
    stem = raster.stem.lower()
    names = (stem, _TILE.sub("", stem))
    ranked = [
        (names.index(path.stem.lower()), _ORDER.index(path.suffix.lower()), text)
        for text in sidecars
        for path in [PurePosixPath(text)]
        if path.parent == raster.parent
        and path.stem.lower() in names
        and path.suffix.lower() in _ORDER
    ]
    return min(ranked)[2] if ranked else None
