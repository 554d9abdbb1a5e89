"""Storage: the one part that understands URLs and how to reach what they name.

A location hands out the fsspec filesystem, the Zarr store and ranged reads from one
description, so that they never disagree.
"""
