"""Memory: blocks of pixels in arrays that are used again.

Fresh memory comes page by page from the system when it is first touched, which costs as much
as reading the pixels does.  Tasks that run one after the other need blocks of one size.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from spacenet_cube.core.mosaic import new_pixels
from spacenet_cube.core.plan import Plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.pixels import Pixels

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
