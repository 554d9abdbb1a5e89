"""Shelves: where the members of one archive are put, and what is known of each.

Members have numbers for names.  Beside each stands a record of it, written once the member
is whole, so that work that was interrupted is found and continued.
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any

from spacenet_cube.sources.files.archive_rules import RASTERS, Entry, RefusedError, strays
from spacenet_cube.sources.files.listing import SourceFile
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import entries, remove_empty, remove_keys
from spacenet_cube.storage.location import Location, name_of

_COPY_BYTES = 1 << 20
_DONE = "complete.json"
_FILE = re.compile(r"[0-9]{5,6}\.[a-z]{3,4}")
_OWN = re.compile(rf"{_FILE.pattern}|complete\.json|\.{_FILE.pattern}(\.[0-9a-f]{{32}})?\.partial")


@dataclass(frozen=True, slots=True)
class Member:
    """A raster, or the metadata of one, that was unpacked."""

    name: str
    """Its name inside the archive."""

    place: Location
    """Where it lies now."""

    size_bytes: int
    """Its size."""

    sha256: str
    """Digest of its bytes, hexadecimal."""

    @property
    def is_raster(self) -> bool:
        """Whether it is a GeoTIFF, by its name."""
        return self.name.lower().endswith(RASTERS)


class Shelf:
    """The members of one archive; another content of the same name has another shelf.

    Parameters
    ----------
    staging
        Folder or URL it stands below.
    scratch
        Local folder, for one member at a time where staging is remote.
    url, file
        The archive.
    """

    def __init__(self, staging: Location, scratch: Path, url: str, file: SourceFile) -> None:
        # A local archive has no tag, and may be written anew with the size it had.
        tag = file.etag or (Path(url).stat().st_mtime_ns if "://" not in url else None)
        identity = f"{url}\n{file.size_bytes}\n{tag}"
        mark = sha256(identity.encode()).hexdigest()[:12]
        self._place = staging / f"{name_of(file.key)}-{mark}"
        self._local = Path(self._place.path) if self._place.is_local else scratch
        self._local.mkdir(parents=True, exist_ok=True)

    def complete(self) -> tuple[Member, ...]:
        """Members of an archive that was unpacked whole; none where it was not, or any is gone."""
        rows = self._read(_DONE)
        if not isinstance(rows, list):
            return ()
        found = [self._member(row) for row in rows]
        whole = [member for member in found if member is not None and self._is_whole(member)]
        return tuple(whole) if len(whole) == len(rows) else ()

    def put(self, number: int, entry: Entry, content: IO[bytes]) -> Member:
        """Keep a member, or find it kept already.

        Parameters
        ----------
        number
            Its place among the members, from 1.
        entry
            What the archive says of it.
        content
            Its bytes; they are read to their end.

        Returns
        -------
        Member
            Whole, and on record.

        Raises
        ------
        RefusedError
            If the content is not what the archive, or an earlier attempt, says.
        """
        kept = self._member(self._read(f"{number:05d}.json"))
        if kept and kept.name == entry.name and self._is_whole(kept):
            if _digest(content) == (kept.sha256, kept.size_bytes):
                return kept
            raise RefusedError(
                f"{entry.name!r} is not what an earlier attempt unpacked, so the archive has "
                "changed; try again"
            )
        suffix = PurePosixPath(entry.name).suffix.lower()
        draft = self._local / f".{number:05d}{suffix}.partial"
        # What an earlier attempt left, or a link, is never written into.
        draft.unlink(missing_ok=True)
        try:
            with draft.open("xb") as target:
                digest, size_bytes = _digest(content, target)
            if size_bytes != entry.size_bytes:
                raise RefusedError(
                    f"{entry.name!r} holds {size_bytes:,} bytes and claims {entry.size_bytes:,}; "
                    "fetch it again"
                )
            place = self._place / f"{number:05d}{suffix}"
            self._settle(draft, place)
        finally:
            draft.unlink(missing_ok=True)
        member = Member(entry.name, place, size_bytes, digest)
        self._write(f"{number:05d}.json", _row(member))
        return member

    def _settle(self, draft: Path, place: Location) -> None:
        if place.is_local:
            draft.replace(place.path)
        else:
            place.upload(draft)

    def finish(self, members: Sequence[Member]) -> None:
        """Put on record that the archive was read to its end and its check sums hold."""
        self._write(_DONE, [_row(member) for member in members])

    def clear(self) -> None:
        """Remove every member and record; foreign files stay."""
        own = {key for key in entries(self._place) if _OWN.fullmatch(key)}
        remove_keys(self._place, own)
        remove_empty(self._place)

    def check_space(self, size_bytes: int) -> None:
        """Refuse a member that does not fit on the local disk.

        Raises
        ------
        OSError
            If it does not.
        """
        free = shutil.disk_usage(self._local).free
        if size_bytes > free:
            raise OSError(
                f"a member of {size_bytes:,} bytes does not fit into the {free:,} bytes free at "
                f"{self._local}; free some space, or name another folder with --scratch"
            )

    def _is_whole(self, member: Member) -> bool:
        try:
            if not member.place.is_local:
                return member.place.size_and_etag()[0] == member.size_bytes
            if Path(member.place.path).is_symlink():
                return False
            with Path(member.place.path).open("rb") as file:
                return _digest(file)[0] == member.sha256
        except FAULTS:
            return False

    def _member(self, row: Any) -> Member | None:  # noqa: ANN401 - whatever the record held
        try:
            name = str(row["file"])
            if not _FILE.fullmatch(name) or strays(str(row["name"])):
                return None
            place = self._place / name
            return Member(str(row["name"]), place, int(row["size_bytes"]), str(row["sha256"]))
        except (KeyError, TypeError, ValueError):
            return None

    def _read(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        try:
            return json.loads((self._place / name).read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return None

    def _write(self, name: str, content: Any) -> None:  # noqa: ANN401 - any JSON
        (self._place / name).write_bytes(json.dumps(content).encode())


def _row(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "file": name_of(member.place.url),
        "size_bytes": member.size_bytes,
        "sha256": member.sha256,
    }


def _digest(content: IO[bytes], target: IO[bytes] | None = None) -> tuple[str, int]:
    """Digest and size of some content, copied on the way where a target is given."""
    digest, size_bytes = sha256(), 0
    while piece := content.read(_COPY_BYTES):
        digest.update(piece)
        size_bytes += len(piece)
        if target is not None:
            target.write(piece)
    return digest.hexdigest(), size_bytes
