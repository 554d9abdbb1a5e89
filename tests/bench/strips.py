"""The bench's sources: untiled GeoTIFFs that look, and compress, like 11-bit imagery.

Each scene is a uint16, pixel-interleaved, uncompressed, striped GeoTIFF in EPSG:4326 without a
nodata tag.  0 is fill: one corner of every scene is empty, as where a sensor's swath ends.  Scenes
lie on one lattice; neighbours overlap and differ there, so a wrong order or a shift cannot hide.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

Pixels = NDArray[np.uint16]

PIXEL_DEG = 2.7e-6
"""Edge of a pixel, in degrees: what SpaceNet's pansharpened products have."""

BANDS = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir1", "nir2")
"""WorldView-2 and -3 bands in the order the files hold them."""

CORNER_COL_ROW = (-42_700_000, 13_400_000)
"""Upper-left corner of the first scene, in whole pixels east and north of 0, 0 (Las Vegas)."""

STEP_ROWS = 256
"""Rows made and written at a time."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One source file and its place on the grid of all of them."""

    path: Path
    """The GeoTIFF."""

    row: int
    """First row on the common grid, counted from the north."""

    col: int
    """First column on the common grid, counted from the west."""

    size: int
    """Rows, and columns, of the file."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The sources of one product, in the order in which they win."""

    strips: tuple[Strip, ...]
    """In name order: where two hold a valid pixel, the earlier one is kept."""

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Rows and columns of the rectangle around every strip."""
        ny = max(strip.row + strip.size for strip in self.strips)
        nx = max(strip.col + strip.size for strip in self.strips)
        return ny, nx

    @property
    def transform(self) -> Affine:
        """Pixel corner to degrees, on the common grid."""
        return transform_at(0, 0)

    @property
    def size_bytes(self) -> int:
        """Bytes of pixels in all files."""
        return sum(strip.size**2 for strip in self.strips) * len(BANDS) * 2


def transform_at(row: int, col: int) -> Affine:
    """Give the transform of a raster that starts at ``row``, ``col`` of the common grid."""
    west, north = CORNER_COL_ROW
    return Affine(PIXEL_DEG, 0, (west + col) * PIXEL_DEG, 0, -PIXEL_DEG, (north - row) * PIXEL_DEG)


def corpus_in(folder: Path, size: int, overlap: int, grid_yx: tuple[int, int]) -> Corpus:
    """Name the strips of a grid of scenes without writing them.

    Parameters
    ----------
    folder
        Where the files are, or will be.
    size
        Rows, and columns, of each file.
    overlap
        Columns, and rows, which neighbours share.
    grid_yx
        How many files from north to south, and from west to east.

    Returns
    -------
    Corpus
        In name order, which is north to south, then west to east.
    """
    step = size - overlap
    return Corpus(
        tuple(
            Strip(folder / f"scene_R{i + 1}C{j + 1}.tif", i * step, j * step, size)
            for i, j in product(range(grid_yx[0]), range(grid_yx[1]))
        )
    )


def write_corpus(corpus: Corpus) -> None:
    """Write every strip, always the same bytes, and so leave them in the page cache."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_write_strip, corpus.strips, range(len(corpus.strips))))


def expected(corpus: Corpus, rows: slice) -> Pixels:
    """Mosaic some rows of the sources by the plainest means: the first valid pixel wins.

    Parameters
    ----------
    corpus
        The sources.
    rows
        Rows of the common grid.

    Returns
    -------
    Pixels
        Shaped (band, y, x).
    """
    out = np.zeros((len(BANDS), rows.stop - rows.start, corpus.shape_yx[1]), np.uint16)
    for strip in corpus.strips:
        top, bottom = max(rows.start, strip.row), min(rows.stop, strip.row + strip.size)
        if top >= bottom:
            continue
        window = Window(0, top - strip.row, strip.size, bottom - top)
        with rasterio.open(strip.path) as source:
            pixels = source.read(window=window)
        part = out[:, top - rows.start : bottom - rows.start, strip.col : strip.col + strip.size]
        np.copyto(part, pixels, where=~part.any(axis=0))
    return out


def _write_strip(strip: Strip, seed: int) -> None:
    """Write one file, a few rows at a time."""
    profile = {
        "driver": "GTiff",
        "width": strip.size,
        "height": strip.size,
        "count": len(BANDS),
        "dtype": "uint16",
        "interleave": "pixel",
        "crs": "EPSG:4326",
        "transform": transform_at(strip.row, strip.col),
        "BIGTIFF": "IF_SAFER",
    }
    grain = _grain(strip.size, seed)
    with rasterio.open(strip.path, "w", **profile) as target:
        for row in range(0, strip.size, STEP_ROWS):
            rows = np.arange(row, min(row + STEP_ROWS, strip.size))
            window = Window(0, row, strip.size, rows.size)
            target.write(_picture(strip, rows, grain, seed), window=window)


def _grain(size: int, seed: int) -> NDArray[np.float32]:
    """Make sensor noise for one set of rows; it is rolled, and so reused, for the others."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((STEP_ROWS, size), np.float32)


def _picture(
    strip: Strip, rows: NDArray[np.int64], grain: NDArray[np.float32], seed: int
) -> Pixels:
    """Paint rolling ground, roofs, streets and grain in every band; one corner stays 0."""
    y = (rows + strip.row)[:, None].astype(np.float32)
    cols = np.arange(strip.size)
    x = (cols + strip.col)[None, :].astype(np.float32)
    ground = 420 + 150 * np.sin(y / 310) + 150 * np.cos(x / 170 + y / 900) + 40 * np.sin(x / 23)
    roofs = 260 * ((np.sin(y / 9) > 0.6) & (np.sin(x / 13) > 0.5))
    streets = -140 * ((y % 190 < 14) | (x % 260 < 14))
    scene = ground + roofs + streets + 25 * seed
    out = np.empty((len(BANDS), rows.size, strip.size), np.uint16)
    for band in range(len(BANDS)):
        noise = np.roll(grain, (int(rows[0]) * 7 + band * 1013) % grain.size)[: rows.size]
        out[band] = np.clip(scene * (0.6 + 0.1 * band) + 5 * noise, 1, 2047)
    edge = strip.size // 8
    out[:, (rows[:, None] + (strip.size - 1 - cols)[None, :]) < edge] = 0
    return out
