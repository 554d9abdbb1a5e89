"""Headers: what a GeoTIFF says of itself, read from its first bytes wherever it lies.

A remote header takes one to a few small ranged requests, whose bytes GDAL then parses
from a sparse local file.  Strips and tiles are counted too, so a file that is cut short is
found before anything is built.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp, MaskFlags

from spacenet_cube.raster.crs import refuse_files
from spacenet_cube.sources.files.tiff import Structure
from spacenet_cube.sources.gdal import open_raster
from spacenet_cube.sources.header_cache import recall, remember
from spacenet_cube.sources.mirror import Mirror, local_structure
from spacenet_cube.sources.scene import Layout
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.scratch import scratch_folder

_FAR, _THIN = 1e12, 1e-18


class UnusableError(Exception):
    """A header without what a scene needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a GeoTIFF's header says."""

    shape_yx: tuple[int, int]
    """Rows and columns, pixels."""

    transform: Affine
    """Pixel corner (column, row) to CRS (x, y)."""

    crs: str
    """``EPSG:...`` where the CRS has a code, else WKT 2."""

    dtype: str
    """numpy's name of the sample type."""

    count: int
    """Bands in the file."""

    nodata: float | None
    """The file's own nodata tag, if any."""

    layout: Layout
    """How the samples lie."""

    data_bytes: int | None
    """Bytes of all strips or tiles at full resolution; None where they cannot be told."""


def read_header(file: Location, size_bytes: int, etag: str | None) -> Header:
    """Read a header, or recall it where this object's was read before.

    Parameters
    ----------
    file
        A GeoTIFF, local or remote.
    size_bytes, etag
        As the listing has them.

    Returns
    -------
    Header
        What it says.

    Raises
    ------
    UnusableError
        If it lacks what a scene needs, or its pixels are cut short.
    TiffError
        If it is no TIFF, or a damaged one.
    """
    if file.is_local:
        return _local(Path(file.path))
    known = _of_facts(recall(file.url, size_bytes, etag))
    if known is not None:
        return known
    with scratch_folder() as folder:
        mirror = Mirror(file, size_bytes, etag, folder / "header.tif")
        found = _parsed(mirror.path, mirror.structure())
    remember(file.url, size_bytes, etag, _facts(found))
    return found


def _local(path: Path) -> Header:
    return _parsed(path, local_structure(path))


def _parsed(path: Path, structure: Structure | None) -> Header:
    with open_raster(str(path)) as dataset:
        if dataset.crs is None:
            raise UnusableError("has no CRS")
        if len(set(dataset.dtypes)) > 1:
            raise UnusableError(f"mixes sample types {', '.join(sorted(set(dataset.dtypes)))}")
        unfit = _unfit(dataset) or _unsound(dataset)
        if unfit:
            raise UnusableError(unfit)
        return Header(
            shape_yx=dataset.shape,
            transform=Affine(*tuple(dataset.transform)[:6]),
            crs=_crs_text(dataset.crs.to_wkt()),
            dtype=dataset.dtypes[0],
            count=dataset.count,
            nodata=dataset.nodata,
            layout=_layout(dataset),
            data_bytes=None if structure is None else structure.data_bytes,
        )


def _unfit(dataset: Any) -> str | None:  # noqa: ANN401 - rasterio ships no types
    """What a raster has that a cube would silently get wrong."""
    if dataset.transform.is_identity:
        return "has no georeferencing of its own (gdal_translate -a_ullr, or gdalwarp, writes it)"
    if any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums):
        return (
            "marks fill by an alpha band or a mask, which a cube does not follow "
            "(gdalwarp -dstnodata 0 -srcalpha burns it in)"
        )
    if ColorInterp.palette in dataset.colorinterp:
        return "holds classes of a colour table (gdal_translate -expand rgb makes colours of it)"
    return None


def _unsound(dataset: Any) -> str | None:  # noqa: ANN401 - rasterio ships no types
    """What of a header no raster on the ground has."""
    transform = Affine(*tuple(dataset.transform)[:6])
    edges = [abs(number) for number in tuple(transform)[:6]]
    if not all(map(isfinite, edges)) or max(edges) > _FAR or abs(transform.determinant) < _THIN:
        return f"has a transform that places no pixel: {[float(f'{n:.6g}') for n in transform[:6]]}"
    return None


@lru_cache(maxsize=64)
def _crs_text(wkt: str) -> str:
    """``EPSG:...`` where the CRS surely has a code, else WKT 2."""
    try:
        crs = CRS.from_wkt(wkt)
        authority = crs.to_authority(min_confidence=100)
        if authority:
            return ":".join(authority)
        text = str(crs.to_wkt("WKT2_2019"))
        refuse_files(" ".join(text.split()))
    except (CRSError, ValueError) as error:
        raise UnusableError(f"has a CRS that cannot be used: {str(error)[:200]}") from error
    return text


def _layout(dataset: Any) -> Layout:  # noqa: ANN401 - rasterio ships no types
    rows, cols = dataset.block_shapes[0]
    compression = dataset.compression
    return Layout(
        block_yx=(rows, cols),
        tiled=cols != dataset.width,
        interleave="band" if dataset.interleaving.value.lower() == "band" else "pixel",
        compression=compression.value.lower() if compression else None,
    )


def _facts(header: Header) -> dict[str, Any]:
    return asdict(header) | {"transform": list(tuple(header.transform)[:6])}


def _of_facts(facts: dict[str, Any] | None) -> Header | None:
    """A header from the cache; None where the entry does not make sense."""
    if facts is None:
        return None
    try:
        rows, cols = (int(edge) for edge in facts["shape_yx"])
        high, wide = (int(edge) for edge in facts["layout"]["block_yx"])
        layout = Layout(**{**facts["layout"], "block_yx": (high, wide)})
        numbers = [float(number) for number in facts["transform"]]
        nodata, data_bytes = facts["nodata"], facts["data_bytes"]
        return Header(
            shape_yx=(rows, cols),
            transform=Affine(*numbers),
            crs=str(facts["crs"]),
            dtype=str(facts["dtype"]),
            count=int(facts["count"]),
            nodata=None if nodata is None else float(nodata),
            layout=layout,
            data_bytes=None if data_bytes is None else int(data_bytes),
        )
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the header is read again
        return None
