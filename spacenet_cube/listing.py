"""Listing: which files of a source a product's patterns name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from fsspec.utils import glob_translate

from spacenet_cube.core.recipe import Product
from spacenet_cube.errors import RecipeError, SourceError
from spacenet_cube.storage import Location, name_of

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True, order=True)
class SourceFile:
    """A file that a pattern named."""

    key: str
    """Path relative to the source."""

    size_bytes: int
    """Size as the listing has it."""

    etag: str | None
    """The store's tag; None for a local file."""


def list_sources(product: Product, source: Location) -> tuple[SourceFile, ...]:
    """List the files of a product: the first alternative of its patterns that matches any.

    Parameters
    ----------
    product
        Holds the patterns, and the ones to leave out.
    source
        Folder or bucket that the patterns are relative to.

    Returns
    -------
    tuple of SourceFile
        Sorted by key, without what ``exclude`` names.

    Raises
    ------
    RecipeError
        If the source is not there, or no file matches.
    SourceError
        If listing fails.
    """
    for alternative in product.sources:
        found = {
            file
            for pattern in alternative
            for file in _matches(source, pattern)
            if not is_excluded(file.key, product.exclude)
        }
        if found:
            return tuple(sorted(found))
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


def _is_there(source: Location) -> bool:
    try:
        return source.exists()
    except OSError as error:
        raise _listing_failed(source, error) from error


def _listing_failed(source: Location, error: OSError) -> SourceError:
    return SourceError(
        f"{source.url} cannot be listed: {error}; check the address, the network and the "
        "permissions, then try again"
    )


def is_excluded(key: str, exclude: Sequence[str]) -> bool:
    """Whether a key, or the file name it ends in, matches a pattern to leave out.

    Examples
    --------
    >>> is_excluded("PS-RGB/a_COG.TIF", ["*_COG.TIF"])
    True
    """
    return any(fnmatchcase(key, wild) or fnmatchcase(name_of(key), wild) for wild in exclude)


def _matches(source: Location, pattern: str) -> list[SourceFile]:
    """Files below the source that one pattern names."""
    parts = PurePosixPath(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    folder = "/".join(parts[:fixed])
    root = source / folder if folder else source
    depth = None if "**" in parts else len(parts) - fixed
    wanted = re.compile(glob_translate(pattern))
    try:
        found = root.fs.find(root.path, maxdepth=depth, detail=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _listing_failed(root, error) from error
    base = source.path.rstrip("/") + "/"
    files = (
        SourceFile(path.removeprefix(base), int(info["size"]), _etag(info))
        for path, info in found.items()
    )
    return [file for file in files if wanted.fullmatch(file.key)]


def _etag(info: dict[str, object]) -> str | None:
    tag = info.get("ETag") or info.get("etag")
    return str(tag).strip('"') if tag else None
