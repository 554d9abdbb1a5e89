"""Copies: which bytes a sparse local copy of a file holds, and which its pixels need.

Pure.  A range that was never fetched reads as zeros, which pass for pixels.  So what a window
needs is worked out here from the image's width and its samples, not from what was fetched,
and compared before GDAL is asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spacenet_cube.raster.grid import Block
from spacenet_cube.sources.files.byte_ranges import Span, merge, without
from spacenet_cube.sources.files.tiff import Structure

_BITS_IN_BYTE = 8


class MissingBytesError(OSError):
    """Bytes of some pixels were never fetched, and would read as zeros."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of a file that are here: an interval set that never changes."""

    spans: tuple[Span, ...] = ()
    """Sorted; none touches or overlaps another."""

    def __or__(self, more: Iterable[Span]) -> "Held":
        """These bytes and more.

        Examples
        --------
        >>> (Held(((0, 4),)) | [(8, 9), (4, 6)]).spans
        ((0, 6), (8, 9))
        """
        return Held(tuple(merge([*self.spans, *more])))

    @property
    def total_bytes(self) -> int:
        """How many they are."""
        return sum(stop - start for start, stop in self.spans)

    def missing(self, wanted: Iterable[Span]) -> list[Span]:
        """What of some spans is not here, sorted and merged."""
        return without(merge(wanted), self.spans)


@dataclass(frozen=True, slots=True, eq=False)
class LocalCopy:
    """A file to open with GDAL, and what of it may be read; other processes may be given it."""

    path: str
    """Absolute local path."""

    structure: Structure | None = None
    """Where its blocks lie; None for a whole file."""

    held: Held | None = None
    """Bytes that it holds; None for a whole file."""

    def refuse_missing(self, window: Block, band_indexes: Sequence[int]) -> None:
        """Refuse a window that has a pixel of which a byte is not here.

        Parameters
        ----------
        window
            Pixels that will be read.
        band_indexes
            Bands that will be read, from 1.

        Raises
        ------
        MissingBytesError
            If bytes are missing.
        """
        if self.structure is None or self.held is None:
            return
        missing = self.held.missing(bytes_of_pixels(self.structure, window, band_indexes))
        if missing:
            start, stop = missing[0]
            raise MissingBytesError(
                f"bytes {start:,} to {stop:,}, and {len(missing) - 1} ranges more, of {window} "
                "were not fetched, and would read as zeros; this is a fault of spacenet-cube: "
                "please report it"
            )


def bytes_of_pixels(found: Structure, window: Block, band_indexes: Sequence[int]) -> Iterator[Span]:
    """Bytes without which the pixels of a window cannot be decoded.

    Parameters
    ----------
    found
        Where the image's blocks lie.
    window
        Pixels of the image.
    band_indexes
        Bands, from 1; they matter where blocks hold one band each.

    Yields
    ------
    Span
        Of each block that the window touches: all that is stored, or its rows alone in a strip
        that is not compressed; nothing of a block that is not stored (TIFF 6.0, sections 3
        and 15).
    """
    high, wide = found.block_yx
    south, east = window.row + window.height, window.col + window.width
    for band in sorted(set(band_indexes)) if found.by_band else [1]:
        for top in range(window.row - window.row % high, south, high):
            rows = (max(window.row, top) - top, min(south, top + high) - top)
            for left in range(window.col - window.col % wide, east, wide):
                yield from _of_block(found, (band, top // high, left // wide), rows)


def _of_block(
    found: Structure, place: tuple[int, int, int], rows: tuple[int, int]
) -> Iterator[Span]:
    """Bytes of some rows of a block, which is named by band, from 1, and its row and column."""
    band, down, across = place
    number = ((band - 1) * found.blocks_down + down) * found.blocks_across + across
    offset, size = found.offsets[number], found.sizes[number]
    if not size:
        return
    if found.tiled or not found.raw:
        yield offset, offset + size
        return
    samples = found.shape_yx[1] * (1 if found.by_band else found.count)
    row_bytes = -(-samples * found.sample_bits // _BITS_IN_BYTE)
    first, last = (min(row * row_bytes, size) for row in rows)
    if first < last:
        yield offset + first, offset + last
