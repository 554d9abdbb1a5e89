"""Streams: a remote file read in order, its next parts fetched while one is used.

Every answer's length is checked, and its tag too where the store has tags; a plain HTTP
body that ends early would pass for a shorter file.
"""

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

PART_BYTES = 8 << 20
"""Bytes of a request."""

AHEAD = 4
"""Parts fetched ahead, which bounds the memory to five."""

Fetch = Callable[[int, int], bytes]
"""Given first byte and size, exactly these bytes."""


class PartStream(io.RawIOBase):
    """A readable, seekable file over ranged requests.

    Parameters
    ----------
    fetch
        Gives bytes.
    size_bytes
        Size of the whole.
    """

    def __init__(self, fetch: Fetch, size_bytes: int) -> None:
        super().__init__()
        self._fetch, self._size_bytes, self._at = fetch, size_bytes, 0
        self._parts: dict[int, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(AHEAD, "stream")

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, though what was fetched ahead is then lost."""
        return True

    def tell(self) -> int:
        """Byte that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill a buffer, at most to the end of a part."""
        into = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._at >= self._size_bytes or not len(into):
            return 0
        number, skip = divmod(self._at, PART_BYTES)
        piece = memoryview(self._part(number))[skip : skip + len(into)]
        into[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _part(self, number: int) -> bytes:
        wanted = range(number, min(number + 1 + AHEAD, -(-self._size_bytes // PART_BYTES)))
        for old in set(self._parts) - set(wanted):
            self._parts.pop(old).cancel()
        for each in wanted:
            if each not in self._parts:
                start = each * PART_BYTES
                size = min(PART_BYTES, self._size_bytes - start)
                self._parts[each] = self._pool.submit(self._fetch, start, size)
        return self._parts[number].result()

    def close(self) -> None:
        """End the requests that are under way."""
        if not self.closed:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._parts.clear()
        super().close()
