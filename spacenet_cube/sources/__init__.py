"""Sources: find rasters and read their headers into scenes."""
