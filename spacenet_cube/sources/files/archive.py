"""Archives: rasters inside ``tar.gz``, ``tar`` or ``zip``, unpacked in one streaming pass.

Nothing is extracted by name: each regular file is read into one that is named here.  An
archive with a name that leads elsewhere, a link, a device, a name twice, or more content
than it can honestly hold is refused whole.  A record beside each member lets an
interrupted unpacking go on where it was.
"""

import gzip
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zlib import error as zlib_error

from spacenet_cube.errors import SourceError
from spacenet_cube.sources.files.archive_members import Member, Shelf
from spacenet_cube.sources.files.archive_rules import (
    Entry,
    Kind,
    RefusedError,
    Rules,
    is_wanted,
    most_bytes,
)
from spacenet_cube.sources.files.listing import SourceFile
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.location import Location

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
"""Endings by which a source is known to be an archive."""

Advance = Callable[[int], None]
"""Told of bytes as they are read from the archive."""

_COPY_BYTES = 1 << 20
_MOST_HEADER_BYTES = 1 << 20
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib_error, EOFError)
_LONG_HEADERS = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
}
_ZIP_ENCRYPTED = 0x1


def is_archive(key: str) -> bool:
    """Whether a key names an archive rather than a raster.

    Examples
    --------
    >>> is_archive("AOI_1_Rio/srcData/rasterData/3-Band.tar.gz"), is_archive("a.tif")
    (True, False)
    """
    return key.lower().endswith(SUFFIXES)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive and what its listing says of it."""

    place: Location
    """Where it is."""

    file: SourceFile
    """Key, size and tag."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.place.url


def unpack(
    archive: Archive, staging: Location, scratch: Path, advance: Advance | None = None
) -> tuple[Member, ...]:
    """Unpack the rasters of an archive, and the metadata beside them, one at a time.

    Parameters
    ----------
    archive
        Local or remote; it is read once, in order.
    staging
        Folder or URL that members are put below; what an earlier call put there of the same
        archive is checked and kept.
    scratch
        Local folder, for one member at a time where staging is remote.
    advance
        Told how many bytes of the archive were read since it was last told.

    Returns
    -------
    tuple of Member
        In the archive's order.

    Raises
    ------
    SourceError
        If the archive is hostile, damaged or cut short, or holds no raster: what was
        unpacked of it is removed.  If it cannot be read, or the disk is full: what was
        unpacked is kept, for the next attempt.
    """
    shelf = Shelf(staging, scratch, archive.name, archive.file)
    try:
        members = shelf.complete() or _unpacked(archive, shelf, advance)
    except RefusedError as error:
        shelf.clear()
        raise SourceError(
            f"archive {archive.name} is refused: {error}", scene=archive.name
        ) from error
    except _DAMAGED as error:
        shelf.clear()
        raise SourceError(
            f"archive {archive.name} is damaged or cut short: "
            f"{str(error) or type(error).__name__}; fetch it again",
            scene=archive.name,
        ) from error
    except FAULTS as error:
        raise SourceError(
            f"archive {archive.name} cannot be unpacked to {staging.url}: "
            f"{archive.place.told(error)}; what was unpacked is kept where --staging names a place",
            scene=archive.name,
        ) from error
    if not any(member.is_raster for member in members):
        raise SourceError(
            f"archive {archive.name} holds no .tif, so there is nothing to read; "
            "correct sources in the recipe"
        )
    return members


def _unpacked(archive: Archive, shelf: Shelf, advance: Advance | None) -> tuple[Member, ...]:
    """Go through the archive once."""
    rules = Rules(most_bytes(archive.file.size_bytes))
    members: list[Member] = []
    with _entries(archive, rules, advance) as entries:
        for entry, content in entries:
            rules.admit(entry)
            if entry.kind is Kind.FILE and is_wanted(entry.name):
                shelf.check_space(entry.size_bytes)
                members.append(shelf.put(len(members) + 1, entry, content()))
    shelf.finish(members)
    return tuple(members)


_Entries = Iterator[tuple[Entry, Callable[[], IO[bytes]]]]


@contextmanager
def _entries(archive: Archive, rules: Rules, advance: Advance | None) -> Iterator[_Entries]:
    """The entries of an archive, each with a function that opens its content."""
    with ExitStack() as held:
        raw = held.enter_context(
            archive.place.open_stream(archive.file.size_bytes, archive.file.etag)
        )
        counted = _Counted(raw, advance)
        if archive.file.key.lower().endswith(".zip"):
            yield _zip_entries(held.enter_context(zipfile.ZipFile(counted)))
            return
        plain: Any = counted
        if not archive.file.key.lower().endswith(".tar"):
            plain = held.enter_context(gzip.GzipFile(fileobj=counted, mode="rb"))
        capped = _Capped(plain, rules)
        tar = held.enter_context(
            tarfile.open(fileobj=capped, mode="r|", tarinfo=_Info)  # type: ignore[call-overload]
        )
        yield _tar_entries(tar)
        # tarfile stops at the end of the tar, before the gzip stream's own check sum.
        while capped.read(_COPY_BYTES):
            pass


def _tar_entries(tar: tarfile.TarFile) -> _Entries:
    for info in tar:
        kind = Kind.OTHER if info.issparse() else _KINDS.get(info.type, Kind.OTHER)

        def content(info: tarfile.TarInfo = info) -> Any:  # noqa: ANN401 - a file to read
            return tar.extractfile(info)

        yield Entry(info.name, kind, info.size), content
        # The list would otherwise grow with the archive.
        tar.members = []  # type: ignore[attr-defined]


def _zip_entries(archive: zipfile.ZipFile) -> _Entries:
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    for info in infos:
        mode = info.external_attr >> 16
        kind = Kind.FOLDER if info.is_dir() else Kind.of_mode(mode)
        if info.flag_bits & _ZIP_ENCRYPTED:
            raise RefusedError(f"{info.filename!r} is encrypted; repack it without a password")

        def content(info: zipfile.ZipInfo = info) -> Any:  # noqa: ANN401 - a file to read
            return archive.open(info)

        yield Entry(info.orig_filename, kind, info.file_size), content


class _Info(tarfile.TarInfo):
    """A tar header whose long names and attributes are bounded, because they sit in memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _LONG_HEADERS and self.size > _MOST_HEADER_BYTES:
            raise RefusedError(f"a header claims {self.size:,} bytes; repack it")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return found


class _Counted:
    """A readable, seekable file that tells how many bytes were read."""

    def __init__(self, raw: Any, advance: Advance | None) -> None:  # noqa: ANN401 - a file
        self._raw, self._advance = raw, advance
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable

    def read(self, size: int = -1) -> bytes:
        found: bytes = self._raw.read(size)
        if self._advance:
            self._advance(len(found))
        return found


class _Capped:
    """A readable that ends with an error where an archive holds more than it may."""

    def __init__(self, raw: IO[bytes], rules: Rules) -> None:
        self._raw, self._rules, self._read = raw, rules, 0

    def read(self, size: int = -1) -> bytes:
        found = self._raw.read(size)
        self._read += len(found)
        self._rules.check_total(self._read)
        return found
