"""Facts of the deliveries, as numbers: corners, orders, times and ragged edges.

Edges are those of the publishers' footprint indexes, divided by the pixel size.  Orders
of pan-sharpened products are on record for Vegas (both) and Paris (RGB); those of the
other AOIs are invented in the same scheme, so never key on them.

Pure.
"""

from dataclasses import dataclass

PAN_TILE = 16384
"""Rows and columns of a full PAN tile."""

PAN_PIXEL_DEG = 2.7e-6
"""Edge of a PAN pixel, in degrees."""

QUADKEY_DEG = 360 / 4096
"""Edge of a tile of Rio, in degrees: zoom level 12."""

RIO_8_BAND_TILE = 4896
"""Rows and columns of an 8-band tile of Rio; its 3-band tile has four times as many."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One satellite pass, delivered as a grid of tiles with ragged edges."""

    west: float
    """Left edge, in degrees."""

    north: float
    """Upper edge, in degrees."""

    orders: tuple[str, str, str]
    """Order numbers of PAN and MUL, of RGB-PanSharpen and of MUL-PanSharpen."""

    times: tuple[str, str]
    """Time in the file names of PAN and MUL, and of the pan-sharpened products."""

    last_widths: tuple[int, ...]
    """Width of the last PAN tile of each row, north to south."""

    last_heights: tuple[int, ...]
    """Height of the last PAN tile of each column, west to east."""

    sharp_rows_cols: tuple[int, int]
    """Rows and columns of pan-sharpened tiles."""


@dataclass(frozen=True, slots=True)
class QuadkeyMosaic:
    """A mosaic cut along the tiles of a web map."""

    west: float
    """Left edge, in degrees."""

    north: float
    """Upper edge, in degrees."""

    keys: tuple[str, ...]
    """The tiles there are, sorted."""


_RIO_KEYS = (
    *(f"0130222231{k}" for k in ("03", "12", "13", "21", "23", "30", "31", "32", "33")),
    *(f"0130222233{k}" for k in ("01", "10", "11")),
    *(f"0130222320{k}" for k in ("02", "03", "20", "21", "22", "23", "30", "31")),
    *(f"0130222320{k}" for k in ("32", "33")),
    *(f"0130222321{k}" for k in ("20", "22")),
    *(f"0130222322{k}" for k in ("00", "01", "10", "11")),
    "013022232300",
)

RIO = QuadkeyMosaic(west=-43.857421875, north=-22.763671875, keys=_RIO_KEYS)

VEGAS = Strip(
    west=-115.3075176,
    north=36.2639592,
    orders=("055649178030", "056155973040", "056155973080"),
    times=("15OCT22183656", "15OCT22183656"),
    last_widths=(8222, 8177, 8124, 8070),
    last_heights=(1947, 2648, 3349, 3693),
    sharp_rows_cols=(7, 7),
)

PARIS = Strip(
    west=2.1109464,
    north=49.0767768,
    orders=("055649178040", "056155973010", "056155973050"),
    times=("16FEB29111913", "16FEB29111912"),
    last_widths=(
        *(9003, 9029, 9054, 9080, 9106, 9132, 9157, 9183),
        *(9209, 9235, 9260, 9286, 9312, 9338, 9339),
    ),
    last_heights=(3041, 2550, 2052, 1554, 1056),
    sharp_rows_cols=(29, 10),
)

SHANGHAI = Strip(
    west=121.5901692,
    north=31.4273088,
    orders=("055649178010", "056155973020", "056155973060"),
    times=("15JUN06023537", "15JUN06023537"),
    last_widths=(
        *(9349, 9358, 9367, 9376, 9386, 9395, 9404),
        *(9413, 9423, 9432, 9441, 9450, 9459, 9464),
    ),
    last_heights=(9135, 8681, 8222, 7763),
    sharp_rows_cols=(28, 8),
)

KHARTOUM = Strip(
    west=32.4191484,
    north=15.8719824,
    orders=("055649178020", "056155973030", "056155973070"),
    times=("15APR13081815", "15APR13081815"),
    last_widths=(6268, 6234, 6181, 6128, 6074, 6021, 5968, 5915, 5861, 5808),
    last_heights=(11877, 12695, 13512, 13800),
    sharp_rows_cols=(20, 7),
)

AOIS: dict[str, Strip | QuadkeyMosaic] = {
    "AOI_1_Rio": RIO,
    "AOI_2_Vegas": VEGAS,
    "AOI_3_Paris": PARIS,
    "AOI_4_Shanghai": SHANGHAI,
    "AOI_5_Khartoum": KHARTOUM,
}
"""What was delivered for each AOI."""
