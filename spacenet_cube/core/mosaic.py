"""Mosaics: many scenes on one block of pixels.

Pure: where samples come from is handed in.  Overlap is decided by validity, never by
rectangles, so one scene's fill cannot hide another scene's ground.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.core.grid import Block
from spacenet_cube.core.plan import STRIPE_ROWS, Piece, Plan, Unit
from spacenet_cube.core.scene import Scene

Samples = NDArray[Any]
"""Shape (band, y, x)."""

ReadWindow = Callable[[Block, Samples], None]
"""Fill an array (band, y, x) with the samples of a window of one scene."""

OpenScene = Callable[[Scene, Block], AbstractContextManager[ReadWindow]]
"""Open a scene to read windows inside one window of it, and close it again."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A block of a cube in memory."""

    image: Samples
    """Shape (band, y, x)."""

    source_index: NDArray[np.unsignedinteger[Any]]
    """Shape (y, x): 0 is no data, k the k-th scene."""


def valid_yx(samples: Samples, nodata: float) -> NDArray[np.bool_]:
    """Say which pixels hold data: those where any band differs from nodata.

    Parameters
    ----------
    samples
        Shape (band, y, x).
    nodata
        Value that marks no data when every band holds it; NaN for float samples.

    Returns
    -------
    array of bool
        Shape (y, x).

    Examples
    --------
    >>> valid_yx(np.array([[[0, 0]], [[0, 7]]]), 0)
    array([[False,  True]])
    """
    found: NDArray[np.bool_] = _differs(samples[0], nodata)
    for band in samples[1:]:
        if found.all():
            break
        found |= _differs(band, nodata)
    return found


def _differs(band: Samples, nodata: float) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = ~np.isnan(band) if np.isnan(nodata) else band != nodata
    return different


def mosaic(plan: Plan, unit: Unit, open_scene: OpenScene) -> Pixels:
    """Bring the scenes of a unit onto its pixels.

    Parameters
    ----------
    plan
        The plan the unit belongs to.
    unit
        What to make.
    open_scene
        Opens a scene for reading.

    Returns
    -------
    Pixels
        Of the unit's block; pixels that no scene covers hold the product's nodata.
    """
    shape_yx = (unit.block.height, unit.block.width)
    pixels = Pixels(
        _blank((len(plan.bands), *shape_yx), plan.product.nodata, plan.dtype),
        np.zeros(shape_yx, plan.source_index_dtype),
    )
    painted: list[Block] = []
    for piece in _by_precedence(unit.pieces, plan.product.mosaic):
        scene = plan.scenes[piece.scene - 1]
        layer = _Layer(piece.scene, scene.nodata, plan.product.nodata)
        alone = not any(piece.target.intersection(block) for block in painted)
        with open_scene(scene, piece.window) as read:
            for window, target in _stripes(piece):
                part = _view(pixels, target)
                if alone:
                    read(window, part.image)
                    _number(part, layer)
                else:
                    samples = np.empty(part.image.shape, part.image.dtype)
                    read(window, samples)
                    _lay_under(part, layer, samples)
        painted.append(piece.target)
    return pixels


def _blank(shape: tuple[int, ...], nodata: float, dtype: str) -> Samples:
    """Nothing but nodata.  Memory for zeros costs nothing until it is touched."""
    return np.zeros(shape, dtype) if nodata == 0 else np.full(shape, nodata, dtype)


def _by_precedence(pieces: Sequence[Piece], rule: Literal["first", "last"]) -> Sequence[Piece]:
    """The winner first, so that both rules are one rule."""
    return pieces if rule == "first" else tuple(reversed(pieces))


def _stripes(piece: Piece) -> list[tuple[Block, Block]]:
    """Window and target, a bounded number of rows at a time."""
    window, target = piece.window, piece.target
    steps = range(0, window.height, STRIPE_ROWS)
    return [
        (
            Block(window.row + step, window.col, rows, window.width),
            Block(target.row + step, target.col, rows, target.width),
        )
        for step in steps
        for rows in [min(STRIPE_ROWS, window.height - step)]
    ]


def _view(pixels: Pixels, block: Block) -> Pixels:
    rows, cols = block.yx
    return Pixels(pixels.image[:, rows, cols], pixels.source_index[rows, cols])


@dataclass(frozen=True, slots=True)
class _Layer:
    """What is to be known of a scene to lay it."""

    number: int
    """Number of the scene, from 1."""

    tag: float | None
    """The file's own nodata tag."""

    nodata: float
    """The product's nodata."""

    def valid(self, samples: Samples) -> NDArray[np.bool_]:
        """Valid (y, x) by the product's nodata and, where the file has a tag, by that too."""
        found = valid_yx(samples, self.nodata)
        if self.tag is None or self.tag == self.nodata:
            return found
        return found & valid_yx(samples, self.tag)


def _number(part: Pixels, layer: _Layer) -> None:
    """Number the valid pixels of a scene that lies alone; the others become nodata."""
    valid = layer.valid(part.image)
    if valid.all():
        part.source_index[...] = layer.number
        return
    part.source_index[valid] = layer.number
    if layer.tag is not None:
        np.copyto(part.image, np.asarray(layer.nodata, part.image.dtype), where=~valid)


def _lay_under(part: Pixels, layer: _Layer, samples: Samples) -> None:
    """Put a scene only where no winner holds data."""
    free = layer.valid(samples) & (part.source_index == 0)
    np.copyto(part.image, samples, where=free)
    part.source_index[free] = layer.number
