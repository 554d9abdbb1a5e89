"""Surveying: what is there, from headers alone, before anything is built.

Every fault of every file is found in one go, so that a user mends a source once.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, overload

from rasterio.errors import RasterioError

from spacenet_cube.errors import RecipeError, SourceError
from spacenet_cube.progress import Progress
from spacenet_cube.raster.upright import upright
from spacenet_cube.recipe.model import Product, Recipe
from spacenet_cube.sources.expectations import faults
from spacenet_cube.sources.files.archive import Archive, is_archive, unpack
from spacenet_cube.sources.files.archive_members import Member
from spacenet_cube.sources.files.listing import (
    LeftOut,
    Listing,
    SourceFile,
    excluding,
    list_sources,
    one_a_tile,
)
from spacenet_cube.sources.files.tiff import TiffError
from spacenet_cube.sources.header import UnusableError, read_header
from spacenet_cube.sources.metadata import Imagery, ImdError, parse_imagery, sidecar_of
from spacenet_cube.sources.overlap import refuse_inside
from spacenet_cube.sources.pins import Stamp, pinned, stamp_of
from spacenet_cube.sources.scene import Scene, acquired_from_name, row_col_from_name, scene_order
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.location import Location, name_of
from spacenet_cube.storage.resolve import from_environment, locate
from spacenet_cube.storage.scratch import interpreter_scratch


@dataclass(frozen=True, slots=True)
class Survey(Sequence[Scene]):
    """What was found of a product: a sequence of its scenes, and what else there was."""

    scenes: tuple[Scene, ...]
    """North to south, west to east by tile, then by name."""

    left_out: tuple[LeftOut, ...] = ()
    """Rasters that were found and are not read, each with the reason."""

    list_requests: int = 0
    """LIST requests that were made."""

    @overload
    def __getitem__(self, place: int) -> Scene: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Scene, ...]: ...
    def __getitem__(self, place: int | slice) -> Scene | tuple[Scene, ...]:
        """A scene by its place."""
        return self.scenes[place]

    def __len__(self) -> int:
        """How many scenes there are."""
        return len(self.scenes)


@dataclass(frozen=True, slots=True)
class _Raster:
    """A GeoTIFF to look at, and the metadata file beside it."""

    file: SourceFile
    place: Location
    sidecar: Location | None
    sidecar_key: str = ""


def survey(
    recipe: Recipe,
    product: str | Product,
    *,
    source: str | Path | None = None,
    source_options: StorageOptions | Mapping[str, Any] | None = None,
    staging: Location | str | Path | None = None,
    scratch: Path | None = None,
    pin: bool = False,
    progress: Progress | None = None,
) -> Survey:
    """Find the scenes of a product and read their headers, in parallel.

    Parameters
    ----------
    recipe
        Says what is wanted.
    product
        Name or alias of one of its products, or the product itself.
    source
        Folder or URL that the patterns are relative to; the recipe's own by default.
    source_options
        How it is reached; they go before the environment's and, where ``source`` is the
        recipe's own, before the recipe's.
    staging
        Folder or URL that archives are unpacked to, and stay in, so that an interrupted
        unpacking goes on and other workers find the members; by default ``scratch``.
    scratch
        Folder for what is removed afterwards.  By default a temporary one, which is
        removed when the interpreter ends.
    pin
        Whether local files are hashed, so that a build refuses other content under the same
        name.  Members of archives always are, and remote files have their store's tag.
    progress
        Told the stage, how much of it is done, and how much there is.

    Returns
    -------
    Survey
        The scenes, north to south, west to east by tile, then by name.

    Raises
    ------
    RecipeError
        If nothing matches, or what was found is not what the recipe expects.
    SourceError
        If a file cannot be read, is cut short, or is no GeoTIFF; all that fail are named.
    """
    wanted = recipe.product(product) if isinstance(product, str) else product
    where = source_location(recipe, source, source_options)
    kept = _staging(staging)
    if kept is not None:
        refuse_inside("staging", kept, where)
    listing = list_sources(wanted, where)
    put = _Unpacking(where, kept, scratch or interpreter_scratch(), progress)
    rasters, copies = _rasters(wanted, listing, put)
    scenes, failed = _read_headers(rasters, where.options, progress)
    scenes = [
        replace(scene, source=where.path if where.is_local else where.url) for scene in scenes
    ]
    what = f"{recipe.name} {wanted.name} at {where.url}"
    if failed:
        # How many there are is known once all can be read.
        counted = wanted.expect.model_copy(update={"scenes": None})
        readable = faults(wanted.model_copy(update={"expect": counted}), scenes)
        raise SourceError(_many(what, [*failed, *readable]))
    if pin:
        scenes, failed = pinned(scenes, min(os.cpu_count() or 1, len(scenes) or 1), progress)
        if failed:
            raise SourceError(_many(what, failed))
    found = faults(wanted, scenes)
    if found:
        raise RecipeError(_many(what, found))
    return Survey(
        tuple(sorted(scenes, key=scene_order)),
        tuple(sorted([*listing.left_out, *copies])),
        listing.requests,
    )


def source_location(
    recipe: Recipe,
    source: str | Path | None = None,
    options: StorageOptions | Mapping[str, Any] | None = None,
) -> Location:
    """Where a recipe's files are, and how they are reached.

    Parameters
    ----------
    recipe
        Its ``storage`` tells of its own ``source``, and of no other.
    source
        Folder or URL instead of the recipe's.
    options
        Go before the environment's, which go before the recipe's.

    Returns
    -------
    Location
        Nothing is opened yet.

    Raises
    ------
    RecipeError
        If no source is named, or the options cannot stand.
    """
    root = source if source is not None else recipe.source
    if root is None:
        raise RecipeError(
            f"recipe {recipe.name} names no source; add source: to it, or give --source"
        )
    own = recipe.storage if source is None else StorageOptions()
    return locate(root, own.over(from_environment("source")).over(options))


def _staging(said: Location | str | Path | None) -> Location | None:
    return said if isinstance(said, Location) or said is None else locate(said)


def _many(what: str, found: Sequence[str]) -> str:
    """One line for one fault; a line each for more."""
    if len(found) == 1:
        return f"{what}: {found[0]}"
    return "\n  ".join([f"{what}: {len(found)} faults", *found])


@dataclass(frozen=True, slots=True)
class _Unpacking:
    """Where archives come from and go to."""

    where: Location
    staging: Location | None
    scratch: Path
    progress: Progress | None

    def members(self, file: SourceFile) -> tuple[Member, ...]:
        to = self.staging or Location(str(self.scratch.absolute()))
        told = _Bytes(file, self.progress)
        return unpack(Archive(self.where / file.key, file), to, self.scratch, told.advance)


def _rasters(
    product: Product, listing: Listing, unpacking: _Unpacking
) -> tuple[list[_Raster], list[LeftOut]]:
    """Every GeoTIFF of the product, those inside archives unpacked; and what is left out."""
    places: dict[str, Location] = {}
    files, sidecars = [], [file.key for file in listing.sidecars]
    for file in listing.files:
        if not is_archive(file.key):
            places[file.key] = unpacking.where / file.key
            files.append(file)
            continue
        for member in unpacking.members(file):
            key = f"{file.key}/{member.name}"
            places[key] = member.place
            if member.is_raster:
                files.append(SourceFile(key, member.size_bytes, f"sha256:{member.sha256}"))
            else:
                sidecars.append(key)
    places |= {file.key: unpacking.where / file.key for file in listing.sidecars}
    found = [(file, excluding(file.key, product.exclude)) for file in sorted(files)]
    kept, copies = one_a_tile(file for file, pattern in found if pattern is None)
    copies += [LeftOut(file.key, f"excluded by {why!r}") for file, why in found if why is not None]
    beside = {file.key: sidecar_of(file.key, sidecars) for file in kept}
    return [
        _Raster(file, places[file.key], places[key] if key else None, key or "")
        for file in kept
        for key in [beside[file.key]]
    ], copies


class _Bytes:
    """Counts the bytes of an archive for the progress bar."""

    def __init__(self, file: SourceFile, progress: Progress | None) -> None:
        self._file, self._progress, self._done = file, progress, 0

    def advance(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._progress:
            self._progress(f"unpack {name_of(self._file.key)}", self._done, self._file.size_bytes)


def _read_headers(
    rasters: Sequence[_Raster], options: StorageOptions, progress: Progress | None
) -> tuple[list[Scene], list[str]]:
    """Headers in parallel, and a line for each that cannot be read."""
    scenes: list[Scene] = []
    failed: list[str] = []
    with ThreadPoolExecutor(options.concurrency, "survey") as pool:
        imagery = _read_sidecars(rasters, pool)
        for done, (raster, found) in enumerate(
            zip(rasters, pool.map(_scene_or_fault, rasters), strict=True), start=1
        ):
            known = imagery.get(raster.sidecar_key)
            if isinstance(known, str):
                failed.append(known)
            if isinstance(found, str):
                failed.append(found)
            else:
                scenes.append(_with(found, known))
            if progress:
                progress("survey", done, len(rasters))
    return scenes, list(dict.fromkeys(failed))


def _scene_or_fault(raster: _Raster) -> Scene | str:
    key, name = raster.file.key, name_of(raster.file.key)
    try:
        return _scene(raster)
    except RasterioError as error:
        cause = error.__cause__ or error
        return f'{key}: {cause}; fetch it again, or add "{name}" to exclude'
    except (TiffError, UnusableError) as error:
        return f'{key}: {error}; mend the file, or add "{name}" to exclude'
    except FAULTS as error:
        return f"{key}: {raster.place.told(error)}"


def _scene(raster: _Raster) -> Scene:
    file, place = raster.file, raster.place
    name, tag = name_of(file.key), file.etag
    digest = tag.removeprefix("sha256:") if tag and tag.startswith("sha256:") else None
    stamp = stamp_of(place.path) if place.is_local else None
    header = read_header(place, file.size_bytes, None if digest else tag)
    transform, flip = upright(header.transform, header.shape_yx)
    return Scene(
        id=name,
        key=file.key,
        href=place.path if place.is_local else place.url,
        size_bytes=file.size_bytes,
        etag=file.etag,
        shape_yx=header.shape_yx,
        transform=transform,
        flip=flip,
        crs=header.crs,
        dtype=header.dtype,
        count=header.count,
        nodata=header.nodata,
        layout=header.layout,
        acquired=acquired_from_name(name),
        modified=_time(stamp) if stamp and not tag else None,
        modified_ns=stamp.modified_ns if stamp else None,
        sha256=digest,
        row_col=row_col_from_name(name),
        data_bytes=header.data_bytes,
        access=place.options,
    )


def _time(stamp: Stamp) -> str:
    """When a local file last changed: what tells a new delivery of the same size from the old."""
    return datetime.fromtimestamp(stamp.modified_ns / 1e9, UTC).isoformat()


def _read_sidecars(
    rasters: Iterable[_Raster], pool: ThreadPoolExecutor
) -> dict[str, Imagery | str | None]:
    """What each metadata file says, read once however many rasters it tells of."""
    places = {raster.sidecar_key: raster.sidecar for raster in rasters if raster.sidecar}
    return dict(zip(places, pool.map(_imagery_or_fault, places.items()), strict=True))


def _imagery_or_fault(item: tuple[str, Location]) -> Imagery | str | None:
    key, place = item
    try:
        return parse_imagery(place.read_bytes(), key)
    except ImdError as error:
        return f"{key}: {error}; mend the file, or remove it"
    except FAULTS as error:
        return f"{key}: {place.told(error)}"


def _with(scene: Scene, imagery: Imagery | str | None) -> Scene:
    return replace(scene, imagery=imagery) if isinstance(imagery, Imagery) else scene
