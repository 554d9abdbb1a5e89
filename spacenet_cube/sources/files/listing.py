"""Listing: which files of a source a product's patterns name, and which are left out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath

from spacenet_cube.errors import RecipeError, SourceError
from spacenet_cube.recipe.model import Product
from spacenet_cube.storage.base.faults import FAULTS, error_code
from spacenet_cube.storage.location import Location, name_of

_ANY = "**"


_WILD = frozenset("*?[")
_WEB = frozenset({"http", "https"})
_RASTERS, _SIDECARS = (".tif", ".tiff"), (".imd", ".xml")
_TILE = re.compile(r"_r0*(\d+)c0*(\d+)(?=[-_.]|$)")
_COG = re.compile(r"_cog(?=\.tiff?$)")
_PAGE_KEYS = 1000
_ESCAPED = re.compile(r"\[([*?[])\]")
_DEEPEST = 32


@dataclass(frozen=True, slots=True, order=True)
class SourceFile:
    """A file that a pattern named."""

    key: str
    """Path relative to the source."""

    size_bytes: int
    """Size as the listing has it."""

    etag: str | None
    """The store's tag; None for a local file."""


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A raster beside those of a product that is not read."""

    key: str
    """Path relative to the source."""

    reason: str
    """Why it is left out."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found of a product."""

    files: tuple[SourceFile, ...]
    """Rasters and archives to read, sorted by key."""

    left_out: tuple[LeftOut, ...]
    """Rasters found beside them that are not read, sorted by key."""

    sidecars: tuple[SourceFile, ...]
    """``.IMD`` and ``.XML`` files beside them, sorted by key."""

    requests: int
    """LIST requests that a store bills for this."""


def list_sources(product: Product, source: Location) -> Listing:
    """List the files of a product: the first alternative of its patterns that matches any.

    Parameters
    ----------
    product
        Holds the patterns, and the ones to leave out.
    source
        Folder or bucket that the patterns are relative to.

    Returns
    -------
    Listing
        Without what ``exclude`` names, and without a second copy of a tile.

    Raises
    ------
    RecipeError
        If the source is not there, or no file matches.
    SourceError
        If listing fails, or one tile is there twice with different content.
    """
    requests = 0
    for alternative in product.sources:
        found = [_beside(source, pattern) for pattern in _for_store(alternative, source)]
        requests += sum(-(-max(len(each), 1) // _PAGE_KEYS) for each in found)
        listing = _sorted_out(product, _for_store(alternative, source), found, requests)
        if listing.files:
            return listing
    if not _is_there(source):
        raise RecipeError(
            f"source {source.url} does not exist, so {product.name} has nothing to read; "
            "correct source in the recipe, or --source"
        )
    tried = " or ".join(pattern for alternative in product.sources for pattern in alternative)
    raise RecipeError(
        f"no file under {source.url} matches {tried}, so {product.name} has nothing to read; "
        "correct sources in the recipe, or --source"
    )


def _sorted_out(
    product: Product,
    patterns: Sequence[str],
    found: Sequence[Mapping[str, SourceFile]],
    requests: int,
) -> Listing:
    """Sort what lies in the folders into files, sidecars and what is left out."""
    wanted = {
        file
        for pattern, files in zip(patterns, found, strict=True)
        for file in files.values()
        if matches(file.key, pattern)
    }
    every = {file for files in found for file in files.values()}
    kept, left_out = [], []
    for file in sorted(every):
        pattern = excluding(file.key, product.exclude)
        if file in wanted and pattern is None:
            kept.append(file)
        elif file in wanted:
            left_out.append(LeftOut(file.key, f"excluded by {pattern!r}"))
        elif file.key.lower().endswith(_RASTERS):
            left_out.append(LeftOut(file.key, "matches no pattern of the recipe"))
    files, copies = one_a_tile(kept)
    sidecars = (file for file in every if file.key.lower().endswith(_SIDECARS))
    return Listing(files, tuple(sorted([*left_out, *copies])), tuple(sorted(sidecars)), requests)


def canonical_name(key: str) -> str:
    """A raster's name without what varies between copies: case, zeros of the tile, ``_COG``.

    Examples
    --------
    >>> canonical_name("MS/a_R01C1-x_P001_COG.TIF"), canonical_name("a_R1C01-x_P001.tif")
    ('a_r1c1-x_p001.tif', 'a_r1c1-x_p001.tif')
    """
    return _COG.sub("", _TILE.sub(r"_r\1c\2", name_of(key).lower()))


def one_a_tile(
    files: Iterable[SourceFile],
) -> tuple[tuple[SourceFile, ...], list[LeftOut]]:
    """Keep one file of those that are one tile under several names.

    Parameters
    ----------
    files
        Sorted by key.

    Returns
    -------
    files : tuple of SourceFile
        Without copies: the plain GeoTIFF is kept rather than its COG, else the first.
    left_out : list of LeftOut
        The copies.

    Raises
    ------
    SourceError
        If two of them are no copies of one another, so that it is unclear which is meant.
    """
    groups: dict[str, list[SourceFile]] = {}
    for file in files:
        groups.setdefault(canonical_name(file.key), []).append(file)
    kept, left_out, torn = [], [], []
    for group in groups.values():
        first, *others = sorted(group, key=lambda file: (_is_cog(file), file))
        kept.append(first)
        for other in others:
            if _is_cog(other) and not _is_cog(first):
                left_out.append(LeftOut(other.key, f"a COG copy of {name_of(first.key)}"))
            elif other.etag is not None and (other.etag, other.size_bytes) == (
                first.etag,
                first.size_bytes,
            ):
                left_out.append(LeftOut(other.key, f"the same tile and bytes as {first.key}"))
            else:
                torn.append(f"{first.key} and {other.key}")
    if torn:
        raise SourceError(
            f"one tile was found twice, with different content: {'; '.join(torn)}; it is unclear "
            "which is meant: narrow sources, or exclude all but one"
        )
    return tuple(sorted(kept)), left_out


def _is_cog(file: SourceFile) -> bool:
    return _COG.search(file.key.lower()) is not None


def _is_there(source: Location) -> bool:
    try:
        return source.exists()
    except FileNotFoundError as error:
        if error_code(error) == "NoSuchBucket":
            raise _listing_failed(source, error) from error
        return False
    except FAULTS as error:
        raise _listing_failed(source, error) from error


def _listing_failed(source: Location, error: BaseException) -> SourceError:
    return SourceError(f"{source.url} cannot be listed: {source.told(error)}")


def excluding(key: str, exclude: Sequence[str]) -> str | None:
    """The first pattern that leaves a key, or the file name it ends in, out.

    Examples
    --------
    >>> excluding("PS-RGB/a_COG.TIF", ["*_COG.TIF"])
    '*_COG.TIF'
    """
    matching = (w for w in exclude if fnmatchcase(key, w) or fnmatchcase(name_of(key), w))
    return next(matching, None)


def only_name(pattern: str) -> str | None:
    """The one name that a pattern matches, its escapes taken out; None where it may match more.

    Examples
    --------
    >>> only_name("what[?].tif"), only_name("a?.tif")
    ('what?.tif', None)
    """
    plain = _ESCAPED.sub("", pattern)
    return None if _WILD & set(plain) else _ESCAPED.sub(r"\1", pattern)


def _for_store(patterns: Sequence[str], source: Location) -> tuple[str, ...]:
    """Patterns for one source: on a disk, two slashes are one."""
    if not source.is_local:
        return tuple(patterns)
    return tuple(str(PurePosixPath(pattern)) for pattern in patterns)


def _measured(source: Location, keys: Iterable[str]) -> dict[str, tuple[int, str | None]]:
    """Sizes and tags of files whose listing, a page of links, has none."""
    return {key: (source / key).size_and_etag() for key in keys}


def _beside(source: Location, pattern: str) -> dict[str, SourceFile]:
    """Files in the folders that a pattern looks into, by key."""
    parts = pattern.split("/")
    fixed = next((i for i, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    depth = (
        _DEEPEST
        if "**" in parts and source.is_local
        else None
        if "**" in parts
        else len(parts) - fixed
    )
    folder = "/".join(parts[:fixed])
    root = source / folder if folder else source
    # A web server seldom lists a folder, and need not where the file's name is known.
    name = only_name(pattern) if source.scheme in _WEB else None
    try:
        if name is not None:
            found = {name: (source / name).size_and_etag()}
        else:
            below = root.find(depth)
            found = {f"{folder}/{key}" if folder else key: row for key, row in below.items()}
            if source.scheme in _WEB:
                found |= _measured(source, [key for key in found if matches(key, pattern)])
    except FileNotFoundError as error:
        if error_code(error) == "NoSuchBucket":
            raise _listing_failed(source, error) from error
        return {}
    except FAULTS as error:
        raise _listing_failed(root, error) from error
    return {key: SourceFile(key, size_bytes, etag) for key, (size_bytes, etag) in found.items()}


def matches(key: str, pattern: str) -> bool:
    """Whether a pattern names a key.

    Parameters
    ----------
    key
        Path relative to the source.
    pattern
        As the recipe has it.

    Returns
    -------
    bool
        True where the whole key is named.

    Examples
    --------
    >>> [matches(key, "a/**/*.tif") for key in ("a/b.tif", "a/b/c/d.tif", "b.tif")]
    [True, True, False]
    """
    parts = _parts(pattern)
    open_at = _past_any(parts, {0})
    for part in key.split("/"):
        open_at = _past_any(parts, _after(parts, open_at, part))
        if not open_at:
            return False
    return len(parts) in open_at


@lru_cache(maxsize=256)
def _parts(pattern: str) -> tuple[str, ...]:
    found = tuple(pattern.split("/"))
    # At the end it stands for whatever lies in the folder, never for the folder's own name.
    return (*found, "*") if found[-1] == _ANY else found


def _after(parts: Sequence[str], open_at: set[int], part: str) -> set[int]:
    """Places in the pattern after one part of the key, from those before it."""
    found = set()
    for at in open_at:
        if at == len(parts):
            continue
        if parts[at] == _ANY:
            found.add(at)
        elif fnmatchcase(part, parts[at]):
            found.add(at + 1)
    return found


def _past_any(parts: Sequence[str], open_at: set[int]) -> set[int]:
    """The same places, and those after a ``**`` that stands for no folder."""
    found = set(open_at)
    for at in open_at:
        past = at
        while past < len(parts) and parts[past] == _ANY:
            past += 1
            found.add(past)
    return found
