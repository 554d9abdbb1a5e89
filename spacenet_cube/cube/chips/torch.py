"""Torching: chips as torch's own datasets.  Importing this module needs torch."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from spacenet_cube.cube.chips.samples import ChipSamples, ChipStream


class TorchChips(ChipSamples, Dataset):  # type: ignore[misc, type-arg, unused-ignore]
    """Chips as a map-style dataset of tensors."""

    def finished(self, sample: Any) -> Any:  # noqa: ANN401 - as the transform made it
        """Turn arrays into tensors."""
        return tensors(sample)


class TorchStream(ChipStream, IterableDataset):  # type: ignore[misc, type-arg, unused-ignore]
    """Chips as a stream of tensors, shared among the workers of a loader."""

    def finished(self, sample: Any) -> Any:  # noqa: ANN401 - as the transform made it
        """Turn arrays into tensors."""
        return tensors(sample)

    def share(self) -> tuple[int, int]:
        """Which worker of how many this is."""
        info = get_worker_info()
        return (0, 1) if info is None else (info.id, info.num_workers)


def tensors(sample: Any) -> Any:  # noqa: ANN401 - as a transform made it
    """Turn arrays, also those in a tuple, into tensors that share their memory.

    Parameters
    ----------
    sample
        An array, a tuple of arrays, or anything else, which is left as it is.

    Returns
    -------
    torch.Tensor, tuple or whatever it was
        Of the same types.
    """
    if isinstance(sample, tuple):
        return tuple(tensors(each) for each in sample)
    if isinstance(sample, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(sample))
    return sample
