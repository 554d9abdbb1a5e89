"""GeoTIFFs as delivered: strips, uncompressed, pixel-interleaved, no nodata tag."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterWindow

from spacenet_cube.sample.catalog import Delivery, Tile
from spacenet_cube.sample.ground.noise import Window
from spacenet_cube.sample.pixels import band_names, pixel_type, pixels

_GROUND_PIXELS = 2**19
"""Ground pixels painted at a time, whatever the size of a tile."""

_LARGEST_BLOCK = 512


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Lend a name beside ``path`` to write to; the file takes its place when done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def header(delivery: Delivery, tile: Tile) -> Affine:
    """Transform in a tile's header, with the rounding noise that real headers have.

    Some pixel sizes differ in the eighth digit and some corners in the tenth decimal
    place, never by more than a thousandth of a pixel anywhere in a full tile.
    """
    size = delivery.pixel_deg
    west, north = delivery.west + tile.x * size, delivery.north - tile.y * size
    if not delivery.code:
        return Affine(size, 0, west, 0, -size, north)
    west, north = round(west, 10), round(north, 10)
    dice = crc32(f"{delivery.product} {tile.name}".encode())
    if (tile.row, tile.col) == (1, 1) or dice % 3:
        return Affine(size, 0, west, 0, -size, north)
    stretch = [1 + (dice >> shift) % 11 * 1.1e-8 - 5.5e-8 for shift in (4, 12)]
    slip = (dice >> 20) % 2 * 1e-10
    return Affine(size * stretch[0], 0, west + slip, 0, -size * stretch[1], north - slip)


def write_tile(path: Path, delivery: Delivery, tile: Tile) -> None:
    """Write one tile as delivered."""
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": pixel_type(delivery.product),
        "count": len(band_names(delivery.product)),
        "height": tile.height,
        "width": tile.width,
        "crs": "EPSG:4326",
        "transform": header(delivery, tile),
        "interleave": "pixel",
    }
    rows = max(1, _GROUND_PIXELS // (tile.width * delivery.factor**2))
    with replaced(path) as part, rasterio.open(part, "w", **profile) as target:
        for y in range(0, tile.height, rows):
            height = min(rows, tile.height - y)
            window = Window(tile.y + y, tile.x, height, tile.width)
            target.write(pixels(delivery, window), window=RasterWindow(0, y, tile.width, height))


def write_cog(path: Path, tile_path: Path, full_edge: int) -> None:
    """Write the tiled sibling with overviews that the bucket has beside a tile.

    Parameters
    ----------
    path
        File to write.
    tile_path
        The tile as delivered.
    full_edge
        Rows and columns of a full tile, from which the block size is chosen.
    """
    block = _LARGEST_BLOCK if full_edge >= _LARGEST_BLOCK else 32
    with replaced(path) as part:
        with rasterio.open(tile_path) as source:
            profile = source.profile | {"tiled": True, "blockxsize": block, "blockysize": block}
            with rasterio.open(part, "w", **profile) as target:
                for y in range(0, source.height, block):
                    rows = RasterWindow(0, y, source.width, min(block, source.height - y))
                    target.write(source.read(window=rows), window=rows)
        # Nearest, because a mean would smear fill into the ground and depend on the CPU.
        overview_block = max(64, block)
        with (
            rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE=overview_block),
            rasterio.open(part, "r+") as target,
        ):
            factors = _halvings(max(target.shape), overview_block)
            target.build_overviews(factors, Resampling.nearest)


def _halvings(edge: int, block: int) -> list[int]:
    """Powers of two down to one block, and at least one."""
    factors = [2]
    while edge > block * factors[-1]:
        factors.append(factors[-1] * 2)
    return factors
