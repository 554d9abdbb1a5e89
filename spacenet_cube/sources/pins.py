"""Pinning: that a local source is, at each read, the file that was surveyed.

A scene with a digest is hashed once in a process before its first pixel is read, and again
whenever the file system says that the file is another.  One without is held to its size
and time of change.  Either way, pixels that were read while the file changed are refused.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from stat import S_ISREG

from spacenet_cube.errors import SourceError
from spacenet_cube.progress import Progress
from spacenet_cube.sources.scene import Scene

_LOCKS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_KNOWN: dict[str, tuple["Stamp", str]] = {}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a file from another under its name, as far as the file system knows."""

    size_bytes: int
    """Its size."""

    modified_ns: int
    """Time of its last change, nanoseconds since 1970."""

    inode: tuple[int, int, int]
    """Device, number, and time in nanoseconds of the last change of content or rights."""


def stamp_of(path: str | Path) -> Stamp:
    """Look at a file without opening it.

    Parameters
    ----------
    path
        A local file; links are followed.

    Returns
    -------
    Stamp
        As it is now.

    Raises
    ------
    OSError
        If there is none, or it is a pipe or device, which might never end.
    """
    found = Path(path).stat()
    if not S_ISREG(found.st_mode):
        raise OSError(f"{path} is a folder, pipe or device and no file; put a GeoTIFF there")
    inode = (found.st_dev, found.st_ino, found.st_ctime_ns)
    return Stamp(found.st_size, found.st_mtime_ns, inode)


def sha256_of(path: str | Path) -> str:
    """Hash a file.

    Parameters
    ----------
    path
        A local file.

    Returns
    -------
    str
        SHA-256, hexadecimal.

    Raises
    ------
    OSError
        If it cannot be read, or changes meanwhile.
    """
    before = stamp_of(path)
    with Path(path).open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if stamp_of(path) != before:
        raise OSError(f"{path} changed while it was read; try again when nobody writes to it")
    return found


def pinned(
    scenes: Sequence[Scene], workers: int, progress: Progress | None = None
) -> tuple[list[Scene], list[str]]:
    """Give every scene a digest, or name what cannot have one.

    Parameters
    ----------
    scenes
        As surveyed; those with a digest, and remote ones, whose tag pins them, stay.
    workers
        Files that are hashed at once.
    progress
        Told ``pin``, how many are done, and how many there are.

    Returns
    -------
    scenes : list of Scene
        In the same order, without those that failed.
    failed : list of str
        A line for each that failed.
    """
    done: list[Scene] = []
    failed: list[str] = []
    with ThreadPoolExecutor(workers, "pin") as pool:
        for count, found in enumerate(pool.map(_pinned, scenes), start=1):
            if isinstance(found, str):
                failed.append(found)
            else:
                done.append(found)
            if progress:
                progress("pin", count, len(scenes))
    return done, failed


def _pinned(scene: Scene) -> Scene | str:
    if scene.sha256 is not None or (scene.is_remote and scene.etag):
        return scene
    if scene.is_remote:
        return (
            f"{scene.key}: its server gives no tag that could pin it; fetch it, and name a folder"
        )
    try:
        digest = sha256_of(scene.href)
        told = _stranger(scene, stamp_of(scene.href))
    except OSError as error:
        return f"{scene.key}: {error}"
    return f"{scene.key}: {told}" if told else replace(scene, sha256=digest)


def refuse_changed(scene: Scene) -> Stamp:
    """Refuse a local file that is not the one that was surveyed.

    Parameters
    ----------
    scene
        A local scene.

    Returns
    -------
    Stamp
        The file as it is; while it stays so, it is the one that was surveyed.

    Raises
    ------
    SourceError
        If it is another file, or one of other content.
    OSError
        If it cannot be looked at.
    """
    stamp = stamp_of(scene.href)
    told = _of_other_content(scene, stamp) if scene.sha256 else _stranger(scene, stamp)
    if told:
        raise SourceError(
            f"scene {scene.id} at {scene.href} is not the one that was surveyed: {told}; survey "
            "and plan again, or put the file back",
            scene=scene.id,
        )
    return stamp


def refuse_mixed(scene: Scene, stamp: Stamp) -> None:
    """Refuse pixels of a file that changed since it was looked at.

    Parameters
    ----------
    scene
        A local scene.
    stamp
        What `refuse_changed` gave before it was read.

    Raises
    ------
    SourceError
        If it changed.
    OSError
        If it is gone.
    """
    if stamp_of(scene.href) != stamp:
        raise SourceError(
            f"scene {scene.id} at {scene.href} changed while it was read; survey and plan again "
            "when nobody writes to it",
            scene=scene.id,
        )


def _stranger(scene: Scene, stamp: Stamp) -> str | None:
    """What differs from the survey; a scene that no survey made says nothing of its file."""
    if scene.modified_ns is None:
        return None
    if stamp.size_bytes != scene.size_bytes:
        return f"it has {stamp.size_bytes:,} bytes, and had {scene.size_bytes:,}"
    if stamp.modified_ns != scene.modified_ns:
        return "it was written again (its time of change differs)"
    return None


def _of_other_content(scene: Scene, stamp: Stamp) -> str | None:
    with _LOCKS[scene.href]:
        known = _KNOWN.get(scene.href)
        if known is None or known[0] != stamp:
            known = (stamp, sha256_of(scene.href))
            _KNOWN[scene.href] = known
    if known[1] != scene.sha256:
        return f"its sha256 is {known[1][:16]}..., and was {str(scene.sha256)[:16]}..."
    return None
