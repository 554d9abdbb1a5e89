"""Scenes: what is known of a source raster from its header and its name.

Pure.  The survey makes them; everything after it reads them.
"""

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from affine import Affine

from spacenet_cube.raster.grid import Box
from spacenet_cube.sources.metadata import Imagery
from spacenet_cube.storage.base.options import StorageOptions

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_TAKEN = re.compile(
    rf"^(\d\d)({'|'.join(_MONTHS)})([0-3]\d)([0-2]\d)([0-5]\d)([0-6]\d)-", re.IGNORECASE
)
_TILE = re.compile(r"_R(\d{1,4})C(\d{1,4})(?=[-_.]|$)", re.IGNORECASE)
_CENTURY = 2000


@dataclass(frozen=True, slots=True)
class Layout:
    """How the samples lie in the file, which decides how it is best read."""

    block_yx: tuple[int, int]
    """Rows and columns of a strip or tile, pixels."""

    tiled: bool
    """True for tiles, False for strips, which span the whole width."""

    interleave: Literal["pixel", "band"]
    """Whether a block holds all bands of its pixels, or one band."""

    compression: str | None
    """Name of the codec in lower case, such as ``deflate``; None for raw samples."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One source raster, as its header and name tell it."""

    id: str
    """File name without folder, unique within a product."""

    key: str
    """Path relative to the source; ``archive.tar.gz/member.tif`` for a member."""

    href: str
    """What the reader opens: a local path, or a URL without credentials."""

    size_bytes: int
    """Size of the file."""

    etag: str | None
    """The store's tag, or ``sha256:...`` of an archive's member; None for a local file."""

    shape_yx: tuple[int, int]
    """Rows and columns, pixels."""

    transform: Affine
    """Pixel corner (column, row) to CRS (x, y), north-up where the raster is not rotated."""

    crs: str
    """``EPSG:...`` where the CRS has a code, else WKT 2."""

    dtype: str
    """numpy's name of the sample type."""

    count: int
    """Bands in the file."""

    nodata: float | None
    """The file's own nodata tag, if any."""

    layout: Layout
    """How the samples lie."""

    acquired: str | None = None
    """Time of acquisition, ISO 8601 in UTC, from the file name."""

    modified: str | None = None
    """Time of a local file's last change, ISO 8601 in UTC; None where an etag says more."""

    modified_ns: int | None = None
    """The same in nanoseconds since 1970, which each read compares; None where not known."""

    sha256: str | None = None
    """Digest of the file's bytes, hexadecimal; None where it is not pinned by one."""

    row_col: tuple[int, int] | None = None
    """Tile row and column of the delivery (R1C2), from 1, from the file name."""

    data_bytes: int | None = None
    """Bytes of all strips or tiles at full resolution, as stored; None if not known."""

    imagery: Imagery | None = None
    """Geometry and calibration from the ``.IMD`` or ``.XML`` beside the file, if any."""

    flip: tuple[bool, bool] = (False, False)
    """Whether the file's rows run from south to north, and its columns from east to west."""

    access: StorageOptions = field(default_factory=StorageOptions)
    """How `href` is reached; holds no secret, and is no part of what the scene is."""

    source: str = ""
    """Folder or URL that `key` is relative to; empty where not known.  Like `href` it is no part
    of what the scene is."""

    @property
    def is_remote(self) -> bool:
        """Whether the file must be fetched before it is read."""
        return "://" in self.href

    @property
    def store_tag(self) -> str | None:
        """The tag that the store compares; a member's digest is none."""
        return None if self.etag is None or self.etag.startswith("sha256:") else self.etag

    @property
    def box(self) -> Box:
        """Bounds in CRS units of a north-up or rotated scene."""
        rows, cols = self.shape_yx
        corners = [
            self.transform @ corner for corner in ((0, 0), (cols, 0), (0, rows), (cols, rows))
        ]
        xs, ys = zip(*corners, strict=True)
        return Box(west=min(xs), south=min(ys), east=max(xs), north=max(ys))


def acquired_from_name(name: str) -> str | None:
    """Read the time of acquisition from a DigitalGlobe file name.

    The form is ``yyMONddHHMMSS-``; seconds differ by product of one acquisition, so they
    never serve as a key.

    Examples
    --------
    >>> acquired_from_name("15OCT22183656-P2AS_R1C1-055649178030_01_P001.TIF")
    '2015-10-22T18:36:56Z'
    >>> acquired_from_name("013022223103.tif") is None
    True
    """
    found = _TAKEN.match(PurePosixPath(name).name)
    if found is None:
        return None
    year, month, *rest = found.groups()
    day, hour, minute, second = rest
    number = _MONTHS.index(month.upper()) + 1
    return f"{_CENTURY + int(year)}-{number:02d}-{day}T{hour}:{minute}:{second}Z"


def row_col_from_name(name: str) -> tuple[int, int] | None:
    """Read the tile's row and column from a DigitalGlobe file name, padded or not.

    Examples
    --------
    >>> row_col_from_name("16FEB29111912-S2AS_R10C09-056155973010_01_P001.TIF")
    (10, 9)
    """
    found = _TILE.search(PurePosixPath(name).stem)
    return None if found is None else (int(found[1]), int(found[2]))


def scene_order(scene: Scene) -> tuple[tuple[int, int], str]:
    """Sort key: north to south, west to east by tile, then by name.

    Examples
    --------
    >>> sorted(["a_R2C1.TIF", "a_R10C1.TIF"], key=row_col_from_name)
    ['a_R2C1.TIF', 'a_R10C1.TIF']
    """
    return (scene.row_col or (0, 0), scene.id)
