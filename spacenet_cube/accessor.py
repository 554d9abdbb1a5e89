"""The accessor ``cube.spacenet``: what a cube can say of itself, and analysis of it.

Importing this module registers the accessor; ``open_cube`` does so.  Everything lazy stays
lazy: when the cube is backed by dask, no method reads a pixel, other than those that draw or
write (``plot``, ``explore``, ``to_cog``).  A method works alike on the native level, on an
overview, and on a part of either; how each does it is told in `spacenet_cube.analysis`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from numpy.typing import DTypeLike

from spacenet_cube.analysis import (
    clipping,
    counting,
    exporting,
    parts,
    pictures,
    radiometry,
    regridding,
    sharpening,
    spectral,
    zonal,
)
from spacenet_cube.batches import Opener
from spacenet_cube.chips import Chips
from spacenet_cube.choosing import chips
from spacenet_cube.core.levels import Level, levels, told
from spacenet_cube.core.sharpening import Kernel, Method
from spacenet_cube.core.splitting import splits
from spacenet_cube.labels import Labels, rasterize

if TYPE_CHECKING:
    import geopandas
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from dask.delayed import Delayed
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


_BLOCK_CHIPS = 4


@xr.register_dataset_accessor("spacenet")  # type: ignore[no-untyped-call]
class SpacenetAccessor:
    """What a cube can say of itself, and analysis of it.

    Parameters
    ----------
    cube
        A dataset from ``open_cube`` (or ``xarray.open_zarr``), or a part of one.
    """

    def __init__(self, cube: xr.Dataset) -> None:
        self._cube = cube

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels of the whole cube, finest first, whichever of them this dataset is.

        Raises
        ------
        RecipeError
            If the dataset has lost the attribute ``multiscales``.
        """
        return levels(self._cube.attrs)

    @property
    def scenes(self) -> "pd.DataFrame":
        """Scenes of the whole cube, one a row; ``source_index`` holds the row's ``index``.

        Columns are those of the metadata (``id``, ``key``, ``size_bytes``, ``etag``,
        ``acquired`` as a UTC time, ``catalog_id``, ``bbox`` as west, south, east, north in
        CRS units, ``row_col``).  What is unknown is missing.

        Raises
        ------
        RecipeError
            If the dataset has lost the attribute ``spacenet_cube``.
        """
        import pandas as pd  # noqa: PLC0415 - only wanted here

        listed = told(self._cube.attrs, "spacenet_cube")["scenes"]
        scenes = pd.DataFrame(listed, columns=None if listed else ["index", "id", "acquired"])
        scenes["acquired"] = pd.to_datetime(scenes["acquired"], utc=True)
        return scenes.set_index("index")

    @property
    def valid(self) -> xr.DataArray:
        """Where a scene gave the pixel: bool, shaped (y, x), lazy.

        Raises
        ------
        RecipeError
            If the dataset has lost ``source_index``.
        """
        return parts.valid(self._cube)

    def ndvi(self, *, nir: str = "nir1", red: str = "red") -> xr.DataArray:
        """Return the vegetation index (nir - red) / (nir + red), lazily.

        It is computed from digital numbers, in floating point, so it is comparable within
        a cube, not between dates.  It equals ``index("NDVI")``, and needs no spyndex.

        Parameters
        ----------
        nir
            Name of the near infrared band: ``nir1`` (770 to 895 nm) or ``nir2`` (860 to
            1040 nm).
        red
            Name of the red band.

        Returns
        -------
        xarray.DataArray
            float32, shaped (y, x), from -1 to 1; NaN where no scene gave the pixel or both
            bands are 0.

        Raises
        ------
        RecipeError
            If the cube lacks a band, or has lost ``source_index``.
        """
        return spectral.ndvi(self._cube, nir, red)

    def index(
        self,
        name: str,
        *,
        of: spectral.Of = "numbers",
        bands: Mapping[str, str] | None = None,
        **constants: float,
    ) -> xr.DataArray:
        """Return a spectral index by its name in spyndex, lazily.

        Parameters
        ----------
        name
            Such as ``NDVI``, ``NDWI``, ``EVI``; ``indices()`` lists what the bands allow.
        of
            ``numbers``: digital numbers, comparable within a cube alone.  ``radiance`` and
            ``reflectance``: what ``radiance()`` and ``reflectance()`` give.  Indices with
            constants, such as EVI, are defined for reflectance.
        bands
            Bands by spyndex's letter, before its own tables of WorldView-2 and WorldView-3
            (A coastal, B blue, G green, Y yellow, R red, N nir1); such as
            ``{"RE1": "rededge", "N": "nir2"}``.
        **constants
            Values of the formula's constants; by default spyndex's.

        Returns
        -------
        xarray.DataArray
            float32, shaped (y, x), without unit, computed in float64; NaN where no scene
            gave the pixel or the formula has no finite value.  Attributes tell the formula,
            its bands, constants and reference.

        Raises
        ------
        MissingExtraError
            If spyndex is not installed.
        RecipeError
            If there is no such index, a band is missing (it is named), or a constant has
            no value.

        Notes
        -----
        Formulas are those of *Awesome Spectral Indices* (D. Montero et al., 2023,
        https://doi.org/10.1038/s41597-023-02096-0).
        """
        return spectral.index(self._cube, name, of, bands, constants)

    def indices(self) -> tuple[str, ...]:
        """Return names of the spectral indices that the dataset's bands allow.

        Returns
        -------
        tuple of str
            In alphabetical order; what ``index`` takes without further arguments.

        Raises
        ------
        MissingExtraError
            If spyndex is not installed.
        """
        return spectral.indices(self._cube)

    def radiance(self, *, vintage: str = "2016v0") -> xr.DataArray:
        """Return spectral radiance at the top of the atmosphere, lazily.

        ``L = gain * DN * (absCalFactor / effectiveBandwidth) + offset``, with the factors of
        the scene that each pixel comes from.

        Parameters
        ----------
        vintage
            Table of gains and offsets: ``2016v0``, or the older ``geoio``.  Radiances of two
            vintages do not compare.

        Returns
        -------
        xarray.DataArray
            float32, shaped as ``image``, W m-2 sr-1 um-1; NaN where no scene gave the pixel.
            An offset below 0 makes dark pixels negative, as it should.

        Raises
        ------
        RecipeError
            If the product is pan-sharpened, a balanced mosaic or has 8 bits, or a scene
            (it is named) has no calibration in an ``.IMD`` or ``.XML``.

        Notes
        -----
        DigitalGlobe, *Radiometric Use of WorldView-3 Imagery*, technical note, 2016; tables
        in `spacenet_cube.core.radiometry`.
        """
        return radiometry.calibrate(self._cube, "radiance", vintage)

    def reflectance(self, *, vintage: str = "2016v0") -> xr.DataArray:
        """Return reflectance at the top of the atmosphere, lazily.

        ``rho = pi * L * d**2 / (Esun * cos(theta))``, with L as ``radiance`` gives it, d the
        distance of the sun in astronomical units, Esun its irradiance (Thuillier 2003,
        W m-2 um-1), and theta its mean angle from the zenith in the scene.

        Parameters
        ----------
        vintage
            Table of gains and offsets, as of ``radiance``.

        Returns
        -------
        xarray.DataArray
            float32, shaped as ``image``, without unit; NaN where no scene gave the pixel.
            The atmosphere is not corrected for.

        Raises
        ------
        RecipeError
            As ``radiance``; or a scene has no sun elevation or time.

        Notes
        -----
        Sources as of ``radiance``; the distance is `spacenet_cube.core.sun`'s.
        """
        return radiometry.calibrate(self._cube, "reflectance", vintage)

    def pansharpen(
        self,
        pan: xr.Dataset,
        *,
        method: Method = "brovey",
        weights: Mapping[str, float] | None = None,
        resampling: Kernel = "cubic",
    ) -> xr.Dataset:
        """Return the bands at the pixels of a panchromatic cube, lazily.

        Parameters
        ----------
        pan
            A cube with one band whose pixels nest in this one's: a whole number of them
            along each pixel's edge (4, in SpaceNet's deliveries).  The result covers the
            ground that both have.
        method
            ``brovey``: each band times pan / pseudo, where pseudo is the weighted sum of
            the bands (GDAL's ``gdal_pansharpen``; A. Gillespie et al., 1987).  ``esri``:
            each band plus pan - pseudo.  ``mean``: the mean of each band and pan.
        weights
            Weights of bands in pseudo, scaled to the sum of 1, 0 for those left out; by
            default all equal, as GDAL's.
        resampling
            How bands come to the fine pixels: ``nearest``, ``bilinear``, or ``cubic`` (Keys,
            a = -0.5), GDAL's default.  What is not valid has no weight.

        Returns
        -------
        xarray.Dataset
            ``image`` (band, y, x) in this cube's type, rounded half up, and the panchromatic
            cube's ``source_index``, 0 where either has no data.

        Raises
        ------
        RecipeError
            If the grids do not nest or share no ground, or an argument is unknown.
        """
        return sharpening.pansharpen(self._cube, pan, method, weights, resampling)

    def clip(
        self,
        region: clipping.Region,
        *,
        crs: Any = None,  # noqa: ANN401 - whatever pyproj understands
    ) -> xr.Dataset:
        """Return the part within bounds or polygons, lazily.

        Parameters
        ----------
        region
            Bounds (west, south, east, north); a GeoJSON mapping; a shapely or odc geometry;
            or a GeoDataFrame, of which all features count together.
        crs
            CRS of bounds or of a geometry that knows none; by default the cube's own.
            Bounds in another CRS become the bounds that enclose them.

        Returns
        -------
        xarray.Dataset
            Sliced to whole pixels of the cube: those with ``west <= x < east`` and
            ``south < y <= north`` at their centre, so bounds that abut share no pixel and
            leave none out.  Where the centre is outside polygons, ``image`` is nodata and
            ``source_index`` 0.
            Attributes stay, and ``coarsen`` masks the overviews it takes alike.

        Raises
        ------
        RecipeError
            If the region holds no pixel of the cube, which mostly means another CRS.
        """
        return clipping.clip(self._cube, region, crs)

    def to_metric(
        self,
        resolution: float | None = None,
        *,
        crs: Any = "utm",  # noqa: ANN401 - whatever pyproj understands
        resampling: str = "bilinear",
    ) -> xr.Dataset:
        """Return the cube on a grid of square pixels in metres, lazily.

        The kernels and the exactness are those of a warped build: the source coordinate of
        a pixel is within 1e-6 pixel of pyproj's, and the result does not depend on blocks.

        Parameters
        ----------
        resolution
            Edge of a pixel in units of the CRS, metres for UTM; by default the longer edge
            of this dataset's pixels, to two digits.
        crs
            ``utm`` for the zone (WGS 84) of the middle, or a projected CRS.
        resampling
            ``nearest``, ``bilinear``, ``cubic``, ``cubic_spline``, ``lanczos`` or
            ``average``; ``source_index`` is always taken from the nearest pixel.

        Returns
        -------
        xarray.Dataset
            Edges lie on whole multiples of the resolution, as ``gdalwarp -tap`` has them.
            What is not valid has no weight, and fill never bleeds into data.

        Raises
        ------
        RecipeError
            If the CRS is unknown or counts degrees, UTM does not reach, the resolution is
            not positive, or the part has no pixels.
        """
        return regridding.to_metric(self._cube, resolution, crs, resampling)

    def coarsen(self, factor: int | None = None, *, resolution: float | None = None) -> xr.Dataset:
        """Return the cube with larger pixels, lazily, read from an overview where it can be.

        Parameters
        ----------
        factor
            How many pixels along an edge become one.
        resolution
            Instead of a factor: the largest pixel edge wanted, in CRS units.

        Returns
        -------
        xarray.Dataset
            Valid pixels are averaged, integers rounded half up; ``source_index`` takes the
            scene most come from.  What a factor has of 2 is read from overviews, the rest
            averaged.  Of a part, pixels lie on the whole cube's own lattice: they hold its
            ground and, at its edges, up to a pixel more.

        Raises
        ------
        RecipeError
            If both or neither are given, or they make no sense.
        """
        return regridding.coarsen(self._cube, factor, resolution)

    def coverage(self, *, approximate: bool = False) -> xr.Dataset:
        """Return how much of the area holds data, by scene, lazily.

        Parameters
        ----------
        approximate
            Read ``source_index`` of an overview with a million pixels or fewer.  An
            overview's pixel is valid where any pixel below it is, so edges count a little
            more.

        Returns
        -------
        xarray.Dataset
            Along ``scene`` (the number in ``source_index``): ``pixels``, ``share`` of all
            pixels, and ``area_km2``, on the ellipsoid for geographic CRSs and on the map
            for projected ones.  Sums over ``scene`` are those of all valid pixels;
            attributes hold ``total_pixels`` and ``total_area_km2``.

        Raises
        ------
        RecipeError
            If the dataset has lost ``source_index``, its CRS or its attributes.
        """
        return counting.coverage(self._cube, approximate=approximate)

    def statistics(
        self,
        image: xr.DataArray | None = None,
        *,
        percentiles: Sequence[float] = (2, 25, 50, 75, 98),
    ) -> xr.Dataset:
        """Return figures of each band's valid pixels, lazily, in one pass over all of them.

        Parameters
        ----------
        image
            What to describe instead of the cube's image: an array on the same pixels, such
            as ``cube.spacenet.ndvi()``.
        percentiles
            0 to 100.

        Returns
        -------
        xarray.Dataset
            Along ``band``: ``count``, ``min``, ``max``, ``mean``, ``std`` (of the population),
            ``percentiles`` (percentile, band) and ``histogram`` (band, value).  One
            ``compute`` reads every pixel once.  Integers of 8 and 16 bits are counted value
            by value, and every figure is exact; of other types percentiles are within 0.8 %
            of their value, and ``value`` is the lower edge of each bin.

        Raises
        ------
        RecipeError
            If a percentile is none, or the array is not on the cube's pixels.
        """
        return counting.statistics(self._cube, image, percentiles)

    def zonal(
        self,
        features: "geopandas.GeoDataFrame",
        stats: Sequence[str] = ("count", "mean"),
        *,
        image: xr.DataArray | None = None,
    ) -> "Delayed":
        """Return statistics of the pixels under each feature, lazily.

        Pixels count by the share of them that a polygon covers, exactly, by exactextract.
        A feature may lie across any number of blocks: each block is read once, for all
        features on it, and no task holds more than one block of pixels.

        Parameters
        ----------
        features
            Polygons in any CRS, which they know.
        stats
            ``count`` (pixels), ``sum``, ``mean``, ``min``, ``max``, ``variance``, ``stdev``,
            ``coefficient_of_variation``; and, of values listed feature by feature (65,536 of
            16 bits at most), ``median``, ``quantile(q=0.9)``, ``mode``, ``minority``,
            ``variety``.
        image
            What to describe instead of the cube's image, on the same pixels.

        Returns
        -------
        dask.delayed.Delayed
            Its ``compute()`` gives the GeoDataFrame, in its own CRS and order, with a column
            more a statistic, named as exactextract does: ``red_mean``, or ``mean`` of a
            single band.  NaN where a feature covers no valid pixel.

        Raises
        ------
        MissingExtraError
            If exactextract or geopandas is not installed.
        RecipeError
            If the features know no CRS, or a statistic is unknown.

        Notes
        -----
        Definitions: https://isciences.github.io/exactextract/operations.html.
        """
        return zonal.zonal(self._cube, features, stats, image)

    def to_cog(
        self,
        path: str | os.PathLike[str],
        image: xr.DataArray | None = None,
        *,
        compression: str = "DEFLATE",
        overwrite: bool = False,
    ) -> Path:
        """Write a cloud optimized GeoTIFF, a few blocks at a time.

        Parameters
        ----------
        path
            A local file; it appears when it is whole.  Beside it, the pixels stand
            uncompressed meanwhile.
        image
            What to write instead of the cube's image, on the same pixels, such as
            ``cube.spacenet.ndvi()`` or ``cube.spacenet.rgb()``.
        compression
            Without loss, by GDAL's name: ``DEFLATE``, ``LZW``, ``ZSTD``, ``NONE``.
        overwrite
            Whether a file that is there may be replaced.

        Returns
        -------
        pathlib.Path
            The file, with band names, nodata, CRS, averaged overviews and attribution.

        Raises
        ------
        RecipeError
            If the path is a URL or taken, there are no pixels, or no such compression.
        StoreError
            If it cannot be written.
        """
        return exporting.to_cog(self._cube, path, image, compression, overwrite=overwrite)

    def rgb(self, stretch: tuple[float, float] | None = (2, 98)) -> xr.DataArray:
        """Return a true-colour picture, lazily; of a panchromatic cube, a grey one.

        Parameters
        ----------
        stretch
            Percentiles of valid digital numbers that become dark and bright.  Dark is set
            band by band, because haze adds most to blue; bright is one gain for all, so
            that colours keep their proportions; values are gamma coded for screens.  The
            percentiles come from the cube's coarsest overview, so parts of a cube look
            alike; of a dataset that no longer knows its cube, from a sample of itself.
            None leaves digital numbers as they are.

        Returns
        -------
        xarray.DataArray
            Shaped (y, x, rgb).  Stretched: uint8, 1 to 255, and 0 for nodata.  Else the
            cube's own type.

        Raises
        ------
        RecipeError
            If the percentiles are no rising pair within 0 to 100, the cube lacks a
            colour, or has lost ``source_index``.
        """
        return pictures.rgb(self._cube, stretch)

    def plot(
        self, *, stretch: tuple[float, float] = (2, 98), ax: "Axes | None" = None
    ) -> "AxesImage":
        """Draw the picture of ``rgb`` at a size that fits a screen.

        Parameters
        ----------
        stretch
            Percentiles of digital numbers that become dark and bright.
        ax
            Matplotlib axes to draw on; by default the current ones.

        Returns
        -------
        matplotlib.image.AxesImage
            What was drawn, from about a million pixels, a metre as long across as up.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        parts.needs("matplotlib", "viewer", "plot")
        return pictures.plot(self._cube, stretch, ax)

    def explore(self, *, stretch: tuple[float, float] = (2, 98), **options: Any) -> Any:  # noqa: ANN401 - folium ships no types
        """Return the picture of ``rgb`` on a map that one can move.

        Parameters
        ----------
        stretch
            Percentiles of digital numbers that become dark and bright.
        **options
            What ``odc.geo``'s ``explore`` takes, such as ``map`` to add to, or ``tiles``.

        Returns
        -------
        folium.Map
            From about a million pixels, read off an overview of a whole cube.

        Raises
        ------
        MissingExtraError
            If folium is not installed.
        """
        parts.needs("folium", "viewer", "explore")
        return pictures.explore(self._cube, stretch, options)

    def chips(
        self,
        size: int = 512,
        stride: int | None = None,
        valid: float = 0.5,
        split: Mapping[str, float] | None = None,
        *,
        block_px: int | None = None,
        buffer_px: int = 0,
        seed: int = 0,
    ) -> Chips:
        """Cut the cube into chips for learning; the same request, the same chips.

        Chips lie at whole strides from the corner of the whole cube: those of a part are
        those of the whole that lie in the part.

        Parameters
        ----------
        size
            Edge of a chip in pixels; 512 is the edge of a stored chunk.
        stride
            Pixels from one chip to the next; ``size`` by default.
        valid
            Share of a chip's pixels that have to be valid, 0 to 1.  An overview whose pixels
            are ``size / 4`` large or less is read first.  A chip is dropped if the pixels of
            it that lie under valid overview pixels are too few.  The valid pixels of the
            others are counted exactly, in ``source_index`` of this level, but nowhere that the
            overview is empty.  With 0, every chip is kept that has a pixel under a valid
            overview pixel, and nothing else is read: ``share_valid`` is an upper bound then.
        split
            Shares of the ground by name, such as
            ``{"train": 0.8, "val": 0.1, "test": 0.1}``; None not to split.
        block_px
            Edge of the blocks of ground that go to one split, counted from the cube's corner;
            four chips by default.  A chip that lies in blocks of two splits is dropped.
        buffer_px
            Pixels that a chip keeps from blocks of other splits.
        seed
            Another one, another choice of blocks.  The choice depends on the seed and on a
            block's row and column alone: PAN with a block of 4 n pixels goes with MUL with
            one of n.

        Returns
        -------
        Chips
            A sequence of lazy datasets, row by row from the north.

        Raises
        ------
        RecipeError
            If the dataset is no part of a cube, or what is asked for cannot stand.

        Examples
        --------
        With a cube at ``url``::

            chips = open_cube(url).spacenet.chips(512, split={"train": 0.8, "val": 0.2})
            pixels = chips.of("train").load(0)  # numpy, shaped (band, y, x)
        """
        edge = _BLOCK_CHIPS * size if block_px is None else block_px
        splitting = (
            None
            if split is None
            else splits(split, edge, buffer_px=buffer_px, seed=seed, size_px=size)
        )
        opener: Opener | None = self._cube.encoding.get(parts.OPEN_LEVEL)
        return chips(self._cube, opener, size=size, stride=stride, valid=valid, splitting=splitting)

    def rasterize(
        self,
        labels: Labels,
        column: str | None = None,
        *,
        fill: float = 0,
        dtype: DTypeLike | None = None,
        all_touched: bool = False,
        buffer_m: float = 0,
        instances: bool = False,
    ) -> xr.DataArray:
        """Burn polygons or lines onto the cube's pixels, lazily.

        Parameters
        ----------
        labels
            A GeoDataFrame in any CRS, or what ``read_labels`` reads: a GeoJSON file or a
            folder of them.  Where features overlap, the later one is seen.
        column
            Numbers that features become; without one, they become 1.
        fill
            What all other pixels become.
        dtype
            Type of the result; by default uint8, int32 or float32 of a column (as it holds
            whole numbers or not), and uint32 of instances.
        all_touched
            Burn every pixel that a feature touches, not those alone whose centre it covers.
        buffer_m
            Widen features by so many metres to either side first (in their UTM zone), which
            is how roads get a width.  Lines without one are a pixel wide.
        instances
            Number the features instead, from 1 in the order of their rows.

        Returns
        -------
        xarray.DataArray
            Shape (y, x), in the cube's own chunks.  The result is the same whatever the
            chunks and for every part of the cube.

        Raises
        ------
        MissingExtraError
            If geopandas is not installed.
        RecipeError
            If labels have no CRS, a column is missing or holds no numbers, or the type does
            not hold what they become.
        SourceError
            If labels are a path and cannot be read.

        Notes
        -----
        Corners are brought into the cube's CRS, and edges are straight in it; at the size of
        a building that is exact to far less than a pixel.

        Examples
        --------
        With a cube at ``url``::

            roads = open_cube(url).spacenet.rasterize("geojson/spacenetroads", buffer_m=2)
        """
        return rasterize(
            self._cube,
            labels,
            column,
            fill=fill,
            dtype=dtype,
            all_touched=all_touched,
            buffer_m=buffer_m,
            instances=instances,
        )
