"""Smooth randomness that is a pure function of where one looks.

Only integer arithmetic, and float32 sums and products, which every processor rounds
alike: the same bytes everywhere, in whatever pieces a picture is computed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SMALLEST_CELL = 2

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels, counted from the upper left corner of an AOI."""

    y: int
    """First row; may be negative."""

    x: int
    """First column; may be negative."""

    height: int
    """Rows."""

    width: int
    """Columns."""

    @property
    def rows(self) -> Ints:
        """Row numbers, shaped ``(y, 1)``."""
        return np.arange(self.y, self.y + self.height, dtype=np.int32)[:, None]

    @property
    def cols(self) -> Ints:
        """Column numbers, shaped ``(1, x)``."""
        return np.arange(self.x, self.x + self.width, dtype=np.int32)[None, :]

    def grown(self, pixels: int) -> "Window":
        """Add a margin on the south and the east."""
        return Window(self.y, self.x, self.height + pixels, self.width + pixels)


def scatter(row: Ints, col: Ints, seed: int) -> Hashes:
    """Hash pairs of integers, broadcast against each other, to 32 even bits."""
    start = np.uint32(seed * 0xC2B2AE3D & 0xFFFFFFFF)
    h = row.astype(np.uint32) * np.uint32(0x9E3779B1) ^ start
    h = h ^ col.astype(np.uint32) * np.uint32(0x85EBCA77)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return h


def unit(bits: Hashes) -> Floats:
    """Map hashes to [0, 1), by their upper 24 bits."""
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def clamp(values: Floats) -> Floats:
    """Limit values to [0, 1]."""
    return np.clip(values, np.float32(0), np.float32(1))


def ramp(values: Floats, low: float, high: float) -> Floats:
    """Rise from 0 where values are ``low`` to 1 where they are ``high``."""
    scale = np.float32(1 / (high - low))
    return clamp((values - np.float32(low)) * scale)


def value_noise(window: Window, cell: int, seed: int) -> Floats:
    """Interpolate random values on a lattice, smoothly.

    Parameters
    ----------
    window
        Where to look.
    cell
        Pixels between lattice points; features are about as large.
    seed
        Chooses the pattern.

    Returns
    -------
    Floats
        In [0, 1), shaped ``(y, x)``.
    """
    rows, cols = window.rows[:, 0], window.cols[0]
    row_cells, col_cells = rows // cell, cols // cell
    lattice = unit(
        scatter(
            np.arange(row_cells[0], row_cells[-1] + 2, dtype=np.int32)[:, None],
            np.arange(col_cells[0], col_cells[-1] + 2, dtype=np.int32)[None, :],
            seed,
        )
    )
    i, j = row_cells - row_cells[0], col_cells - col_cells[0]
    down, along = _ease(rows, row_cells, cell)[:, None], _ease(cols, col_cells, cell)[None, :]
    strips = lattice[i] + (lattice[i + 1] - lattice[i]) * down
    left = strips[:, j]
    noise: Floats = left + (strips[:, j + 1] - left) * along
    return noise


def layered_noise(window: Window, cells: tuple[int, ...], seed: int) -> Floats:
    """Add noise of several sizes, each half as strong as the one before; in [0, 1)."""
    total = np.zeros((window.height, window.width), np.float32)
    weight, weights = np.float32(1), np.float32(0)
    for octave, cell in enumerate(cells):
        total += value_noise(window, max(_SMALLEST_CELL, cell), seed + octave) * weight
        weights += weight
        weight *= np.float32(0.5)
    noise: Floats = total / weights
    return noise


def _ease(positions: Ints, cells: Ints, cell: int) -> Floats:
    """Position within a cell, from 0 to 1, level at both ends."""
    t = (positions - cells * cell).astype(np.float32) / np.float32(cell)
    eased: Floats = t * t * (np.float32(3) - np.float32(2) * t)
    return eased
