"""The accessor's methods for learning: chips of a cube, and labels as its pixels."""

from collections.abc import Mapping

import xarray as xr
from numpy.typing import DTypeLike

from spacenet_cube.cube.analysis import dataset
from spacenet_cube.cube.chips.chips import Chips
from spacenet_cube.cube.chips.choose import chips
from spacenet_cube.cube.chips.labels import Labels, rasterize
from spacenet_cube.cube.chips.samples import Opener
from spacenet_cube.cube.chips.splits import splits

_BLOCK_CHIPS = 4


class LearningMethods:
    """Methods of ``cube.spacenet`` that cut a cube into chips, and burn labels onto it."""

    _cube: xr.Dataset

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
        opener: Opener | None = self._cube.encoding.get(dataset.OPEN_LEVEL)
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
