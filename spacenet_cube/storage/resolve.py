"""Locating: what a path or URL names, and what the environment says of how to reach it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fsspec.implementations.local import LocalFileSystem

from spacenet_cube.compat import path_in
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.storage.base.options import StorageOptions, options_of_pairs, storage_options
from spacenet_cube.storage.base.urls import LOCAL, S3, WEB, s3_url, scheme_of, web_url, without_end
from spacenet_cube.storage.icechunk.address import Address, is_versioned, parse_address
from spacenet_cube.storage.location import Location


def locate(url: str | Path, options: StorageOptions | Mapping[str, Any] | None = None) -> Location:
    """Understand a path or URL.

    Parameters
    ----------
    url
        Local path (relative ones are taken from the working directory), ``file://``, or any
        URL that fsspec knows.
    options
        How it is reached.  A mapping may also hold keyword arguments of the fsspec
        filesystem, as readers of cubes are used to.

    Returns
    -------
    Location
        Nothing is opened yet.

    Raises
    ------
    RecipeError
        If an option has a value that cannot stand.
    StoreError
        If the URL carries credentials, which would spread into metadata and logs.

    Examples
    --------
    >>> locate("s3://bucket/cubes/").url
    's3://bucket/cubes'
    """
    text = str(url)
    if is_versioned(text):
        return _versioned(parse_address(text), options)
    scheme = scheme_of(text)
    if not scheme:
        return Location(str(Path(text).expanduser().absolute()))
    if scheme in LOCAL:
        return Location(str(Path(path_in(LocalFileSystem, text)).absolute()))
    own, extra = _sorted_out(options)
    if scheme in S3:
        return Location(s3_url(text), own, extra)
    if scheme == "memory":
        return Location(without_end(text), own, extra)
    _refuse_unclear(text)
    return Location(without_end(web_url(text) if scheme in WEB else text), own, extra)


def _refuse_unclear(text: str) -> None:
    """Refuse a URL with credentials, or with what its scheme may take for more than a name."""
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise StoreError(f"{text!r} is not a URL: {error}; correct it") from error
    if parts.password or (parts.username and parts.scheme in WEB):
        raise StoreError(
            f"the URL for {parts.scheme}://{parts.hostname} carries credentials, which would "
            "end in metadata and logs; take them out and use the AWS profile or environment"
        )
    if parts.query:
        raise StoreError(
            f"the URL for {parts.scheme}://{parts.hostname} carries a query, which may hold a "
            "signature and would end in metadata and logs; name the folder or bucket itself, and "
            "use the AWS profile or environment; write %3F for a '?' of a name"
        )
    if "#" in text or "?" in text:
        raise StoreError(
            f"the URL for {parts.scheme}://{parts.hostname} holds a '#' or '?', at which its name "
            "would be cut; write %23 or %3F on the web, and give another folder elsewhere"
        )


def _versioned(address: Address, options: StorageOptions | Mapping[str, Any] | None) -> Location:
    """The location of a versioned cube, or of a folder that holds some."""
    plain = locate(address.place, options)
    if plain.scheme not in LOCAL | S3:
        raise StoreError(
            f"versioned cubes cannot lie at {plain.url}; use icechunk+s3://bucket/prefix or "
            "icechunk+file:///folder"
        )
    if plain.extra:
        raise RecipeError(
            f"{', '.join(sorted(plain.extra))} are options of fsspec, which icechunk does not know;"
            " use profile, endpoint_url, region, anonymous or requester_pays"
        )
    place = plain.path if plain.is_local else plain.url
    return Location(replace(address, place=place).url, plain.options)


def _sorted_out(
    options: StorageOptions | Mapping[str, Any] | None,
) -> tuple[StorageOptions, Mapping[str, Any]]:
    """Options of ours, and what only fsspec knows."""
    if isinstance(options, StorageOptions):
        return options, {}
    said = dict(options or {})
    if "anon" in said:
        said["anonymous"] = said.pop("anon")
    own = {name: said.pop(name) for name in StorageOptions.model_fields if name in said}
    return storage_options(own), said


def from_environment(role: str) -> StorageOptions:
    """Options that the environment gives a source or a target.

    Parameters
    ----------
    role
        ``source`` or ``target``: the variable is ``SPACENET_CUBE_SOURCE_OPTIONS`` or
        ``SPACENET_CUBE_TARGET_OPTIONS``, such as ``anonymous=true,region=us-east-1``.

    Returns
    -------
    StorageOptions
        The defaults where nothing is said.

    Raises
    ------
    RecipeError
        If they cannot stand.
    """
    text = os.environ.get(f"SPACENET_CUBE_{role.upper()}_OPTIONS", "")
    return storage_options(options_of_pairs(pair for pair in text.split(",") if pair.strip()))
