"""Units: the work of a build, cut so that anyone may do any part of it.

Pure.  A unit is a block of the grid together with the windows of the scenes that it needs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spacenet_cube.raster.grid import Block, blocks

WindowOf = Callable[[int, Block], Block | None]
"""Pixels of the scene of a number that a block of the grid needs; None where it needs none."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of one scene that lands in one unit."""

    scene: int
    """Number of the scene, from 1, as `source_index` holds it."""

    window: Block
    """Pixels of the scene, with the margin that its resampling and feathering need."""

    target: Block
    """Where they may land, counted from the unit's corner."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Work that anyone may do, any number of times, in any order."""

    number: int
    """Place in the plan, from 0."""

    block: Block
    """Pixels of the native grid; no other unit touches their shards."""

    pieces: tuple[Piece, ...]
    """Parts of scenes, in scene order; none where the unit holds no data."""

    def strips(self, height: int, window_of: WindowOf | None = None) -> tuple["Unit", ...]:
        """The unit cut across its height, so that less of it need be held at once.

        Parameters
        ----------
        height
            Rows of a part, pixels; the last has what is left.
        window_of
            Says what is read for a part; by default scenes lie on the grid pixel by pixel.

        Returns
        -------
        tuple of Unit
            North to south; together they hold the unit's pixels once.
        """
        return tuple(
            Unit(self.number, part, tuple(_clipped(self, part, window_of)))
            for part in self.block.strips(height)
        )


def _clipped(unit: Unit, part: Block, window_of: WindowOf | None) -> Iterator[Piece]:
    """The pieces of a unit as a part of it needs them."""
    within = part.relative_to(unit.block)
    for piece in unit.pieces:
        shared = piece.target.intersection(within)
        if shared is not None:
            window = (window_of or _same_pixels(piece, unit))(piece.scene, _shifted(shared, unit))
            if window is not None:
                yield Piece(piece.scene, window, shared.relative_to(within))


def _shifted(block: Block, unit: Unit) -> Block:
    """A block of a unit, counted from the grid's corner."""
    return Block(unit.block.row + block.row, unit.block.col + block.col, block.height, block.width)


def _same_pixels(piece: Piece, unit: Unit) -> WindowOf:
    """What a block of the grid needs of a scene that lies on it pixel by pixel."""
    target = _shifted(piece.target, unit)

    def window_of(_number: int, block: Block) -> Block:
        inside = block.relative_to(target)
        return Block(
            piece.window.row + inside.row,
            piece.window.col + inside.col,
            block.height,
            block.width,
        )

    return window_of


def units(
    shape_yx: tuple[int, int],
    edge_px: int,
    scene_blocks: Sequence[Block],
    window_of: WindowOf | None = None,
) -> tuple[Unit, ...]:
    """Cut a grid into units and say which part of which scene each of them needs.

    Parameters
    ----------
    shape_yx
        Rows and columns of the grid.
    edge_px
        Edge of a unit, pixels.
    scene_blocks
        Pixels of the grid that each scene may fill, in scene order.
    window_of
        Says what is read for them; by default scenes lie on the grid pixel by pixel.

    Returns
    -------
    tuple of Unit
        North to south, then west to east; together they hold every pixel once.
    """
    across = -(-shape_yx[1] // edge_px)
    held: dict[int, list[Piece]] = {}
    whole = Block(0, 0, *shape_yx)
    for number, full in enumerate(scene_blocks, start=1):
        block = full.intersection(whole)
        for place in _touched(block, edge_px, across) if block else ():
            corner = divmod(place, across)
            cell = Block(corner[0] * edge_px, corner[1] * edge_px, edge_px, edge_px)
            shared = block.intersection(cell) if block else None
            if shared is None:
                continue
            window = window_of(number, shared) if window_of else shared.relative_to(full)
            if window is not None:
                piece = Piece(number, window, shared.relative_to(cell))
                held.setdefault(place, []).append(piece)
    return tuple(
        Unit(place, block, tuple(held.get(place, ())))
        for place, block in enumerate(blocks(shape_yx, edge_px))
    )


def _touched(block: Block, edge_px: int, across: int) -> Sequence[int]:
    """Numbers of the cells that a block touches."""
    rows = range(block.row // edge_px, (block.row + block.height - 1) // edge_px + 1)
    cols = range(block.col // edge_px, (block.col + block.width - 1) // edge_px + 1)
    return [row * across + col for row in rows for col in cols]
