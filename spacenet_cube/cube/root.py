"""Roots: the root group of a published cube, found, opened and not believed blindly.

Metadata may be damaged, or somebody else's: what they provoke in other packages is one error.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import zarr
from pyproj.exceptions import CRSError
from zarr.errors import GroupNotFoundError

from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.format.levels import Level
from spacenet_cube.format.validate import unsound, unsound_shapes
from spacenet_cube.raster.crs import refuse_files
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.base.secrets import scrubbed
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.stores.settings import array_settings

PIXELS = ("image", "source_index")
"""Arrays of pixels, at every level."""

_KNOWN = {*PIXELS, "band", "y", "x", "spatial_ref", "wavelength", "fwhm"}


def located(
    url: str,
    version: str | datetime | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Location:
    """Find one version of a cube, which stays the same whatever is published later.

    Parameters
    ----------
    url
        Path or URL of a cube.
    version
        Of a versioned cube: a tag, branch, snapshot or time; by default the one that its
        address names, or the newest.
    storage_options
        How the storage is reached.

    Returns
    -------
    Location
        Its address names the snapshot, where the cube is versioned.

    Raises
    ------
    RecipeError
        If a version is asked of a cube that has none.
    StoreError
        If there is no such version, or it cannot be read.
    """
    where = locate(url, storage_options)
    if where.address is None:
        if version is not None:
            raise RecipeError(
                f"{url} is not a versioned cube, so it has no version {version}; leave it out, or "
                "give an address that begins with icechunk+"
            )
        return where
    if version is not None:
        where = where.at(version.isoformat() if isinstance(version, datetime) else version)
    try:
        return where.pinned()
    except FileNotFoundError as error:
        raise StoreError(_not_there(url, where)) from error
    except FAULTS as error:
        raise StoreError(f"{url} cannot be read: {where.told(error)}") from error


def open_root(url: str, storage_options: Mapping[str, Any] | None = None) -> zarr.Group:
    """Open the root group of a published cube, all of its metadata in one read.

    Parameters
    ----------
    url
        Path or URL of the cube.
    storage_options
        How the storage is reached, as fsspec takes it.

    Returns
    -------
    zarr.Group
        Its arrays raise on a missing chunk, however and wherever they are read.

    Raises
    ------
    StoreError
        If nothing is there, a build is unfinished, it is no cube of ours, or it cannot
        be read.
    """
    return root_at(url, located(url, None, storage_options))


def root_at(url: str, where: Location) -> zarr.Group:
    """Open the root group of a cube that was found.

    Parameters
    ----------
    url
        What the cube is called in messages.
    where
        The cube.

    Returns
    -------
    zarr.Group
        Its arrays raise on a missing chunk.

    Raises
    ------
    StoreError
        As `open_root` does.
    """
    try:
        store = where.store(read_only=True)
        with array_settings():
            group = zarr.open_group(store, mode="r", zarr_format=3)
    except (FileNotFoundError, GroupNotFoundError) as error:
        raise StoreError(_not_there(url, where)) from error
    except FAULTS as error:
        raise StoreError(f"{url} cannot be read: {where.told(error)}") from error
    except StoreError:
        raise
    except Exception as error:  # Each of fsspec's back ends raises errors of its own family.
        raise StoreError(
            f"{url} cannot be read: {type(error).__name__}: {scrubbed(str(error))[:300]}; "
            "check the address, and the credentials in storage_options"
        ) from error
    if "spacenet_cube" not in group.attrs or "image" not in group:
        raise StoreError(
            f"{url} is a Zarr group but no cube of spacenet_cube: its attributes lack "
            "'spacenet_cube', or it has no array 'image'; open it with xarray.open_zarr, or "
            "give the address of a cube, which ends in <AOI>/<product>.zarr"
        )
    with believing(url):
        told = unsound(dict(group.attrs))
        if told:
            raise StoreError(disbelieved(url, told))
    return group


@contextmanager
def believing(url: str) -> Iterator[None]:
    """Turn what damaged or hostile metadata provoke in other packages into one error.

    Parameters
    ----------
    url
        Path or URL of the cube.

    Raises
    ------
    StoreError
        In the place of any such error.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError) as error:
        raise StoreError(disbelieved(url, f"{type(error).__name__}: {error}")) from error
    except (TypeError, ValueError, CRSError) as error:
        raise StoreError(disbelieved(url, f"{type(error).__name__}: {error}")) from error


def disbelieved(url: str, told: str) -> str:
    """Say that metadata are damaged or were edited.

    Parameters
    ----------
    url
        Path or URL of the cube.
    told
        What is wrong.

    Returns
    -------
    str
        One line, with the mend.
    """
    line = " ".join(told[:400].split())
    return (
        f"the metadata of {url} are not those of a cube: {line}; it is damaged or was edited: "
        "build it again with --replace"
    )


def check_arrays(url: str, group: zarr.Group, level: Level) -> None:
    """Refuse arrays whose shapes do not go together, before room is made for them.

    Parameters
    ----------
    url
        Path or URL of the cube.
    group
        Of the level.
    level
        What the root says of it.

    Raises
    ------
    StoreError
        If an array is missing, or has another shape than the level or absurd chunks.
    ValueError
        If the CRS names a file.
    """
    arrays = {name: each for name, each in group.arrays() if name in _KNOWN}
    pixels = [arrays[name] for name in PIXELS if name in arrays]
    blocks = [edge for each in pixels for edge in (*each.chunks, *(each.shards or ()))]
    shapes = {name: tuple(each.shape) for name, each in arrays.items()}
    missing = sorted({*PIXELS, "band", "y", "x", "spatial_ref"} - set(arrays))
    wkt = str(arrays["spatial_ref"].attrs.get("crs_wkt", "")) if not missing else ""
    told = f"no array {missing[0]!r}" if missing else None
    told = told or unsound_shapes(shapes, level.shape_yx, tuple(blocks))
    if told:
        raise StoreError(disbelieved(url, f"level {level.number}: {told}"))
    refuse_files(" ".join(wkt.split()))


def _not_there(url: str, where: Location) -> str:
    """Say why no published cube is there."""
    build = where.beside(".build")
    try:
        unfinished = build.exists()
    except Exception:  # noqa: BLE001 - a hint is not worth a second error
        unfinished = False
    if unfinished:
        return (
            f"the cube at {url} is not published: {build.url} holds an unfinished build; "
            "run the same 'spacenet-cube build' again to finish it"
        )
    hint = (
        "check the address, or build it with 'spacenet-cube build'"
        if "/" in url or url.endswith(".zarr")
        else f"give a product too, such as open_cube('{url}', 'MUL'), or a cube's path"
    )
    return f"no cube at {url}: there is no Zarr v3 group; {hint}"
