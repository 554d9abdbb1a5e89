"""Batches: chips as training wants them, one by one or pool by pool, without torch.

What is here is plain Python over arrays; ``cube.chips.torch`` makes torch's classes of it.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from spacenet_cube.compat import with_windows
from spacenet_cube.errors import MissingExtraError
from spacenet_cube.raster.grid import Block

if TYPE_CHECKING:
    from xbatcher import BatchGenerator

type Transform = Callable[..., Any]
"""Called with pixels, and with a target where there is one; gives the sample."""


class Opener(Protocol):
    """Opens the levels of a cube."""

    @property
    def unsafe_options(self) -> tuple[str, ...]:
        """Names of options that may hold a secret."""
        ...

    def __call__(self, number: int, *, chunks: Any = "shard") -> xr.Dataset:  # noqa: ANN401
        """Open a level, in chunks as ``open_cube`` has them."""
        ...


class Cuts(Protocol):
    """What is needed of chips."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def load(self, index: int) -> NDArray[Any]:
        """Read the pixels of one, shaped (band, y, x)."""
        ...

    def cut(self, target: xr.DataArray, index: int) -> NDArray[Any]:
        """Read what another array has at one, shaped (..., y, x)."""
        ...

    def matched(self, target: xr.DataArray) -> xr.DataArray:
        """Refuse an array that has other pixels than the cube."""
        ...

    def shuffled(self, seed: int = 0, *, window: int = 4) -> Self:
        """Another order."""
        ...

    def pooled(
        self, target: xr.DataArray | None = None, *, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        """Read all, pool by pool."""
        ...


class _Samples:
    """How arrays become a sample."""

    def __init__(
        self, chips: Cuts, *, target: xr.DataArray | None = None, transform: Transform | None = None
    ) -> None:
        self.chips = chips
        self.target = None if target is None else chips.matched(target)
        self.transform = transform

    def made(self, arrays: Sequence[NDArray[Any]]) -> Any:  # noqa: ANN401 - as the transform makes it
        """Pixels in float32, what follows in a type that torch has; then the transform."""
        pixels, *targets = arrays
        plain = [pixels.astype(np.float32), *map(_signed, targets)]
        made = self.transform(*plain) if self.transform else tuple(plain)
        return self.finished(made[0] if isinstance(made, tuple) and len(made) == 1 else made)

    def finished(self, sample: Any) -> Any:  # noqa: ANN401 - as the transform made it
        """The last step, which torch's classes put tensors in."""
        return sample


class ChipSamples(_Samples):
    """Chips as a mapping from a number to a sample, in any order.

    Parameters
    ----------
    chips
        What to sample.
    target
        Labels on the cube's pixels.
    transform
        Called with pixels as float32 (band, y, x), and with the target's.
    """

    def __len__(self) -> int:
        """How many there are."""
        return len(self.chips)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - as the transform makes it
        """Read one.

        Raises
        ------
        IndexError
            If there is no such chip, which ends a loop over all of them.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        arrays = [self.chips.load(index)]
        if self.target is not None:
            arrays.append(self.chips.cut(self.target, index))
        return self.made(arrays)


class ChipStream(_Samples):
    """Chips as a stream that reads each shard about once.

    Parameters
    ----------
    chips
        What to sample.
    seed, window
        As ``Chips.shuffled`` has them.
    target
        Labels on the cube's pixels.
    transform
        Called with pixels as float32 (band, y, x), and with the target's.
    """

    def __init__(
        self,
        chips: Cuts,
        *,
        seed: int = 0,
        window: int = 4,
        target: xr.DataArray | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(chips, target=target, transform=transform)
        self.seed, self.window, self.epoch = seed, window, 0
        chips.shuffled(seed, window=window)

    def set_epoch(self, epoch: int) -> None:
        """Give an epoch an order of its own."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        """Read all of this worker's pools."""
        shown = self.chips.shuffled(self.seed + self.epoch, window=self.window)
        for arrays in shown.pooled(self.target, share=self.share()):
            yield self.made(arrays)

    def share(self) -> tuple[int, int]:
        """Which worker of how many this is."""
        return 0, 1


def generator(cube: xr.Dataset, inside: Sequence[Block]) -> "BatchGenerator":
    """An xbatcher generator over windows of our choice.

    Parameters
    ----------
    cube
        What they are cut from.
    inside
        The windows, counted from the dataset's corner; at least one.

    Returns
    -------
    xbatcher.BatchGenerator
        A batch is the dataset of one window, loaded.

    Raises
    ------
    MissingExtraError
        If xbatcher is not installed.
    """
    try:
        from xbatcher import BatchGenerator  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "to_xbatcher needs xbatcher, which is not installed; "
            "run: pip install 'spacenet-cube[learn]'"
        ) from error
    rows, cols = inside[0].yx
    first: dict[Hashable, int] = {"y": inside[0].height, "x": inside[0].width}
    made = BatchGenerator(cube.isel(y=rows, x=cols), input_dims=first)
    windows = [dict(zip(("y", "x"), block.yx, strict=True)) for block in inside]
    return with_windows(made, cube, windows)


def _signed(array: NDArray[Any]) -> NDArray[Any]:
    """The array in a type that loss functions take: torch computes with few unsigned ones."""
    wide = array.dtype.kind == "u" and array.dtype.itemsize > 1
    return array.astype(np.int64) if wide or array.dtype == np.bool_ else array
