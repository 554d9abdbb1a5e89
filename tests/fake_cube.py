"""A small cube written with nothing but zarr, for tests of what reads cubes.

It keeps to the layout that ``spacenet_cube/docs/design.md`` promises, and shares no code with
the pipeline, so a fault there cannot hide here.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pyproj import CRS
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

MUL = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir1", "nir2")
RGB = ("red", "green", "blue")
PAN = ("pan",)

WAVELENGTH_NM = {
    "pan": 649.36,
    "coastal": 427.38,
    "blue": 481.92,
    "green": 547.14,
    "yellow": 604.28,
    "red": 660.11,
    "rededge": 722.73,
    "nir1": 824.04,
    "nir2": 913.65,
}
LICENSE = "CC-BY-SA-4.0"
ATTRIBUTION = "The SpaceNet Dataset by SpaceNet Partners, CC BY-SA 4.0"


@dataclass(frozen=True, slots=True)
class Fake:
    """What a test wants its cube to look like."""

    aoi: str = "AOI_2_Vegas"
    """Name of the area of interest."""

    product: str = "MUL"
    """Name of the product."""

    bands: Sequence[str] = MUL
    """Names of the bands, in order."""

    shape_yx: tuple[int, int] = (301, 210)
    """Rows and columns of the native level; the first is odd, so overviews are padded."""

    dtype: str = "uint16"
    """Type of the pixels."""

    crs: str = "EPSG:4326"
    """Coordinate reference system."""

    pixel_size: float = 1.08e-5
    """Edge of a pixel in CRS units."""

    upper_left_xy: tuple[float, float] = (-115.3075176, 36.2639592)
    """Outer corner of the first pixel, in CRS units."""

    chunk: int = 32
    """Edge of a chunk; overviews are made until a level fits in one."""

    shard: int = 64
    """Edge of a shard."""

    sharded: bool = True
    """Whether chunks are kept in shards."""

    imagery: Mapping[str, Any] | None = None
    """What every scene's metadata file says, if there is one."""


def pixels(fake: Fake) -> np.ndarray[Any, Any]:
    """Return pixels shaped (band, y, x) which look like ground and never hold 0."""
    ny, nx = fake.shape_yx
    row, col = np.mgrid[0:ny, 0:nx]
    green = np.clip(np.sin(row / ny * 9) * np.cos(col / nx * 7) + 0.3, 0, 1)
    street = (row % 24 < 2) | (col % 20 < 2)
    texture = ((row * 7919 + col * 104729) % 97) / 97
    top = 2047 if np.dtype(fake.dtype).itemsize > 1 else 255
    planes = []
    for name in fake.bands:
        wavelength_nm = WAVELENGTH_NM.get(name, 600.0)
        plants = 0.55 if wavelength_nm > 700 else 0.10 + 0.06 * (name == "green")
        soil = 0.15 + 0.25 * (wavelength_nm - 400) / 600
        plane = np.where(street, 0.22, green * plants + (1 - green) * soil)
        planes.append(1 + (top - 1) * (0.85 * plane + 0.08 * texture))
    return np.stack(planes).astype(fake.dtype)


def sources(fake: Fake) -> np.ndarray[Any, Any]:
    """Return which scene each pixel shaped (y, x) comes from: two strips, ragged, 0 outside."""
    ny, nx = fake.shape_yx
    row, col = np.mgrid[0:ny, 0:nx]
    index = np.where(row < ny // 2, 1, 2)
    outside = (row >= ny - ny // 8) & (col >= nx // 2)
    return np.where(outside, 0, index).astype("uint16")


def write_cube(folder: Path, fake: Fake | None = None) -> str:
    """Write a cube at ``<folder>/<aoi>/<product>.zarr`` and return its path."""
    fake = fake or Fake()
    path = folder / fake.aoi / f"{fake.product}.zarr"
    index = sources(fake)
    image = np.where(index > 0, pixels(fake), 0).astype(fake.dtype)
    root = zarr.create_group(str(path), attributes={})
    layout = _levels(fake)
    root.attrs.update(_root_attributes(fake, layout))
    for number, level in enumerate(layout):
        step = 2**number
        group = root if number == 0 else root.create_group(level["asset"])
        group.attrs.update(_spatial(fake, level))
        _write_level(
            group,
            fake,
            level,
            image[:, ::step, ::step],
            np.ascontiguousarray(index[::step, ::step]),
        )
    with warnings.catch_warnings(action="ignore", category=ZarrUserWarning):
        for level in layout[1:]:
            zarr.consolidate_metadata(str(path), path=level["asset"])
        zarr.consolidate_metadata(str(path))
    return str(path)


def _levels(fake: Fake) -> list[dict[str, Any]]:
    west, north = fake.upper_left_xy
    (ny, nx), size = fake.shape_yx, fake.pixel_size
    levels: list[dict[str, Any]] = []
    for number in range(32):
        name = "." if number == 0 else f"ovr_{2**number}x"
        shape = (math.ceil(ny / 2**number), math.ceil(nx / 2**number))
        edge = size * 2**number
        level: dict[str, Any] = {
            "asset": name,
            "spatial:shape": list(shape),
            "spatial:transform": [edge, 0.0, west, 0.0, -edge, north],
        }
        if number:
            level["derived_from"] = levels[-1]["asset"]
            level["transform"] = {"scale": [2.0, 2.0], "translation": [0.0, 0.0]}
        else:
            level["transform"] = {"scale": [1.0, 1.0], "translation": [0.0, 0.0]}
        levels.append(level)
        if max(shape) <= fake.chunk:
            break
    return levels


def _spatial(fake: Fake, level: dict[str, Any]) -> dict[str, Any]:
    a, _, west, _, e, north = level["spatial:transform"]
    ny, nx = level["spatial:shape"]
    return {
        "proj:code": fake.crs,
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": [west, north + e * ny, west + a * nx, north],
        "spatial:transform": level["spatial:transform"],
        "spatial:shape": level["spatial:shape"],
    }


def _root_attributes(fake: Fake, layout: list[dict[str, Any]]) -> dict[str, Any]:
    west, south, east, north = _spatial(fake, layout[0])["spatial:bbox"]
    middle = (south + north) / 2
    bboxes = ([west, middle, east, north], [west, south, east, middle])
    scenes = [
        {
            "index": number,
            "id": f"15OCT22183656-M2AS_R{number}C1-055649178030_01_P001.TIF",
            "key": f"AOI_2_Vegas/srcData/rasterData/MUL/R{number}C1.TIF",
            "size_bytes": 1000 + number,
            "etag": None,
            "acquired": "2015-10-22T18:36:56" if number == 1 else None,
            "catalog_id": "10400100137F4900",
            "bbox": bbox,
            "row_col": [number, 1],
            **({"imagery": dict(fake.imagery)} if fake.imagery else {}),
        }
        for number, bbox in enumerate(bboxes, start=1)
    ]
    return {
        "Conventions": "CF-1.12",
        "title": f"{fake.aoi} {fake.product}",
        "license": LICENSE,
        "attribution": ATTRIBUTION,
        "zarr_conventions": [],
        "multiscales": {"layout": layout, "resampling_method": "average"},
        "spacenet_cube": {
            "format": 1,
            "aoi": fake.aoi,
            "product": fake.product,
            "sensor": "WorldView-3",
            "mosaic": "first",
            "plan": "0" * 64,
            "software": "spacenet_cube 0.1.0",
            "scenes": scenes,
        },
    }


def _write_level(
    group: zarr.Group,
    fake: Fake,
    level: dict[str, Any],
    image: np.ndarray[Any, Any],
    index: np.ndarray[Any, Any],
) -> None:
    a, _, west, _, e, north = level["spatial:transform"]
    ny, nx = index.shape
    spatial = {"grid_mapping": "spatial_ref"}
    bands = len(fake.bands)
    _pixels(
        group, "image", image, (bands, fake.shard, fake.shard), fake,
        {"_FillValue": 0, "coordinates": "wavelength fwhm", **spatial},
    )  # fmt: skip
    _pixels(group, "source_index", index, (fake.shard, fake.shard), fake, spatial)
    degrees = CRS.from_user_input(fake.crs).is_geographic
    for name, values, attributes in (
        ("y", north + e * (np.arange(ny) + 0.5), {"units": "degrees_north" if degrees else "m"}),
        ("x", west + a * (np.arange(nx) + 0.5), {"units": "degrees_east" if degrees else "m"}),
    ):
        _values(group, name, values, (name,), attributes)
    wavelength = np.array([WAVELENGTH_NM.get(name, np.nan) for name in fake.bands])
    _values(group, "wavelength", wavelength, ("band",), {"units": "nm"})
    _values(group, "fwhm", np.full(bands, 60.0), ("band",), {"units": "nm"})
    names = group.create_array(
        "band", shape=(bands,), chunks=(bands,), dtype="string", dimension_names=("band",)
    )
    names[:] = np.array(fake.bands, dtype=np.dtypes.StringDType())
    crs = CRS.from_user_input(fake.crs)
    attributes = {
        **crs.to_cf(),
        "crs_wkt": crs.to_wkt(),
        "spatial_ref": crs.to_wkt(),
        "GeoTransform": f"{west} {a} 0.0 {north} 0.0 {e}",
    }
    _values(group, "spatial_ref", np.array(0), (), attributes)


def _pixels(
    group: zarr.Group,
    name: str,
    values: np.ndarray[Any, Any],
    shard: tuple[int, ...],
    fake: Fake,
    attributes: dict[str, Any],
) -> None:
    chunk = (*(1,) * (values.ndim - 2), fake.chunk, fake.chunk)
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunk,
        shards=shard if fake.sharded else None,
        compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()],
        fill_value=0,
        dimension_names=("band", "y", "x")[-values.ndim :],
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _values(
    group: zarr.Group,
    name: str,
    values: np.ndarray[Any, Any],
    dims: tuple[str, ...],
    attributes: dict[str, Any],
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape or "auto",
        dtype=values.dtype,
        dimension_names=dims,
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    array[...] = values
