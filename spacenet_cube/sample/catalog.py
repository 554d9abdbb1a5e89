"""The catalog: which files a delivery has, what they are called and where they lie.

Pure.  Positions count pixels from the upper left corner of the AOI, rows from the north.
"""

from dataclasses import dataclass

from spacenet_cube.errors import RecipeError
from spacenet_cube.sample.facts import (
    AOIS,
    PAN_PIXEL_DEG,
    PAN_TILE,
    QUADKEY_DEG,
    RIO_8_BAND_TILE,
    QuadkeyMosaic,
    Strip,
)

_SMALLEST_TILE = 8

STRIP_PRODUCTS = ("MUL", "MUL-PanSharpen", "PAN", "RGB-PanSharpen")
RIO_PRODUCTS = ("3-Band", "8-Band")
ALIASES = {"MS": "MUL", "PS-MS": "MUL-PanSharpen", "PS-RGB": "RGB-PanSharpen"}
_ORDERS = {"PAN": 0, "MUL": 0, "RGB-PanSharpen": 1, "MUL-PanSharpen": 2}
_CODES = {"MUL": "M2AS", "PAN": "P2AS", "MUL-PanSharpen": "S2AS", "RGB-PanSharpen": "S2AS"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One delivered raster."""

    name: str
    """File name without its suffix."""

    row: int
    """Row in the grid of tiles, from 1 in the north."""

    col: int
    """Column in the grid of tiles, from 1 in the west."""

    y: int
    """First row of pixels, counted from the AOI's upper edge."""

    x: int
    """First column of pixels, counted from the AOI's left edge."""

    height: int
    """Rows of pixels."""

    width: int
    """Columns of pixels."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """All tiles of one product of one AOI."""

    aoi: str
    """Such as ``AOI_2_Vegas``."""

    product: str
    """Such as ``MUL``; the name in the bucket's first layout."""

    code: str
    """Product code in the file names, such as ``M2AS``; empty for Rio."""

    order: str
    """Order number in the file names; empty for Rio."""

    timestamp: str
    """Time in the file names, ``yyMONddHHMMSS``; empty for Rio."""

    west: float
    """Left edge of the first column of pixels, in degrees."""

    north: float
    """Upper edge of the first row of pixels, in degrees."""

    pixel_deg: float
    """Edge of a pixel, in degrees."""

    factor: int
    """Pixels of the AOI's finest product along one edge of a pixel: 1 or 4."""

    ground_yx: tuple[int, int]
    """Extent of the AOI, in pixels of its finest product."""

    tiles: tuple[Tile, ...]
    """Row by row from the north, each from the west; Rio's by name."""


def product_names(aoi: str) -> tuple[str, ...]:
    """Products of an AOI, by their names in the bucket's first layout, sorted."""
    return RIO_PRODUCTS if isinstance(AOIS[aoi], QuadkeyMosaic) else STRIP_PRODUCTS


def check_tile_size(tile_size: int) -> int:
    """Return a tile size that every product can be scaled by.

    Raises
    ------
    RecipeError
        If it is no positive multiple of 8.
    """
    if tile_size < _SMALLEST_TILE or tile_size % _SMALLEST_TILE:
        raise RecipeError(
            f"tile size {tile_size} does not divide into whole MUL pixels and half tiles; "
            f"give a positive multiple of 8, such as {_nearest_size(tile_size)}"
        )
    return tile_size


def delivery(aoi: str, product: str, *, tile_size: int = PAN_TILE) -> Delivery:
    """Look up what was delivered, with the tiles' pixel counts scaled.

    Parameters
    ----------
    aoi
        One of ``facts.AOIS``.
    product
        Name in the bucket's first layout, such as ``MUL``, or today's, such as ``MS``.
    tile_size
        Edge of a full PAN tile in pixels, a multiple of 8; 16384 gives the real sizes.

    Returns
    -------
    Delivery
        Names and tiles; positions and sizes are in the product's own pixels.

    Raises
    ------
    RecipeError
        If there is no such AOI or product, or ``tile_size`` is no positive multiple of 8.

    Examples
    --------
    >>> vegas = delivery("AOI_2_Vegas", "PAN")
    >>> vegas.tiles[-1].name, vegas.tiles[-1].height, vegas.tiles[-1].width
    ('15OCT22183656-P2AS_R4C4-055649178030_01_P001', 3693, 8070)
    """
    check_tile_size(tile_size)
    product = ALIASES.get(product, product)
    if aoi not in AOIS:
        raise RecipeError(f"no AOI {aoi!r} was delivered; choose from {', '.join(AOIS)}")
    if product not in product_names(aoi):
        known = ", ".join(product_names(aoi))
        raise RecipeError(f"{aoi} has no product {product!r}; choose from {known}")
    facts = AOIS[aoi]
    if isinstance(facts, QuadkeyMosaic):
        return _quadkey_delivery(aoi, product, facts, tile_size)
    return _strip_delivery(aoi, product, facts, tile_size)


def _quadkey_delivery(aoi: str, product: str, facts: QuadkeyMosaic, tile_size: int) -> Delivery:
    coarse = _scaled(RIO_8_BAND_TILE, tile_size)
    factor = 4 if product == "8-Band" else 1
    edge = 4 * coarse // factor
    places = {key: _quadkey_row_col(key) for key in facts.keys}
    # These keys count rows from the south, unlike the quadkeys of web maps.
    last_row = max(row for row, _ in places.values())
    first_col = min(col for _, col in places.values())
    rows_cols = {k: (last_row - row, col - first_col) for k, (row, col) in places.items()}
    extent = tuple(4 * coarse * (max(axis) + 1) for axis in zip(*rows_cols.values(), strict=True))
    return Delivery(
        aoi=aoi,
        product=product,
        code="",
        order="",
        timestamp="",
        west=facts.west,
        north=facts.north,
        pixel_deg=QUADKEY_DEG / (RIO_8_BAND_TILE * 4) * factor,
        factor=factor,
        ground_yx=(extent[0], extent[1]),
        tiles=tuple(
            Tile(key, row + 1, col + 1, row * edge, col * edge, edge, edge)
            for key, (row, col) in sorted(rows_cols.items())
        ),
    )


def _strip_delivery(aoi: str, product: str, facts: Strip, tile_size: int) -> Delivery:
    sharpened = product.endswith("PanSharpen")
    pan_rows_cols = len(facts.last_widths), len(facts.last_heights)
    tiled = _Tiled(
        facts,
        pan_tile=tile_size,
        edge=tile_size // 2 if sharpened else tile_size,
        factor=4 if product == "MUL" else 1,
        rows_cols=facts.sharp_rows_cols if sharpened else pan_rows_cols,
    )
    code, order, timestamp = _CODES[product], facts.orders[_ORDERS[product]], facts.times[sharpened]
    tiles = tuple(
        tiled.tile(row, col, f"{timestamp}-{code}_{{}}-{order}_01_P001")
        for row in range(tiled.rows_cols[0])
        for col in range(tiled.rows_cols[1])
    )
    return Delivery(
        aoi=aoi,
        product=product,
        code=code,
        order=order,
        timestamp=timestamp,
        west=facts.west,
        north=facts.north,
        pixel_deg=PAN_PIXEL_DEG * tiled.factor,
        factor=tiled.factor,
        ground_yx=tiled.ground_yx,
        tiles=tiles,
    )


@dataclass(frozen=True, slots=True)
class _Tiled:
    """A strip cut into tiles; lengths are in PAN pixels."""

    facts: Strip
    pan_tile: int
    edge: int
    factor: int
    rows_cols: tuple[int, int]

    @property
    def ground_yx(self) -> tuple[int, int]:
        """Extent of the strip."""
        widths = [self._width(row) for row in range(len(self.facts.last_widths))]
        heights = [self._height(col) for col in range(len(self.facts.last_heights))]
        return max(heights), max(widths)

    def tile(self, row: int, col: int, name: str) -> Tile:
        """One tile; only those of the last row and the last column are ragged."""
        y, x = row * self.edge, col * self.edge
        last_row, last_col = row == self.rows_cols[0] - 1, col == self.rows_cols[1] - 1
        height = self._height(x // self.pan_tile) - y if last_row else self.edge
        width = self._width(y // self.pan_tile) - x if last_col else self.edge
        rows, cols = (len(str(count)) for count in self.rows_cols)
        return Tile(
            name.format(f"R{row + 1:0{rows}}C{col + 1:0{cols}}"),
            row + 1,
            col + 1,
            y // self.factor,
            x // self.factor,
            height=-(-min(max(height, 1), self.edge) // self.factor),
            width=-(-min(max(width, 1), self.edge) // self.factor),
        )

    def _width(self, pan_row: int) -> int:
        full = (len(self.facts.last_heights) - 1) * self.pan_tile
        return full + _scaled(self.facts.last_widths[pan_row], self.pan_tile)

    def _height(self, pan_col: int) -> int:
        full = (len(self.facts.last_widths) - 1) * self.pan_tile
        return full + _scaled(self.facts.last_heights[pan_col], self.pan_tile)


def _nearest_size(tile_size: int) -> int:
    return max(_SMALLEST_TILE, tile_size // _SMALLEST_TILE * _SMALLEST_TILE)


def _scaled(length: int, tile_size: int) -> int:
    """Scale a length of the real delivery, to at least one pixel."""
    return max(1, (length * tile_size + PAN_TILE // 2) // PAN_TILE)


def _quadkey_row_col(key: str) -> tuple[int, int]:
    """Row and column of a map's tile: the digits' high and low bits."""
    row = int("".join(str(int(digit) >> 1) for digit in key), 2)
    col = int("".join(str(int(digit) & 1) for digit in key), 2)
    return row, col
