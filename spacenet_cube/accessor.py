"""The accessor ``cube.spacenet``: what a cube can say of itself, and first views of it.

Importing this module registers the accessor; ``open_cube`` does so.  Everything lazy
stays lazy: no method reads a pixel, other than ``plot``, when the cube is backed by dask.
A method works alike on the native level, on an overview, and on a part of either.
"""

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import rioxarray  # noqa: F401 - registers cube.rio
import xarray as xr
from numpy.typing import DTypeLike

from spacenet_cube.batches import Opener
from spacenet_cube.chips import Chips
from spacenet_cube.choosing import chips
from spacenet_cube.core.levels import Level, levels, told
from spacenet_cube.core.rendering import normalized_difference, percentiles, stretched
from spacenet_cube.core.splitting import splits
from spacenet_cube.errors import MissingExtraError, RecipeError
from spacenet_cube.labels import Labels, rasterize

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

OPEN_LEVEL = "open_level"
"""Where ``Dataset.encoding`` keeps the function that opens another level of the cube."""

_COLOURS = ("red", "green", "blue")
_LAZILY: dict[str, Any] = {"dask": "parallelized", "keep_attrs": "override"}
_ON_GRID = {"grid_mapping": "spatial_ref"}
_PER_BAND = ("band", "wavelength", "fwhm")
_SAMPLE_PX = 1024
_BLOCK_CHIPS = 4


@xr.register_dataset_accessor("spacenet")  # type: ignore[no-untyped-call]
class SpacenetAccessor:
    """What a cube can say of itself, and first views of it.

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
        valid = self._variable("source_index") > 0
        valid.attrs = {"long_name": "pixel comes from a scene", **_ON_GRID}
        return valid.drop_vars(_PER_BAND, errors="ignore").rename("valid")

    def ndvi(self, *, nir: str = "nir1", red: str = "red") -> xr.DataArray:
        """Return the vegetation index (nir - red) / (nir + red), lazily.

        It is computed from digital numbers, in floating point, so it is comparable within
        a cube, not between dates.

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
        image, where = self._bands((nir, red))
        ndvi: xr.DataArray = xr.apply_ufunc(
            normalized_difference,
            image,
            self.valid,
            kwargs={"where": where},
            input_core_dims=[["band"], []],
            output_dtypes=[np.float32],
            **_LAZILY,
        )
        ndvi.attrs = {
            "long_name": "normalized difference vegetation index",
            "units": "1",
            "valid_min": -1.0,
            "valid_max": 1.0,
            "comment": f"({nir} - {red}) / ({nir} + {red}) of digital numbers",
            **_ON_GRID,
        }
        return ndvi.rename("ndvi")

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
        names = ("pan",) * 3 if self._names == ("pan",) else _COLOURS
        image, where = self._bands(names)
        if stretch is None:
            picture = image.isel(band=list(where)).rename(band="rgb").rename("rgb")
            return picture.transpose(..., "rgb").assign_coords(rgb=list(_COLOURS))
        if not 0 <= stretch[0] < stretch[1] <= 100:  # noqa: PLR2004 - per cent
            raise RecipeError(
                f"a stretch from percentile {stretch[0]} to {stretch[1]} leaves no range; "
                "give a rising pair within 0 to 100, such as (2, 98)"
            )
        limits = self._limits(names, stretch)
        drawn: xr.DataArray = xr.apply_ufunc(
            stretched,
            image,
            self.valid,
            limits if image.chunks else limits.compute(),
            kwargs={"where": where},
            input_core_dims=[["band"], [], ["rgb", "limit"]],
            output_core_dims=[["rgb"]],
            output_dtypes=[np.uint8],
            **_LAZILY,
        )
        kind = "grey" if names[0] == "pan" else "true colour"
        drawn.attrs = {"long_name": kind, "_FillValue": np.uint8(0), **_ON_GRID}
        return drawn.assign_coords(rgb=list(_COLOURS)).rename("rgb")

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
        if find_spec("matplotlib") is None:
            raise MissingExtraError(
                "plot draws with matplotlib, which is not installed; "
                "run: pip install 'spacenet-cube[viewer]'"
            )
        part = self._screenful()
        picture = part.spacenet.rgb(stretch)
        opaque = part.spacenet.valid.expand_dims(rgb=["alpha"], axis=-1).astype("uint8") * 255
        shades = xr.concat([picture, opaque.astype("uint8")], "rgb").rename("rgb").compute()
        drawn: AxesImage = shades.plot.imshow(x="x", y="y", rgb="rgb", ax=ax)
        geographic = part.rio.crs is not None and part.rio.crs.is_geographic
        drawn.axes.set_aspect(1 / math.cos(math.radians(float(part.y.mean()))) if geographic else 1)
        facts = self._cube.attrs.get("spacenet_cube", {})
        drawn.axes.set_title(" ".join(facts.get(key, "") for key in ("aoi", "product")).strip())
        return drawn

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
        return chips(
            self._cube, self._opener, size=size, stride=stride, valid=valid, splitting=splitting
        )

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

    @property
    def _opener(self) -> Opener | None:
        return self._cube.encoding.get(OPEN_LEVEL)

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the bands, in order; one where a single band was selected."""
        if "band" not in self._cube.coords:
            return ()
        return tuple(str(name) for name in np.atleast_1d(self._cube["band"].values))

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self._cube.variables:
            raise RecipeError(
                f"the dataset has no variable '{name}' (it has "
                f"{', '.join(map(str, self._cube.variables))}); keep '{name}' when you "
                "select variables of a cube"
            )
        return self._cube[name]

    def _bands(self, names: Sequence[str]) -> tuple[xr.DataArray, tuple[int, ...]]:
        missing = sorted(set(names) - set(self._names))
        if missing:
            raise RecipeError(
                f"the cube has no band {' or '.join(map(repr, missing))} "
                f"(it has {', '.join(self._names) or 'none'}); open a product that has it, "
                "or keep it when you select bands"
            )
        image = self._variable("image")
        image = image if "band" in image.dims else image.expand_dims("band")
        places = [self._names.index(name) for name in names]
        cover = _cover(places)
        image = image.isel(band=cover)
        image = image.chunk(band=-1) if image.chunks else image
        return image.drop_vars(_PER_BAND, errors="ignore"), tuple(
            (place - cover.start) // cover.step for place in places
        )

    def _limits(self, names: Sequence[str], stretch: tuple[float, float]) -> xr.DataArray:
        """Percentiles of each named band, shaped (rgb, limit), lazy."""
        opener = self._opener
        sample = _thinned(self._cube) if opener is None else opener(-1)
        image, where = sample.spacenet._bands(names)  # noqa: SLF001 - our own class
        valid = sample.spacenet.valid
        dims = valid.dims
        if image.chunks:
            image, valid = (each.chunk(dict.fromkeys(dims, -1)) for each in (image, valid))
        limits: xr.DataArray = xr.apply_ufunc(
            percentiles,
            image.drop_vars(list(image.coords)),
            valid.drop_vars(list(valid.coords)),
            kwargs={"where": where, "stretch": stretch},
            input_core_dims=[["band", *dims], [*dims]],
            output_core_dims=[["rgb", "limit"]],
            output_dtypes=[np.float32],
            dask_gufunc_kwargs={"output_sizes": {"rgb": len(where), "limit": 2}},
            **_LAZILY,
        )
        return limits

    def _screenful(self) -> xr.Dataset:
        """Return about a million pixels: of a whole cube an overview, of a part every n-th."""
        opener = self._opener
        shape_yx = (self._cube.sizes["y"], self._cube.sizes["x"])
        if opener is None or shape_yx not in [level.shape_yx for level in self.levels]:
            return _thinned(self._cube)
        fits = [n for n in self.levels if _SAMPLE_PX <= max(n.shape_yx) <= max(shape_yx)]
        return _thinned(opener(fits[-1].number) if fits else self._cube)


def _thinned(cube: xr.Dataset) -> xr.Dataset:
    """Return every n-th pixel, so that neither edge has more than about two thousand."""
    step = {dim: max(1, cube.sizes.get(dim, 1) // _SAMPLE_PX) for dim in ("y", "x")}
    return cube.isel({dim: slice(None, None, n) for dim, n in step.items()}, missing_dims="ignore")


def _cover(places: Sequence[int]) -> slice:
    """Return the sparsest slice that holds all places.

    Dask merges a plain slice, and nothing else, into the read itself: asked for a list of
    bands, or for two bands one by one, it reads every band of a chunk.
    """
    first = min(places)
    step = math.gcd(*(place - first for place in places)) or 1
    return slice(first, max(places) + 1, step)
