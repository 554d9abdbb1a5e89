"""Manifests: what a published cube consists of, object by object, with a digest of each.

Pure.  A manifest is the same, byte for byte, however often a build was interrupted: it names
no time, no machine and no store.  It lies beside its cube under its own digest, and the
cube's root names that digest, so neither can be changed without the other telling.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from spacenet_cube.errors import VerifyError
from spacenet_cube.storage.base.entries import Stored

Json = Any


FORMAT = 1
"""Version of the layout below."""

ENTRY = "manifest"
"""Name of the manifest's entry in the root's attribute ``spacenet_cube``."""


@dataclass(frozen=True)
class Manifest:
    """Every object of a published cube but its root document, which is told apart."""

    plan: str
    """Digest of the plan that the cube was built by."""

    root_sha256: str
    """Digest of the root document without its entry for the manifest, see `root_digest`."""

    objects: tuple[Stored, ...]
    """Every other object, by key in ascending order, each key once."""

    @cached_property
    def content(self) -> bytes:
        """The manifest as it is stored: JSON, one object a line."""
        head = {"format": FORMAT, "plan": self.plan, "root_sha256": self.root_sha256}
        lines = [json.dumps(head, sort_keys=True)]
        lines += [json.dumps([one.key, one.size_bytes, one.sha256]) for one in self.objects]
        return ("\n".join(lines) + "\n").encode()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `content`; the manifest's name, and what the cube's root tells."""
        return sha256(self.content).hexdigest()

    @cached_property
    def by_key(self) -> Mapping[str, Stored]:
        """Objects by key."""
        return {one.key: one for one in self.objects}


def manifest(plan: str, root: Mapping[str, Any], objects: Iterable[Stored]) -> Manifest:
    """Describe a cube.

    Parameters
    ----------
    plan
        Digest of its plan.
    root
        Its root document, with or without the entry for the manifest.
    objects
        All others, in any order.

    Returns
    -------
    Manifest
        The same for the same input in any order.
    """
    ordered = tuple(sorted(objects))
    assert len({one.key for one in ordered}) == len(ordered), "two objects under one key"
    return Manifest(plan, root_digest(root), ordered)


def parse(content: bytes) -> Manifest:
    """Read a manifest back.

    Parameters
    ----------
    content
        What is stored.

    Returns
    -------
    Manifest
        Equal to the one that was stored.

    Raises
    ------
    VerifyError
        If it is no manifest of ours.
    """
    try:
        first, *rest = content.decode().splitlines()
        head = json.loads(first)
        rows = [json.loads(line) for line in rest]
        objects = tuple(Stored(str(key), int(size), str(digest)) for key, size, digest in rows)
        found = Manifest(str(head["plan"]), str(head["root_sha256"]), objects)
    except (ValueError, KeyError, TypeError) as error:
        raise VerifyError(
            f"what should be a manifest is none ({type(error).__name__}: {error}); "
            "restore it from a copy, or build the cube again with --replace"
        ) from error
    if head.get("format") != FORMAT or found.content != content:
        raise VerifyError(
            f"the manifest is not as this version writes it (format {head.get('format')}, "
            f"known {FORMAT}); verify with the version that built the cube, or build it again"
        )
    return found


def root_digest(root: Mapping[str, Any]) -> str:
    """SHA-256 of a root document as canonical JSON, without its entry for the manifest."""
    own = dict(root.get("attributes", {}).get("spacenet_cube", {}))
    own.pop(ENTRY, None)
    attributes = {**root.get("attributes", {}), "spacenet_cube": own}
    bare = {**root, "attributes": attributes}
    canonical = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(canonical.encode()).hexdigest()


def with_manifest(root: Mapping[str, Any], found: Manifest) -> dict[str, Any]:
    """The root document that names its manifest.

    Parameters
    ----------
    root
        The root document.
    found
        The manifest of the cube.

    Returns
    -------
    dict
        A copy; ``attributes.spacenet_cube.manifest`` holds ``sha256`` and ``objects``.
    """
    entry = {"sha256": found.digest, "objects": len(found.objects)}
    own = {**root["attributes"]["spacenet_cube"], ENTRY: entry}
    return {**root, "attributes": {**root["attributes"], "spacenet_cube": own}}


def place(digest: str) -> str:
    """Suffix of a cube's URL at which the manifest of that digest lies.

    Examples
    --------
    >>> place("ab12")
    '.manifest/ab12.jsonl'
    """
    return f".manifest/{digest}.jsonl"


def parsed_object(content: bytes) -> Json | None:
    """A JSON object, or None where the bytes are none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
