"""Locations: a folder or object, local or remote, and every way of reaching it."""

import io
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from spacenet_cube.core.access import StorageOptions, options_of_pairs, storage_options
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.storage.address import Address, is_versioned, parse_address
from spacenet_cube.storage.faults import FAULTS, explain, is_refusal
from spacenet_cube.storage.s3 import S3Bucket, s3fs_arguments
from spacenet_cube.storage.stream import PartStream
from spacenet_cube.storage.versionfiles import VersionFiles, VersionStore

_LOCAL = {"", "file", "local"}
_S3 = {"s3", "s3a"}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


@dataclass(frozen=True)
class Location:
    """A folder or object, local or remote, and how to reach it."""

    url: str
    """Absolute local path, or a URL without credentials."""

    options: StorageOptions = field(default_factory=StorageOptions)
    """How it is reached; holds no secret."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further keyword arguments of the fsspec filesystem, from a reader of cubes; never printed."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what describes the location, never an open connection with its credentials."""
        return Location, (self.url, self.options, self.extra)

    @property
    def scheme(self) -> str:
        """``s3``, ``memory`` and so on; empty for a local path."""
        return urlsplit(self.url).scheme if "://" in self.url else ""

    @cached_property
    def is_local(self) -> bool:
        """Whether the location is on this machine's disk."""
        return self.scheme in _LOCAL

    @cached_property
    def address(self) -> Address | None:
        """The location of a versioned cube, taken apart; None for any other."""
        return parse_address(self.url) if is_versioned(self.url) else None

    @property
    def plain(self) -> "Location":
        """The folder that a versioned cube's repository is; any other location itself."""
        return self if self.address is None else Location(self.address.place, self.options)

    def at(self, version: str | None) -> "Location":
        """The same place of a versioned cube at another of its versions."""
        assert self.address is not None, "only a versioned cube has versions"
        return Location(replace(self.address, version=version).url, self.options)

    def pinned(self) -> "Location":
        """The version that a versioned cube has now, by its snapshot; any other place itself."""
        if self.address is None:
            return self
        found = self.at(self.fs.snapshot)
        found.__dict__["fs"] = self.fs
        return found

    @cached_property
    def fs(self) -> Any:  # noqa: ANN401 - fsspec ships no types
        """The fsspec filesystem; listings are never cached, because builds change them."""
        if self.is_local:
            return LocalFileSystem(auto_mkdir=True)
        if self.address is not None:
            return VersionFiles(self.address.place, self.options, self.address.version)
        try:
            return fsspec.filesystem(self.scheme, **self._arguments())
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"{self.url} cannot be reached: {error}; "
                "use a local path or a URL that fsspec knows, such as s3://bucket/prefix"
            ) from error

    def _arguments(self) -> dict[str, Any]:
        own = s3fs_arguments(self.options) if self.scheme in _S3 else {}
        return {"use_listings_cache": False, **own, **self.extra}

    @cached_property
    def path(self) -> str:
        """The location as its filesystem names it."""
        if self.address is not None:
            return f"/{self.address.key}"
        return str(self.fs._strip_protocol(self.url))  # noqa: SLF001 - fsspec has no public way

    @cached_property
    def _bucket(self) -> S3Bucket | None:
        """The quick way to an object on S3; None where there is none."""
        if self.scheme not in _S3 or self.extra:
            return None
        return S3Bucket(urlsplit(self.url).netloc, self.options)

    def __truediv__(self, part: str) -> "Location":
        """A location below this one."""
        if self.address is not None:
            below = Location(self.address.below(part).url, self.options, self.extra)
            if "fs" in self.__dict__ and self.address.is_repository:
                below.__dict__["fs"] = self.fs
            return below
        return Location(f"{self.url.rstrip('/')}/{part}", self.options, self.extra)

    def beside(self, suffix: str) -> "Location":
        """The location of this name with a suffix; of a versioned cube, beside its repository."""
        if self.address is not None:
            return self.plain.beside(suffix)
        return Location(self.url.rstrip("/") + suffix, self.options, self.extra)

    def told(self, error: BaseException) -> str:
        """What a fault met here means and what mends it, in one line."""
        return str(error) if self.is_local else explain(error, self.options)

    def store(self, *, read_only: bool = False) -> Store:
        """The location as a Zarr store.

        A store to write to goes the quick way where there is one.  One to read from may end
        in a dask graph, and the quick client pickles its secrets, so fsspec serves there.
        """
        if self.is_local:
            return LocalStore(self.path, read_only=read_only)
        if self.address is not None:
            return VersionStore(self.fs.store)
        if self._bucket is not None and not read_only:
            return self._bucket.store(urlsplit(self.url).path.strip("/"))
        return FsspecStore.from_url(
            self.url, storage_options=self._arguments(), read_only=read_only
        )

    def exists(self) -> bool:
        """Whether anything is there.  A refusal is an error, and never an absence."""
        try:
            return bool(self.fs.exists(self.path))
        except FileNotFoundError:
            # There is no repository.
            return False

    def read_bytes(self) -> bytes:
        """The whole object."""
        found: bytes = self.fs.cat_file(self.path)
        return found

    def read_range(self, start: int, size_bytes: int, etag: str | None = None) -> bytes:
        """Bytes of an object: all that were asked for, or an error.

        Parameters
        ----------
        start
            First byte, from 0.
        size_bytes
            How many.
        etag
            Tag that the object must still have, where the store has tags.

        Returns
        -------
        bytes-like
            ``size_bytes`` long.

        Raises
        ------
        ChangedError
            If the object is not the one that has the tag.
        FAULTS
            If it cannot be read, or fewer bytes arrive.
        """
        for wait_s in _waits_s(self.options.retries):
            try:
                return self._range_once(start, size_bytes, etag)
            except FAULTS as error:
                if is_refusal(error) or isinstance(error, ChangedError):
                    raise
                time.sleep(wait_s)
        return self._range_once(start, size_bytes, etag)

    def _range_once(self, start: int, size_bytes: int, etag: str | None) -> bytes:
        if self._bucket is not None:
            found, tag = self._bucket.read(urlsplit(self.url).path.strip("/"), start, size_bytes)
            if etag is not None and tag is not None and tag != etag:
                raise ChangedError(
                    f"it has changed while it was read (ETag {tag}, surveyed as {etag}); "
                    "survey and plan again"
                )
        else:
            found = self.fs.cat_file(self.path, start=start, end=start + size_bytes)
        if len(found) != size_bytes:
            raise OSError(
                f"{len(found):,} bytes arrived where {size_bytes:,} from byte {start:,} were asked "
                "for; try again, and mend the network or the file if it stays so"
            )
        return found

    @property
    def pins_answers(self) -> bool:
        """Whether `read_range` compares the tag of every answer."""
        return self._bucket is not None

    def size_and_etag(self) -> tuple[int, str | None]:
        """Size in bytes of the object, and the store's tag where it has one."""
        info = self.fs.info(self.path)
        return int(info["size"]), etag_of(info)

    def open_stream(self, size_bytes: int, etag: str | None = None) -> io.BufferedIOBase:
        """The object as a file to read in order; seeking works, and costs requests.

        Parameters
        ----------
        size_bytes
            Its size.
        etag
            Tag that it must keep, where the store has tags.

        Returns
        -------
        io.BufferedIOBase
            To be closed by whoever asked for it.
        """
        if self.is_local:
            return Path(self.path).open("rb")

        def fetch(start: int, wanted: int) -> bytes:
            return self.read_range(start, wanted, etag)

        return io.BufferedReader(PartStream(fetch, size_bytes), 1 << 20)

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

    def create_remote(self, content: bytes) -> bool | None:
        """Write the whole object unless one is there, if the store can do that in one step.

        Parameters
        ----------
        content
            The object.

        Returns
        -------
        bool or None
            False where the store says that one is there; None where it has no such step.
        """
        if self._bucket is None:
            return None
        return self._bucket.create(urlsplit(self.url).path.strip("/"), content)

    def upload(self, file: Path) -> None:
        """Write a local file's bytes to the location, piece by piece."""
        self.fs.put_file(str(file), self.path)

    def remove(self) -> None:
        """Remove the location and everything below it, if it is there."""
        if self.is_local:
            if Path(self.path).is_dir():
                shutil.rmtree(self.path)
            else:
                Path(self.path).unlink(missing_ok=True)
        elif self.exists():
            self.fs.rm(self.path, recursive=True)


class ChangedError(OSError):
    """The object is not the one that was surveyed; trying again is no use."""


def _waits_s(retries: int) -> list[float]:
    """Seconds to wait before each further attempt, doubling."""
    return [min(_FIRST_WAIT_S * 2**turn, _LONGEST_WAIT_S) for turn in range(retries)]


def etag_of(info: Mapping[str, Any]) -> str | None:
    """The store's tag in an entry of a listing, without its quotes."""
    tag = info.get("ETag") or info.get("etag")
    return str(tag).strip('"') if tag else None


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
    if "://" not in text:
        return Location(str(Path(text).expanduser().absolute()))
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise StoreError(f"{text!r} is not a URL: {error}; correct it") from error
    if parts.password or (parts.username and parts.scheme in {"http", "https", "s3", "s3a"}):
        raise StoreError(
            f"the URL for {parts.scheme}://{parts.hostname} carries credentials, which would "
            "end in metadata and logs; take them out and use the AWS profile or environment"
        )
    if parts.scheme in _LOCAL:
        return Location(str(Path(LocalFileSystem._strip_protocol(text)).absolute()))  # noqa: SLF001
    own, extra = _sorted_out(options)
    return Location(text.rstrip("/"), own, extra)


def _versioned(address: Address, options: StorageOptions | Mapping[str, Any] | None) -> Location:
    """The location of a versioned cube, or of a folder that holds some."""
    plain = locate(address.place, options)
    if plain.scheme not in _LOCAL | _S3:
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


def name_of(key: str) -> str:
    """Last part of a key or path, whatever the store."""
    return PurePosixPath(key).name
