"""Open: a published cube as an xarray dataset, backed by dask, at any of its levels.

One request reads all metadata, one each the coordinates ``band``, ``y`` and ``x``; pixels
wait until they are asked for.  A chunk that is missing raises, and never passes for nodata.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

import xarray as xr
import zarr
from dask.array.core import normalize_chunks
from dask.base import tokenize

from spacenet_cube.compat import lazy_selection
from spacenet_cube.cube import accessor  # noqa: F401 - registers cube.spacenet
from spacenet_cube.cube.analysis.dataset import OPEN_LEVEL
from spacenet_cube.cube.analysis.stored import Origin
from spacenet_cube.cube.guard import GuardedStore
from spacenet_cube.cube.root import (
    PIXELS,
    believing,
    check_arrays,
    disbelieved,
    located,
    open_root,
    root_at,
)
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.format.levels import Level, levels
from spacenet_cube.recipe.files import bundled_recipes, load_recipe
from spacenet_cube.storage.base.secrets import sealed, unsealed
from spacenet_cube.storage.icechunk.address import is_versioned
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.stores.settings import array_settings

type Chunks = Literal["shard", "auto"] | Mapping[str, int] | None

_TASK_PX = 2048


@dataclass(frozen=True, slots=True)
class LevelOpener:
    """Opens the levels of one cube, dask chunks aligned to shards."""

    url: str
    """Where the cube lies."""

    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    """How the storage is reached, as fsspec takes it; not shown, since it may hold secrets."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without what may be a secret; see `spacenet_cube.storage.base.secrets`."""
        return _opener, (self.url, *sealed(self.storage_options))

    def __call__(self, number: int, *, chunks: Chunks = "shard") -> xr.Dataset:
        """Open the level of that number; -1 is the coarsest."""
        root = open_root(self.url, self.storage_options)
        return _open_level(root, levels(dict(root.attrs))[number], chunks, self)

    @property
    def unsafe_options(self) -> tuple[str, ...]:
        """Names of those options that may hold a secret: all that are not ours, sorted."""
        return tuple(sorted(locate(self.url, self.storage_options).extra))


def _opener(url: str, options: Mapping[str, Any] | None, ticket: tuple[int, int]) -> LevelOpener:
    return LevelOpener(url, unsealed(options, ticket))


def open_cube(  # noqa: PLR0913 - each is a choice of its own, by keyword
    cube: str | os.PathLike[str],
    product: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    level: int | None = None,
    resolution: float | None = None,
    bands: Sequence[str] | None = None,
    chunks: Chunks = "shard",
    version: str | datetime | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Open a cube, or one of its overviews, lazily.

    Parameters
    ----------
    cube
        Path or URL of a cube; or, with ``product``, the name of an AOI.
    product
        Name of a product, such as ``MUL``; ``MS``, ``PS-MS`` and ``PS-RGB`` are understood.
    root
        Folder or URL that holds the AOI; by default the environment's
        ``SPACENET_CUBE_ROOT``, else ``cubes``.
    level
        0 is native (the default); level n has pixels 2**n as large.
    resolution
        Instead of a level: the coarsest whose pixels are not coarser than this, in CRS
        units (degrees for EPSG:4326); the native one where all are coarser.
    bands
        Names of those wanted, in that order; all by default.  No other is read, whereas of
        bands that are picked by a list afterwards dask reads all.
    chunks
        What one dask task reads.  ``shard``: one shard, all bands (right for most work); of
        a cube without shards, whole chunks of about 2048 x 2048 pixels together.
        ``auto``: whole shards up to dask's ``array.chunk-size``.  A mapping: pixels along
        ``band``, ``y``, ``x``; what it leaves out is as ``shard``.  None: no dask, pixels
        are read at once when used.
    version
        Of a versioned cube: a tag, branch, snapshot or time; by default the newest.  The
        dataset stays at that version, whatever is published later.
    storage_options
        How the storage is reached, as fsspec takes it.  Secrets among them (``key``, ``secret``,
        ``token`` and the like) stay in this process and are never pickled: workers of a
        cluster resolve credentials by the usual AWS chain, so give those the environment, a
        role, or ``{"profile": ...}``.

    Returns
    -------
    xarray.Dataset
        ``image`` (band, y, x) of digital numbers as stored, never masked, and
        ``source_index`` (y, x); a pixel is valid where the latter is above 0.  Attributes
        of the root are there at every level.

    Raises
    ------
    RecipeError
        If there is no such level or band, both level and resolution are given, or chunks
        make no sense.
    StoreError
        If no published cube of ours is there, or it cannot be read.

    Notes
    -----
    Digital numbers are not turned into floats with NaN, as ``xarray.open_zarr`` does by
    default, because that doubles memory; use ``image.where(cube.spacenet.valid)``.

    Examples
    --------
    With a cube built below ``cubes``::

        cube = open_cube("AOI_2_Vegas", "MUL", root="cubes", level=2)
        cube.image.sel(band="nir1").where(cube.spacenet.valid).mean().compute()
    """
    url = cube_url(cube, product, root)
    where = located(url, version, storage_options)
    group = root_at(url, where)
    chosen = choose_level(levels(dict(group.attrs)), level, resolution)
    opener = LevelOpener(url if where.address is None else where.url, storage_options)
    return _open_level(group, chosen, chunks, opener, bands)


def cube_url(
    cube: str | os.PathLike[str],
    product: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> str:
    """Return where a cube lies.

    Parameters
    ----------
    cube
        Path or URL of a cube; or, with ``product``, the name of an AOI.
    product
        Name of a product, or an alias of one.
    root
        Folder or URL that holds the AOI; by default ``SPACENET_CUBE_ROOT``, else ``cubes``.

    Returns
    -------
    str
        Path or URL, without a slash at its end.

    Raises
    ------
    RecipeError
        If a path is given with a product, or a root without one.

    Examples
    --------
    >>> cube_url("AOI_2_Vegas", "PS-MS", "s3://bucket/cubes/")
    's3://bucket/cubes/AOI_2_Vegas/MUL-PanSharpen.zarr'
    """
    name = os.fspath(cube).rstrip("/")
    if product is None:
        if root is not None:
            raise RecipeError(
                f"'{name}' comes with a root but no product; name the product, such as "
                f"open_cube('{name}', 'MUL', root=...), or give the cube's whole path alone"
            )
        return name
    if "/" in name or os.sep in name:
        raise RecipeError(
            f"'{name}' is a path and comes with product '{product}'; give the path of a cube "
            "alone, or the name of an AOI with a product"
        )
    above = os.fspath(root or os.environ.get("SPACENET_CUBE_ROOT") or "cubes").rstrip("/")
    suffix = "icechunk" if is_versioned(above) else "zarr"
    return f"{above}/{name}/{_product_name(name, product)}.{suffix}"


def _product_name(aoi: str, product: str) -> str:
    """The name of a product that its alias stands for, where a bundled recipe tells."""
    if aoi not in bundled_recipes():
        return product
    try:
        return load_recipe(aoi).product(product).name
    except RecipeError:
        return product


def choose_level(
    there: tuple[Level, ...], level: int | None = None, resolution: float | None = None
) -> Level:
    """Choose a level by its number or by its resolution.

    Parameters
    ----------
    there
        Levels of the cube, finest first.
    level
        Number of a level.
    resolution
        Coarsest pixel wanted, in CRS units.

    Returns
    -------
    Level
        The level asked for; by resolution, the coarsest not coarser than asked for, or the
        native one where all are coarser; by neither, the native one.

    Raises
    ------
    RecipeError
        If both are given, there is no such level, or the resolution is not positive.
    """
    if level is not None and resolution is not None:
        raise RecipeError(
            f"level {level} and resolution {resolution} are both given and may not agree; "
            "give one of them"
        )
    if resolution is not None:
        if not resolution > 0:
            raise RecipeError(f"a resolution of {resolution} is no pixel size; give one above 0")
        # Written and read back, sizes differ in the last digits.
        fine = [each for each in there if each.resolution <= resolution * (1 + 1e-9)]
        return fine[-1] if fine else there[0]
    number = level or 0
    if number not in range(len(there)):
        raise RecipeError(
            f"the cube has no level {number}; give one of "
            + ", ".join(f"{each.number} ({_rows_cols(each)})" for each in there)
        )
    return there[number]


def _open_level(
    root: zarr.Group,
    level: Level,
    chunks: Chunks,
    opener: LevelOpener,
    bands: Sequence[str] | None = None,
) -> xr.Dataset:
    with believing(opener.url), array_settings():
        group = root if level.number == 0 else root[level.name]
        if not isinstance(group, zarr.Group):
            raise StoreError(disbelieved(opener.url, f"{level.name} is no group"))
        check_arrays(opener.url, group, level)
        lazy = xr.open_dataset(
            GuardedStore(group, mode="r"),
            chunks=None,
            mask_and_scale=False,
            decode_coords="all",
        )
    _trace(lazy, root, level, opener)
    cube = lazy.set_coords([name for name in ("wavelength", "fwhm") if name in lazy])
    if bands is not None:
        cube = cube.isel(band=_places(bands, [str(name) for name in cube["band"].values]))
    cube.attrs = {**root.attrs, **cube.attrs}
    cube.encoding = {"source": opener.url, OPEN_LEVEL: opener}
    if chunks is None:
        return cube
    token = tokenize(opener.url, level.name, dict(root.attrs), bands and tuple(bands))
    sizes = _dask_chunks(cube["image"], chunks)
    for name in PIXELS:
        along = {dim: size for dim, size in sizes.items() if dim in cube[name].dims}
        cube[name] = cube[[name]].chunk(along, token=token)[name]
    return cube


def _trace(lazy: xr.Dataset, root: zarr.Group, level: Level, opener: LevelOpener) -> None:
    """Mark the arrays of pixels with where they are stored, for `cube.analysis.stored`."""
    attributes = dict(root.attrs)
    wkt = str(lazy["spatial_ref"].attrs.get("crs_wkt", ""))
    told = {"multiscales": attributes.get("multiscales")}
    token = tokenize(opener.url, attributes)
    for name in PIXELS:
        nodata = lazy[name].attrs.get("_FillValue")
        found = lazy_selection(lazy[name])
        assert found is not None, "arrays of a cube are opened lazily"
        found.source.origin = Origin(opener, level.number, name, token, told, wkt, nodata)


def _places(wanted: Sequence[str], there: list[str]) -> slice | list[int]:
    """Places of bands; a slice where one holds them, because arrays are read by it at once."""
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in asked if name not in there]
    if unknown or not asked or len(set(asked)) < len(asked):
        raise RecipeError(
            f"bands={asked} are not bands of the cube, each once; give some of {', '.join(there)}"
        )
    found = [there.index(name) for name in asked]
    steps = {later - earlier for earlier, later in pairwise(found)} or {1}
    step = steps.pop()
    return found if steps or step < 1 else slice(found[0], found[-1] + 1, step)


def _dask_chunks(image: xr.DataArray, chunks: Chunks) -> dict[str, Any]:
    # xarray by itself prefers the chunks inside a shard: 128 times as many tasks.
    if image.encoding.get("shards"):
        stored_yx = image.encoding["shards"][1:]
    else:
        # One chunk a task would be a graph as long as the cube has chunks.
        stored_yx = [max(_TASK_PX // edge, 1) * edge for edge in image.encoding["chunks"][1:]]
    shard = dict(zip(("band", "y", "x"), (image.sizes["band"], *stored_yx), strict=True))
    if chunks == "shard":
        return shard
    if chunks == "auto":
        stored = tuple(shard.values())
        auto = normalize_chunks(  # type: ignore[no-untyped-call]
            "auto", image.shape, dtype=image.dtype, previous_chunks=stored
        )
        return dict(zip(shard, auto, strict=True))
    if not isinstance(chunks, Mapping) or not set(chunks) <= set(shard):
        raise RecipeError(
            f"chunks={chunks!r} makes no sense; give 'shard', 'auto', None, or pixels by "
            "dimension, such as {'y': 2048, 'x': 2048}, along band, y, x"
        )
    return {**shard, **chunks}


def _rows_cols(level: Level) -> str:
    rows, cols = level.shape_yx
    return f"{rows} x {cols} rows x columns of {level.resolution:.6g}"
