"""Addresses of versioned cubes: ``icechunk+`` before a place, ``#`` and a version after it.

A repository is the first folder whose name ends in ``.icechunk``; what follows it in an address
is the key of an object inside.  A ``#`` starts a version only after that name or that key: one
before it is part of a folder's name, as in ``icechunk+s3://bucket/a#b/P.icechunk#v1``.  Inside a
key, ``#`` and ``%`` are written ``%23`` and ``%25``.  An address without such a name is a folder
that holds repositories; it has no version, and all of it is the folder's name.
"""

import re
from dataclasses import dataclass, replace

PREFIX = "icechunk+"
"""What the address of a versioned cube begins with."""

SUFFIX = ".icechunk"
"""What the name of a repository ends with."""

_WITHIN = re.compile(
    r"(?P<place>.*?\.icechunk)(?:/(?P<key>[^#]*))?(?:#(?P<version>.+))?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a versioned cube lies, which version of it, and which object of that."""

    place: str
    """Absolute path or URL of the repository, or of a folder above it."""

    key: str = ""
    """Object below the repository; empty for the cube itself."""

    version: str | None = None
    """Tag, branch, snapshot or time; None for the newest."""

    @property
    def url(self) -> str:
        """The whole address.

        Examples
        --------
        >>> Address("/cubes/P.icechunk", "image/zarr.json", "v1").url
        'icechunk+file:///cubes/P.icechunk/image/zarr.json#v1'
        """
        place = self.place if "://" in self.place else f"file://{self.place}"
        escaped = self.key.replace("%", "%25").replace("#", "%23")
        key = f"/{escaped}" if self.key else ""
        return f"{PREFIX}{place}{key}" + ("" if self.version is None else f"#{self.version}")

    @property
    def is_repository(self) -> bool:
        """Whether it names a repository, and not a folder above."""
        return self.place.endswith(SUFFIX)

    def below(self, part: str) -> "Address":
        """What lies below it."""
        if self.is_repository:
            return replace(self, key=f"{self.key}/{part}".strip("/"))
        return parse_address(f"{PREFIX}{self.place.rstrip('/')}/{part}")


def is_versioned(text: str) -> bool:
    """Whether an address is one of a versioned cube."""
    return text.startswith(PREFIX)


def parse_address(text: str) -> Address:
    """Take an address apart.

    Parameters
    ----------
    text
        Begins with ``icechunk+``; a path or a URL follows.

    Returns
    -------
    Address
        A ``file://`` URL is given as its path.

    Examples
    --------
    >>> parse_address("icechunk+s3://bucket/AOI/MUL.icechunk#v1")
    Address(place='s3://bucket/AOI/MUL.icechunk', key='', version='v1')
    >>> parse_address("icechunk+s3://bucket/cubes/").place
    's3://bucket/cubes'
    >>> parse_address("icechunk+s3://bucket/a#b/P.icechunk#v1")
    Address(place='s3://bucket/a#b/P.icechunk', key='', version='v1')
    >>> parse_address("icechunk+s3://bucket/cubes#v2")
    Address(place='s3://bucket/cubes#v2', key='', version=None)
    """
    rest = text.removeprefix(PREFIX).removeprefix("file://").rstrip("/")
    found = _WITHIN.fullmatch(rest)
    if found is None:
        return Address(rest)
    key = (found["key"] or "").replace("%23", "#").replace("%25", "%")
    return Address(found["place"], key, found["version"])
