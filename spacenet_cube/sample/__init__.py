"""The sample corpus: SpaceNet-shaped rasters of invented ground, always the same bytes.

Names, order numbers, tile grids, ragged edges, corners and pixel sizes are those of the
real deliveries (``catalog``); the ground is computed (``ground``) and the number of
pixels a tile holds is scaled.  No pixel comes from a satellite.
"""
