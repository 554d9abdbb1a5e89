"""Corpus: all published cubes below a root, opened when they are asked for."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from spacenet_cube.cube.open import Chunks, cube_url, open_cube
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.location import Location, name_of
from spacenet_cube.storage.resolve import locate

_SUFFIXES = (".zarr", ".icechunk")


@dataclass(frozen=True, slots=True)
class Products(Mapping[str, xr.Dataset]):
    """The cubes of an area by the name of their product; each is opened when it is taken."""

    aoi: str
    """Name of the area."""

    root: str
    """Folder or URL that holds the area's folder."""

    names: tuple[str, ...]
    """Products there are, in alphabetical order."""

    options: Mapping[str, Any] = field(repr=False)
    """What `open_cube` takes besides; not shown, since it may hold secrets."""

    def __getitem__(self, product: str) -> xr.Dataset:
        """Open the cube of a product; aliases work."""
        url = cube_url(self.aoi, product, self.root)
        if _bare(name_of(url)) not in self.names:
            raise KeyError(product)
        return open_cube(url, **self.options)

    def __iter__(self) -> Iterator[str]:
        """Names of the products."""
        return iter(self.names)

    def __len__(self) -> int:
        """How many products there are."""
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Corpus(Mapping[str, Products]):
    """Areas by name, and the cubes of each by product: ``corpus["AOI_2_Vegas"]["MUL"]``."""

    areas: Mapping[str, Products]
    """Areas there are, in alphabetical order."""

    def __getitem__(self, aoi: str) -> Products:
        """The cubes of an area."""
        return self.areas[aoi]

    def __iter__(self) -> Iterator[str]:
        """Names of the areas."""
        return iter(self.areas)

    def __len__(self) -> int:
        """How many areas there are."""
        return len(self.areas)

    def tree(self) -> xr.DataTree:
        """Open every cube, lazily, as groups ``AOI/product`` of one tree."""
        cubes = {
            f"{aoi}/{product}": cube
            for aoi, products in self.areas.items()
            for product, cube in products.items()
        }
        return xr.DataTree.from_dict(cubes)


def open_corpus(
    root: str | os.PathLike[str] | None = None,
    *,
    resolution: float | None = None,
    chunks: Chunks = "shard",
    storage_options: Mapping[str, Any] | None = None,
) -> Corpus:
    """Find the published cubes below a root, ``<root>/<AOI>/<product>.zarr`` or ``.icechunk``.

    Parameters
    ----------
    root
        Folder or URL; by default the environment's ``SPACENET_CUBE_ROOT``, else ``cubes``.
        Below one that begins with ``icechunk+``, versioned cubes are found.
    resolution
        The level to open of each cube, as of `open_cube`, CRS units; by default the native.
    chunks
        What one dask task reads, as of `open_cube`.
    storage_options
        How the storage is reached, as fsspec takes it.

    Returns
    -------
    Corpus
        A mapping of mappings.  Finding lists two levels of folders and asks for one object a
        cube; metadata are read when a cube is taken.  Builds that are not published are
        left out.

    Raises
    ------
    RecipeError
        If the resolution is no pixel size.
    StoreError
        If no cube is there, or the root cannot be listed.

    Examples
    --------
    With cubes built below ``cubes``::

        corpus = open_corpus("cubes")
        {aoi: cubes["MUL"].spacenet.ndvi().mean() for aoi, cubes in corpus.items()}
        corpus.tree()  # an xarray.DataTree
    """
    if resolution is not None and not resolution > 0:
        raise RecipeError(f"a resolution of {resolution} is no pixel size; give one above 0")
    above = os.fspath(root or os.environ.get("SPACENET_CUBE_ROOT") or "cubes").rstrip("/")
    where = locate(above, storage_options)
    try:
        found = _listed(where)
    except FAULTS as error:
        raise StoreError(f"{above} cannot be listed: {where.told(error)}") from error
    if not found:
        raise StoreError(
            f"no published cube is below {above}: none is at <AOI>/<product>.zarr; check the "
            "address, or build one with 'spacenet-cube build'"
        )
    options = {"resolution": resolution, "chunks": chunks, "storage_options": storage_options}
    return Corpus(
        {aoi: Products(aoi, above, tuple(names), options) for aoi, names in found.items()}
    )


def _listed(where: Location) -> dict[str, list[str]]:
    """Products by area, of those cubes that have a root document."""
    found: dict[str, list[str]] = {}
    suffix = _SUFFIXES[where.address is not None]
    for aoi in _folders(where.plain):
        names = sorted(
            _bare(name)
            for name in _folders(where.plain / aoi)
            if name.endswith(suffix) and (where / aoi / name / "zarr.json").exists()
        )
        if names and not aoi.endswith(suffix):
            found[aoi] = names
    return found


def _bare(name: str) -> str:
    """A product's name without what tells how its cube is stored."""
    return next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name)


def _folders(where: Location) -> list[str]:
    """Names of the folders in a folder, sorted; none where it is not there."""
    try:
        listed = where.fs.ls(where.path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(
        name_of(each["name"].rstrip("/")) for each in listed if each["type"] == "directory"
    )
