"""Arrays: the settings under which Zarr arrays of a cube are opened, here and nowhere else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import zarr

from spacenet_cube.compat import FUSED_PIPELINE, free_in_forks

SETTINGS = {
    "codec_pipeline.path": FUSED_PIPELINE,
    "array.write_empty_chunks": True,
    "array.read_missing_chunks": False,
}
"""Encode and decode a shard in one pass; store every chunk; raise where one is missing."""

_LOCK = free_in_forks(threading.Lock())


@contextmanager
def array_settings() -> Iterator[None]:
    """Let arrays opened here read strictly and fast, and nobody else's.

    An array takes the settings when it is opened and keeps them, through pickling too.  The
    configuration belongs to the whole process: two threads that set and restore it out of
    step would leave it changed.
    """
    with _LOCK, zarr.config.set(SETTINGS):
        yield
