"""One unit of a build: stage its sources, read, mosaic and write its pixels."""
