"""Indexes of shards, kept: who reads chips asks for the same few again and again.

A chunk of a shard is two requests, one after the other: the shard's index, then the chunk.
Over a network the second wait is as long as the first, so an index is kept once it was read.
Only one whose CRC-32C is right is kept; a chunk that is not where an old index says fails its
own check sum.
"""

import threading
from collections.abc import Buffer, Callable

import google_crc32c

_MOST_BYTES = 16 << 20
_LARGEST_BYTES = 64 << 10
_CRC_BYTES = 4


class Indexes:
    """The last bytes of objects, as far as they are an index; threads may share one.

    Parameters
    ----------
    most_bytes
        Bytes that are kept; the oldest go first.

    Examples
    --------
    >>> found = Indexes()
    >>> index = b"0" * 16 + google_crc32c.value(b"0" * 16).to_bytes(4, "little")
    >>> found.get("c/0/0", 20, lambda: index) == index
    True
    >>> found.get("c/0/0", 20, lambda: b"not asked for") == index
    True
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes, self._held_bytes = most_bytes, 0
        self._kept: dict[tuple[str, int], bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str, size_bytes: int, read: Callable[[], Buffer]) -> Buffer:
        """The end of an object.

        Parameters
        ----------
        key
            Its key.
        size_bytes
            Bytes of the end.
        read
            Reads it, should it not be at hand.

        Returns
        -------
        Buffer
            As read, now or before.
        """
        if size_bytes > _LARGEST_BYTES:
            return read()
        kept = self._kept.get((key, size_bytes))
        if kept is not None:
            return kept
        found = read()
        content = bytes(found)
        if len(content) == size_bytes and _is_index(content):
            self._keep((key, size_bytes), content)
        return found

    def _keep(self, which: tuple[str, int], content: bytes) -> None:
        with self._lock:
            if which in self._kept:
                return
            self._kept[which] = content
            self._held_bytes += len(content)
            while self._held_bytes > self._most_bytes:
                self._held_bytes -= len(self._kept.pop(next(iter(self._kept))))


def _is_index(content: bytes) -> bool:
    told = int.from_bytes(content[-_CRC_BYTES:], "little")
    return len(content) > _CRC_BYTES and google_crc32c.value(content[:-_CRC_BYTES]) == told
