"""Rasters: grids, warps, polygons, validity, and how samples combine; NumPy in, NumPy out."""
