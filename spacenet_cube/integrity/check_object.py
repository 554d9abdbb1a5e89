"""Inspecting: one object of a cube, read and decoded, with every fault of it named.

Chunks are decoded by zarr itself from the bytes that were read, so an object is fetched once
and what passes is what readers get.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.storage import MemoryStore, StorePath

from spacenet_cube.errors import StoreError
from spacenet_cube.format.layout import Layout, Place, Spans, index_size_bytes
from spacenet_cube.format.shard_index import index_faults
from spacenet_cube.integrity.findings import REBUILD, REPAIR, Fault
from spacenet_cube.storage.base.faults import FAULTS, is_absence
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.stores.settings import array_settings

Samples = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """An object to look at."""

    key: str
    """Where it lies below the cube."""

    size_bytes: int
    """Its size, as it is listed."""

    sha256: str | None
    """Digest that it should have; None where no manifest tells."""

    layout: Layout | None
    """How its array is cut; None where no document can be believed, or it is no chunk."""

    index: tuple[int, ...]
    """Number of the object along each dimension."""

    document: Any
    """Document of its array, to decode it by; None where it cannot be believed."""

    whole: bool
    """Whether to read all of it, and not the index of a shard alone."""

    @property
    def places(self) -> tuple[Place, ...]:
        """All that it holds."""
        return () if self.layout is None else (self.layout.place(self.index),)


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a look at one object came to."""

    fault: Fault | None
    """What is wrong with it."""

    bytes_read: int
    """Bytes that were read."""


def inspect(cube: Location, subject: Subject) -> Inspected:
    """Look at one object.

    Parameters
    ----------
    cube
        Where the cube is.
    subject
        Which object, and how closely.

    Returns
    -------
    Inspected
        At most one fault, with every chunk that it is known to lie in.

    Raises
    ------
    StoreError
        If the store refuses or fails: that says nothing of the object.
    """
    try:
        return _whole(cube, subject) if subject.whole else _index_alone(cube, subject)
    except FAULTS as error:
        if is_absence(error):
            return Inspected(_gone(subject), 0)
        raise StoreError(
            f"reading {subject.key} of {cube.url} failed, which says nothing of the cube: "
            f"{cube.told(error)}; then verify again"
        ) from error


def _gone(subject: Subject) -> Fault:
    told = "nothing: it went while it was looked at"
    return Fault(subject.key, "lost", f"{subject.size_bytes:,} bytes", told, REPAIR, subject.places)


def _read(cube: Location, subject: Subject, start: int = 0) -> bytes:
    wanted = subject.size_bytes - start
    return bytes((cube / subject.key).read_range(start, wanted)) if wanted else b""


def _index_alone(cube: Location, subject: Subject) -> Inspected:
    if subject.layout is None or not subject.layout.is_sharded:
        return Inspected(None, 0)
    start = max(0, subject.size_bytes - index_size_bytes(subject.layout))
    content = _read(cube, subject, start)
    found = list(index_faults(subject.layout, subject.index, content, subject.size_bytes))
    return Inspected(_index_fault(subject, found) if found else None, len(content))


def _index_fault(subject: Subject, found: list[tuple[tuple[int, ...] | None, str]]) -> Fault:
    assert subject.layout is not None, "only shards have an index"
    chunks = tuple(subject.layout.place(subject.index, chunk) for chunk, _ in found if chunk)
    whole = any(chunk is None for chunk, _ in found)
    said = "; ".join(dict.fromkeys(told for _, told in found[:3]))
    places = subject.places if whole else chunks
    return Fault(subject.key, "index", "a sound index", said, _mend(subject), places)


def _mend(subject: Subject) -> str:
    return REBUILD if subject.sha256 is None else REPAIR


def _whole(cube: Location, subject: Subject) -> Inspected:
    content = _read(cube, subject)
    told = sha256(content).hexdigest()
    if subject.sha256 not in {None, told}:
        # A bit may have flipped on its way: only what is read twice is held against the cube.
        content = _read(cube, subject)
        told = sha256(content).hexdigest()
    faults = list(_content_faults(subject, content))
    if subject.sha256 in {None, told}:
        return Inspected(faults[0] if faults else None, len(content))
    places = faults[0].places if faults else subject.places
    said = f"sha256 {told}" + (f" ({faults[0].found})" if faults else " (chunks decode)")
    wanted = f"sha256 {subject.sha256}"
    return Inspected(Fault(subject.key, "digest", wanted, said, REPAIR, places), len(content))


def _content_faults(subject: Subject, content: bytes) -> Iterator[Fault]:
    """What is wrong inside of an object, its digest apart."""
    layout = subject.layout
    if layout is None:
        return
    if layout.is_sharded:
        tail = content[-index_size_bytes(layout) :]
        found = list(index_faults(layout, subject.index, tail, len(content)))
        if found:
            yield _index_fault(subject, found)
            return
    if subject.document is not None:
        yield from _decode_faults(subject, layout, content)


def _decode_faults(subject: Subject, layout: Layout, content: bytes) -> Iterator[Fault]:
    """Chunks that do not decode; one by one only where not all of them do at once."""
    found: list[tuple[Place, str]] = []
    try:
        decoded(layout, subject.document, subject.index, content)
    except Exception as error:  # noqa: BLE001 - every codec raises errors of its own family
        told = _told(error)
    else:
        return
    try:
        found = list(_bad_chunks(subject, layout, content))
    except Exception as error:  # noqa: BLE001 - the document is at fault, and not a chunk
        told = _told(error)
    places = tuple(place for place, _ in found) or subject.places
    said = found[0][1] if found else told
    yield Fault(subject.key, "chunk", "chunks that decode", said, _mend(subject), places)


def _bad_chunks(subject: Subject, layout: Layout, content: bytes) -> Iterator[tuple[Place, str]]:
    array = _array(layout.path, subject.document, subject.key, content)
    for number, spans in layout.chunks(subject.index):
        if spans is None:
            continue
        try:
            _decode(array, spans)
        except Exception as error:  # noqa: BLE001 - as above
            yield layout.place(subject.index, number), _told(error)


def decoded(layout: Layout, document: Any, index: tuple[int, ...], content: bytes) -> Samples:  # noqa: ANN401 - JSON
    """What an object holds of its array, decoded.

    Parameters
    ----------
    layout
        How the array is cut.
    document
        Its ``zarr.json``.
    index
        Number of the object along each dimension.
    content
        Its bytes.

    Returns
    -------
    array
        As large as `Layout.spans` says; whatever zarr raises where it does not decode.
    """
    array = _array(layout.path, document, layout.key(index), content)
    return _decode(array, layout.spans(index))


def _told(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {said}"


def _decode(array: zarr.Array[Any], spans: Spans) -> Samples:
    return np.asarray(array[tuple(slice(first, stop) for first, stop in spans)])


def _array(path: str, document: Any, key: str, content: bytes) -> zarr.Array[Any]:  # noqa: ANN401
    """An array of which one object is there."""
    store = MemoryStore({key: cpu.Buffer.from_bytes(content)})
    with array_settings():
        return zarr.Array.from_dict(StorePath(store, path), dict(document))
