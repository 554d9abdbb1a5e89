"""Archives with the same bytes everywhere: tar in gzip, no clock, no user, no machine."""

import struct
import tarfile
from collections.abc import Callable, Iterable
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

_LARGEST_BLOCK = 65535


class StoredGzip(RawIOBase):
    """A gzip stream of stored blocks.

    Compressed blocks differ between zlib and its successors; stored ones cannot.

    Parameters
    ----------
    target
        Where the stream goes; closed by its owner.
    """

    def __init__(self, target: BinaryIO) -> None:
        super().__init__()
        self._target = target
        self._crc = 0
        self._size_bytes = 0
        target.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        """Append bytes."""
        for start in range(0, len(data), _LARGEST_BLOCK):
            block = data[start : start + _LARGEST_BLOCK]
            self._target.write(struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF) + block)
        self._crc = crc32(data, self._crc)
        self._size_bytes += len(data)
        return len(data)

    def close(self) -> None:
        """End the stream with its checksum."""
        if not self.closed:
            self._target.write(struct.pack("<BHH", 1, 0, 0xFFFF))
            self._target.write(struct.pack("<II", self._crc, self._size_bytes & 0xFFFFFFFF))
        super().close()


def write_archive(
    path: Path, folder: str, members: Iterable[tuple[str, Callable[[Path], None]]]
) -> None:
    """Write a ``.tar.gz`` member by member; at most one lies on disk beside it.

    Parameters
    ----------
    path
        File to write.
    folder
        Folder inside the archive.
    members
        Names, and what writes each to a path it is given.
    """
    scratch = path.with_name(f".{path.name}.member")
    try:
        with (
            path.open("wb") as file,
            StoredGzip(file) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
        ):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
            for name, write in members:
                write(scratch)
                entry = _entry(f"{folder}/{name}", tarfile.REGTYPE, 0o644)
                entry.size = scratch.stat().st_size
                with scratch.open("rb") as content:
                    tar.addfile(entry, content)
    finally:
        scratch.unlink(missing_ok=True)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry
