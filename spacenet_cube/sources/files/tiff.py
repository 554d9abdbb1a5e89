"""TIFF structure: where in a file the samples of each pixel lie.

Pure: bytes are handed in.  GDAL decodes; this says only which bytes it will want, so that
they can be fetched in few large requests.  Classic TIFF and BigTIFF, either byte order
(TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf).
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct, calcsize, pack, unpack_from

from spacenet_cube.raster.grid import Block
from spacenet_cube.sources.files.byte_ranges import Span, merge

ReadBytes = Callable[[int, int], bytes]
"""Given first byte and size, the bytes; fewer where the file ends before."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_CLASSIC, _BIG = 42, 43
_MOST_ENTRIES, _MOST_FOLDERS = 4096, 64
_MOST_ARRAY_BYTES = 1 << 24
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _SAMPLES, _PLANAR = 256, 257, 258, 259, 277, 284
_BY_BAND = 2
_OWN_ORDER = "<" if pack("=H", 1) == pack("<H", 1) else ">"
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_SIZES = 273, 278, 279
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325


MOST_SAMPLES = 4096
"""Most bands of a file; GDAL keeps some kB for each, and hyperspectral sensors have 500."""

ALWAYS_BLOCK_BYTES = 64 << 20
"""What any strip or tile may hold when decoded; GDAL decodes one whole to read a pixel of it."""

EXPANSION = 100
"""Times its stored bytes that a larger one may unfold to; imagery compresses 1 to 20 times."""

_MOST_EDGE_PX = (1 << 31) - 1
_FARTHEST = 1 << 62


class TiffError(ValueError):
    """The bytes are no TIFF, or a damaged one; the message says how."""


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Where the blocks of a TIFF's first image lie."""

    shape_yx: tuple[int, int]
    """Rows and columns, pixels."""

    block_yx: tuple[int, int]
    """Rows and columns of a strip or tile, pixels."""

    count: int
    """Samples a pixel."""

    by_band: bool
    """Whether a block holds one band (planar) rather than all bands of its pixels."""

    tiled: bool
    """True for tiles, False for strips."""

    offsets: Sequence[int]
    """First byte of each block, row by row, then band by band if planar; 0 where not stored."""

    sizes: Sequence[int]
    """Bytes of each block as stored."""

    sample_bits: int = 8
    """Bits of the widest sample."""

    raw: bool = False
    """Whether samples are not compressed, so that rows of a strip can be told apart."""

    @property
    def blocks_across(self) -> int:
        """Blocks from west to east."""
        return -(-self.shape_yx[1] // self.block_yx[1])

    @property
    def blocks_down(self) -> int:
        """Blocks from north to south."""
        return -(-self.shape_yx[0] // self.block_yx[0])

    @property
    def data_bytes(self) -> int:
        """Bytes of all blocks as stored."""
        return sum(self.sizes)

    @property
    def end(self) -> int:
        """The byte after the last one that a block holds."""
        spans = zip(self.offsets, self.sizes, strict=True)
        return max((offset + size for offset, size in spans if size), default=0)

    def refuse_absurd(self, size_bytes: int) -> None:
        """Refuse what no honest file of a size says, before anything is allocated for it.

        Parameters
        ----------
        size_bytes
            Of the whole file.

        Raises
        ------
        TiffError
            If it is cut short, or claims more than it can hold.
        """
        if self.end > size_bytes:
            raise TiffError(
                f"it is cut short: its pixels reach to byte {self.end:,} of {size_bytes:,}"
            )
        if self.data_bytes > size_bytes:
            raise TiffError(
                f"its blocks claim {self.data_bytes:,} bytes of {size_bytes:,}, so they lie over "
                "one another; gdal_translate writes it anew"
            )
        rows, cols = self.block_yx
        samples = rows * cols * (1 if self.by_band else self.count)
        decoded = samples * -(-self.sample_bits // 8)
        stored = max(self.sizes, default=0)
        if decoded > max(ALWAYS_BLOCK_BYTES, EXPANSION * stored):
            raise TiffError(
                f"a block unfolds to {decoded:,} bytes from {stored:,}, which no imagery does; "
                "gdal_translate -co TILED=YES writes it in smaller ones"
            )

    def spans(self, windows: Iterable[Block], band_indexes: Sequence[int]) -> list[Span]:
        """Bytes that hold the pixels of some windows.

        Parameters
        ----------
        windows
            Pixels of the image.
        band_indexes
            Bands wanted, from 1; they matter where blocks hold one band each.

        Returns
        -------
        list of Span
            Sorted and merged where they touch.
        """
        planes = sorted({index - 1 for index in band_indexes}) if self.by_band else [0]
        step = self.blocks_down * self.blocks_across
        if self.raw and not self.tiled:
            rows = merge((window.row, window.row + window.height) for window in windows)
            return merge(
                span
                for plane in planes
                for top, bottom in rows
                for span in self._row_spans(plane * step, top, bottom)
            )
        places = {place for window in windows for place in self._places(window)}
        wanted = (plane * step + place for place in places for plane in planes)
        return merge(
            (self.offsets[k], self.offsets[k] + self.sizes[k]) for k in wanted if self.sizes[k]
        )

    def _row_spans(self, first: int, top: int, bottom: int) -> Iterator[Span]:
        """Bytes of some rows in strips, from the strip that a plane starts with."""
        high = self.block_yx[0]
        for down in range(top // high, (bottom - 1) // high + 1):
            offset, size = self.offsets[first + down], self.sizes[first + down]
            held = min(high, self.shape_yx[0] - down * high)
            skip, stop = max(top - down * high, 0), min(bottom - down * high, held)
            if size and size % held:
                yield offset, offset + size
            elif size:
                yield offset + size // held * skip, offset + size // held * stop

    def _places(self, window: Block) -> Iterator[int]:
        """Numbers, within a plane, of the blocks that a window touches."""
        rows, cols = self.block_yx
        for down in range(window.row // rows, (window.row + window.height - 1) // rows + 1):
            for across in range(window.col // cols, (window.col + window.width - 1) // cols + 1):
                yield down * self.blocks_across + across


@dataclass(frozen=True, slots=True)
class _Form:
    """How numbers are written in one file."""

    order: str
    big: bool

    @property
    def head(self) -> Struct:
        return Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry_bytes(self) -> int:
        return 20 if self.big else 12

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.big else "I")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tag of a folder, its value read."""

    kind: int
    count: int
    raw: bytes


def structure(read: ReadBytes) -> Structure:
    """Read where a TIFF's blocks lie, touching every byte that GDAL needs to open it.

    Parameters
    ----------
    read
        Gives bytes; those it was asked for are those that opening the file needs.

    Returns
    -------
    Structure
        Of the first image.

    Raises
    ------
    TiffError
        If the bytes are no TIFF, or a damaged one.

    Examples
    --------
    >>> structure(lambda start, size: b"<html>"[start : start + size])
    Traceback (most recent call last):
    ...
    spacenet_cube.sources.files.tiff.TiffError: it is no TIFF: it starts with b'<htm'
    """
    form, at = _opening(read)
    first, at = _folder(read, form, at, whole=True)
    seen: set[int] = set()
    # GDAL looks for overviews and masks in the folders after the first, so their tables are
    # touched too; their strips are not.
    while at and at not in seen and len(seen) < _MOST_FOLDERS:
        seen.add(at)
        _, at = _folder(read, form, at, whole=False)
    return _structure(first, form)


def _opening(read: ReadBytes) -> tuple[_Form, int]:
    head = read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(bytes(head[:2]))
    if order is None or len(head) < calcsize("=HHI"):
        raise TiffError(f"it is no TIFF: it starts with {bytes(head[:4])!r}")
    (magic,) = unpack_from(order + "H", head, 2)
    if magic == _CLASSIC:
        return _Form(order, big=False), unpack_from(order + "I", head, 4)[0]
    if magic == _BIG and len(head) >= calcsize("=HHHHQ"):
        return _Form(order, big=True), unpack_from(order + "Q", head, 8)[0]
    raise TiffError(f"it is no TIFF: its magic number is {magic}")


def _exactly(read: ReadBytes, start: int, size_bytes: int) -> bytes:
    # No file reaches there, and no file can be asked for such a byte.
    found = read(start, size_bytes) if start < _FARTHEST else b""
    if len(found) != size_bytes:
        raise TiffError(f"it is cut short: its header reaches to byte {start + size_bytes:,}")
    return found


def _folder(read: ReadBytes, form: _Form, at: int, *, whole: bool) -> tuple[dict[int, _Entry], int]:
    """Tags of the folder at a byte, and where the next one is; 0 for none."""
    head = form.head
    (count,) = head.unpack(_exactly(read, at, head.size))
    if not 0 < count <= _MOST_ENTRIES:
        raise TiffError(f"it is damaged: a folder of {count:,} tags at byte {at:,}")
    step = form.entry_bytes
    table = _exactly(read, at + head.size, count * step + calcsize(form.pointer))
    found = {}
    for k in range(count):
        tag, entry = _entry(read, form, table[k * step : (k + 1) * step], whole=whole)
        found[tag] = entry
    return found, unpack_from(form.pointer, table, count * step)[0]


def _entry(read: ReadBytes, form: _Form, row: bytes, *, whole: bool) -> tuple[int, _Entry]:
    inline = calcsize(form.pointer)
    tag, kind, count = unpack_from(form.order + ("HHQ" if form.big else "HHI"), row)
    size = _SIZES.get(kind, 0) * count
    if size <= inline:
        return tag, _Entry(kind, count, row[-inline:][:size])
    if not whole:
        return tag, _Entry(kind, 0, b"")
    if size > _MOST_ARRAY_BYTES:
        raise TiffError(f"it is damaged: tag {tag} claims {size:,} bytes")
    (at,) = unpack_from(form.pointer, row, len(row) - inline)
    return tag, _Entry(kind, count, _exactly(read, at, size))


def _structure(tags: dict[int, _Entry], form: _Form) -> Structure:
    cols, rows = _one(tags, form, _WIDTH), _one(tags, form, _LENGTH)
    count, planar = _one(tags, form, _SAMPLES, 1), _one(tags, form, _PLANAR, 1)
    tiled = _TILE_OFFSETS in tags
    if tiled:
        block = (_one(tags, form, _TILE_LENGTH), _one(tags, form, _TILE_WIDTH))
    else:
        block = (min(_one(tags, form, _ROWS_PER_STRIP, rows), rows), cols)
    offsets = _many(tags, form, _TILE_OFFSETS if tiled else _STRIP_OFFSETS)
    sizes = _many(tags, form, _TILE_SIZES if tiled else _STRIP_SIZES)
    raw = _one(tags, form, _COMPRESSION, 1) == 1
    if min(cols, rows, count, *block) < 1:
        raise TiffError("it is damaged: it has no pixels")
    by_band = planar == _BY_BAND and count > 1
    if count > MOST_SAMPLES or max(cols, rows, *block) > _MOST_EDGE_PX:
        raise TiffError(
            f"it claims {count:,} bands of {rows:,} x {cols:,} (y, x) pixels, where "
            f"{MOST_SAMPLES:,} bands of {_MOST_EDGE_PX:,} a side are read"
        )
    bits = max(_many(tags, form, _BITS)) if _BITS in tags else 1
    found = Structure((rows, cols), block, count, by_band, tiled, offsets, sizes, bits, raw)
    wanted = found.blocks_across * found.blocks_down * (count if found.by_band else 1)
    if not len(offsets) == len(sizes) == wanted:
        raise TiffError(
            f"it is damaged: {wanted:,} blocks, but {len(offsets):,} offsets and {len(sizes):,} "
            "sizes"
        )
    return found


def _many(tags: dict[int, _Entry], form: _Form, tag: int) -> Sequence[int]:
    entry = tags.get(tag)
    if entry is None or entry.kind not in _WHOLE:
        raise TiffError(f"it is damaged: tag {tag} is missing or of a wrong type")
    # A tuple of numbers takes nine times the bytes that they take in the file.
    found = array(_WHOLE[entry.kind], entry.raw)
    if form.order != _OWN_ORDER:
        found.byteswap()
    return found


def _one(tags: dict[int, _Entry], form: _Form, tag: int, default: int | None = None) -> int:
    if tag not in tags and default is not None:
        return default
    found = _many(tags, form, tag)
    if not found:
        raise TiffError(f"it is damaged: tag {tag} is empty")
    return int(found[0])
