"""Contents: every object below a location, with its size, by listing it once."""

import os
from pathlib import Path
from typing import NoReturn

from spacenet_cube.storage.faults import error_code
from spacenet_cube.storage.location import Location


def contents(where: Location) -> dict[str, int]:
    """List what lies below a location.

    Parameters
    ----------
    where
        A folder or prefix.

    Returns
    -------
    dict of str to int
        Size in bytes by key relative to the location, in ascending order of keys; empty
        where there is nothing.

    Raises
    ------
    FileNotFoundError
        If there is no such bucket.
    FAULTS
        If any part of it cannot be listed: a refusal never passes for an absence.
    """
    try:
        found = _local(Path(where.path)) if where.is_local else _remote(where)
    except FileNotFoundError as error:
        if error_code(error) == "NoSuchBucket":
            raise
        return {}
    return dict(sorted(found.items()))


def _local(folder: Path) -> dict[str, int]:
    found = {}
    # Path.rglob and fsspec's find leave out folders that they may not read.
    for root, _, names in os.walk(folder, onerror=_raise, followlinks=True):
        for name in names:
            path = Path(root, name)
            found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def _raise(error: OSError) -> NoReturn:
    raise error


def _remote(where: Location) -> dict[str, int]:
    base = where.path.rstrip("/") + "/"
    found = where.fs.find(where.path, detail=True)
    return {
        path.removeprefix(base): int(info["size"] or 0)
        for path, info in found.items()
        if path.startswith(base)
    }
