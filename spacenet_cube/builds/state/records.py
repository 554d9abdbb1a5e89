"""Records: what a task of a build has written, so that it need not be done again.

Pure.  A record names the digest of all that the task was made from, and each object it wrote.
It is stored after the objects, in one piece; so it is there and true, or not there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from spacenet_cube.storage.base.entries import Entry, Written

FORMAT = 1
"""Version of the layout below."""


@dataclass(frozen=True)
class Record:
    """What a finished task has written."""

    task: str
    """Name of the task, such as ``unit-00012``."""

    inputs: str
    """Digest of all that it was made from (`builds.tasks.inputs`)."""

    objects: tuple[Written, ...]
    """Every object it wrote, by key."""

    @cached_property
    def content(self) -> bytes:
        """The record as it is stored: one JSON object."""
        rows = [[one.key, one.size_bytes, one.sha256, one.etag] for one in sorted(self.objects)]
        facts = {"format": FORMAT, "task": self.task, "inputs": self.inputs, "objects": rows}
        return json.dumps(facts).encode()

    @property
    def size_bytes(self) -> int:
        """Bytes of all its objects."""
        return sum(one.size_bytes for one in self.objects)

    def stands(self, listing: Mapping[str, Entry]) -> bool:
        """Whether a listing shows every object as it was written."""
        return all(one.stands(listing) for one in self.objects)


def parse_record(content: bytes) -> Record | None:
    """Read a record back.

    Parameters
    ----------
    content
        What is stored.

    Returns
    -------
    Record or None
        None where it is no record of this version: its task is then done again.

    Examples
    --------
    >>> made = Record("unit-00000", "ab", (Written("image/c/0/0/0", 3, "cd"),))
    >>> parse_record(made.content) == made
    True
    >>> parse_record(b"{") is None
    True
    """
    try:
        facts = json.loads(content)
        if facts["format"] != FORMAT:
            return None
        objects = tuple(
            Written(str(key), int(size), str(digest), None if tag is None else str(tag))
            for key, size, digest, tag in facts["objects"]
        )
        return Record(str(facts["task"]), str(facts["inputs"]), objects)
    except (ValueError, KeyError, TypeError):
        return None
