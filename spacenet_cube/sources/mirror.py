"""Mirrors: a sparse local copy of a remote file, holding the bytes that were asked for.

GDAL reads a local file more safely than a remote one: its network layer passes short and
flipped answers on, and fetches a strip anew for each window of it.  So bytes are fetched
here, in few large requests whose answers are counted, and GDAL opens the copy.  Where bytes
may change on the way unseen, a whole copy is compared with the origin's tag, and what no tag
proves is fetched until two answers agree.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from spacenet_cube.sources.files.byte_ranges import (
    HEAD_BYTES,
    PART_BYTES,
    Span,
    merge,
    requests,
    without,
)
from spacenet_cube.sources.files.copies import Held, LocalCopy
from spacenet_cube.sources.files.tiff import Structure, TiffError, structure
from spacenet_cube.storage.base.faults import DiskError
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.s3.etags import PIECE_BYTES, part_sizes, tag_of

HEAD_REQUESTS = 12
"""Most requests that finding a file's header may take."""

_BEFORE_BYTES = 1 << 12
_BESIDE_BYTES = 4
_NEARLY_WHOLE = 0.97
"""A copy that lacks less than this is completed where that lets its tag prove it."""


class Mirror:
    """A sparse file as large as the remote one, which it resembles where it was filled."""

    def __init__(self, origin: Location, size_bytes: int, etag: str | None, path: Path) -> None:
        self._origin, self._size_bytes, self._etag = origin, size_bytes, etag
        self._held = Held()
        self._sure: list[Span] = []
        self._lock = threading.Lock()
        self._head_requests = 0
        self.path = path
        with _naming(path), path.open("xb") as file:
            file.truncate(size_bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes that were fetched."""
        return self._held.total_bytes

    def copy(self, structure: Structure) -> LocalCopy:
        """The file as it is now, with the bytes that it holds."""
        return LocalCopy(str(self.path), structure, self._held)

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
        if self._held.missing([(start, stop)]):
            self._head_requests += 1
            if self._head_requests > HEAD_REQUESTS:
                raise TiffError(f"its header lies in more than {HEAD_REQUESTS} places")
            low = max(0, start - _BEFORE_BYTES) if start else 0
            high = min(max(stop, low + HEAD_BYTES), self._size_bytes)
            for span in self._held.missing([(low, high)]):
                self._fetch(span)
                self._sure = merge([*self._sure, span])
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
        missing = requests(self._held.missing(wide), PART_BYTES)
        _each(partial(self._fetch, trusting=True), missing, pool)
        if missing:
            self._check_unchanged()
        if self._origin.doubts:
            self._prove(pool)

    def _prove(self, pool: Executor) -> None:
        """Make sure of what was fetched: by the origin's tag, or by fetching it once more."""
        everything = [(0, self._size_bytes)]
        if not without(self._held.spans, self._sure):
            return
        if part_sizes(self._etag, self._size_bytes):
            if self.held_bytes >= self._size_bytes * _NEARLY_WHOLE:
                rest = requests(self._held.missing(everything), PART_BYTES)
                _each(partial(self._fetch, trusting=True), rest, pool)
            if not self._held.missing(everything) and self._is_proven():
                self._sure = everything
                return
        again = requests(without(self._held.spans, self._sure), PART_BYTES)
        _each(self._agree, again, pool)
        self._sure = merge([*self._sure, *again])

    def _is_proven(self) -> bool:
        """Whether the origin's tag is that of these bytes; a tag that is no digest never is."""
        for part_bytes in part_sizes(self._etag, self._size_bytes):
            with _naming(self.path), self.path.open("rb") as file:
                pieces = iter(partial(file.read, PIECE_BYTES), b"")
                if tag_of(pieces, part_bytes) == self._etag:
                    return True
        return False

    def _agree(self, span: Span) -> None:
        """Fetch some bytes until two answers agree, of which what is here is one."""
        start, stop = span
        with _naming(self.path), self.path.open("rb") as file:
            file.seek(start)
            held = file.read(stop - start)
        once_more = self._origin.read_range(start, stop - start, self._etag, trusting=True)
        if memoryview(once_more) != memoryview(held):
            self._fetch(span)

    def _fetch(self, span: Span, *, trusting: bool = False) -> None:
        start, stop = span
        content = self._origin.read_range(start, stop - start, self._etag, trusting=trusting)
        with _naming(self.path), self.path.open("r+b") as file:
            file.seek(start)
            file.write(content)
        with self._lock:
            self._held |= [(start, start + len(content))]

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


def _each(task: Callable[[Span], None], spans: Iterable[Span], pool: Executor) -> None:
    """Do a task for every span, many at once; the first failure ends it."""
    running = [pool.submit(task, span) for span in spans]
    try:
        for future in running:
            future.result()
    finally:
        for future in running:
            future.cancel()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say where the disk failed, or it would pass for a fault of the origin."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"it cannot be kept at {path}: {error.strerror or error}; free space, mend the disk, "
            "or name another folder with --scratch"
        ) from error


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
