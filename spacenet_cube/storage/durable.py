"""Durable steps: what a build promises to be there, and what may be made only once.

Locally a file is on the disk when it and its folder were synchronised; on an object store it
is there when the answer came, or when reading back shows it.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISLNK
from uuid import uuid4

from spacenet_cube.errors import StoreError
from spacenet_cube.storage.base.entries import Entry
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.location import Location


def create(where: Location, content: bytes) -> bool:
    """Store an object where there is none yet, in one step that only one of many can win.

    An answer may get lost although the object was stored, and a client that asks again is
    then told of a conflict.  So a conflict or a fault is settled by reading back.

    Parameters
    ----------
    where
        The object.
    content
        What to store; it must tell who stores it where that matters.

    Returns
    -------
    bool
        Whether what is there now is ``content``.

    Raises
    ------
    FAULTS
        If the store fails, and what is there cannot be told.

    Notes
    -----
    Local files are linked, which fails where there is one; S3 is asked with ``If-None-Match:
    *``.  Other stores of fsspec have no such step: there it is a look, a write and a look.
    """
    try:
        if where.is_local:
            return _link(Path(where.path), content, where.check) or _holds(where, content)
        created = where.create_remote(content)
        if created is None and not where.exists():
            where.write_bytes(content)
        return created or _holds(where, content)
    except FAULTS:
        try:
            stored = _holds(where, content)
        except FAULTS:
            stored = False
        if stored:
            return True
        raise


def _holds(where: Location, content: bytes) -> bool:
    try:
        return bytes(where.read_bytes()) == content
    except FileNotFoundError:
        return False


def _link(final: Path, content: bytes, check: Callable[[], None]) -> bool:
    """Make a file whole and on the disk, and only then give it its name."""
    draft = final.with_name(f".{final.name}.{uuid4().hex}.partial")
    try:
        _write(draft, content)
        check()
        os.link(draft, final)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(final.parent)
    return True


def write_durably(where: Location, content: bytes) -> None:
    """Store an object, whether or not there is one; a local one is on the disk afterwards.

    Parameters
    ----------
    where
        The object.
    content
        What to store.

    Raises
    ------
    FAULTS
        If the store fails.
    """
    if not where.is_local:
        where.write_bytes(content)
        return
    final = Path(where.path)
    draft = final.with_name(f".{final.name}.{uuid4().hex}.partial")
    try:
        _write(draft, content)
        where.check()
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(final.parent)


def _write(draft: Path, content: bytes) -> None:
    # Whoever removes an empty folder at the same time is tried to beat twice.
    for _turn in range(2):
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = draft.open("wb")
        except FileNotFoundError:
            continue
        break
    else:
        file = draft.open("wb")
    with file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def settle(below: Location, keys: Iterable[str]) -> None:
    """Put objects that were written, and the folders that lead to them, on the disk.

    Parameters
    ----------
    below
        Where they lie.
    keys
        Of objects below it.

    Raises
    ------
    FAULTS
        If the disk refuses, or one is not there.
    """
    if not below.is_local:
        return
    root, folders = Path(below.path), set[Path]()
    for key in keys:
        folders.add(root.parent)
        file = root / key
        number = os.open(file, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        folder = file.parent
        while folder not in folders:
            folders.add(folder)
            folder = folder.parent
    for folder in sorted(folders):
        sync_folder(folder)


def entries(below: Location) -> dict[str, Entry]:
    """List every object below a location.

    Parameters
    ----------
    below
        Where to look.

    Returns
    -------
    dict of str to Entry
        By key below the location; empty where nothing is there.  A symbolic link to a folder
        is one entry, and what is behind it is not listed.

    Raises
    ------
    FAULTS
        If the store refuses or fails.
    """
    if below.is_local:
        return _files(Path(below.path))
    return {key: Entry(size_bytes, etag) for key, (size_bytes, etag) in below.find().items()}


def _files(root: Path) -> dict[str, Entry]:
    found = {}
    for folder, folders, names in os.walk(root, onerror=_raise):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*names, *linked]:
            path = Path(folder, name)
            # Drafts of others are renamed while one looks: what is gone is not there.
            with suppress(FileNotFoundError):
                about = path.lstat()
                entry = Entry(about.st_size, is_link=S_ISLNK(about.st_mode))
                found[path.relative_to(root).as_posix()] = entry
    return found


def _raise(error: OSError) -> None:
    """An error of a walk, but that nothing is there, or is not there any more."""
    if not isinstance(error, FileNotFoundError):
        raise error


def remove_keys(below: Location, keys: Iterable[str]) -> None:
    """Remove objects, those that are there.

    Parameters
    ----------
    below
        Where they lie.
    keys
        Of objects below it.

    Raises
    ------
    FAULTS
        If the store refuses or fails.
    StoreError
        If a key leads outside.
    """
    wanted = sorted(keys)
    for key in wanted:
        if not {"", ".", ".."}.isdisjoint(key.split("/")):
            raise StoreError(f"{key[:80]!a} leads outside of {below.url}, so it is not removed")
    if below.is_local:
        for key in wanted:
            below.check()
            Path(below.path, key).unlink(missing_ok=True)
        return
    below.check()
    if below.bucket is not None:
        below.bucket.delete([(below / key).key for key in wanted])
        return
    for key in wanted:
        (below / key).remove_object()


def remove_empty(folder: Location) -> None:
    """Remove a local folder if nothing is in it; elsewhere there are no folders."""
    if folder.is_local:
        with suppress(OSError):
            Path(folder.path).rmdir()
