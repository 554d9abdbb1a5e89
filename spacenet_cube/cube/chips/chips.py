"""Chips: square windows of a cube, chosen, split and read for learning.

Choosing reads ``source_index`` alone: all of one overview, and of the level itself only what
the overview leaves undecided.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import accumulate, islice, pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from spacenet_cube.cube.chips.outlines import draw, footprints
from spacenet_cube.cube.chips.read import computed, on_pixels_of, pool, tiles_of, without_dask
from spacenet_cube.cube.chips.samples import ChipSamples, ChipStream, Opener, Transform, generator
from spacenet_cube.cube.chips.splits import Splits, home_shards, shuffled
from spacenet_cube.cube.chips.windows import Chip, Numbers
from spacenet_cube.errors import MissingExtraError, RecipeError
from spacenet_cube.format.subset import Part
from spacenet_cube.raster.grid import Block

if TYPE_CHECKING:
    import geopandas
    from matplotlib.axes import Axes
    from xbatcher import BatchGenerator


@dataclass(frozen=True, eq=False)
class Chips(Sequence[xr.Dataset]):
    """Chips of a cube, in order; ``chips[i]`` is a lazy dataset, ``chips.load(i)`` an array."""

    cube: xr.Dataset
    """What they are cut from, with ``image`` (band, y, x)."""

    part: Part
    """Where that lies in its whole cube."""

    size_px: int
    """Edge of a chip."""

    rows: Numbers
    """First row of each chip, counted from the cube's corner."""

    cols: Numbers
    """First column of each chip."""

    valid_px: Numbers
    """Valid pixels of each chip."""

    owner: NDArray[np.int8]
    """Which of the splits each belongs to."""

    chosen: Splits | None
    """How ground was shared out."""

    pools: tuple[int, ...] = ()
    """How many chips, one after another, are read together; empty where nothing is shuffled."""

    opener: Opener | None = field(default=None, repr=False)
    """Opens levels of the cube."""

    def __repr__(self) -> str:
        """How many there are."""
        size = f"{self.size_px} x {self.size_px}"
        if self.chosen is None:
            return f"<{len(self)} chips of {size} pixels>"
        counts = np.bincount(self.owner, minlength=len(self.chosen.names)).tolist()
        told = (f"{name} {count}" for name, count in zip(self.chosen.names, counts, strict=True))
        return f"<{len(self)} chips of {size} pixels: {', '.join(told)}>"

    def __len__(self) -> int:
        """How many chips there are."""
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> xr.Dataset: ...
    @overload
    def __getitem__(self, index: slice) -> "Chips": ...
    def __getitem__(self, index: int | slice) -> "xr.Dataset | Chips":
        """One chip as a lazy dataset, or a run of them as chips."""
        if isinstance(index, slice):
            return self._taken(np.arange(len(self))[index])
        inside = self._blocks([index])[0].relative_to(self.part.block)
        rows, cols = inside.yx
        return self.cube.isel(y=rows, x=cols)

    def chip(self, index: int) -> Chip:
        """Where one chip lies and what is known of it."""
        block = self._blocks([index])[0]
        (west, north), (east, south) = (
            self.part.grid.transform @ (block.col + far, block.row + far)
            for far in (0, self.size_px)
        )
        return Chip(
            block.row,
            block.col,
            self.size_px,
            None if self.chosen is None else self.chosen.names[self.owner[index]],
            float(self.valid_px[index]) / self.size_px**2,
            (west, south, east, north),
            self.part.grid.crs,
        )

    @property
    def windows(self) -> tuple[Chip, ...]:
        """All chips, in order."""
        return tuple(self.chip(index) for index in range(len(self)))

    def load(self, index: int) -> NDArray[Any]:
        """Read the pixels of one chip.

        Parameters
        ----------
        index
            Its place.

        Returns
        -------
        array
            Shape (band, y, x), in the cube's own type.
        """
        return self.cut(self._direct, index)

    def cut(self, target: xr.DataArray, index: int) -> NDArray[Any]:
        """Read what another array on the cube's pixels has at one chip.

        Parameters
        ----------
        target
            Such as labels, with dimensions y and x.
        index
            The chip's place.

        Returns
        -------
        array
            Shape (..., y, x).
        """
        rows, cols = self._blocks([index])[0].relative_to(self.part.block).yx
        (found,) = computed(target.isel(y=rows, x=cols))
        pixels: NDArray[Any] = found.values
        return pixels

    def of(self, split: str) -> "Chips":
        """Only the chips of one split.

        Parameters
        ----------
        split
            Its name, such as ``train``.

        Returns
        -------
        Chips
            In the same order.

        Raises
        ------
        RecipeError
            If there is no such split.
        """
        names = () if self.chosen is None else self.chosen.names
        if split not in names:
            raise RecipeError(
                f"there is no split '{split}' (there is {', '.join(names) or 'none'}); give "
                "chips(split={...}) one of that name"
            )
        return self._taken(np.flatnonzero(self.owner == names.index(split)))

    def shuffled(self, seed: int = 0, *, window: int = 4) -> "Chips":
        """Return the chips in an order that reads each shard about once.

        Shards are shuffled and taken ``window`` at a time; the chips of those are shuffled
        among themselves.  ``pooled`` then reads the shards of a pool once and cuts its chips
        from memory.  A chip that lies across shards is filed under the one that holds its
        middle, and only the strip it has in the others is read again.

        Parameters
        ----------
        seed
            Another one, another order; the same one, the same order everywhere.
        window
            Shards held at once: 4 of 8 bands of 2048 x 2048 uint16 are 268 MB.

        Returns
        -------
        Chips
            The same ones.

        Raises
        ------
        RecipeError
            If ``window`` is below 1.
        """
        tiles = tiles_of(self.cube["image"], self.part)
        homes = home_shards(self.rows, self.cols, self.size_px, tiles)
        shown = shuffled(self.rows, self.cols, homes, seed, window)
        return replace(self._taken(shown.order), pools=shown.pools)

    def pooled(
        self, target: xr.DataArray | None = None, *, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        """Read all chips in order, pool by pool; of those not shuffled, one by one.

        Parameters
        ----------
        target
            Another array on the cube's pixels, such as labels, to cut likewise.
        share
            Which share of how many: worker 1 of 4 reads every fourth pool.

        Yields
        ------
        tuple of arrays
            Pixels (band, y, x); with a target, its pixels too.

        Raises
        ------
        RecipeError
            If the target has other pixels than the cube.
        """
        arrays = [self.cube["image"]]
        if target is not None:
            arrays.append(self.matched(target))
        ends = accumulate(self.pools or (1,) * len(self), initial=0)
        mine, workers = share
        for first, last in islice(pairwise(ends), mine, None, workers):
            yield from pool(self._blocks(range(first, last)), arrays, self.part)

    def matched(self, target: xr.DataArray) -> xr.DataArray:
        """Return an array if it lies on the pixels that the chips are cut from.

        Raises
        ------
        RecipeError
            If it has other pixels than the cube.
        """
        return on_pixels_of(self.cube, target)

    def to_geodataframe(self) -> "geopandas.GeoDataFrame":
        """Footprints of the chips: row, col, split, share_valid and geometry.

        Raises
        ------
        MissingExtraError
            If geopandas is not installed.
        """
        return footprints(self.windows, self.part.grid.crs)

    def plot(self, *, ax: "Axes | None" = None) -> "Axes":
        """Draw the chips on the cube's picture, coloured by split.

        Parameters
        ----------
        ax
            Matplotlib axes to draw on; by default the current ones.

        Returns
        -------
        matplotlib.axes.Axes
            What was drawn on.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        axes: Axes = self.cube.spacenet.plot(ax=ax).axes
        names = (None,) if self.chosen is None else self.chosen.names
        return draw(self.windows, names, axes)

    def to_xbatcher(self) -> "BatchGenerator":
        """Return an xbatcher generator whose batches are the chips, in order.

        Raises
        ------
        MissingExtraError
            If xbatcher is not installed.
        RecipeError
            If there is no chip.
        """
        if not len(self):
            raise RecipeError("there are no chips to make batches of; lower valid or size")
        inside = [block.relative_to(self.part.block) for block in self._blocks(range(len(self)))]
        return generator(self.cube, inside)

    def to_torch(
        self, *, transform: Transform | None = None, target: xr.DataArray | None = None
    ) -> "ChipSamples":
        """Return a map-style ``torch.utils.data.Dataset``.

        Parameters
        ----------
        transform
            Called with the pixels, float32 shaped (band, y, x), and with the target's where
            there is one; what it returns is the sample.
        target
            Labels on the cube's pixels, such as ``cube.spacenet.rasterize(...)``.

        Returns
        -------
        torch.utils.data.Dataset
            A sample is a tensor, or a pair of tensors.  It pickles for the workers of a
            ``DataLoader``, and no secret with it.

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        RecipeError
            If the target has other pixels than the cube.

        Notes
        -----
        Workers of a `DataLoader` read local cubes however they are started.  For a cube on S3
        or a versioned one, start them by ``multiprocessing_context="spawn"`` or
        ``"forkserver"``: connections do not survive a fork, so a forked worker raises a
        StoreError at once.
        """
        _require_torch("to_torch")
        from spacenet_cube.cube.chips.torch import TorchChips  # noqa: PLC0415 - needs torch

        return TorchChips(self, target=target, transform=transform)

    def to_torch_stream(
        self,
        *,
        seed: int = 0,
        window: int = 4,
        transform: Transform | None = None,
        target: xr.DataArray | None = None,
    ) -> "ChipStream":
        """Return a ``torch.utils.data.IterableDataset`` that reads each shard about once.

        Workers of a loader share the pools of ``shuffled``.  ``set_epoch(n)`` gives the n-th
        epoch an order of its own.

        Parameters
        ----------
        seed, window
            As ``shuffled`` has them.
        transform, target
            As ``to_torch`` has them.

        Returns
        -------
        torch.utils.data.IterableDataset
            Samples as those of ``to_torch``.

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        RecipeError
            If the target has other pixels than the cube, or ``window`` is below 1.
        """
        _require_torch("to_torch_stream")
        from spacenet_cube.cube.chips.torch import TorchStream  # noqa: PLC0415 - needs torch

        return TorchStream(self, seed=seed, window=window, target=target, transform=transform)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: no connection, and no option that may be a secret.

        Raises
        ------
        RecipeError
            If the cube was opened with options that may hold secrets.
        """
        extra = sorted(self.opener.unsafe_options) if self.opener is not None else []
        if extra:
            raise RecipeError(
                f"the cube was opened with {', '.join(extra)}, which may hold secrets and would "
                "be sent along; open it with options that do not, such as profile, and leave "
                "credentials to the environment of each worker"
            )
        return {name: value for name, value in self.__dict__.items() if name != "_direct"}

    @cached_property
    def _direct(self) -> xr.DataArray:
        return without_dask(self.cube["image"])

    def _blocks(self, indices: Sequence[int] | range) -> list[Block]:
        where = np.asarray(indices, np.int64)
        size = self.size_px
        return [
            Block(row, col, size, size)
            for row, col in zip(self.rows[where].tolist(), self.cols[where].tolist(), strict=True)
        ]

    def _taken(self, where: Numbers) -> "Chips":
        columns = ("rows", "cols", "valid_px", "owner")
        return replace(self, pools=(), **{name: getattr(self, name)[where] for name in columns})


def _require_torch(asked: str) -> None:
    if find_spec("torch") is None:
        raise MissingExtraError(
            f"{asked} needs PyTorch, which is not installed and not part of any extra because of "
            "its size; run: pip install torch, as https://pytorch.org/get-started says"
        )
