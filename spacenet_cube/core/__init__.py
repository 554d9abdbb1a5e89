"""The pure core: it decides, and opens nothing.

No module here imports rasterio, zarr, xarray, dask, fsspec, ``os`` or ``time``; the
test of the import graph holds that line.
"""
