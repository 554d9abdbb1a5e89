"""Scratch: temporary folders that are gone afterwards, even after a failure."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from spacenet_cube.errors import StoreError

_PREFIX = "spacenet-cube-"
_HELD: list[tempfile.TemporaryDirectory[str]] = []


@cache
def interpreter_scratch() -> Path:
    """One temporary folder, removed when the interpreter ends."""
    _HELD.append(tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True))
    return Path(_HELD[-1].name)


@contextmanager
def scratch_folder(below: Path | None = None) -> Iterator[Path]:
    """A temporary folder for the time of a block.

    Parameters
    ----------
    below
        Folder to make it in; the system's by default.

    Yields
    ------
    Path
        New and empty; removed afterwards, with all it holds.

    Raises
    ------
    StoreError
        If no folder can be made there.
    """
    try:
        if below is not None:
            below.mkdir(parents=True, exist_ok=True)
        held = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=below, ignore_cleanup_errors=True)
    except OSError as error:
        raise StoreError(
            f"no scratch folder can be made in {below or tempfile.gettempdir()}: {error}; "
            "name another with --scratch"
        ) from error
    with held as name:
        yield Path(name)
