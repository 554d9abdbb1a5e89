"""Cache: what headers said, kept between runs as JSON, one small file each.

A file is named by the URL, size and ETag of the object it tells of, so a changed object
never finds an old entry.  An entry that cannot be read counts as none.
"""

import json
import os
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any
from uuid import uuid4

_FORMAT = 1
_LIMIT_BYTES = 1 << 20


def cache_folder() -> Path:
    """Where the cache is: ``SPACENET_CUBE_CACHE``, else the platform's place for caches."""
    said = os.environ.get("SPACENET_CUBE_CACHE")
    if said:
        return Path(said)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "spacenet-cube"
    above = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(above) if above else Path.home() / ".cache") / "spacenet-cube"


def _file(url: str, size_bytes: int, etag: str) -> Path:
    name = sha256(f"{_FORMAT}\n{url}\n{size_bytes}\n{etag}".encode()).hexdigest()
    return cache_folder() / "headers" / f"{name}.json"


def recall(url: str, size_bytes: int, etag: str | None) -> dict[str, Any] | None:
    """What is remembered of an object.

    Parameters
    ----------
    url, size_bytes, etag
        The object as the listing has it; without a tag nothing is remembered.

    Returns
    -------
    dict or None
        What `remember` was given; None where there is nothing, or it is damaged.
    """
    if etag is None:
        return None
    try:
        path = _file(url, size_bytes, etag)
        about = path.lstat()
        if about.st_size > _LIMIT_BYTES or not S_ISREG(about.st_mode):
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    facts = found.get("facts") if isinstance(found, dict) and found.get("url") == url else None
    return facts if isinstance(facts, dict) else None


def remember(url: str, size_bytes: int, etag: str | None, facts: dict[str, Any]) -> None:
    """Keep what an object's header said; where that fails, it is read again next time.

    Parameters
    ----------
    url, size_bytes, etag
        The object as the listing has it; without a tag nothing is kept.
    facts
        Plain values, ready for JSON.
    """
    if etag is None:
        return
    with suppress(OSError):
        path = _file(url, size_bytes, etag)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{uuid4().hex}.partial")
        with draft.open("x") as file:
            file.write(json.dumps({"url": url, "facts": facts}))
        draft.replace(path)
