"""The heap: large arrays go back to the system when they are let go.

glibc raises the size from which it maps memory by itself to that of the largest array that was
freed, up to 32 MB, and keeps twice as much at the end of each of its arenas, of which threads
have one each (mallopt(3), M_MMAP_THRESHOLD).  Shards of 20 to 60 MB that threads encode and let
go would stay there, as many as happened to be held at once.
"""

import ctypes
import os
import platform

MAPPED_BYTES = 8 << 20
"""Arrays from this size on are mapped: shards, and not chunks, whose mapping would take time."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of ``malloc.h``."""

_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": _MMAP_THRESHOLD,
    "MALLOC_TRIM_THRESHOLD_": _TRIM_THRESHOLD,
}


def give_back() -> None:
    """Have large arrays mapped, where the C library is glibc and the environment says nothing.

    It holds for the process, and costs no time that was measured.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    for name, number in _SETTINGS.items():
        if name not in os.environ:
            ctypes.CDLL(None).mallopt(number, MAPPED_BYTES)
