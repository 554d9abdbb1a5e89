"""Upright: south-up and west-flipped rasters, seen north-up.

Pure.  A raster whose rows run north, or whose columns run west, holds the pixels of a
north-up one in another order.  Scenes are described upright from the survey on; only what
touches the file's own rows and columns turns a window back.
"""

from affine import Affine

from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.validity import Samples

Flip = tuple[bool, bool]
"""Whether rows run from south to north, and columns from east to west, in the file."""

_NOISE_PX = 0.05


def upright(transform: Affine, shape_yx: tuple[int, int]) -> tuple[Affine, Flip]:
    """The transform of a raster once it lies north-up, and what must be flipped for that.

    Parameters
    ----------
    transform
        The file's own: pixel corner (column, row) to CRS (x, y).
    shape_yx
        Rows and columns.

    Returns
    -------
    transform : Affine
        The same where nothing is flipped, which is also so for rotated rasters.
    flip : tuple of bool
        Rows, columns.

    Examples
    --------
    >>> south_up = Affine(10.0, 0.0, 0.0, 0.0, 10.0, 0.0)
    >>> found, flip = upright(south_up, (4, 6))
    >>> found.f, found.e, flip
    (40.0, -10.0, (True, False))
    """
    if rotation_px(transform, shape_yx) > _NOISE_PX or not (transform.a and transform.e):
        return transform, (False, False)
    rows, cols = shape_yx
    flip = (transform.e > 0, transform.a < 0)
    if not any(flip):
        return transform, flip
    turned = (
        transform
        @ Affine.translation(cols if flip[1] else 0, rows if flip[0] else 0)
        @ Affine.scale(-1 if flip[1] else 1, -1 if flip[0] else 1)
    )
    return Affine(*tuple(turned)[:6]), flip


def rotation_px(transform: Affine, shape_yx: tuple[int, int]) -> float:
    """How far rotation terms move a corner of a raster, pixels.

    Parameters
    ----------
    transform
        Pixel corner (column, row) to CRS (x, y).
    shape_yx
        Rows and columns.

    Returns
    -------
    float
        0 for a raster that is not rotated; infinite for one turned by a right angle.

    Examples
    --------
    >>> rotation_px(Affine(10, 6e-16, 0, 6e-16, -10, 0), (1000, 1000)) < 1e-12
    True
    """
    a, b, _, d, e, _ = tuple(transform)[:6]
    if not (b or d):
        return 0.0
    if not (a and e):
        return float("inf")
    rows, cols = shape_yx
    return float(max(abs(b * rows / a), abs(d * cols / e)))


def in_file(window: Block, shape_yx: tuple[int, int], flip: Flip) -> Block:
    """Where a window of an upright scene lies in its file.

    Parameters
    ----------
    window
        Pixels of the scene.
    shape_yx
        Rows and columns of the whole.
    flip
        What the file has the other way round.

    Returns
    -------
    Block
        Pixels of the file.

    Examples
    --------
    >>> in_file(Block(0, 1, 2, 3), (10, 10), (True, False))
    Block(row=8, col=1, height=2, width=3)
    """
    rows, cols = shape_yx
    row = rows - window.row - window.height if flip[0] else window.row
    col = cols - window.col - window.width if flip[1] else window.col
    return Block(row, col, window.height, window.width)


def turn(samples: Samples, flip: Flip) -> Samples:
    """Samples (..., y, x) the other way round, in the same memory.

    Parameters
    ----------
    samples
        Of a window.
    flip
        Rows, columns.

    Returns
    -------
    array
        A view.
    """
    return samples[..., :: -1 if flip[0] else 1, :: -1 if flip[1] else 1]
