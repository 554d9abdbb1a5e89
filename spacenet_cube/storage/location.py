"""Locations: a folder or object, local or remote, and every way of reaching it."""

import io
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp
import fsspec
from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from spacenet_cube.compat import path_in
from spacenet_cube.errors import StoreError
from spacenet_cube.storage.base.faults import ChangedError, explain
from spacenet_cube.storage.base.local_file import write_file
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.base.retry import persist, settle
from spacenet_cube.storage.base.secrets import scrubbed, sealed, unsealed
from spacenet_cube.storage.base.urls import (
    LOCAL,
    S3,
    WEB,
    bucket_and_key,
    refuse_odd_key,
    scheme_of,
    web_name,
    web_part,
)
from spacenet_cube.storage.icechunk.address import Address, is_versioned, parse_address
from spacenet_cube.storage.icechunk.files import VersionFiles, VersionStore
from spacenet_cube.storage.s3.bucket import S3Bucket
from spacenet_cube.storage.s3.clients import s3fs_arguments
from spacenet_cube.storage.s3.pages import Found
from spacenet_cube.storage.s3.stream import PartStream
from spacenet_cube.storage.stores.objects import WholeObjectStore
from spacenet_cube.storage.stores.sealed import sealed_store


@dataclass(frozen=True)
class Location:
    """A folder or object, local or remote, and how to reach it."""

    url: str
    """Absolute local path, or a URL without credentials."""

    options: StorageOptions = field(default_factory=StorageOptions)
    """How it is reached; holds no secret."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further keyword arguments of the fsspec filesystem, from a reader of cubes; never printed."""

    guard: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    """Called before every write and removal here and below; what it raises prevents it."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what describes the location, never an open connection with its credentials."""
        return _unpickled, (self.url, self.options, *sealed(self.extra), self.guard)

    def guarded(self, guard: Callable[[], None] | None) -> "Location":
        """The same location, which calls ``guard`` before it writes or removes anything."""
        return Location(self.url, self.options, self.extra, guard)

    def check(self) -> None:
        """Call the guard, if there is one.

        Raises
        ------
        StoreError
            If nothing may be written here any more.
        """
        if self.guard is not None:
            self.guard()

    @property
    def scheme(self) -> str:
        """``s3``, ``memory`` and so on; empty for a local path."""
        return scheme_of(self.url)

    @cached_property
    def is_local(self) -> bool:
        """Whether the location is on this machine's disk."""
        return self.scheme in LOCAL

    @cached_property
    def address(self) -> Address | None:
        """The location of a versioned cube, taken apart; None for any other."""
        return parse_address(self.url) if is_versioned(self.url) else None

    @property
    def plain(self) -> "Location":
        """The folder that a versioned cube's repository is; any other location itself."""
        if self.address is None:
            return self
        return Location(self.address.place, self.options, guard=self.guard)

    def at(self, version: str | None) -> "Location":
        """The same place of a versioned cube at another of its versions."""
        assert self.address is not None, "only a versioned cube has versions"
        there = replace(self.address, version=version).url
        return Location(there, self.options, guard=self.guard)

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
        if "_version" in self.__dict__:
            # What lies in a version is of that version, and opened once.
            return self.__dict__["_version"].fs
        if self.address is not None:
            return VersionFiles(self.address.place, self.options, self.address.version)
        try:
            return fsspec.filesystem(self.scheme, **self._arguments())
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"{self.url} cannot be reached: {scrubbed(str(error))}; "
                "use a local path or a URL that fsspec knows, such as s3://bucket/prefix"
            ) from error

    def _arguments(self) -> dict[str, Any]:
        own: dict[str, Any] = s3fs_arguments(self.options) if self.scheme in S3 else {}
        if self.scheme in WEB:
            wait_s = self.options.timeout_s
            silence = aiohttp.ClientTimeout(total=None, sock_connect=wait_s, sock_read=wait_s)
            own = {"client_kwargs": {"timeout": silence}, "encoded": True}
        return {"use_listings_cache": False, **own, **self.extra}

    @cached_property
    def path(self) -> str:
        """The location as its filesystem names it."""
        if self.address is not None:
            return f"/{self.address.key}"
        return str(path_in(self.fs, self.url))

    @property
    def key(self) -> str:
        """The location's key in its bucket: all that follows the bucket, as it is."""
        return bucket_and_key(self.url)[1]

    @cached_property
    def bucket(self) -> S3Bucket | None:
        """The way to objects on S3; None where there is none."""
        if self.scheme not in S3 or self.extra:
            return None
        return S3Bucket(bucket_and_key(self.url)[0], self.options)

    @cached_property
    def doubts(self) -> bool:
        """Whether bytes may change on their way from here unseen, so that they are compared."""
        if self.bucket is not None:
            return self.bucket.doubts
        said = self.options.read_twice
        return self.scheme == "http" if said is None else said

    def _persist[T](self, once: Callable[[], T]) -> T:
        """Try until it works, but where a fault is told at once, or was tried enough below."""
        return (
            once()
            if self.is_local or self.address is not None
            else persist(once, self.options.retries, self.url)
        )

    def __truediv__(self, part: str) -> "Location":
        """A location below this one; on the web, the part is percent-encoded."""
        if self.address is not None:
            there = self.address.below(part).url
            inside = Location(there, self.options, self.extra, self.guard)
            if self.address.is_repository:
                inside.__dict__["_version"] = self
            return inside
        # A key of S3 may end in slashes, which are parts of its name.
        above = self.url.rstrip("/") if self.is_local else self.url
        below = web_part(part) if self.scheme in WEB else part
        return Location(f"{above}/{below}", self.options, self.extra, self.guard)

    def beside(self, suffix: str) -> "Location":
        """The location of this name with a suffix; of a versioned cube, beside its repository."""
        if self.address is not None:
            return self.plain.beside(suffix)
        return Location(self.url.rstrip("/") + suffix, self.options, self.extra, self.guard)

    def told(self, error: BaseException) -> str:
        """What a fault met here means and what mends it, in one line."""
        return str(error) if self.is_local else explain(error, self.options)

    def store(self, *, read_only: bool = False) -> Store:
        """The location as a Zarr store.

        It goes the quick way where there is one.  A store to read from may end in a dask
        graph: none of them pickles a secret, each process finds its own.
        """
        if self.is_local:
            return LocalStore(self.path, read_only=read_only)
        if self.address is not None:
            return VersionStore(self.fs.store, self.url)
        if self.bucket is not None:
            refuse_odd_key(self.bucket.name, self.key)
            return WholeObjectStore(self.bucket, self.key, read_only=read_only)
        if not read_only:
            return FsspecStore.from_url(self.url, storage_options=self._arguments())
        return sealed_store(self.url, self._arguments())

    def exists(self) -> bool:
        """Whether anything is there.  A refusal is an error, and never an absence."""
        if self.bucket is not None:
            return self.bucket.exists(self.key)
        if self.address is not None and not self._has_repository():
            return False
        return bool(self._persist(lambda: self.fs.exists(self.path)))

    def _has_repository(self) -> bool:
        try:
            return self.fs is not None
        except FileNotFoundError:
            return False

    def find(self, depth: int | None = None) -> Found:
        """List the objects below.

        Parameters
        ----------
        depth
            Folders to look into, 1 for this one alone; None for all.

        Returns
        -------
        dict of str to (int, str or None)
            Size in bytes and tag, by key below the location; empty where nothing is there.

        Raises
        ------
        FAULTS
            If the store refuses or fails, or there is no such bucket.
        """
        if self.bucket is not None:
            base, found = f"{self.key}/".lstrip("/"), self.bucket.find(self.key, depth)
            return {key.removeprefix(base): row for key, row in found.items()}
        if self.address is not None and not self._has_repository():
            return {}
        rows = self._persist(lambda: self.fs.find(self.path, maxdepth=depth, detail=True))
        base = self.path.rstrip("/") + "/"
        found = {
            path.removeprefix(base): (int(info["size"] or 0), etag_of(info))
            for path, info in rows.items()
            if path.startswith(base)
        }
        return _named(found) if self.scheme in WEB else found

    def read_bytes(self) -> bytes:
        """The whole object."""
        if self.bucket is not None:
            return bytes(self.bucket.read(self.key))

        def once() -> tuple[bytes, bool]:
            return self.fs.cat_file(self.path), not self.doubts

        return settle(lambda: self._persist(once), self.options.retries, self.url)

    def read_range(
        self, start: int, size_bytes: int, etag: str | None = None, *, trusting: bool = False
    ) -> bytes:
        """Bytes of an object: all that were asked for, or an error.

        Parameters
        ----------
        start
            First byte, from 0.
        size_bytes
            How many.
        etag
            Tag that the object must still have, where the store has tags.
        trusting
            Take the first answer, because a digest of the whole is compared later; otherwise
            two must agree where bytes may change on the way unseen.

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

        def once() -> tuple[bytes, bool]:
            return self._range(start, size_bytes, etag), trusting or not self.doubts

        return settle(once, self.options.retries, self.url)

    def _range(self, start: int, size_bytes: int, etag: str | None) -> bytes:
        if self.bucket is None:
            return self._persist(lambda: self._range_once(start, size_bytes))
        found, tag = self.bucket.read_range(self.key, start, size_bytes)
        if etag is not None and tag is not None and tag != etag:
            raise ChangedError(
                f"it has changed while it was read (ETag {tag}, surveyed as {etag}); "
                "survey and plan again"
            )
        return found  # type: ignore[no-any-return]

    def _range_once(self, start: int, size_bytes: int) -> bytes:
        found: bytes = self.fs.cat_file(self.path, start=start, end=start + size_bytes)
        if len(found) != size_bytes:
            raise OSError(
                f"{len(found):,} bytes arrived where {size_bytes:,} from byte {start:,} were asked "
                "for; try again, and mend the network or the file if it stays so"
            )
        return found

    @property
    def pins_answers(self) -> bool:
        """Whether `read_range` compares the tag of every answer."""
        return self.bucket is not None

    def size_and_etag(self) -> tuple[int, str | None]:
        """Size in bytes of the object, and the store's tag where it has one."""
        if self.bucket is not None:
            return self.bucket.size_and_etag(self.key)
        info = self._persist(lambda: self.fs.info(self.path))
        return int(info["size"] or 0), etag_of(info)

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
        if self.is_local:
            write_file(Path(self.path), content, self.check)
            return
        self.check()
        if self.bucket is not None:
            self.bucket.write(self.key, content)
        else:
            self._persist(lambda: self.fs.pipe_file(self.path, content))

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
        self.check()
        return None if self.bucket is None else self.bucket.create(self.key, content)

    def upload(self, file: Path) -> None:
        """Write a local file's bytes to the location, piece by piece."""
        self.check()
        if self.bucket is not None:
            self.bucket.upload(self.key, file)
        else:
            self._persist(lambda: self.fs.put_file(str(file), self.path))

    def remove_object(self) -> None:
        """Remove this one object, if it is there, and nothing below it.

        Raises
        ------
        FAULTS
            If the store refuses or fails, or a local folder is there.
        """
        self.check()
        if self.bucket is not None:
            self.bucket.delete([self.key])
        elif self.is_local:
            Path(self.path).unlink(missing_ok=True)
        else:
            self._persist(lambda: self._remove_files([self.path]))

    def remove_tree(self) -> None:
        """Remove the location and everything below it, if it is there.

        Raises
        ------
        StoreError
            If it is a whole bucket or disk.
        FAULTS
            If the store refuses or fails.
        """
        self._refuse_root()
        self.check()
        if self.bucket is not None:
            self.bucket.remove_tree(self.key)
        elif not self.is_local:
            # fsspec's own rm takes *, ? and [ in a name for wildcards.
            self._persist(lambda: self._remove_files(self.fs.find(self.path)))
        elif Path(self.path).is_dir():
            shutil.rmtree(self.path)
        else:
            Path(self.path).unlink(missing_ok=True)

    def _remove_files(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.check()
            with suppress(FileNotFoundError):
                self.fs.rm_file(path)

    def _refuse_root(self) -> None:
        """Refuse to remove all that a store holds: no cube is a whole bucket."""
        if not (self.path if self.bucket is None else self.key).strip("/"):
            raise StoreError(
                f"{self.url} is a whole bucket or disk, which is never removed; give a folder in it"
            )


def _unpickled(
    url: str,
    options: StorageOptions,
    extra: Mapping[str, Any],
    ticket: tuple[int, int],
    guard: Callable[[], None] | None = None,
) -> Location:
    return Location(url, options, unsealed(extra, ticket) or {}, guard)


def _named(links: Found) -> Found:
    """What a web server lists, by the names that its links are of."""
    names = {link: web_name(link) for link in links}
    return {name: links[link] for link, name in names.items() if name is not None}


def etag_of(info: Mapping[str, Any]) -> str | None:
    """The store's tag in an entry of a listing, without its quotes."""
    tag = info.get("ETag") or info.get("etag")
    return str(tag).strip('"') if tag else None


def name_of(key: str) -> str:
    """Last part of a key or path, whatever the store."""
    return PurePosixPath(key).name
