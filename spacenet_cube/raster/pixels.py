"""Pixels of a block: samples, what is valid, and which scene each comes from.

Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.validity import Samples
from spacenet_cube.raster.warp import Warp


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """What is to be resampled, and onto which pixels."""

    scene: str
    """Id of the scene, for messages."""

    samples: Samples
    """Shape (band + 1, y, x): the last band is 1 where valid, and all are 0 elsewhere."""

    window: Block
    """Pixels of the scene that the samples are."""

    block: Block
    """Pixels of the grid to make."""

    warp: Warp
    """The map between them."""

    has_gaps: bool
    """Whether any sample is not valid, so that kernels must leave it out."""


Resample = Callable[[Resampling], Samples]
"""Resample onto the block; shape (band + 1, y, x), the last band 1 where valid, 0 elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A block of a cube in memory."""

    image: Samples
    """Shape (band, y, x)."""

    source_index: NDArray[np.unsignedinteger[Any]]
    """Shape (y, x): 0 is no data, k the k-th scene."""

    def part(self, block: Block) -> "Pixels":
        """A block of these pixels, in the same memory."""
        rows, cols = block.yx
        return Pixels(self.image[:, rows, cols], self.source_index[rows, cols])
