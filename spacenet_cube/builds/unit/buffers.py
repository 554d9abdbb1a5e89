"""Memory: blocks of pixels in arrays that are used again.

Fresh memory comes page by page from the system when it is first touched, which costs as much
as reading the pixels does.  Tasks that run one after the other need blocks of one size.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from spacenet_cube.builds.unit.mosaic import new_pixels
from spacenet_cube.plans.plan import Plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.pixels import Pixels

MAPPED_BYTES = 8 << 20
"""Arrays from this size on are mapped: shards, and not chunks, whose mapping would take time."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of ``malloc.h``."""

_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": _MMAP_THRESHOLD,
    "MALLOC_TRIM_THRESHOLD_": _TRIM_THRESHOLD,
}


_Kind = tuple[tuple[int, int], int, str, str]


class Memory:
    """Arrays that are lent and come back; threads may share one.

    As many are held as were lent at once.
    """

    def __init__(self) -> None:
        self._spare: dict[_Kind, list[Pixels]] = {}

    @contextmanager
    def lend(self, plan: Plan, most_yx: tuple[int, int], block: Block) -> Iterator[Pixels]:
        """Lend pixels for the time of a block.

        Parameters
        ----------
        plan
            Says how many bands there are, and of what type.
        most_yx
            Rows and columns of the largest block that will be asked for.
        block
            Its size is what is lent; where it lies does not matter.

        Yields
        ------
        Pixels
            Image (band, y, x) and source_index (y, x), which hold whatever they held.
        """
        shape_yx = (block.height, block.width)
        kind = (most_yx, len(plan.bands), plan.dtype, plan.source_index_dtype)
        spare = self._spare.setdefault(kind, [])
        try:
            # In one step, since another thread may take the last one.
            held = spare.pop()
        except IndexError:
            held = new_pixels(plan, most_yx)
        try:
            yield held.part(Block(0, 0, *shape_yx))
        finally:
            spare.append(held)


def give_back() -> None:
    """Have large arrays mapped, where the C library is glibc and the environment says nothing.

    It holds for the process, and costs no time that was measured.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    for name, number in _SETTINGS.items():
        if name not in os.environ:
            ctypes.CDLL(None).mallopt(number, MAPPED_BYTES)
