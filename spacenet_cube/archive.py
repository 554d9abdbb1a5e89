"""Archives: rasters inside ``tar.gz``, unpacked member by member in one streaming pass.

Nothing is extracted by name: only regular files are read, each into a file that is named
here, so a hostile archive cannot reach outside the scratch folder.  The gzip stream is
drained to its end, because ``tarfile`` alone never checks its CRC.
"""

import gzip
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast
from zlib import error as zlib_error

from spacenet_cube.errors import SourceError
from spacenet_cube.storage import Location

SUFFIXES = (".tar.gz", ".tgz", ".tar")
"""Endings by which a source is known to be an archive."""

Advance = Callable[[int], None]
"""Told of bytes as they are read from the archive."""

_COPY_BYTES = 1 << 20
_RASTERS = (".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Member:
    """A raster of an archive, unpacked."""

    name: str
    """Its name inside the archive."""

    path: Path
    """Where it lies now."""

    size_bytes: int
    """Its size."""

    sha256: str
    """Digest of its bytes, hexadecimal."""


def is_archive(key: str) -> bool:
    """Whether a key names an archive rather than a raster.

    Examples
    --------
    >>> is_archive("AOI_1_Rio/srcData/rasterData/3-Band.tar.gz"), is_archive("a.tif")
    (True, False)
    """
    return key.lower().endswith(SUFFIXES)


def unpack(archive: Location, scratch: Path, advance: Advance | None = None) -> tuple[Member, ...]:
    """Unpack the rasters of an archive into a scratch folder, one member at a time.

    Parameters
    ----------
    archive
        A ``.tar.gz``, ``.tgz`` or ``.tar``, local or remote; it is read once, in order.
    scratch
        Folder for the members; made if it is not there.
    advance
        Told how many bytes of the archive were read since it was last told.

    Returns
    -------
    tuple of Member
        In the archive's order.  Members that are no ``.tif`` or ``.tiff`` are passed over.

    Raises
    ------
    SourceError
        If the archive is damaged or cut short, holds no raster or one name twice, or does
        not fit on the disk.  What was unpacked of it is removed.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    members: list[Member] = []
    try:
        with _stream(archive, advance) as stream:
            for name, size_bytes, content in _rasters(stream):
                _check(archive, name, size_bytes, members, scratch)
                path = scratch / f"{len(members) + 1:05d}.tif"
                members.append(Member(name, path, size_bytes, _copy(content, path)))
            while stream.read(_COPY_BYTES):
                pass
    except (tarfile.TarError, zlib_error, EOFError, OSError) as error:
        _forget(members, scratch)
        raise SourceError(
            f"archive {archive.url} cannot be unpacked: {str(error) or type(error).__name__}; "
            "fetch it again if it is damaged, or free disk space (--scratch names the folder)",
            scene=archive.url,
        ) from error
    except SourceError:
        _forget(members, scratch)
        raise
    if not members:
        raise SourceError(
            f"archive {archive.url} holds no .tif, so there is nothing to read; "
            "correct sources in the recipe"
        )
    return tuple(members)


def _forget(members: list[Member], scratch: Path) -> None:
    (scratch / f"{len(members) + 1:05d}.tif").unlink(missing_ok=True)
    for member in members:
        member.path.unlink(missing_ok=True)


def _check(
    archive: Location, name: str, size_bytes: int, members: list[Member], scratch: Path
) -> None:
    if any(member.name == name for member in members):
        raise SourceError(
            f"archive {archive.url} holds {name!r} twice, so it is unclear which is meant; "
            "repack it with one of them"
        )
    free = shutil.disk_usage(scratch).free
    if size_bytes > free:
        raise SourceError(
            f"archive {archive.url}: member {name!r} of {size_bytes:,} bytes does not fit into "
            f"the {free:,} bytes free at the scratch folder; free some space, or name another "
            "folder with --scratch"
        )


@contextmanager
def _stream(archive: Location, advance: Advance | None) -> Iterator[IO[bytes]]:
    """The tar stream, unzipped where it is zipped; reading its end checks the CRC."""
    with archive.fs.open(archive.path, "rb") as raw:
        counted = _counted(raw, advance) if advance else raw
        if archive.path.lower().endswith(".tar"):
            yield counted
        else:
            with gzip.open(counted, "rb") as unzipped:
                yield cast("IO[bytes]", unzipped)


class _Counted:
    """A readable that tells how many bytes were read."""

    def __init__(self, raw: IO[bytes], advance: Advance) -> None:
        self._raw, self._advance = raw, advance

    def read(self, size: int = -1) -> bytes:
        found = self._raw.read(size)
        self._advance(len(found))
        return found


def _counted(raw: IO[bytes], advance: Advance) -> IO[bytes]:
    return cast("IO[bytes]", _Counted(raw, advance))


def _rasters(stream: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of each raster, in order; links and devices are passed over."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            hidden = info.name.rsplit("/", 1)[-1].startswith("._")
            if not info.isreg() or hidden or not info.name.lower().endswith(_RASTERS):
                continue
            content: Any = tar.extractfile(info)
            yield info.name, info.size, content


def _copy(content: IO[bytes], path: Path) -> str:
    """Copy a member to a file and return the digest of its bytes."""
    digest = sha256()
    with path.open("xb") as target:
        while piece := content.read(_COPY_BYTES):
            digest.update(piece)
            target.write(piece)
    return digest.hexdigest()
