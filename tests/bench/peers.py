"""The peers: the same array by odc-stac and by rioxarray, each as documented and each tuned.

As documented is what their own pages show for files like these, with zarr as it comes.  Tuned is
the fastest of the settings tried on two cores, and takes knowing their sources: all bands read as
one variable (odc-stac), files mapped into memory and shards written by Dask (rioxarray), and
zarr's fused codec pipeline for both.  All of them get tasks that write whole shards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask
import odc.stac
import pystac
import rasterio
import rioxarray
import xarray as xr
from odc.geo.geobox import GeoBox
from rioxarray.merge import merge_arrays

from tests.bench.strips import BANDS, Corpus, Strip, transform_at
from tests.bench.target import SHARDS, WORKERS, configure_zarr, encoding

CHUNKS = dict(zip(("band", "y", "x"), SHARDS, strict=True))
"""Dask chunks: the shards, so that no two tasks write one."""

MAPPED = {"GTIFF_VIRTUAL_MEM_IO": "YES"}
"""GDAL maps an uncompressed file rather than reading it row by row through its cache."""

COLLECTION = "bench"
"""Name under which odc-stac finds the settings of the items."""


def odc_documented(corpus: Corpus, target: Path) -> None:
    """Load a variable a band with ``odc.stac.load``, lazily; stack them; write."""
    config = {
        "assets": {"*": {"data_type": "uint16", "nodata": 0}},
        "aliases": {band: ("data", number) for number, band in enumerate(BANDS, start=1)},
    }
    described = [{"data_type": "uint16", "nodata": 0} for _ in BANDS]
    with _dask(WORKERS):
        loaded = odc.stac.load(
            [_item(strip, **{"raster:bands": described}) for strip in corpus.strips],
            bands=list(BANDS),
            geobox=GeoBox(corpus.shape_yx, corpus.transform, "EPSG:4326"),
            chunks={"y": SHARDS[1], "x": SHARDS[2]},
            stac_cfg={COLLECTION: config},
        )
        _write(loaded.isel(time=0, drop=True).to_dataarray("band").chunk(_latlon(CHUNKS)), target)


def odc_tuned(corpus: Corpus, target: Path) -> None:
    """Load all bands as one variable with ``odc.stac.load``, lazily; write."""
    config = {
        "assets": {"data": {"data_type": "uint16", "nodata": 0, "dims": ["band", "y", "x"]}},
        "dims": {"band": len(BANDS)},
        "coords": {"band": list(BANDS)},
    }
    with _dask(WORKERS):
        loaded = odc.stac.load(
            [_item(strip) for strip in corpus.strips],
            bands=["data"],
            geobox=GeoBox(corpus.shape_yx, corpus.transform, "EPSG:4326"),
            chunks={"y": SHARDS[1], "x": SHARDS[2]},
            stac_cfg={COLLECTION: config},
        )
        configure_zarr()
        _write(loaded["data"].isel(time=0, drop=True), target)


def rioxarray_documented(corpus: Corpus, target: Path) -> None:
    """Merge in memory with ``merge_arrays``; write."""
    _write(_merged(corpus), target)


def rioxarray_tuned(corpus: Corpus, target: Path) -> None:
    """Merge in memory from mapped files; write shard by shard on threads."""
    with rasterio.Env(**MAPPED), _dask(WORKERS):
        configure_zarr()
        _write(_merged(corpus).chunk(CHUNKS), target)


def _merged(corpus: Corpus) -> xr.DataArray:
    """Open and merge the files; the first valid pixel wins."""
    sources = [_opened(strip) for strip in corpus.strips]
    merged = merge_arrays(sources, nodata=0)
    for source in sources:
        source.close()
    return merged


def _opened(strip: Strip) -> xr.DataArray:
    """Open a file without reading its pixels."""
    source = rioxarray.open_rasterio(strip.path)
    assert isinstance(source, xr.DataArray)
    return source


@contextmanager
def _dask(threads: int) -> Iterator[None]:
    """Run Dask on threads of this process."""
    with dask.config.set(scheduler="threads", num_workers=threads):
        yield


def _write(image: xr.DataArray, target: Path) -> None:
    """Write an image (band, y, x) in the encoding of every contender."""
    names = {"latitude": "y", "longitude": "x"}
    image = image.rename({old: new for old, new in names.items() if old in image.dims})
    image = image.transpose("band", "y", "x").drop_attrs()
    image.encoding = {}
    kept = image.drop_vars([name for name in image.coords if name not in image.dims])
    kept = kept.assign_coords(band=list(BANDS))
    xr.Dataset({"image": kept}).to_zarr(target, mode="w", encoding={"image": encoding()})


def _latlon(chunks: dict[str, int]) -> dict[str, int]:
    """Name dimensions as odc-stac does in a geographic CRS."""
    return {"band": chunks["band"], "latitude": chunks["y"], "longitude": chunks["x"]}


def _item(strip: Strip, **fields: Any) -> pystac.Item:
    """Describe a file as a STAC item, with fields of its asset; nothing is opened."""
    shape = (strip.size, strip.size)
    transform = transform_at(strip.row, strip.col)
    extent = GeoBox(shape, transform, "EPSG:4326").extent
    item = pystac.Item(
        id=strip.path.stem,
        geometry=extent.json,
        bbox=list(extent.boundingbox.bbox),
        datetime=datetime(2020, 1, 1, tzinfo=UTC),
        collection=COLLECTION,
        stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        properties={
            "proj:code": "EPSG:4326",
            "proj:shape": list(shape),
            "proj:transform": list(transform)[:6],
        },
    )
    item.add_asset("data", pystac.Asset(str(strip.path), roles=["data"], extra_fields=fields))
    return item
