"""Zarr stores for cubes, and the settings under which arrays are opened."""
