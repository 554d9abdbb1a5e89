"""Storage: the one module that understands URLs and how to reach what they name.

A location hands out the fsspec filesystem, the Zarr store and the name GDAL opens from
one description, so that the three never disagree.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from spacenet_cube.errors import StoreError

_LOCAL = {"", "file", "local"}


@dataclass(frozen=True)
class Location:
    """A folder or object, local or remote, and how to reach it."""

    url: str
    """Absolute local path, or a URL without credentials."""

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Keyword arguments of the fsspec filesystem; never printed."""

    @cached_property
    def is_local(self) -> bool:
        """Whether the location is on this machine's disk."""
        return isinstance(self.fs, LocalFileSystem)

    @cached_property
    def fs(self) -> Any:  # noqa: ANN401 - fsspec ships no types
        """The fsspec filesystem; listings are never cached, because builds change them."""
        scheme = urlsplit(self.url).scheme if "://" in self.url else ""
        if scheme in _LOCAL:
            return LocalFileSystem(auto_mkdir=True)
        try:
            return fsspec.filesystem(scheme, use_listings_cache=False, **self.options)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"{self.url} cannot be reached: {error}; "
                "use a local path or a URL that fsspec knows, such as s3://bucket/prefix"
            ) from error

    @cached_property
    def path(self) -> str:
        """The location as its filesystem names it."""
        return str(self.fs._strip_protocol(self.url))  # noqa: SLF001 - fsspec has no public way

    def __truediv__(self, part: str) -> "Location":
        """A location below this one."""
        return Location(f"{self.url.rstrip('/')}/{part}", self.options)

    def beside(self, suffix: str) -> "Location":
        """The location of this name with a suffix."""
        return Location(self.url.rstrip("/") + suffix, self.options)

    def store(self, *, read_only: bool = False) -> Store:
        """The location as a Zarr store."""
        if self.is_local:
            return LocalStore(self.path, read_only=read_only)
        return FsspecStore.from_url(
            self.url,
            storage_options={"use_listings_cache": False, **self.options},
            read_only=read_only,
        )

    def exists(self) -> bool:
        """Whether anything is there.  A refusal is an error, and never an absence."""
        return bool(self.fs.exists(self.path))

    def read_bytes(self) -> bytes:
        """The whole object."""
        found: bytes = self.fs.cat_file(self.path)
        return found

    def write_bytes(self, content: bytes) -> None:
        """Write the whole object; a local one appears at once or not at all."""
        if not self.is_local:
            self.fs.pipe_file(self.path, content)
            return
        final = Path(self.path)
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = final.with_name(f".{final.name}.partial")
        draft.write_bytes(content)
        draft.replace(final)

    def remove(self) -> None:
        """Remove the location and everything below it, if it is there."""
        if self.is_local:
            if Path(self.path).is_dir():
                shutil.rmtree(self.path)
            else:
                Path(self.path).unlink(missing_ok=True)
        elif self.exists():
            self.fs.rm(self.path, recursive=True)


def locate(url: str | Path, options: Mapping[str, Any] | None = None) -> Location:
    """Understand a path or URL.

    Parameters
    ----------
    url
        Local path (relative ones are taken from the working directory), ``file://``, or any
        URL that fsspec knows.
    options
        Keyword arguments of the fsspec filesystem.

    Returns
    -------
    Location
        Nothing is opened yet.

    Raises
    ------
    StoreError
        If the URL carries credentials, which would spread into metadata and logs.

    Examples
    --------
    >>> locate("s3://bucket/cubes/").url
    's3://bucket/cubes'
    """
    text = str(url)
    if "://" not in text:
        return Location(str(Path(text).expanduser().absolute()), dict(options or {}))
    parts = urlsplit(text)
    if parts.password or (parts.username and parts.scheme in {"http", "https", "s3"}):
        raise StoreError(
            f"the URL for {parts.scheme}://{parts.hostname} carries credentials, which would "
            "end in metadata and logs; take them out and use the AWS profile or environment"
        )
    if parts.scheme in _LOCAL:
        return Location(str(Path(LocalFileSystem._strip_protocol(text)).absolute()), {})  # noqa: SLF001
    return Location(text.rstrip("/"), dict(options or {}))


def name_of(key: str) -> str:
    """Last part of a key or path, whatever the store."""
    return PurePosixPath(key).name
