"""Mosaics: many scenes on one block of pixels.

Pure: where samples come from, and who resamples them, is handed in.  Overlap is decided by
validity, never by rectangles, so one scene's fill cannot hide another scene's ground.
Work goes by stripes, so memory beside the unit is bounded.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.plans.placement import Seat, grown
from spacenet_cube.plans.plan import STRIPE_ROWS, WARP_PX, Plan
from spacenet_cube.plans.precedence import combines, precedence, reach_px
from spacenet_cube.plans.units import Piece, Unit
from spacenet_cube.raster.combine import Layer, Mask, combine, feather_weight
from spacenet_cube.raster.grid import Block, blocks
from spacenet_cube.raster.pixels import Pixels, Resample, Resampling
from spacenet_cube.raster.polygons import inside
from spacenet_cube.raster.validity import Samples, differs, keep_present, keep_valid, valid_yx
from spacenet_cube.raster.warp import Warp, is_wholly_inside, scene_window
from spacenet_cube.sources.nodata import marks_each_band
from spacenet_cube.sources.scene import Scene

_WARP_ROWS = 512
_TILE_PX = 256

ReadWindow = Callable[[Block, Samples], None]
"""Fill an array (band, y, x) with the samples of a window of one scene."""

OpenScene = Callable[[Scene, Block], AbstractContextManager[ReadWindow]]
"""Open a scene to read windows inside one window of it, and close it again."""


def mosaic(
    plan: Plan,
    unit: Unit,
    open_scene: OpenScene,
    resample: Resample,
    out: Pixels | None = None,
) -> Pixels:
    """Bring the scenes of a unit onto its pixels.

    Parameters
    ----------
    plan
        The plan the unit belongs to.
    unit
        What to make.
    open_scene
        Opens a scene for reading.
    resample
        Resamples what does not lie on the grid.
    out
        Where to put the result, of the block's size, whatever it holds; new memory by default.

    Returns
    -------
    Pixels
        Of the unit's block, ``out`` where that is given; pixels that no scene covers hold the
        product's nodata.
    """
    shape_yx = (unit.block.height, unit.block.width)
    pixels = out or new_pixels(plan, shape_yx)
    assert pixels.source_index.shape == shape_yx, "the result has another size"
    sources = {piece.scene: _source(plan, piece, resample) for piece in unit.pieces}
    if combines(plan.product):
        make_blank(pixels, plan.nodata)
        _combine(plan, unit, pixels, sources, open_scene)
    else:
        _lay(plan, unit, pixels, sources, open_scene)
    if combines(plan.product) or any(source.seat.warp for source in sources.values()):
        for block in Block(0, 0, *shape_yx).strips(STRIPE_ROWS):
            part = pixels.part(block)
            keep_valid(part.image, part.source_index, plan.nodata)
    return pixels


def new_pixels(plan: Plan, shape_yx: tuple[int, int]) -> Pixels:
    """Memory for a block of a plan's cube, which holds whatever it held.

    Parameters
    ----------
    plan
        Says how many bands there are, and of what type.
    shape_yx
        Rows and columns.

    Returns
    -------
    Pixels
        Image (band, y, x) and source_index (y, x).
    """
    return Pixels(
        np.empty((len(plan.bands), *shape_yx), plan.dtype),
        np.empty(shape_yx, plan.source_index_dtype),
    )


def make_blank(pixels: Pixels, nodata: float) -> None:
    """Fill pixels with nothing but nodata.

    Parameters
    ----------
    pixels
        What is filled, in place.
    nodata
        The product's.
    """
    # Not numpy.zeros: its pages come one by one when touched, three times as slow as being filled.
    pixels.image[...] = nodata
    pixels.source_index[...] = 0


def _moved(block: Block, origin: Block) -> Block:
    """A block counted from the grid's corner rather than from a unit's."""
    return Block(block.row + origin.row, block.col + origin.col, block.height, block.width)


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """A scene as pixels of the grid."""

    number: int
    """Number of the scene, from 1."""

    scene: Scene
    """What is read."""

    seat: Seat
    """How it lies on the grid."""

    nodata: float
    """The product's nodata."""

    tag: float | None
    """Value of the file's own tag, which marks single samples; None where it has none."""

    each_band: bool
    """Whether the product's nodata marks single samples too."""

    cutlines: tuple[Any, ...]
    """Polygons on the grid, of each of which a pixel must lie inside."""

    resample: Resample
    """Who resamples."""

    @property
    def passes_unchanged(self) -> bool:
        """Whether its samples can be read straight into place."""
        return self.seat.warp is None

    def valid(self, samples: Samples) -> Mask:
        """Valid (y, x) where any band holds a sample that is neither of the nodata values.

        Samples that hold the tag's value are given the product's, in place.
        """
        if self.tag is not None and self.tag != self.nodata:
            marked = ~differs(samples, self.tag)
            if samples.dtype.kind == "f" and not isnan(self.tag):
                marked &= ~np.isnan(samples)
            np.copyto(samples, np.asarray(self.nodata, samples.dtype), where=marked)
        found = valid_yx(samples, self.nodata)
        whole = self.scene.nodata if self.tag is None else None
        return found if whole in {None, self.nodata} else found & valid_yx(samples, whole)

    def present(self, samples: Samples) -> NDArray[np.bool_] | None:
        """Which samples (band, y, x) hold data by themselves, as they were read; None for all."""
        if self.tag is None and not self.each_band:
            return None
        found = np.ones(samples.shape, bool)
        for value in (self.tag, self.nodata if self.each_band else None):
            if value is not None:
                found &= differs(samples, value)
        return found

    def keep(self, valid: Mask, block: Block) -> Mask:
        """What of a block's valid pixels the cutlines leave."""
        for polygons in self.cutlines:
            valid &= inside(polygons, block)
        return valid

    def layer(self, block: Block, read: ReadWindow, like: Samples) -> Layer:
        """The scene on any block of the grid: not valid where it does not reach."""
        samples = np.zeros((like.shape[0], block.height, block.width), like.dtype)
        valid = np.zeros(samples.shape[1:], bool)
        present: NDArray[np.bool_] | None = None
        shared = block.intersection(self.seat.block)
        for part in _warp_blocks(shared, self.seat.warp) if shared else ():
            rows, cols = part.relative_to(block).yx
            if self.seat.warp is None:
                found = np.empty((like.shape[0], part.height, part.width), like.dtype)
                read(part.relative_to(self.seat.block), found)
                some, ours = self.present(found), self.valid(found)
            else:
                found, ours, some = self._resampled(part, read, like, self.seat.warp)
            samples[:, rows, cols] = found
            if some is not None and not (some | ~ours).all():
                present = np.ones(samples.shape, bool) if present is None else present
                present[:, rows, cols] = some
            valid[rows, cols] = self.keep(ours, part)
        return Layer(self.number, samples, valid, present=present)

    def _resampled(
        self, block: Block, read: ReadWindow, like: Samples, warp: Warp
    ) -> tuple[Samples, Mask, NDArray[np.bool_] | None]:
        """A block of the grid from the source pixels that it needs: samples, valid, present."""
        count = like.shape[0]
        window = scene_window(warp, self.scene.shape_yx, block)
        made = np.zeros((count + 1, block.height, block.width), like.dtype)
        if window is None:
            return made[:count], made[count] > 0, None
        samples = np.empty((count + 1, window.height, window.width), like.dtype)
        read(window, samples[:count])
        present, valid = self.present(samples[:count]), self.valid(samples[:count])
        if not valid.any():
            return made[:count], made[count] > 0, None
        if present is not None and not (present | ~valid).all():
            return self._resampled_by_band(block, samples[:count], present & valid, window)
        samples[count] = valid
        np.copyto(samples, np.zeros((), samples.dtype), where=~valid)
        for part in blocks((block.height, block.width), _TILE_PX):
            self._resample_tile(made[:, *part.yx], _moved(part, block), samples, window)
        # Kernels that overshoot leave a float mask a hair below 1.
        return made[:count], made[count] > _HALF, None

    def _resampled_by_band(
        self, block: Block, samples: Samples, present: NDArray[np.bool_], window: Block
    ) -> tuple[Samples, Mask, NDArray[np.bool_]]:
        """The same band by band, where kernels leave out other samples in each of them."""
        image = np.empty((samples.shape[0], block.height, block.width), samples.dtype)
        held = np.zeros(image.shape, bool)
        for band, plane in enumerate(samples):
            pair = np.stack([np.where(present[band], plane, 0), present[band]]).astype(plane.dtype)
            made = np.zeros((2, block.height, block.width), plane.dtype)
            for part in blocks((block.height, block.width), _TILE_PX):
                self._resample_tile(made[:, *part.yx], _moved(part, block), pair, window)
            held[band] = made[1] > _HALF
            image[band] = np.where(held[band], made[0], np.asarray(self.nodata, plane.dtype))
        keep_present(image, held, self.nodata)
        return image, held.any(axis=0), held

    def _resample_tile(self, made: Samples, tile: Block, samples: Samples, window: Block) -> None:
        """A tile of the grid, small enough for the processor's cache, from samples at hand."""
        warp = self.seat.warp
        needed = scene_window(warp, self.scene.shape_yx, tile) if warp else None
        # Edges are sampled: those of a tile may need a pixel more than those of the whole gave.
        needed = needed.intersection(window) if needed else None
        if warp is None or needed is None:
            return
        part = samples[:, *needed.relative_to(window).yx]
        valid = part[-1] > 0
        if valid.any():
            inside = is_wholly_inside(warp, self.scene.shape_yx, tile)
            has_gaps = not (inside and valid.all())
            wanted = Resampling(self.scene.id, part, needed, tile, warp, has_gaps)
            made[...] = self.resample(wanted)

    def weighted(self, layer: Layer, block: Block, read: ReadWindow, most_px: int) -> Layer:
        """The same layer with the weight of every pixel for feathering."""
        wide = self.layer(grown(block, most_px), read, layer.samples)
        middle = (
            slice(most_px, most_px + block.height),
            slice(most_px, most_px + block.width),
        )
        weight = feather_weight(wide.valid, most_px)[middle]
        return Layer(layer.number, layer.samples, layer.valid, weight, layer.present)


_HALF = 0.5


def _source(plan: Plan, piece: Piece, resample: Resample) -> _Source:
    scene = plan.scenes[piece.scene - 1]
    cutlines = plan.cutlines_of(scene)
    seat = plan.seats[piece.scene - 1]
    tag, each = plan.tag_of(scene), marks_each_band(plan.product) is True
    return _Source(piece.scene, scene, seat, plan.nodata, tag, each, cutlines, resample)


def _warp_blocks(block: Block, warp: Warp | None) -> Iterator[Block]:
    """A block in parts whose source pixels are bounded.  The cut does not show in the result."""
    if warp is None:
        yield from block.strips(max(1, WARP_PX // block.width))
        return
    shrink = warp.scale_xy[0] * warp.scale_xy[1]
    most = max(1, int(WARP_PX * min(1.0, shrink)))
    rows = max(1, min(_WARP_ROWS, int(most**0.5)))
    cols = max(1, most // rows)
    for row in range(0, block.height, rows):
        for part in blocks((min(rows, block.height - row), block.width), cols):
            yield _moved(part, Block(block.row + row, block.col, 0, 0))


def _lay(
    plan: Plan,
    unit: Unit,
    pixels: Pixels,
    sources: dict[int, _Source],
    open_scene: OpenScene,
) -> None:
    """Lay scenes one under the other, the winner first; what winners hide is not read."""
    rank = {number: k for k, number in enumerate(precedence(plan.product, plan.scenes))}
    pieces = sorted(unit.pieces, key=lambda piece: rank[piece.scene])
    whole = Block(0, 0, unit.block.height, unit.block.width)
    if not (pieces and pieces[0].target == whole and sources[pieces[0].scene].passes_unchanged):
        make_blank(pixels, plan.nodata)
    painted: list[Block] = []
    for piece in pieces:
        source = sources[piece.scene]
        alone = not any(piece.target.intersection(block) for block in painted)
        if not alone and pixels.part(piece.target).source_index.all():
            continue
        with open_scene(source.scene, piece.window) as read:
            for target in piece.target.strips(STRIPE_ROWS):
                part = pixels.part(target)
                block = _moved(target, unit.block)
                if alone and source.passes_unchanged:
                    _read_straight(part, source, block, read)
                elif not part.source_index.all():
                    _lay_under(part, source.layer(block, read, part.image))
        painted.append(piece.target)


def _read_straight(part: Pixels, source: _Source, block: Block, read: ReadWindow) -> None:
    """Put an unchanged scene where no other lies; what is not valid becomes nodata."""
    read(block.relative_to(source.seat.block), part.image)
    valid = source.keep(source.valid(part.image), block)
    if valid.all():
        part.source_index[...] = source.number
        return
    part.source_index[...] = 0
    part.source_index[valid] = source.number
    np.copyto(part.image, np.asarray(source.nodata, part.image.dtype), where=~valid)


def _lay_under(part: Pixels, layer: Layer) -> None:
    """Put a scene only where no winner holds data."""
    free = layer.valid & (part.source_index == 0)
    np.copyto(part.image, layer.samples, where=free)
    part.source_index[free] = layer.number


def _combine(
    plan: Plan,
    unit: Unit,
    pixels: Pixels,
    sources: dict[int, _Source],
    open_scene: OpenScene,
) -> None:
    """Combine scenes stripe by stripe, so that only stripes of all of them are held."""
    with ExitStack() as stack:
        readers = {
            piece.scene: stack.enter_context(open_scene(sources[piece.scene].scene, piece.window))
            for piece in unit.pieces
        }
        whole = Block(0, 0, unit.block.height, unit.block.width)
        for stripe in whole.strips(_stripe_rows(unit, plan)):
            here = [piece for piece in unit.pieces if piece.target.intersection(stripe)]
            for target in _columns(stripe, here):
                under = [piece for piece in here if piece.target.intersection(target)]
                pairs = [(sources[piece.scene], readers[piece.scene]) for piece in under]
                block = _moved(target, unit.block)
                _combine_block(plan, pixels.part(target), block, pairs)


def _stripe_rows(unit: Unit, plan: Plan) -> int:
    """Rows at once: fewer where many scenes overlap or feathering needs a wide margin."""
    many = max(1, len(unit.pieces))
    most = WARP_PX // (unit.block.width * many)
    return max(1, min(most, STRIPE_ROWS), min(reach_px(plan.product), STRIPE_ROWS))


def _columns(stripe: Block, pieces: Sequence[Piece]) -> Iterator[Block]:
    """A stripe, cut where scenes begin and end, without the parts that hold none."""
    ends = {stripe.col, stripe.col + stripe.width}
    for piece in pieces:
        ends |= {piece.target.col, piece.target.col + piece.target.width}
    inner = sorted(end for end in ends if stripe.col <= end <= stripe.col + stripe.width)
    for left, right in pairwise(inner):
        block = Block(stripe.row, left, stripe.height, right - left)
        if any(piece.target.intersection(block) for piece in pieces):
            yield block


def _combine_block(
    plan: Plan,
    part: Pixels,
    block: Block,
    pairs: Sequence[tuple[_Source, ReadWindow]],
) -> None:
    """Combine the scenes that reach a block; one alone is laid as it is."""
    product = plan.product
    found = [(source, read, source.layer(block, read, part.image)) for source, read in pairs]
    found = [triple for triple in found if triple[2].valid.any()]
    layers = [layer for _, _, layer in found]
    if len(layers) == 1:
        _lay_under(part, layers[0])
    elif layers:
        if product.mosaic == "feather" and np.sum([layer.valid for layer in layers], 0).max() > 1:
            most_px = product.feather_px
            layers = [source.weighted(layer, block, read, most_px) for source, read, layer in found]
        image, index = combine(product.mosaic, layers, plan.nodata)
        np.copyto(part.image, image, where=index > 0)
        part.source_index[...] = index
