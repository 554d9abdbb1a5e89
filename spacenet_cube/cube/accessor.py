"""The accessor ``cube.spacenet``: what a cube can say of itself, and analysis of it.

Importing this module registers the accessor; ``open_cube`` does so.  Everything lazy stays
lazy: when the cube is backed by dask, no method reads a pixel, other than those that draw or
write (``plot``, ``explore``, ``to_cog``).  A method works alike on the native level, on an
overview, and on a part of either; how each does it is told in `spacenet_cube.cube.analysis`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from spacenet_cube.cube.accessor_analysis import AnalysisMethods
from spacenet_cube.cube.accessor_chips import LearningMethods
from spacenet_cube.cube.analysis import cog, dataset, picture
from spacenet_cube.format.levels import Level, levels, told

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


@xr.register_dataset_accessor("spacenet")  # type: ignore[no-untyped-call]
class SpacenetAccessor(AnalysisMethods, LearningMethods):
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
        return dataset.valid(self._cube)

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
        return cog.to_cog(self._cube, path, image, compression, overwrite=overwrite)

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
        return picture.rgb(self._cube, stretch)

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
        dataset.needs("matplotlib", "viewer", "plot")
        return picture.plot(self._cube, stretch, ax)

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
        dataset.needs("folium", "viewer", "explore")
        return picture.explore(self._cube, stretch, options)
