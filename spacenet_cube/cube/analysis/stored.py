"""Stored pixels: prove that a dataset holds pixels of a cube exactly as they are stored.

An overview may answer for a dataset only where the dataset's pixels are the stored ones.
xarray keeps a variable's ``encoding`` through operations that change values, and dask keeps an
array's name when it is persisted, so neither proves anything.  The proof here is the array
itself: a lazy array that reads from the cube, or a dask graph in which every step between the
cube's array and the dataset only selects.  Whatever else a graph holds, the answer is None, and
the caller computes from the pixels at hand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from spacenet_cube.compat import Selection, lazy_selection, selections
from spacenet_cube.cube.analysis.dataset import PER_BAND
from spacenet_cube.errors import RecipeError
from spacenet_cube.format.levels import Level, levels
from spacenet_cube.format.subset import locate_part
from spacenet_cube.raster.grid import Block

type OpenLevel = Callable[[int], xr.Dataset]


type Line = "range | NDArray[np.int64] | int"
"""Places along one axis of a stored array; a number where the axis was dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Which array of which cube a stored array is."""

    opener: OpenLevel
    """Opens the levels of the cube."""

    level: int
    """Number of the level; 0 is native."""

    name: str
    """``image`` or ``source_index``."""

    token: str
    """The same for all arrays that one opening of a root gave, and for no other root's."""

    attributes: Mapping[str, Any]
    """The root's ``multiscales``, which describes the levels."""

    crs_wkt: str
    """CRS of the cube, as its ``spatial_ref`` holds it."""

    nodata: float | None
    """The array's ``_FillValue``."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPart:
    """The pixels of one level that a dataset holds unchanged."""

    opener: OpenLevel
    """Opens the levels of the cube."""

    levels: tuple[Level, ...]
    """Levels of the cube, finest first."""

    level: int
    """Number of the dataset's level."""

    block: Block
    """Rows and columns, counted from the level's north-western corner."""

    bands: tuple[int, ...]
    """Places of the bands in the stored array, in the dataset's order."""

    def aligned(self, steps: int) -> Block | None:
        """The same ground on a level that many steps coarser.

        Parameters
        ----------
        steps
            How many times pixels are halved.

        Returns
        -------
        Block or None
            None where an overview's pixel would hold ground outside the part.

        Examples
        --------
        >>> there = tuple(Level(k, "", (9 >> k, 8), (1.0, 1.0)) for k in range(2))
        >>> part = StoredPart(None, there, 0, Block(4, 2, 5, 4), (0,))
        >>> part.aligned(1)
        Block(row=2, col=1, height=3, width=2)
        >>> part.aligned(2) is None
        True
        """
        edge, (rows, cols) = 1 << steps, self.levels[self.level].shape_yx
        block = self.block
        ends = ((block.row + block.height, rows), (block.col + block.width, cols))
        if block.row % edge or block.col % edge:
            return None
        if any(end % edge and end != size for end, size in ends):
            return None
        return Block(
            block.row // edge, block.col // edge, -(-block.height // edge), -(-block.width // edge)
        )


def stored_part(cube: xr.Dataset) -> StoredPart | None:
    """Prove that a dataset's ``image`` and ``source_index`` are stored pixels, unchanged.

    Parameters
    ----------
    cube
        Any dataset.

    Returns
    -------
    StoredPart or None
        An unbroken rectangle of one level of one cube, whose coordinates, CRS and nodata are
        the stored ones; None where that is not proved.
    """
    if "image" not in cube.variables or "source_index" not in cube.variables:
        return None
    image, index = selected(cube["image"]), selected(cube["source_index"])
    if image is None or index is None:
        return None
    (one, (band, *lines)), (other, index_lines) = image, index
    named = (one.name, other.name) == ("image", "source_index")
    if not named or (one.token, one.level) != (other.token, other.level):
        return None
    if not _ordered(cube) or not _same_nodata(cube["image"], one):
        return None
    block = _rectangle(lines)
    if block is None or block != _rectangle(index_lines) or not _same_ground(cube, one, block):
        return None
    places = (band,) if isinstance(band, int) else tuple(int(place) for place in band)
    return StoredPart(one.opener, levels(one.attributes), one.level, block, places)


def with_bands_of(cube: xr.Dataset, stored: StoredPart, number: int) -> xr.Dataset:
    """Open a level of the whole cube with the bands and the attributes of a dataset.

    Parameters
    ----------
    cube
        A dataset of stored pixels; its bands may have other names.
    stored
        What `stored_part` says of it.
    number
        Number of the level; -1 is the coarsest.

    Returns
    -------
    xarray.Dataset
        All rows and columns of the level.
    """
    level = stored.opener(number)
    places = np.asarray(stored.bands)
    if "band" not in cube["image"].dims:
        level = level.isel(band=int(places[0]))
    elif not np.array_equal(places, np.arange(level.sizes["band"])):
        level = level.isel(band=places)
    named = {name: cube[name] for name in PER_BAND if name in cube.coords}
    gone = [name for name in PER_BAND if name in level.coords and name not in named]
    made = level.drop_vars(gone).assign_coords(named)
    made.attrs = {**cube.attrs, **{key: level.attrs[key] for key in level.attrs if ":" in key}}
    return made


def stored_index(cube: xr.Dataset) -> Origin | None:
    """Prove that a dataset's ``source_index`` is a stored rectangle, unchanged.

    Parameters
    ----------
    cube
        Any dataset that has ``source_index``.

    Returns
    -------
    Origin or None
        None where that is not proved.
    """
    if "source_index" not in cube.variables:
        return None
    found = selected(cube["source_index"])
    if found is None or found[0].name != "source_index" or cube["source_index"].ndim != 2:  # noqa: PLR2004 - y, x
        return None
    block = _rectangle(found[1])
    return found[0] if block is not None and _same_ground(cube, found[0], block) else None


def stored_array(image: xr.DataArray) -> xr.DataArray | None:
    """The stored array that a dask-backed array reads, without dask.

    Parameters
    ----------
    image
        Any array.

    Returns
    -------
    xarray.DataArray or None
        The same pixels, read when they are used; None where ``image`` holds anything but
        stored pixels, or holds them in memory already.
    """
    found = selected(image) if image.chunks is not None else None
    if found is None:
        return None
    origin, lines = found
    direct = origin.opener(origin.level, chunks=None)[origin.name]  # type: ignore[call-arg]
    if len(lines) != direct.ndim:
        return None
    picked = direct.isel(dict(zip(direct.dims, map(_as_index, lines), strict=True)))
    return picked if picked.sizes == image.sizes and picked.dims == image.dims else None


def selected(array: xr.DataArray) -> tuple[Origin, tuple[Line, ...]] | None:
    """Find which places of which stored array an array holds.

    Parameters
    ----------
    array
        Any array.

    Returns
    -------
    tuple of Origin and lines, or None
        One line an axis of the stored array; None where a value may differ from the stored one.
    """
    lazy = lazy_selection(array)
    if lazy is not None:
        return _of_lazy(lazy)
    return _of_blocks(array) if array.chunks is not None else None


def _of_lazy(found: Selection) -> tuple[Origin, tuple[Line, ...]] | None:
    origin = getattr(found.source, "origin", None)
    if not isinstance(origin, Origin):
        return None
    lines: tuple[Line, ...] | None = tuple(map(range, found.shape))
    for index in found.indices:
        lines = None if lines is None else _picked(lines, index)
    return None if lines is None else (origin, lines)


def _of_blocks(array: xr.DataArray) -> tuple[Origin, tuple[Line, ...]] | None:
    """Join what each dask block holds; blocks must share rows, columns and bands."""
    found = selections(array.data)
    if found is None:
        return None
    origin: Origin | None = None
    edges: dict[tuple[int, int], Line] = {}
    kept: tuple[int, ...] = ()
    for place, selection in found:
        one = _of_lazy(selection)
        if one is None or (origin is not None and one[0] is not origin):
            return None
        origin = one[0]
        kept = tuple(axis for axis, line in enumerate(one[1]) if not isinstance(line, int))
        numbers = dict(zip(kept, place, strict=True))
        for axis, line in enumerate(one[1]):
            before = edges.setdefault((axis, numbers.get(axis, 0)), line)
            if not _equal(before, line):
                return None
    if origin is None:
        return None
    axes = sorted({axis for axis, _ in edges})
    return origin, tuple(_joined(edges, axis) for axis in axes)


def _joined(edges: Mapping[tuple[int, int], Line], axis: int) -> Line:
    lines = [edges[key] for key in sorted(edges) if key[0] == axis]
    first = lines[0]
    if isinstance(first, int) or len(lines) == 1:
        return first
    whole = np.concatenate([np.asarray(line, np.int64) for line in lines])
    return _as_range(whole)


def _picked(lines: tuple[Line, ...], index: Sequence[Any]) -> tuple[Line, ...] | None:
    """Lines after a selection; None where it does more than select along each axis."""
    kept = [axis for axis, line in enumerate(lines) if not isinstance(line, int)]
    made = list(lines)
    if len(index) > len(kept) or sum(not isinstance(each, int | slice) for each in index) > 1:
        return None
    for axis, each in zip(kept, index, strict=False):
        line = made[axis]
        assert not isinstance(line, int)
        if isinstance(each, slice):
            made[axis] = line[each]
        elif isinstance(each, int | np.integer):
            made[axis] = int(line[each])
        else:
            places = np.asarray(each)
            if places.ndim != 1 or places.dtype.kind not in "iub":
                return None
            made[axis] = _as_range(np.asarray(line, np.int64)[places])
    return tuple(made)


def _as_range(places: NDArray[np.int64]) -> Line:
    """Consecutive places as a range; any others as they are."""
    if places.size and (np.diff(places) == 1).all():
        return range(int(places[0]), int(places[-1]) + 1)
    return places


def _as_index(line: Line) -> Any:  # noqa: ANN401 - what isel takes
    return slice(line.start, line.stop) if isinstance(line, range) and line.step == 1 else line


def _equal(one: Line, other: Line) -> bool:
    if isinstance(one, int) or isinstance(other, int):
        return isinstance(one, int) and isinstance(other, int) and one == other
    return len(one) == len(other) and bool(np.array_equal(np.asarray(one), np.asarray(other)))


def _rectangle(lines: Sequence[Line]) -> Block | None:
    """Rows and columns as a block; None where either is no unbroken line."""
    if len(lines) != 2 or not all(isinstance(line, range) and line.step == 1 for line in lines):  # noqa: PLR2004 - y, x
        return None
    rows, cols = lines
    assert isinstance(rows, range)
    assert isinstance(cols, range)
    return Block(rows.start, cols.start, len(rows), len(cols))


def _ordered(cube: xr.Dataset) -> bool:
    """Whether the dimensions are those that are stored, in their order."""
    return cube["source_index"].dims == ("y", "x") and cube["image"].dims in {
        ("band", "y", "x"),
        ("y", "x"),
    }


def _same_nodata(image: xr.DataArray, origin: Origin) -> bool:
    mine = image.attrs.get("_FillValue", origin.nodata)
    if mine is None or origin.nodata is None:
        return mine is origin.nodata
    return bool(mine == origin.nodata or (np.isnan(mine) and np.isnan(origin.nodata)))


def _same_ground(cube: xr.Dataset, origin: Origin, block: Block) -> bool:
    """Whether coordinates and CRS are those that are stored for the block."""
    if "y" not in cube.coords or "x" not in cube.coords or not _same_crs(cube, origin):
        return False
    if not (block.height and block.width):
        return True
    try:
        part = locate_part(
            origin.attributes, origin.crs_wkt, cube["y"].values, cube["x"].values, origin.level
        )
    except RecipeError:
        return False
    return part.block == block


def _same_crs(cube: xr.Dataset, origin: Origin) -> bool:
    told = cube["spatial_ref"].attrs.get("crs_wkt") if "spatial_ref" in cube.coords else None
    if told is None or told == origin.crs_wkt:
        return told is not None
    try:
        return bool(CRS.from_user_input(told) == CRS.from_user_input(origin.crs_wkt))
    except CRSError:
        return False
