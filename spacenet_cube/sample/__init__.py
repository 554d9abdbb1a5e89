"""The sample corpus: SpaceNet-shaped rasters of invented ground, always the same bytes.

Names, order numbers, tile grids, ragged edges, corners and pixel sizes are those of the
real deliveries (``catalog``); the ground is computed (``ground``) and the number of
pixels a tile holds is scaled.  No pixel comes from a satellite.
"""

from spacenet_cube.sample.catalog import Delivery, Tile, delivery
from spacenet_cube.sample.corpus import DEFAULT_TILE_SIZE, write_sample

__all__ = ["DEFAULT_TILE_SIZE", "Delivery", "Tile", "delivery", "write_sample"]
