"""Members: what an archive may hold.

Pure.  An archive from anywhere may name files outside its folder, link to others, be a
device, or unfold to a thousand times its size.  One such entry refuses the whole archive.
"""

import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath

EXPANSION = 100
"""Times its own size that an archive may unfold to; imagery compresses 1 to 20 times."""

ALWAYS_BYTES = 64 << 20
"""What any archive may hold beside that, however small it is."""

MOST_ENTRIES = 100_000
"""Entries an archive may have."""

SIDECAR_BYTES = 8 << 20
"""Largest metadata file that is kept."""

RASTERS = (".tif", ".tiff")
"""Endings of the files an archive is opened for."""

SIDECARS = (".imd", ".xml")
"""Endings of the metadata files kept beside them."""

_FORMATS = {
    stat.S_IFREG: "FILE",
    stat.S_IFDIR: "FOLDER",
    stat.S_IFLNK: "SYMLINK",
}


class RefusedError(Exception):
    """An archive is not what an honest one is; the message says what, and the mend."""


class Kind(Enum):
    """What an entry of an archive is."""

    FILE = "a file"
    FOLDER = "a folder"
    SYMLINK = "a symbolic link"
    HARDLINK = "a hard link"
    OTHER = "a device, pipe or sparse file"

    @classmethod
    def of_mode(cls, mode: int) -> "Kind":
        """What a Unix mode, as zip files hold it, says; 0 says nothing, and is a file.

        Examples
        --------
        >>> Kind.of_mode(0o120777)
        <Kind.SYMLINK: 'a symbolic link'>
        """
        form = stat.S_IFMT(mode)
        return cls[_FORMATS.get(form, "OTHER")] if form else cls.FILE


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive."""

    name: str
    """Its path inside the archive, as written there."""

    kind: Kind
    """What it is."""

    size_bytes: int
    """Its size, as the archive claims."""


def is_wanted(name: str) -> bool:
    """Whether a file of that name is unpacked: a raster, or metadata.

    Examples
    --------
    >>> is_wanted("3-Band/013022223103.tif"), is_wanted("3-Band/._013022223103.tif")
    (True, False)
    """
    hidden = PurePosixPath(name).name.startswith("._")
    return not hidden and name.lower().endswith((*RASTERS, *SIDECARS))


def most_bytes(archive_bytes: int) -> int:
    """How much an archive of that size may hold, bytes."""
    return ALWAYS_BYTES + EXPANSION * archive_bytes


def strays(name: str) -> bool:
    """Whether a name leads outside the folder it would be unpacked in.

    Examples
    --------
    >>> [strays(name) for name in ("a/b.tif", "./a.tif", "../a.tif", "/a.tif", "C:a.tif")]
    [False, False, True, True, True]
    """
    path = PurePosixPath(name)
    forbidden = "\\" in name or "\0" in name or ":" in name[:2]
    return forbidden or path.is_absolute() or ".." in path.parts or not name


@dataclass(slots=True)
class Rules:
    """What is admitted of one archive, entry by entry."""

    limit_bytes: int
    """What it may hold altogether."""

    names: set[str] = field(default_factory=set)
    """Names of the files seen."""

    entries: int = 0
    """Entries seen."""

    claimed_bytes: int = 0
    """What the entries seen claim to hold."""

    def admit(self, entry: Entry) -> None:
        """Take note of an entry.

        Raises
        ------
        RefusedError
            If no honest archive would hold it.
        """
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise RefusedError(f"it has more than {MOST_ENTRIES:,} entries; split it")
        if strays(entry.name):
            raise RefusedError(
                f"{entry.name[:200]!r} leads outside the folder it would be unpacked in; repack it "
                "with plain relative names"
            )
        if entry.kind not in {Kind.FILE, Kind.FOLDER}:
            raise RefusedError(
                f"{entry.name[:200]!r} is {entry.kind.value}; repack it with plain files"
            )
        self.claimed_bytes += max(entry.size_bytes, 0)
        self.check_total(self.claimed_bytes)
        if entry.kind is Kind.FILE:
            self._refuse_twin(str(PurePosixPath(entry.name)), self.names)
            self._check_sidecar(entry)

    def _refuse_twin(self, name: str, seen: Collection[str]) -> None:
        if name in seen:
            raise RefusedError(
                f"{name[:200]!r} stands in it twice, so it is unclear which is meant; repack it "
                "with one of them"
            )
        self.names.add(name)

    def _check_sidecar(self, entry: Entry) -> None:
        if entry.name.lower().endswith(SIDECARS) and entry.size_bytes > SIDECAR_BYTES:
            raise RefusedError(
                f"{entry.name[:200]!r} has {entry.size_bytes:,} bytes, which no metadata has; "
                "repack it without"
            )

    def check_total(self, total_bytes: int) -> None:
        """Compare what was read, or claimed, with the limit.

        Raises
        ------
        RefusedError
            If it is more than an honest archive holds.
        """
        if total_bytes > self.limit_bytes:
            raise RefusedError(
                f"it unfolds to more than {self.limit_bytes:,} bytes, {EXPANSION} times its size, "
                "which no imagery does; unpack it yourself if you trust it, and name the folder"
            )
