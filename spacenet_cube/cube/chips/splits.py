"""Splitting: which chips train and which test, and the order they are shown in.

Pure.  Neighbouring chips look alike, so a split by chip lets a model see what it is tested
on.  Whole blocks of ground go to one split here, each by a hash of the seed and the
block's own row and column: no list, no state and no order of work has a say in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.cube.chips.windows import Numbers, Tiling, Windows
from spacenet_cube.errors import RecipeError

Hashes = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST = np.uint64(31)
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Splits:
    """How ground is shared out."""

    shares: tuple[tuple[str, float], ...]
    """Names and what each gets of the blocks; together 1."""

    block_px: int
    """Edge of a block of ground; blocks are counted from the cube's corner."""

    buffer_px: int = 0
    """How far a chip keeps from blocks of another split."""

    seed: int = 0
    """Another one, another choice."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the splits, in order."""
        return tuple(name for name, _ in self.shares)


def splits(
    shares: Mapping[str, float], block_px: int, *, buffer_px: int = 0, seed: int = 0, size_px: int
) -> Splits:
    """Check what is said of splits.

    Parameters
    ----------
    shares
        Names and shares of the ground, such as ``{"train": 0.8, "val": 0.2}``.
    block_px, buffer_px, seed
        As `Splits` has them.
    size_px
        Edge of a chip.

    Returns
    -------
    Splits
        What was said.

    Raises
    ------
    RecipeError
        If shares are negative or do not add up to 1, or no chip fits into a block.
    """
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > _SUM_TOLERANCE:
        raise RecipeError(
            f"split={dict(shares)!r} does not share out the whole ground; give shares from 0 "
            "that add up to 1, such as {'train': 0.8, 'val': 0.1, 'test': 0.1}"
        )
    if block_px < size_px or buffer_px < 0:
        raise RecipeError(
            f"no chip of {size_px} pixels fits into a block of {block_px} with a buffer of "
            f"{buffer_px}; set block_px to at least {size_px} (four times as much loses few "
            "chips), and buffer_px to 0 or more"
        )
    return Splits(tuple(shares.items()), block_px, buffer_px, seed)


def assigned(chips: Windows, chosen: Splits, extent_yx: tuple[int, int]) -> NDArray[np.int8]:
    """Which split each window belongs to.

    Parameters
    ----------
    chips
        Windows, counted from the cube's corner.
    chosen
        How ground is shared out.
    extent_yx
        Rows and columns of the whole cube; beyond them there is nothing to keep away from.

    Returns
    -------
    array of int8
        Shape ``chips.shape_yx``: place in ``chosen.names``; -1 where the window and its buffer
        touch blocks of two splits.

    Notes
    -----
    Windows of two splits never share a pixel, and lie at least ``buffer_px`` apart: one of
    them with its buffer touches blocks of its own split alone, and the other lies in blocks
    of the other.
    """
    spans = [
        _span(starts, chips.size_px, chosen, extent)
        for starts, extent in zip((chips.rows, chips.cols), extent_yx, strict=True)
    ]
    (top, bottom), (left, right) = spans
    ground = owners(
        -(-extent_yx[0] // chosen.block_px), -(-extent_yx[1] // chosen.block_px), chosen
    )
    own = ground[np.ix_(top, left)]
    same = np.ones(own.shape, bool)
    for down in range(int((bottom - top).max(initial=0)) + 1):
        for right_by in range(int((right - left).max(initial=0)) + 1):
            rows, cols = np.minimum(top + down, bottom), np.minimum(left + right_by, right)
            same &= ground[np.ix_(rows, cols)] == own
    return np.where(same, own, np.int8(-1))


def _span(starts: Numbers, size: int, chosen: Splits, extent: int) -> tuple[Numbers, Numbers]:
    """First and last block that each window touches with its buffer, along one edge."""
    near, far = starts - chosen.buffer_px, starts + size + chosen.buffer_px - 1
    return np.maximum(near, 0) // chosen.block_px, np.minimum(far, extent - 1) // chosen.block_px


def owners(rows: int, cols: int, chosen: Splits) -> NDArray[np.int8]:
    """Which split each block of ground belongs to, shaped (rows, cols)."""
    ends = np.cumsum([share for _, share in chosen.shares])
    hashes = hashed(chosen.seed, np.arange(rows)[:, None], np.arange(cols)[None, :])
    # 53 bits are what a float64 holds.
    dice = (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.searchsorted(ends[:-1], dice, side="right").astype(np.int8)


def hashed(seed: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Hashes:
    """Mix a seed and two whole numbers into 64 bits, the same on every machine.

    The mixer is that of SplitMix64 (Steele, Lea and Flood 2014,
    https://doi.org/10.1145/2660193.2660195), applied once a number.

    Examples
    --------
    >>> hashed(0, np.array([0, 0]), np.array([0, 1])).tolist()
    [2558736989570252433, 3400964856525257824]
    """
    start = np.asarray(seed % (1 << 64), np.uint64)
    with np.errstate(over="ignore"):
        mixed = _mix(start)
        for numbers in (rows, cols):
            mixed = _mix(mixed ^ np.asarray(numbers, np.int64).astype(np.uint64))
    return mixed


def _mix(number: Hashes) -> Hashes:
    found = number + _GOLDEN
    for shift, factor in _MIX:
        found = (found ^ (found >> shift)) * factor
    return found ^ (found >> _LAST)


@dataclass(frozen=True, slots=True)
class Shown:
    """An order in which chips are shown."""

    order: Numbers
    """Places of the chips, first to last."""

    pools: tuple[int, ...]
    """How many of them are read together each time."""


def shuffled(rows: Numbers, cols: Numbers, shards: Numbers, seed: int, window: int) -> Shown:
    """Shuffle chips so that each shard is read about once.

    Shards are shuffled, and taken ``window`` at a time; the chips of those are shuffled
    among themselves.

    Parameters
    ----------
    rows, cols
        Where each chip begins, counted from the cube's corner.
    shards
        Row and column of the shard that each chip is filed under, shape (chips, 2).
    seed
        Another one, another order.
    window
        Shards that are held at once; more of them mix better and take more memory.

    Returns
    -------
    Shown
        A permutation.

    Raises
    ------
    RecipeError
        If ``window`` is below 1.
    """
    if window < 1:
        raise RecipeError(f"window={window} holds no shard; set it to at least 1 (4 mixes well)")
    there, home = np.unique(shards, axis=0, return_inverse=True)
    turns = np.empty(len(there), np.int64)
    turns[np.argsort(hashed(seed, there[:, 0], there[:, 1]), kind="stable")] = np.arange(len(there))
    pool = turns[home.reshape(-1)] // window
    order = np.lexsort((hashed(seed ^ 1, rows, cols), pool))
    return Shown(order, tuple(np.bincount(pool).tolist()) if len(pool) else ())


def home_shards(rows: Numbers, cols: Numbers, size_px: int, tiles: Tiling) -> Numbers:
    """Row and column at which the shard that holds each chip's middle begins, shape (chips, 2)."""
    middle = size_px // 2
    homes = []
    for starts, edges in ((rows, tiles.rows), (cols, tiles.cols)):
        places = np.searchsorted(edges[:-1], starts + middle, side="right") - 1
        homes.append(np.asarray(edges, np.int64)[places])
    return np.stack(homes, axis=1)
