"""Entries: the objects of a cube, as listings, manifests and records describe them.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

ROOT = "zarr.json"


@dataclass(frozen=True, slots=True, order=True)
class Stored:
    """One object of a cube, as it was written."""

    key: str
    """Where it lies below the cube, such as ``image/c/0/1/2``."""

    size_bytes: int
    """Its size."""

    sha256: str
    """Digest of its bytes, 64 hexadecimal digits."""

    @classmethod
    def of(cls, key: str, content: bytes) -> "Stored":
        """Describe an object by its bytes.

        Examples
        --------
        >>> Stored.of("x/c/0", b"abc").size_bytes
        3
        """
        return cls(key, len(content), sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as a listing tells it."""

    size_bytes: int
    """Its size."""

    etag: str | None = None
    """The store's tag, where the store has tags."""

    is_link: bool = False
    """Whether it is a symbolic link, which no build makes."""


@dataclass(frozen=True, slots=True, order=True)
class Written:
    """One object, as a task wrote it."""

    key: str
    """Where it lies below the cube, such as ``image/c/0/1/2``."""

    size_bytes: int
    """Its size."""

    sha256: str
    """Digest of its bytes, 64 hexadecimal digits."""

    etag: str | None = None
    """Tag that the store answered with, where it has tags."""

    @property
    def stored(self) -> Stored:
        """The object as a manifest tells it, which is the same on every store."""
        return Stored(self.key, self.size_bytes, self.sha256)

    def stands(self, listing: Mapping[str, Entry]) -> bool:
        """Whether a listing shows the object as it was written.

        Parameters
        ----------
        listing
            Every object of the cube, by key.

        Returns
        -------
        bool
            Tags are compared where both sides have one.

        Examples
        --------
        >>> Written("x/c/0", 3, "ab", "t").stands({"x/c/0": Entry(3, "u")})
        False
        """
        found = listing.get(self.key)
        if found is None or found.is_link or found.size_bytes != self.size_bytes:
            return False
        return self.etag is None or found.etag is None or found.etag == self.etag
