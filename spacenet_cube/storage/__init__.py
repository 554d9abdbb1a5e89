"""Storage: the one part that understands URLs and how to reach what they name.

A location hands out the fsspec filesystem, the Zarr store and ranged reads from one
description, so that they never disagree.
"""

from spacenet_cube.storage.address import is_versioned
from spacenet_cube.storage.arrays import array_settings
from spacenet_cube.storage.behind import Behind
from spacenet_cube.storage.clients import resolved
from spacenet_cube.storage.draft import Draft, Fork
from spacenet_cube.storage.durable import (
    create,
    entries,
    remove_empty,
    remove_keys,
    settle,
    write_durably,
)
from spacenet_cube.storage.faults import FAULTS, DiskError, error_code, explain, is_absence
from spacenet_cube.storage.forks import is_forked
from spacenet_cube.storage.locating import from_environment, locate
from spacenet_cube.storage.location import Location, etag_of, name_of
from spacenet_cube.storage.recording import RecordingStore
from spacenet_cube.storage.repository import MovedError, Repository
from spacenet_cube.storage.secrets import scrubbed, sealed, unsealed
from spacenet_cube.storage.unread import UnreadStore
from spacenet_cube.storage.urls import S3

__all__ = [
    "FAULTS",
    "S3",
    "Behind",
    "DiskError",
    "Draft",
    "Fork",
    "Location",
    "MovedError",
    "RecordingStore",
    "Repository",
    "UnreadStore",
    "array_settings",
    "create",
    "entries",
    "error_code",
    "etag_of",
    "explain",
    "from_environment",
    "is_absence",
    "is_forked",
    "is_versioned",
    "locate",
    "name_of",
    "remove_empty",
    "remove_keys",
    "resolved",
    "scrubbed",
    "sealed",
    "settle",
    "unsealed",
    "write_durably",
]
