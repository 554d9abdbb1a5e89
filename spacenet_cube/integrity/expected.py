"""Holdings: what a cube should hold, by manifest and documents, against what it does.

Pure.  A manifest that carries the digest in its own name is believed before any document:
an accident changes one file, and not two so that they agree.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import prod

from spacenet_cube.errors import VerifyError
from spacenet_cube.format.layout import Layout, Place, layout
from spacenet_cube.format.manifest import (
    ENTRY,
    Json,
    Manifest,
    parsed_object,
    root_digest,
    with_manifest,
)
from spacenet_cube.integrity.findings import REBUILD, REPAIR, Fault

ROOT = "zarr.json"
_DOCUMENT = "/zarr.json"
_LOOK = "remove it, unless you put it there: no build did"
_ABSURD_FACTOR = 100
_ABSURD_OBJECT = 2**31


@dataclass(frozen=True)
class Holdings:
    """What is known of a published cube before its pixels are looked at."""

    sizes: Mapping[str, int]
    """Size in bytes of every object that is there, by key."""

    papers: Mapping[str, bytes]
    """Bytes of every ``zarr.json`` that is there, by key."""

    manifest: Manifest | None
    """What the cube should hold; None where no manifest can be believed."""

    @cached_property
    def documents(self) -> Mapping[str, Json]:
        """Every ``zarr.json`` that is a JSON object, by the path of its array or group."""
        parsed = {key: parsed_object(content) for key, content in self.papers.items()}
        return {_path(key): found for key, found in parsed.items() if found is not None}

    @cached_property
    def attested(self) -> frozenset[str]:
        """Paths of the documents that are, by the manifest, as they were written."""
        if self.manifest is None:
            return frozenset()
        held = self.manifest.by_key
        sound = {
            _path(key)
            for key, content in self.papers.items()
            if key in held and sha256(content).hexdigest() == held[key].sha256
        }
        content = self.papers.get(ROOT, b"")
        return frozenset(sound | ({""} if is_root_of(content, self.manifest) else set()))

    @cached_property
    def arrays(self) -> Mapping[str, Json]:
        """The most trustworthy document of every array, by path."""
        held = self.manifest.by_key if self.manifest else {}
        paths = {_path(key) for key in held if key.endswith(_DOCUMENT)} | set(self.documents)
        found = {path: self._best(path) for path in sorted(paths)}
        return {path: each for path, each in found.items() if _is_array(each)}

    def _best(self, path: str) -> Json:
        """A document, or a consolidated copy of it where that is sound and the document is not."""
        own = self.documents.get(path)
        if path in self.attested or self.manifest is None:
            return own
        group, _, name = path.rpartition("/")
        for holder, member in (("", path), (group, name)):
            copy = copies(self.documents.get(holder, {})).get(member)
            if holder in self.attested and copy is not None:
                return copy
        return own

    @cached_property
    def layouts(self) -> Mapping[str, Layout]:
        """How each array is cut, by path, where its document makes sense."""
        found = {}
        for path, document in self.arrays.items():
            try:
                found[path] = layout(path, document)
            except VerifyError:
                continue
        return found

    @cached_property
    def can_decode(self) -> frozenset[str]:
        """Paths of the arrays whose document is believed, so that chunks can be decoded by it."""
        if self.manifest is None:
            return frozenset(self.layouts)
        return frozenset(self.layouts) & (
            self.attested | (frozenset(self.arrays) if "" in self.attested else frozenset())
        )

    def locate(self, key: str) -> tuple[Layout, tuple[int, ...]] | None:
        """The array that an object is of, and its numbers; None for what is no chunk."""
        path, dot, _ = f"/{key}".rpartition("/c/")
        path = path.removeprefix("/") if dot else key.removesuffix("/c")
        found = self.layouts.get(path)
        index = None if found is None else found.index(key)
        return None if found is None or index is None else (found, index)

    def places(self, key: str) -> tuple[Place, ...]:
        """The pixels that an object holds; none for what is no chunk."""
        found = self.locate(key)
        return () if found is None else (found[0].place(found[1]),)


def stored_form(document: Mapping[str, Json]) -> bytes:
    """The bytes under which a document is stored."""
    return json.dumps(document, indent=1, allow_nan=False).encode()


def manifest_entry(root: Mapping[str, Json] | None) -> Mapping[str, Json] | None:
    """What a root says of its manifest; None where it says nothing that makes sense."""
    attributes = (root or {}).get("attributes")
    own = attributes.get("spacenet_cube") if isinstance(attributes, dict) else None
    entry = own.get(ENTRY) if isinstance(own, dict) else None
    return entry if isinstance(entry, dict) else None


def is_root_of(content: bytes, found: Manifest) -> bool:
    """Whether these bytes are the root that the manifest was made for.

    Parameters
    ----------
    content
        Of the root's ``zarr.json``.
    found
        The manifest.

    Returns
    -------
    bool
        True for the very bytes that were published.
    """
    root = parsed_object(content)
    if root is None or manifest_entry(root) is None:
        return False
    if digest_of(root) != found.root_sha256:
        return False
    return stored_form(with_manifest(root, found)) == content


def digest_of(root: Mapping[str, Json]) -> str | None:
    """The digest of a root, or None where it is too far from one to have any."""
    try:
        return root_digest(root)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def copies(group: Mapping[str, Json]) -> Mapping[str, Json]:
    """Consolidated copies that a group's document holds, by path below the group."""
    consolidated = group.get("consolidated_metadata")
    found = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    return found if isinstance(found, dict) else {}


def listing_faults(held: Holdings) -> Iterator[Fault]:
    """Objects that are lost, of another size, or unknown, by the listing alone."""
    wanted = {} if held.manifest is None else held.manifest.by_key
    if held.manifest is None:
        yield from _without_manifest(held)
        return
    for key, one in wanted.items():
        places = held.places(key)
        if key not in held.sizes:
            yield Fault(key, "lost", f"{one.size_bytes:,} bytes", "nothing", REPAIR, places)
        elif held.sizes[key] != one.size_bytes:
            told = f"{held.sizes[key]:,} bytes"
            yield Fault(key, "size", f"{one.size_bytes:,} bytes", told, REPAIR, places)
    for key, size_bytes in held.sizes.items():
        if key not in wanted and key != ROOT:
            yield Fault(key, "unknown", "nothing", f"{size_bytes:,} bytes", _LOOK)


def _without_manifest(held: Holdings) -> Iterator[Fault]:
    """The same where only the arrays' documents say which objects there should be."""
    known = set(held.papers)
    for path, found in held.layouts.items():
        count, there = prod(found.objects), sum(key.startswith(f"{path}/") for key in held.sizes)
        if count > _ABSURD_FACTOR * (there + 1) or prod(found.chunk_shape) > _ABSURD_OBJECT:
            told = f"{count:,} objects of {found.object_shape}, and {there:,} are there"
            yield Fault(f"{path}{_DOCUMENT}", "document", "an array of the cube", told, REBUILD)
            continue
        for key in map(found.key, found.indexes()):
            known.add(key)
            if key not in held.sizes:
                yield Fault(key, "lost", "a chunk", "nothing", REBUILD, held.places(key))
    for key, size_bytes in held.sizes.items():
        if key not in known:
            yield Fault(key, "unknown", "nothing", f"{size_bytes:,} bytes", _LOOK)


def document_faults(held: Holdings) -> Iterator[Fault]:
    """Documents that are not as they were written, and copies that do not agree."""
    if held.manifest is not None:
        yield from _changed(held, held.manifest)
    bad = {key for key in held.papers if _path(key) not in held.documents}
    for key in sorted(bad if held.manifest is None else ()):
        yield Fault(key, "document", "a JSON object", "none", REBUILD)
    for path, document in held.arrays.items() if held.manifest is None else ():
        if path not in held.layouts:
            told = f"shape {str(document.get('shape'))[:80]}, which makes no sense with its chunks"
            yield Fault(f"{path}{_DOCUMENT}", "document", "an array of a cube", told, REBUILD)
    yield from _copy_faults(held)


def _changed(held: Holdings, found: Manifest) -> Iterator[Fault]:
    for key, content in held.papers.items():
        told = sha256(content).hexdigest()
        if key == ROOT:
            if "" not in held.attested:
                yield _root_fault(content, found)
        elif key in found.by_key and len(content) == found.by_key[key].size_bytes:
            wanted = found.by_key[key].sha256
            if told != wanted:
                yield Fault(key, "document", f"sha256 {wanted}", f"sha256 {told}", REPAIR)


def _root_fault(content: bytes, found: Manifest) -> Fault:
    root = parsed_object(content)
    if root is None:
        return Fault(ROOT, "document", "a JSON object", "none", REPAIR)
    told = digest_of(root)
    if told != found.root_sha256:
        return Fault(ROOT, "document", f"digest {found.root_sha256}", f"digest {told}", REPAIR)
    wanted = {"sha256": found.digest, "objects": len(found.objects)}
    entry = manifest_entry(root)
    if entry != wanted:
        return Fault(ROOT, "document", f"manifest {wanted}", f"manifest {entry}", REPAIR)
    return Fault(ROOT, "document", "the bytes that a build stores", "others of that sense", REPAIR)


def _copy_faults(held: Holdings) -> Iterator[Fault]:
    """Consolidated copies that differ from their documents, where neither is told yet."""
    sound = set(held.documents) if held.manifest is None else held.attested
    lost = set[str]()
    for holder in sorted(sound):
        if held.documents[holder].get("node_type") != "group":
            continue
        for path, own, copy in _members(held, holder):
            key = f"{path}{_DOCUMENT}"
            if _is_told(held, key, path) or own == copy or key in lost:
                continue
            if key not in held.papers:
                lost.add(key)
                yield Fault(key, "lost", "the document of a copy", "nothing", REBUILD)
                continue
            said = "no copy" if copy is None else "another copy"
            wanted = f"a copy of {key}"
            yield Fault(f"{holder}{_DOCUMENT}".lstrip("/"), "copy", wanted, said, REBUILD)


def _members(held: Holdings, holder: str) -> Iterator[tuple[str, Json, Json]]:
    """Path, document and copy of everything below a group; None where there is none."""
    prefix = f"{holder}/" if holder else ""
    told = copies(held.documents[holder])
    there = {path.removeprefix(prefix) for path in held.documents if path.startswith(prefix)}
    for member in sorted((there | told.keys()) - {""}):
        own = held.documents.get(f"{prefix}{member}")
        yield f"{prefix}{member}", None if own is None else _bare(own), told.get(member)


def _is_told(held: Holdings, key: str, path: str) -> bool:
    """Whether a document has a fault already, so that its copies are the sound ones."""
    if held.manifest is not None:
        return key in held.manifest.by_key and path not in held.attested
    return key in held.papers and path not in held.documents


def _bare(document: Mapping[str, Json]) -> Mapping[str, Json]:
    return {key: value for key, value in document.items() if key != "consolidated_metadata"}


def _path(key: str) -> str:
    return key.removesuffix(ROOT).removesuffix("/")


def _is_array(document: Json) -> bool:
    return isinstance(document, dict) and document.get("node_type") == "array"
