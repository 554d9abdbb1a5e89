"""Info: the facts of a published cube, from its metadata alone.

No pixel is read.  How many bytes are stored is found by listing, which takes long on object
storage, so it is asked for apart.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from pyproj import CRS, Geod

from spacenet_cube.cube.open import cube_url
from spacenet_cube.cube.root import believing, open_root
from spacenet_cube.errors import StoreError
from spacenet_cube.format.levels import Level, levels
from spacenet_cube.storage.base.secrets import scrubbed
from spacenet_cube.storage.resolve import locate

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Ground:
    """How large a rectangle is on the ground."""

    geographic: bool
    """Whether CRS units are degrees."""

    bounds: tuple[float, float, float, float]
    """West, south, east, north in CRS units."""

    size_m: tuple[float, float]
    """Width and height in metres, through the middle."""

    @property
    def aspect(self) -> float:
        """Length on screen of a CRS unit of y over one of x."""
        west, south, east, north = self.bounds
        width_m, height_m = self.size_m
        return (height_m / (north - south)) / (width_m / (east - west))


def ground(crs: CRS, bounds: tuple[float, float, float, float]) -> Ground:
    """Measure a rectangle on the ground.

    Parameters
    ----------
    crs
        Coordinate reference system of the bounds.
    bounds
        West, south, east, north in CRS units.

    Returns
    -------
    Ground
        Degrees are measured along the WGS 84 ellipsoid.

    Examples
    --------
    >>> ground(CRS("EPSG:32631"), (0.0, 0.0, 300.0, 100.0)).size_m
    (300.0, 100.0)
    """
    west, south, east, north = bounds
    if not crs.is_geographic:
        unit_m = crs.axis_info[0].unit_conversion_factor
        return Ground(
            geographic=False,
            bounds=bounds,
            size_m=((east - west) * unit_m, (north - south) * unit_m),
        )
    geod, lon, lat = Geod(ellps="WGS84"), (west + east) / 2, (south + north) / 2
    width_m = geod.line_length((west, lon, east), (lat, lat, lat))
    height_m = geod.line_length((lon, lon, lon), (south, lat, north))
    return Ground(geographic=True, bounds=bounds, size_m=(width_m, height_m))


@dataclass(frozen=True, slots=True)
class BandInfo:
    """One band of a cube."""

    name: str
    """What ``cube.image.sel(band=...)`` takes."""

    wavelength_nm: float | None
    """Centre wavelength in nanometres; None if unknown."""

    fwhm_nm: float | None
    """Full width at half maximum in nanometres; None if unknown."""


@dataclass(frozen=True, slots=True)
class CubeInfo:
    """The facts of a cube."""

    url: str
    """Where it lies."""

    aoi: str
    """Area of interest."""

    product: str
    """Product, such as ``MUL``."""

    sensor: str | None
    """Satellite, such as ``WorldView-3``."""

    shape: tuple[int, int, int]
    """Bands, rows and columns of the native level."""

    dtype: str
    """Type of the pixels."""

    bands: tuple[BandInfo, ...]
    """Bands, in the order of the array."""

    crs: str
    """Coordinate reference system, as authority and code where it has one."""

    resolution_yx: tuple[float, float]
    """Height and width of a native pixel in CRS units."""

    resolution_m_yx: tuple[float, float]
    """Height and width of a native pixel in metres, at the middle of the cube."""

    bbox: tuple[float, float, float, float]
    """West, south, east, north in CRS units."""

    levels: tuple[Level, ...]
    """Resolutions, finest first."""

    chunks: tuple[int, ...]
    """Bands, rows and columns that are compressed together."""

    shards: tuple[int, ...] | None
    """Bands, rows and columns kept in one object; None where each chunk has its own."""

    codecs: tuple[str, ...]
    """Codecs of a chunk, in the order they encode."""

    scenes: int
    """Number of scenes the cube was made from."""

    acquired: tuple[str, str] | None
    """First and last time of acquisition, UTC, ISO 8601; None if unknown."""

    license: str | None
    """Licence of the pictures."""

    attribution: str | None
    """Whose the pictures are."""

    plan: str | None
    """Digest of the plan the cube was built from."""

    software: str | None
    """What built it."""

    raw_bytes: int
    """Bytes of the native image, not compressed."""

    stored_bytes: int | None
    """Bytes of all objects of the cube; None where they were not counted."""

    def to_json(self) -> str:
        """Return one JSON object, keys sorted.

        Returns
        -------
        str
            What ``spacenet-cube info --json`` prints.
        """
        return json.dumps(asdict(self), indent=2, sort_keys=True)


def cube_info(
    cube: str | os.PathLike[str],
    product: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    count_bytes: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> CubeInfo:
    """Read the facts of a cube.

    Parameters
    ----------
    cube, product, root, storage_options
        As ``open_cube`` takes them.
    count_bytes
        Whether to list every object and add up their sizes.

    Returns
    -------
    CubeInfo
        The facts.

    Raises
    ------
    RecipeError
        If the address makes no sense.
    StoreError
        If no published cube of ours is there, or its objects cannot be listed.
    """
    url = cube_url(cube, product, root)
    group = open_root(url, storage_options)
    with believing(url):
        found = _told_by(url, group)
    if not count_bytes:
        return found
    return replace(found, stored_bytes=_stored_bytes(url, storage_options))


def _told_by(url: str, group: zarr.Group) -> CubeInfo:
    """The facts that metadata tell."""
    attributes: dict[str, Any] = dict(group.attrs)
    facts = attributes["spacenet_cube"]
    image = _array(group, "image")
    crs, native = _crs(group), levels(attributes)[0]
    west, south, east, north = attributes["spatial:bbox"]
    width_m, height_m = ground(crs, (west, south, east, north)).size_m
    rows, cols = native.shape_yx
    times = sorted(scene["acquired"] for scene in facts["scenes"] if scene.get("acquired"))
    return CubeInfo(
        url=url,
        aoi=facts["aoi"],
        product=facts["product"],
        sensor=facts.get("sensor"),
        shape=(image.shape[0], rows, cols),
        dtype=str(image.dtype),
        bands=_bands(group),
        crs=crs.to_string(),
        resolution_yx=native.resolution_yx,
        resolution_m_yx=(height_m / rows, width_m / cols),
        bbox=(west, south, east, north),
        levels=levels(attributes),
        chunks=image.chunks,
        shards=image.shards,
        codecs=_codecs(image),
        scenes=len(facts["scenes"]),
        acquired=(times[0], times[-1]) if times else None,
        license=attributes.get("license"),
        attribution=attributes.get("attribution"),
        plan=facts.get("plan"),
        software=facts.get("software"),
        raw_bytes=image.nbytes,
        stored_bytes=None,
    )


def render(info: CubeInfo) -> "RenderableType":
    """Lay the facts of a cube out as a table for a terminal.

    Parameters
    ----------
    info
        The facts.

    Returns
    -------
    rich.console.RenderableType
        What ``rich.print`` takes.
    """
    from rich.table import Table  # noqa: PLC0415 - not wanted where JSON is

    table = Table(title=f"{info.aoi} {info.product}", show_header=False, title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(info):
        if value:
            table.add_row(name, value)
    return table


def _rows(info: CubeInfo) -> list[tuple[str, str]]:
    bands, rows, cols = info.shape
    (high, wide), (high_m, wide_m) = info.resolution_yx, info.resolution_m_yx
    stored = "" if info.stored_bytes is None else f", {_size(info.stored_bytes)} stored"
    return [
        ("where", info.url),
        ("sensor", info.sensor or ""),
        ("image", f"{bands} bands x {rows:,} rows x {cols:,} columns, {info.dtype}"),
        ("bytes", f"{_size(info.raw_bytes)} of pixels{stored}"),
        ("bands", ", ".join(map(_band_words, info.bands))),
        ("CRS", info.crs),
        ("pixel", f"{high:.6g} x {wide:.6g} (y, x), {high_m:.3f} x {wide_m:.3f} m"),
        ("bounds", "west {:.6f}, south {:.6f}, east {:.6f}, north {:.6f}".format(*info.bbox)),
        ("levels", "\n".join(_level_words(level) for level in info.levels)),
        ("chunks", f"{info.chunks}, " + (f"shards {info.shards}" if info.shards else "no shards")),
        ("codecs", ", ".join(info.codecs)),
        ("scenes", f"{info.scenes}" + (f", {_times(info.acquired)}" if info.acquired else "")),
        ("licence", info.license or ""),
        ("credit", info.attribution or ""),
        ("plan", info.plan or ""),
        ("built by", info.software or ""),
    ]


def _level_words(level: Level) -> str:
    rows, cols = level.shape_yx
    name = "native" if level.number == 0 else level.name
    return f"{level.number}  {name}: {rows:,} x {cols:,}, pixel {level.resolution:.6g}"


def _band_words(band: BandInfo) -> str:
    return band.name if band.wavelength_nm is None else f"{band.name} {band.wavelength_nm:.0f} nm"


def _times(acquired: tuple[str, str]) -> str:
    first, last = (time.removesuffix("Z") for time in acquired)
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _size(size_bytes: int) -> str:
    """Return a size in decimal units, as stores bill it."""
    power = min(int(math.log10(max(size_bytes, 1)) // 3), 5)
    unit = ("B", "kB", "MB", "GB", "TB", "PB")[power]
    return f"{size_bytes / 1000**power:.3g} {unit}"


def _array(group: zarr.Group, name: str) -> "zarr.Array[Any]":
    found = group.get(name)
    if not isinstance(found, zarr.Array):
        raise StoreError(
            f"the cube at {group.store_path} has no array '{name}', which every cube has; "
            "it is damaged: build it again with --replace"
        )
    return found


def _crs(group: zarr.Group) -> CRS:
    attributes = {**_array(group, "spatial_ref").attrs, **group.attrs}
    return CRS.from_user_input(attributes.get("proj:code") or attributes["crs_wkt"])


def _bands(group: zarr.Group) -> tuple[BandInfo, ...]:
    names = [str(name) for name in np.atleast_1d(np.asarray(_array(group, "band")[...]))]
    columns = []
    for name in ("wavelength", "fwhm"):
        values = (
            np.asarray(_array(group, name)[...]) if name in group else np.full(len(names), np.nan)
        )
        columns.append([float(value) if np.isfinite(value) else None for value in values])
    return tuple(BandInfo(*row) for row in zip(names, *columns, strict=True))


def _codecs(image: "zarr.Array[Any]") -> tuple[str, ...]:
    steps = (*image.filters, *filter(None, [image.serializer]), *image.compressors)
    return tuple(_codec(step) for step in steps)


def _codec(step: Any) -> str:  # noqa: ANN401 - zarr has a type for each place
    described = step.to_dict()
    options = described.get("configuration", {})
    inner = [str(options[key]) for key in ("cname", "level", "clevel", "shuffle") if key in options]
    return " ".join([str(described["name"]), *inner])


def _stored_bytes(url: str, storage_options: Mapping[str, Any] | None) -> int:
    try:
        return sum(size_bytes for size_bytes, _ in locate(url, storage_options).find().values())
    except Exception as error:
        raise StoreError(
            f"the objects of {url} cannot be listed: {type(error).__name__}: "
            f"{scrubbed(str(error))[:300]}; "
            "ask for listing rights, or leave stored bytes out"
        ) from error
