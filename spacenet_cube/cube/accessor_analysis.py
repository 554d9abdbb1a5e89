"""The accessor's methods of analysis; each says what it gives, and how is told in `analysis`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from spacenet_cube.cube.analysis import clip as clipping
from spacenet_cube.cube.analysis import indices as spectral
from spacenet_cube.cube.analysis import pansharpen as sharpening
from spacenet_cube.cube.analysis import radiometry, regrid, zonal
from spacenet_cube.cube.analysis import statistics as counting
from spacenet_cube.cube.analysis.formulas.detail import Kernel, Method

if TYPE_CHECKING:
    import geopandas
    from dask.delayed import Delayed


class AnalysisMethods:
    """Methods of ``cube.spacenet`` that compute something of the cube, lazily."""

    _cube: xr.Dataset

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
        in `spacenet_cube.cube.analysis.formulas.calibration`.
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
        Sources as of ``radiance``; the distance is `spacenet_cube.cube.analysis.formulas.sun`'s.
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
        return regrid.to_metric(self._cube, resolution, crs, resampling)

    def coarsen(self, factor: int | None = None, *, resolution: float | None = None) -> xr.Dataset:
        """Return the cube with larger pixels, lazily.

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
            scene most come from.  Pixels are halved as often as the factor allows, then the
            rest is averaged at once; pixels are counted from the dataset's own corner.  An
            overview is read instead of halving where the dataset holds stored pixels unchanged
            and its edges are edges of the overview's pixels.

        Raises
        ------
        RecipeError
            If both or neither are given, or they make no sense.
        """
        return regrid.coarsen(self._cube, factor, resolution)

    def coverage(self, *, approximate: bool = False) -> xr.Dataset:
        """Return how much of the area holds data, by scene, lazily.

        Parameters
        ----------
        approximate
            Read ``source_index`` of an overview with a million pixels or fewer, where the
            dataset's own is the stored one; else count the dataset's pixels.  A pixel of an
            overview is valid where any pixel below it is, so the valid area is never smaller
            than the exact one, and larger by less than the pixels along its edges.

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
