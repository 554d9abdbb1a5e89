"""Scenes made up for tests: headers without files, and pixels which hold their own coordinates.

Nothing here shares code with the pipeline, so a fault there cannot hide here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from spacenet_cube.builds.unit.mosaic import OpenScene, ReadWindow
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.validity import Samples
from spacenet_cube.recipe.model import Encoding, Expect, Licence, Product, Recipe
from spacenet_cube.sources.scene import Layout, Scene

STRIPS = Layout(block_yx=(1, 64), tiled=False, interleave="pixel", compression=None)
UTM = "EPSG:32611"
LICENCE = Licence(spdx="CC0-1.0", url=None, attribution="nobody")
NAMES = ("red", "green", "blue", "nir1", "nir2", "coastal", "yellow", "rededge")
LAMBERT = str(
    CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=20 +x_0=5 +y_0=7 +ellps=GRS80 +units=m").to_wkt(
        version="WKT2_2019"
    )
)
"""A CRS nobody has given a code."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The grid that scenes are cut from."""

    west: float = 500_000.0
    """Outer edge of column 0, CRS units."""

    north: float = 4_000_000.0
    """Outer edge of row 0, CRS units."""

    width: float = 0.5
    """Of a pixel, CRS units."""

    height: float = 0.5
    """Of a pixel, CRS units; positive."""

    crs: str = UTM
    """Coordinate reference system."""

    def transform(self, row: int = 0, col: int = 0) -> Affine:
        """Pixel corner to CRS of a raster whose first pixel is at a row and column."""
        west, north = self.west + col * self.width, self.north - row * self.height
        return Affine(self.width, 0.0, west, 0.0, -self.height, north)

    def cut(self, name: str, block: Block, **facts: Any) -> Scene:
        """The scene that covers a block of the lattice."""
        transform = self.transform(block.row, block.col)
        shape_yx = (block.height, block.width)
        return scene(name, shape_yx=shape_yx, transform=transform, crs=self.crs, **facts)


def scene(name: str = "a.tif", **facts: Any) -> Scene:
    """A scene; what is not given is of no consequence."""
    usual: dict[str, Any] = {
        "key": f"scenes/{name}",
        "href": f"/somewhere/scenes/{name}",
        "size_bytes": 1234,
        "etag": None,
        "shape_yx": (4, 6),
        "transform": Lattice().transform(),
        "crs": UTM,
        "dtype": "uint16",
        "count": 3,
        "nodata": None,
        "layout": STRIPS,
    }
    return Scene(id=name, **usual | facts)


def product(*, count: int = 3, chunk: int = 16, shard: int = 16, **more: Any) -> Product:
    """A product with bands of WorldView-3 and small chunks."""
    profile = more.pop("profile", "cloud")
    usual: dict[str, Any] = {
        "name": "P",
        "sources": (("*.tif",),),
        "bands": NAMES[:count],
        "sensor": "WorldView-3",
        "encoding": Encoding(profile=profile, chunk=chunk, shard=shard),
        "expect": Expect(),
    }
    return Product(**usual | more)


def recipe(*products: Product, name: str = "AOI") -> Recipe:
    """A recipe of these products."""
    return Recipe(name=name, licence=LICENCE, products=products or (product(),))


def coordinates(block: Block, count: int = 2, dtype: str = "int32") -> Samples:
    """An image (band, y, x) of a block of a grid, each sample naming its band, row and column."""
    rows = np.arange(block.row, block.row + block.height)[:, np.newaxis]
    cols = np.arange(block.col, block.col + block.width)[np.newaxis, :]
    bands = np.arange(1, count + 1)[:, np.newaxis, np.newaxis]
    found: Samples = (bands * 1_000_000 + rows * 1_000 + cols).astype(dtype)
    return found


def in_memory(images: Mapping[str, Samples]) -> OpenScene:
    """What opens scenes whose samples (band, y, x) are here by name."""

    @contextmanager
    def open_scene(wanted: Scene, within: Block) -> Iterator[ReadWindow]:
        def read(window: Block, out: Samples) -> None:
            assert window.intersection(within) == window, "reads stay inside what was announced"
            out[...] = images[wanted.id][:, *window.yx]

        yield read

    return open_scene


def write_geotiff(path: Path, image: Samples, **more: Any) -> str:
    """Write an image (band, y, x) as a GeoTIFF and return its path."""
    with rasterio.open(path, "w", **_profile(image, more)) as target:
        target.write(image)
    return str(path)


@contextmanager
def geotiff(image: Samples, **more: Any) -> Iterator[Any]:
    """An image (band, y, x) as a GeoTIFF in memory, opened for reading."""
    with MemoryFile() as file:
        with file.open(**_profile(image, more)) as target:
            target.write(image)
        with file.open() as source:
            yield source


def _profile(image: Samples, more: Mapping[str, Any]) -> dict[str, Any]:
    count, height, width = image.shape
    usual = {"transform": Lattice().transform(), "crs": UTM, "driver": "GTiff"}
    size = {"count": count, "height": height, "width": width}
    return {**usual, **size, "dtype": image.dtype, **more}


def blocks_within(most: int, *, at_least: int = 1) -> st.SearchStrategy[Block]:
    """Blocks that start before a row and column and are no larger than that."""
    start, size = st.integers(0, most), st.integers(at_least, most)
    return st.builds(Block, row=start, col=start, height=size, width=size)


def from_corner(blocks: list[Block]) -> list[Block]:
    """The same blocks, counted from the north-western corner of them all."""
    top, left = min(block.row for block in blocks), min(block.col for block in blocks)
    return [Block(b.row - top, b.col - left, b.height, b.width) for b in blocks]
