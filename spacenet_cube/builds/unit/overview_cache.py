"""Carrying: halves that one task made, handed to the one that needs them.

An overview's shard is made of the four below it.  Who has just written one of them has its
pixels at hand, so it halves them there and then, and nobody reads them back.
"""

import threading

from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.pixels import Pixels


class Carried:
    """Halves of shards, by where they lie; threads may share one.

    Parameters
    ----------
    most
        How many are held at once; the oldest is let go first, and is then read back.
    """

    def __init__(self, most: int) -> None:
        self.most, self._held = most, dict[tuple[int, Block], Pixels]()
        self._lock = threading.Lock()

    def keep(self, level: int, block: Block, pixels: Pixels) -> None:
        """Hold pixels until they are fetched.

        Parameters
        ----------
        level
            Level that they are a part of.
        block
            Pixels of the level.
        pixels
            Of that block; nobody changes them any more.
        """
        with self._lock:
            self._held[level, block] = pixels
            while len(self._held) > self.most:
                del self._held[next(iter(self._held))]

    def fetch(self, level: int, block: Block) -> Pixels | None:
        """Give what was held of a block, once; None where there is nothing.

        Parameters
        ----------
        level
            Level that it is a part of.
        block
            Pixels of the level.

        Returns
        -------
        Pixels or None
            Image (band, y, x) and source_index (y, x).
        """
        with self._lock:
            return self._held.pop((level, block), None)
