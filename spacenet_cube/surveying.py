"""Surveying: what is there, from headers alone, before anything is built.

Every fault of every file is found in one go, so that a user mends a source once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from affine import Affine
from pyproj import CRS
from rasterio.errors import RasterioError

from spacenet_cube.archive import Member, is_archive, unpack
from spacenet_cube.core.expectations import faults
from spacenet_cube.core.progress import Progress
from spacenet_cube.core.recipe import Product, Recipe
from spacenet_cube.core.scene import (
    Layout,
    Scene,
    acquired_from_name,
    row_col_from_name,
    scene_order,
)
from spacenet_cube.errors import RecipeError, SourceError
from spacenet_cube.listing import SourceFile, is_excluded, list_sources
from spacenet_cube.read import open_raster
from spacenet_cube.scratch import interpreter_scratch
from spacenet_cube.storage import Location, locate, name_of

_WORKERS = 8


@dataclass(frozen=True, slots=True)
class _Raster:
    """A GeoTIFF to look at."""

    id: str
    key: str
    href: str
    size_bytes: int
    etag: str | None


def survey(
    recipe: Recipe,
    product: str | Product,
    *,
    source: str | Path | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Scene, ...]:
    """Find the scenes of a product and read their headers, in parallel.

    Parameters
    ----------
    recipe
        Says what is wanted.
    product
        Name or alias of one of its products, or the product itself.
    source
        Folder or URL that the patterns are relative to; the recipe's own by default.
    scratch
        Folder that archives are unpacked into.  By default a temporary one, which is
        removed when the interpreter ends.
    progress
        Told the stage, how much of it is done, and how much there is.

    Returns
    -------
    tuple of Scene
        North to south, west to east by tile, then by name.

    Raises
    ------
    RecipeError
        If nothing matches, or what was found is not what the recipe expects.
    SourceError
        If a file cannot be read or is no GeoTIFF.
    """
    wanted = recipe.product(product) if isinstance(product, str) else product
    where = _where(recipe, source)
    files = list_sources(wanted, where)
    rasters = _rasters(wanted, files, where, scratch, progress)
    _refuse_namesakes(rasters)
    scenes = _read_headers(rasters, progress)
    found = faults(wanted, scenes)
    if found:
        raise RecipeError(_many(f"{recipe.name} {wanted.name} at {where.url}", found))
    return tuple(sorted(scenes, key=scene_order))


def _where(recipe: Recipe, source: str | Path | None) -> Location:
    root = source if source is not None else recipe.source
    if root is None:
        raise RecipeError(
            f"recipe {recipe.name} names no source; add source: to it, or give --source"
        )
    return locate(root)


def _many(what: str, found: Sequence[str]) -> str:
    """One line for one fault; a line each for more."""
    if len(found) == 1:
        return f"{what}: {found[0]}"
    return "\n  ".join([f"{what}: {len(found)} faults", *found])


def _rasters(
    product: Product,
    files: Iterable[SourceFile],
    where: Location,
    scratch: Path | None,
    progress: Progress | None,
) -> list[_Raster]:
    """Every GeoTIFF of the product, those inside archives unpacked."""
    found: list[_Raster] = []
    for file in files:
        here = where / file.key
        if is_archive(file.key):
            folder = (scratch or interpreter_scratch()) / name_of(file.key)
            told = _Bytes(file, progress)
            members = unpack(here, folder, told.advance)
            found += [_of_member(file, member) for member in members]
        else:
            found.append(
                _Raster(name_of(file.key), file.key, here.path, file.size_bytes, file.etag)
            )
    return [raster for raster in found if not is_excluded(raster.key, product.exclude)]


def _of_member(file: SourceFile, member: Member) -> _Raster:
    return _Raster(
        name_of(member.name),
        f"{file.key}/{member.name}",
        str(member.path),
        member.size_bytes,
        f"sha256:{member.sha256}",
    )


class _Bytes:
    """Counts the bytes of an archive for the progress bar."""

    def __init__(self, file: SourceFile, progress: Progress | None) -> None:
        self._file, self._progress, self._done = file, progress, 0

    def advance(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._progress:
            self._progress(f"unpack {name_of(self._file.key)}", self._done, self._file.size_bytes)


def _refuse_namesakes(rasters: Sequence[_Raster]) -> None:
    twice = [name for name, times in Counter(r.id for r in rasters).items() if times > 1]
    if twice:
        keys = ", ".join(raster.key for raster in rasters if raster.id == twice[0])
        raise RecipeError(
            f"{twice[0]} was found more than once ({keys}), so scenes could not be told apart; "
            "narrow sources, or exclude all but one"
        )


def _read_headers(rasters: Sequence[_Raster], progress: Progress | None) -> list[Scene]:
    """Headers in parallel; all that fail are reported together."""
    scenes: list[Scene] = []
    failed: list[str] = []
    with ThreadPoolExecutor(_WORKERS, "survey") as pool:
        for done, found in enumerate(pool.map(_header_or_fault, rasters), start=1):
            if isinstance(found, Scene):
                scenes.append(found)
            else:
                failed.append(found)
            if progress:
                progress("survey", done, len(rasters))
    if failed:
        raise SourceError(_many("sources cannot be read", failed))
    return scenes


def _header_or_fault(raster: _Raster) -> Scene | str:
    try:
        with open_raster(raster.href) as dataset:
            return _scene(raster, dataset)
    except (RasterioError, OSError) as error:
        cause = error.__cause__ or error
        return f'{raster.key}: {cause}; fetch it again, or add "{raster.id}" to exclude'
    except _Unusable as error:
        return f'{raster.key}: {error}; mend the file, or add "{raster.id}" to exclude'


class _Unusable(Exception):  # noqa: N818 - never leaves this module
    """A header without what a scene needs."""


def _scene(raster: _Raster, dataset: Any) -> Scene:  # noqa: ANN401 - rasterio ships no types
    if dataset.crs is None:
        message = "has no CRS"
        raise _Unusable(message)
    if len(set(dataset.dtypes)) > 1:
        message = f"mixes sample types {', '.join(sorted(set(dataset.dtypes)))}"
        raise _Unusable(message)
    return Scene(
        id=raster.id,
        key=raster.key,
        href=raster.href,
        size_bytes=raster.size_bytes,
        etag=raster.etag,
        shape_yx=dataset.shape,
        transform=Affine(*tuple(dataset.transform)[:6]),
        crs=_crs_text(dataset.crs.to_wkt()),
        dtype=dataset.dtypes[0],
        count=dataset.count,
        nodata=dataset.nodata,
        layout=_layout(dataset),
        acquired=acquired_from_name(raster.id),
        modified=None if raster.etag else _modified(Path(raster.href)),
        row_col=row_col_from_name(raster.id),
    )


def _modified(path: Path) -> str | None:
    """When a local file last changed: what tells a new delivery of the same size from the old."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat() if path.exists() else None


def _crs_text(wkt: str) -> str:
    """``EPSG:...`` where the CRS surely has a code, else WKT 2."""
    crs = CRS.from_wkt(wkt)
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else str(crs.to_wkt("WKT2_2019"))


def _layout(dataset: Any) -> Layout:  # noqa: ANN401 - rasterio ships no types
    rows, cols = dataset.block_shapes[0]
    compression = dataset.compression
    return Layout(
        block_yx=(rows, cols),
        tiled=cols != dataset.width,
        interleave="band" if dataset.interleaving.value.lower() == "band" else "pixel",
        compression=compression.value.lower() if compression else None,
    )
