"""Every method of the accessor: lazy, and at home on a level, a clip, a band, nothing at all."""

import threading

import dask
import dask.base
import geopandas
import numpy as np
import pytest
import shapely
import xarray as xr
from distributed import Client, LocalCluster
from matplotlib.figure import Figure
from zarr.storage import LocalStore

from spacenet_cube.cube.accessor import SpacenetAccessor
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError
from tests.bench.other import open_paris
from tests.fake_cube import MUL, PAN, Fake, pixels, sources, write_cube
from tests.shares import share
from tests.test_radiometry import CALIBRATIONS, IMAGERY

WEST, NORTH = Fake().upper_left_xy
PX = Fake().pixel_size
BOX = (WEST + 20 * PX, NORTH - 130 * PX, WEST + 150 * PX, NORTH - 15 * PX)
RING = shapely.Point(WEST + 80 * PX, NORTH - 90 * PX).buffer(60 * PX)
PAN_CALIBRATION = {"band": "pan", "abs_cal_factor": 0.05, "effective_bandwidth_um": 0.2896}
CALIBRATED = {**IMAGERY, "bands": [*CALIBRATIONS, PAN_CALIBRATION]}
WHOLE = shapely.box(WEST, NORTH - 301 * PX, WEST + 210 * PX, NORTH)
ZONES = geopandas.GeoDataFrame(geometry=[RING, shapely.box(*BOX), WHOLE], crs=4326)

METHODS = {
    "valid": lambda cube, _pan: cube.spacenet.valid,
    "ndvi": lambda cube, _pan: cube.spacenet.ndvi(),
    "index": lambda cube, _pan: cube.spacenet.index("EVI"),
    "radiance": lambda cube, _pan: cube.spacenet.radiance(),
    "reflectance": lambda cube, _pan: cube.spacenet.reflectance(),
    "pansharpen": lambda cube, pan: cube.spacenet.pansharpen(pan),
    "clip": lambda cube, _pan: cube.spacenet.clip(shapely.box(*cube.rio.bounds())),
    "to_metric": lambda cube, _pan: cube.spacenet.to_metric(),
    "coarsen": lambda cube, _pan: cube.spacenet.coarsen(6),
    "coverage": lambda cube, _pan: cube.spacenet.coverage(),
    "statistics": lambda cube, _pan: cube.spacenet.statistics(),
    "zonal": lambda cube, _pan: cube.spacenet.zonal(ZONES, ["mean", "median"]),
    "rgb": lambda cube, _pan: cube.spacenet.rgb(),
}
"""What is lazy; the pan is the same part of the cube PAN."""

KNOWN_AT_ONCE = {"levels", "scenes", "indices"}
"""What needs no pixel."""

AT_ONCE = {"plot", "explore", "to_cog"}
"""What draws or writes, and so reads."""

MANY_BANDS = {"ndvi", "index", "rgb"}
"""What a single band is too few for."""

NEED_GROUND = {"clip", "to_metric", "coarsen", "pansharpen"}
"""What makes a grid, and so refuses a part without pixels."""

PARTS = {
    "native": lambda cube: cube,
    "level": lambda cube: cube,
    "clip": lambda cube: cube.spacenet.clip(BOX),
    "masked": lambda cube: cube.spacenet.clip(RING),
    "band": lambda cube: cube.sel(band="red") if "red" in cube.band else cube.sel(band="pan"),
    "nothing valid": lambda cube: cube.spacenet.clip(
        (WEST + 180 * PX, NORTH - 300 * PX, WEST + 209 * PX, NORTH - 275 * PX)
    ),
}

CASES = [
    (name, part)
    for name in METHODS
    for part in PARTS
    if not (part == "band" and name in MANY_BANDS)
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cubes")
    fine = Fake(
        product="PAN", bands=PAN, shape_yx=(1204, 840), pixel_size=PX / 4, imagery=CALIBRATED
    )
    return write_cube(folder, Fake(imagery=CALIBRATED)), write_cube(folder, fine)


class Reads:
    """Counts reads of chunks from local stores."""

    def __init__(self, monkeypatch):
        self.count = 0
        self._lock = threading.Lock()
        for name in ("get", "get_sync"):
            if hasattr(LocalStore, name):
                monkeypatch.setattr(LocalStore, name, self._counted(getattr(LocalStore, name)))

    def _counted(self, read):
        def counting(store, key, *args, **kwargs):
            with self._lock:
                self.count += "/c/" in key and ("image" in key or "source_index" in key)
            return read(store, key, *args, **kwargs)

        return counting


def opened(urls, part):
    level = 1 if part == "level" else 0
    return tuple(PARTS[part](open_cube(url, level=level)) for url in urls)


def test_every_method_is_under_test():
    public = {name for name in dir(SpacenetAccessor) if not name.startswith("_")}
    # Chips and labels have tests of their own.
    others = {"chips", "rasterize"}

    assert public - others == set(METHODS) | KNOWN_AT_ONCE | AT_ONCE


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "part"), share(CASES, 26))
def test_a_method_reads_nothing_before_it_is_asked_to(urls, name, part, monkeypatch):
    reads = Reads(monkeypatch)

    def refuse(*_args, **_kwargs):
        pytest.fail("dask was asked to compute")

    with dask.config.set(scheduler=refuse):
        cube, pan = opened(urls, part)
        lazy = METHODS[name](cube, pan)
    before = reads.count
    (made,) = dask.base.compute(lazy)

    assert before == 0
    assert reads.count > 0
    assert dask.base.is_dask_collection(lazy)
    for variable in made.data_vars.values() if isinstance(made, xr.Dataset) else ():
        assert variable.dtype == lazy[variable.name].dtype
        assert variable.shape == lazy[variable.name].shape
    if isinstance(made, xr.DataArray):
        assert (made.dtype, made.shape) == (lazy.dtype, lazy.shape)
        assert made.rio.crs == "EPSG:4326"


@pytest.mark.parametrize(
    "name", sorted(set(METHODS) - {"clip", "to_metric", "coarsen", "pansharpen"})
)
def test_a_part_without_pixels_gives_what_nothing_gives(urls, name):
    cube, pan = (open_cube(url).isel(x=slice(0, 0)) for url in urls)

    (made,) = dask.base.compute(METHODS[name](cube, pan))

    if name == "statistics":
        assert (made["count"] == 0).all()
    elif name == "coverage":
        assert (made["pixels"] == 0).all()
    elif name == "zonal":
        assert made["red_mean"].isna().all()
    else:
        assert 0 in made.shape


@pytest.mark.parametrize("name", sorted(NEED_GROUND))
def test_a_part_without_pixels_has_no_grid_to_make(urls, name):
    cube, pan = (open_cube(url).isel(x=slice(0, 0)) for url in urls)
    whole = open_cube(urls[0]).rio.bounds()

    with pytest.raises(RecipeError, match=r"no pixel|no ground|cannot be coarsened"):
        _ = cube.spacenet.clip(whole) if name == "clip" else METHODS[name](cube, pan)


# odc-geo 0.5 still calls it to reproject for the map.
@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
@pytest.mark.parametrize("part", share(list(PARTS), 3))
def test_what_draws_and_writes_takes_every_part(urls, part, tmp_path):
    cube, pan = opened(urls, part)
    whole = pan if part == "band" else cube

    assert whole.spacenet.plot(ax=Figure().add_subplot()) is not None
    assert "image/png" in whole.spacenet.explore().get_root().render()
    assert cube.spacenet.to_cog(tmp_path / "part.tif").stat().st_size > 0


def test_real_worker_processes_give_numpys_figures(urls):
    valid = sources(Fake()) > 0
    image = pixels(Fake()).astype(float)
    nir, red = (image[MUL.index(band)][valid] for band in ("nir1", "red"))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
            host="127.0.0.1", scheduler_port=0,
        ) as cluster,
        Client(cluster),
    ):  # fmt: skip
        cube = open_cube(urls[0])
        mean, statistics, zones = dask.base.compute(
            cube.spacenet.ndvi().mean(),
            cube.spacenet.statistics(),
            cube.spacenet.zonal(ZONES, ["mean", "median"]),
        )
        clipped = cube.spacenet.clip(RING).source_index.compute()
        metric = cube.spacenet.to_metric().source_index.compute()

    assert mean.item() == pytest.approx(((nir - red) / (nir + red)).mean(), rel=1e-5)
    np.testing.assert_allclose(statistics["mean"].sel(band="red"), red.mean())
    here = cube.spacenet.zonal(ZONES, ["mean", "median"]).compute(scheduler="sync")
    np.testing.assert_allclose(zones.red_mean, here.red_mean)
    assert (clipped > 0).sum() == (cube.spacenet.clip(RING).source_index > 0).sum().compute()
    assert (metric > 0).any()


def test_one_task_a_block_is_all_that_statistics_and_zones_add(urls):
    cube = open_cube(urls[0])
    blocks = cube.source_index.data.npartitions
    read = len(dict(cube.spacenet.valid.__dask_graph__()))

    assert len(dict(cube.spacenet.ndvi().mean().__dask_graph__())) < 12 * blocks + 20
    assert len(dict(cube.spacenet.zonal(ZONES).__dask_graph__())) < read + 4 * blocks + 10


def test_a_cube_of_paris_shape_has_a_graph_of_a_few_tasks_a_shard(tmp_path):
    found = open_paris(tmp_path)

    shards = 114 * 37
    assert found["ndvi_mean_tasks"] < 10 * shards
