"""Mirrors: a sparse local copy of a remote file, holding the bytes that were asked for.

GDAL reads a local file more safely than a remote one: its network layer passes short and
flipped answers on, and fetches a strip anew for each window of it.  So bytes are fetched
here, in few large requests whose answers are counted, and GDAL opens the copy.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path

from spacenet_cube.core.tiff import (
    Span,
    Structure,
    TiffError,
    merge,
    requests,
    structure,
    without,
)
from spacenet_cube.storage import Location

HEAD_BYTES = 1 << 16
"""Fetched at once where a header is looked for."""

PART_BYTES = 16 << 20
"""Largest request for pixels."""

HEAD_REQUESTS = 12
"""Most requests that finding a file's header may take."""

_BEFORE_BYTES = 1 << 12
_BESIDE_BYTES = 4


class Mirror:
    """A sparse file as large as the remote one, which it resembles where it was filled."""

    def __init__(self, origin: Location, size_bytes: int, etag: str | None, path: Path) -> None:
        self._origin, self._size_bytes, self._etag = origin, size_bytes, etag
        self._held: list[Span] = []
        self._lock = threading.Lock()
        self._head_requests = 0
        self.path = path
        with path.open("xb") as file:
            file.truncate(size_bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes that were fetched."""
        return sum(stop - start for start, stop in self._held)

    def read(self, start: int, size_bytes: int) -> bytes:
        """Bytes of a header, fetched a little around where they are not here yet.

        Raises
        ------
        TiffError
            If the header is scattered over too many places.
        """
        stop = min(start + size_bytes, self._size_bytes)
        if start >= stop:
            return b""
        if without([(start, stop)], self._held):
            self._head_requests += 1
            if self._head_requests > HEAD_REQUESTS:
                raise TiffError(f"its header lies in more than {HEAD_REQUESTS} places")
            low = max(0, start - _BEFORE_BYTES) if start else 0
            high = min(max(stop, low + HEAD_BYTES), self._size_bytes)
            for span in without([(low, high)], self._held):
                self._fetch(span)
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def structure(self) -> Structure:
        """Where the blocks lie; afterwards GDAL can open the mirror.

        Raises
        ------
        TiffError
            If it is no TIFF, a damaged one, or one cut short.
        """
        found = structure(self.read)
        found.refuse_absurd(self._size_bytes)
        return found

    def fill(self, spans: Iterable[Span], pool: Executor) -> None:
        """Fetch what is not here yet, many large requests at once.

        Parameters
        ----------
        spans
            Bytes that will be read.
        pool
            Runs the requests.

        Raises
        ------
        OSError
            If the origin fails, has changed, or the disk is full.
        """
        # A COG's tiles carry their size in the 4 bytes before them, which GDAL may look at.
        wide = merge(
            (max(0, start - _BESIDE_BYTES), min(stop + _BESIDE_BYTES, self._size_bytes))
            for start, stop in spans
        )
        missing = requests(without(wide, self._held), PART_BYTES)
        running = [pool.submit(self._fetch, span) for span in missing]
        try:
            for future in running:
                future.result()
        finally:
            for future in running:
                future.cancel()
        if missing:
            self._check_unchanged()

    def _fetch(self, span: Span) -> None:
        start, stop = span
        content = self._origin.read_range(start, stop - start, self._etag)
        with self.path.open("r+b") as file:
            file.seek(start)
            file.write(content)
        with self._lock:
            self._held = merge([*self._held, span])

    def _check_unchanged(self) -> None:
        """Where single answers carry no tag, compare once all have come."""
        if self._origin.pins_answers:
            return
        size_bytes, etag = self._origin.size_and_etag()
        if size_bytes != self._size_bytes or (etag and self._etag and etag != self._etag):
            raise OSError(
                f"it has changed while it was read ({size_bytes:,} bytes, surveyed as "
                f"{self._size_bytes:,}); survey and plan again"
            )

    def remove(self) -> None:
        """Give the disk space back."""
        self.path.unlink(missing_ok=True)


def local_structure(path: Path) -> Structure:
    """Where the blocks of a local file lie.

    Raises
    ------
    TiffError
        If it is no TIFF, a damaged one, or one cut short.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:

        def read(start: int, wanted: int) -> bytes:
            file.seek(start)
            return file.read(wanted)

        found = structure(read)
    found.refuse_absurd(size_bytes)
    return found
