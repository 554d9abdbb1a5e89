"""Damage: which pixels an object of a cube holds, and the key that holds a pixel.

Pure.  The keys are those of Zarr v3's default encoding
(https://zarr-specs.readthedocs.io/en/latest/v3/chunk-key-encodings/default/index.html): a
shard, or a chunk where there are no shards, lies at ``<array>/c/<number along each
dimension>``.  Rows and columns are counted from the north-western corner of the level.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from spacenet_cube.errors import VerifyError
from spacenet_cube.format.levels import level_name
from spacenet_cube.raster.grid import Block

Spans = tuple[tuple[int, int], ...]
"""First and one past the last index along each dimension."""

_KINDS = {"y": "rows", "x": "columns", "band": "bands"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How one array of a cube is cut into objects."""

    path: str
    """Where the array lies below the cube, such as ``ovr_2x/image``."""

    dims: tuple[str, ...]
    """Names of the dimensions."""

    shape: tuple[int, ...]
    """Size along each dimension."""

    object_shape: tuple[int, ...]
    """Shape of what one object holds: a shard, or a chunk where there are no shards."""

    chunk_shape: tuple[int, ...]
    """Shape of a chunk; the same as `object_shape` where there are no shards."""

    is_sharded: bool
    """Whether objects are shards."""

    @property
    def level(self) -> int:
        """0 for the native level, n for the n-th overview."""
        return level_of(self.path)

    @property
    def name(self) -> str:
        """Name of the array, such as ``image``."""
        return self.path.rpartition("/")[2]

    @property
    def objects(self) -> tuple[int, ...]:
        """Objects along each dimension."""
        return _counts(self.shape, self.object_shape)

    @property
    def chunks_per_object(self) -> tuple[int, ...]:
        """Chunks of a whole object along each dimension."""
        return _counts(self.object_shape, self.chunk_shape)

    def indexes(self) -> Iterator[tuple[int, ...]]:
        """Numbers of every object along each dimension, in reading order."""
        return product(*map(range, self.objects))

    def key(self, index: tuple[int, ...]) -> str:
        """Key of the object of these numbers."""
        return "/".join([self.path, "c", *map(str, index)])

    def index(self, key: str) -> tuple[int, ...] | None:
        """Numbers of the object under a key; None where the array has no such object."""
        head, _, rest = key.removeprefix(f"{self.path}/").partition("/")
        if not key.startswith(f"{self.path}/") or head != "c":
            return None
        parts = rest.split("/") if rest else []
        if len(parts) != len(self.shape) or not all(map(str.isdecimal, parts)):
            return None
        found = tuple(map(int, parts))
        inside = all(number < count for number, count in zip(found, self.objects, strict=True))
        return found if inside and self.key(found) == key else None

    def spans(self, index: tuple[int, ...]) -> Spans:
        """What the object of these numbers holds of the array."""
        return _spans(index, self.object_shape, self.shape)

    def chunks(self, index: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Spans | None]]:
        """Chunks of an object, in the order of a shard's index.

        Parameters
        ----------
        index
            Numbers of the object.

        Yields
        ------
        number : tuple of int
            Number of the chunk along each dimension of the array.
        spans : Spans or None
            What it holds; None where all of it lies beyond the array's edge.
        """
        first = tuple(
            number * count for number, count in zip(index, self.chunks_per_object, strict=True)
        )
        inside = _counts(self.shape, self.chunk_shape)
        for inner in product(*map(range, self.chunks_per_object)):
            number = tuple(a + b for a, b in zip(first, inner, strict=True))
            there = all(one < count for one, count in zip(number, inside, strict=True))
            yield number, _spans(number, self.chunk_shape, self.shape) if there else None

    def place(self, index: tuple[int, ...], chunk: tuple[int, ...] | None = None) -> "Place":
        """Say what an object holds, or one chunk of it."""
        edges = self.object_shape if chunk is None else self.chunk_shape
        spans = _spans(index if chunk is None else chunk, edges, self.shape)
        return Place(self.path, self.level, index, chunk, tuple(self.dims), spans)


@dataclass(frozen=True, slots=True)
class Place:
    """What is at fault: pixels of an array."""

    array: str
    """Path of the array."""

    level: int
    """0 for the native level, n for the n-th overview."""

    index: tuple[int, ...]
    """Number of the object (shard or chunk) along each dimension."""

    chunk: tuple[int, ...] | None
    """Number of the chunk along each dimension of the array; None for all of the object."""

    dims: tuple[str, ...]
    """Names of the dimensions."""

    spans: Spans
    """First and one past the last index along each dimension of the level."""

    @property
    def block(self) -> Block | None:
        """The pixel window, of an array with rows and columns."""
        if not {"y", "x"} <= set(self.dims):
            return None
        rows, cols = (self.spans[self.dims.index(dim)] for dim in ("y", "x"))
        return Block(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0])

    def __str__(self) -> str:
        """One line for people; the last row, column and band are part of it."""
        what = "object" if self.chunk is None else "chunk"
        number = "/".join(map(str, self.index if self.chunk is None else self.chunk)) or "0"
        spans = zip(self.dims, self.spans, strict=True)
        ranges = [f"{_KINDS.get(dim, dim)} {first}-{stop - 1}" for dim, (first, stop) in spans]
        return f"{self.array} level {self.level} {what} {number}: {', '.join(ranges) or 'scalar'}"

    def to_dict(self) -> dict[str, Any]:
        """The place as plain values; spans hold the first and the last index."""
        spans = zip(self.dims, self.spans, strict=True)
        return {
            "array": self.array,
            "level": self.level,
            "object": list(self.index),
            "chunk": None if self.chunk is None else list(self.chunk),
            **{_KINDS.get(dim, dim): [first, stop - 1] for dim, (first, stop) in spans},
        }


def layout(path: str, document: Mapping[str, Any]) -> Layout:
    """Read off an array's document how it is cut into objects.

    Parameters
    ----------
    path
        Where the array lies below the cube.
    document
        Its ``zarr.json``, whoever wrote it.

    Returns
    -------
    Layout
        Checked to make sense.

    Raises
    ------
    VerifyError
        If the document is none of a cube's array.

    Examples
    --------
    >>> grid = {"name": "regular", "configuration": {"chunk_shape": [2, 4]}}
    >>> keys = {"name": "default", "configuration": {"separator": "/"}}
    >>> found = {"shape": [3, 5], "chunk_grid": grid, "chunk_key_encoding": keys, "codecs": []}
    >>> one = layout("ovr_2x/source_index", found | {"dimension_names": ["y", "x"]})
    >>> str(one.place((1, 1)))
    'ovr_2x/source_index level 1 object 1/1: rows 2-2, columns 4-4'
    >>> one.index("ovr_2x/source_index/c/1/1"), one.index("ovr_2x/source_index/c/2/0")
    ((1, 1), None)
    """
    try:
        return _layout(path, document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise VerifyError(
            f"{path}/zarr.json does not describe an array of a cube "
            f"({type(error).__name__}: {error}); repair the cube, or build it again"
        ) from error


def _layout(path: str, document: Mapping[str, Any]) -> Layout:
    shape = _sizes(document["shape"], least=0)
    stored = _sizes(document["chunk_grid"]["configuration"]["chunk_shape"], least=1)
    codecs = [codec for codec in document["codecs"] if codec["name"] == "sharding_indexed"]
    chunk = _sizes(codecs[0]["configuration"]["chunk_shape"], least=1) if codecs else stored
    dims = tuple(str(name) for name in document["dimension_names"])
    if not len(shape) == len(stored) == len(chunk) == len(dims):
        message = f"shape {shape}, chunks {stored} and {chunk}, and dimensions {dims} disagree"
        raise ValueError(message)
    encoding = document["chunk_key_encoding"]
    if encoding["name"] != "default" or encoding["configuration"]["separator"] != "/":
        message = f"keys are encoded as {encoding}"
        raise ValueError(message)
    if any(outer % inner for outer, inner in zip(stored, chunk, strict=True)):
        message = f"shards of {stored} are no whole chunks of {chunk}"
        raise ValueError(message)
    return Layout(path, dims, shape, stored, chunk, bool(codecs))


def _sizes(values: Any, *, least: int) -> tuple[int, ...]:  # noqa: ANN401 - anybody's JSON
    found = tuple(values)
    if not all(type(size) is int and size >= least for size in found):
        message = f"{values} are no sizes"
        raise ValueError(message)
    return found


def _counts(shape: tuple[int, ...], part: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-size // edge) for size, edge in zip(shape, part, strict=True))


def _spans(index: tuple[int, ...], part: tuple[int, ...], shape: tuple[int, ...]) -> Spans:
    return tuple(
        (number * edge, min((number + 1) * edge, size))
        for number, edge, size in zip(index, part, shape, strict=True)
    )


def index_size_bytes(found: Layout) -> int:
    """Bytes of a shard's index: 16 a chunk, and 4 of its CRC-32C."""
    return 16 * prod(found.chunks_per_object) + 4


def level_of(path: str) -> int:
    """Number of the level that a group's or array's path is on.

    Examples
    --------
    >>> level_of("image"), level_of("ovr_4x/image"), level_of("ovr_4x")
    (0, 2, 2)
    """
    group = path.partition("/")[0]
    number = group.removeprefix("ovr_").removesuffix("x")
    if not (number.isdecimal() and number.isascii()):
        return 0
    level = int(number).bit_length() - 1
    return level if level > 0 and group == level_name(level) else 0
