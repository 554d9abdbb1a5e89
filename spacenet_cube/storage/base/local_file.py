"""Local files that appear at once or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from spacenet_cube.errors import StoreError


def write_file(final: Path, content: bytes, check: Callable[[], None]) -> None:
    """Give a file its name once it is whole and on the disk; an error leaves nothing of it.

    Parameters
    ----------
    final
        Absolute path of the file.
    content
        Its bytes.
    check
        Called before the file gets its name; what it raises leaves nothing of it either.

    Raises
    ------
    OSError
        If the disk refuses.
    StoreError
        If ``check`` does.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(f".{final.name}.{uuid4().hex}.partial")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check()
        draft.replace(final)
    except (OSError, StoreError):
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
