"""The check before any figure is printed: every contender wrote the same pixels, encoded alike."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tests.bench.strips import Corpus, expected
from tests.bench.target import SHARDS, WORKERS, configure_zarr


class UnequalError(Exception):
    """Two arrays that must be equal are not; the message says where."""


def check_pixels(corpus: Corpus, image: Path) -> None:
    """Compare an array with a mosaic made by the plainest means.

    Parameters
    ----------
    corpus
        The sources.
    image
        A Zarr array (band, y, x).

    Raises
    ------
    UnequalError
        If any pixel differs, or the shape or type does.
    """
    configure_zarr()
    found = zarr.open_array(image, mode="r")
    shape = (SHARDS[0], *corpus.shape_yx)
    if found.shape != shape or found.dtype != "uint16":
        raise UnequalError(f"{image} is {found.shape} {found.dtype}, not {shape} uint16")

    def compare(top: int) -> None:
        rows = slice(top, min(top + SHARDS[1], shape[1]))
        differs = np.count_nonzero(np.asarray(found[:, rows]) != expected(corpus, rows))
        if differs:
            raise UnequalError(f"{image} differs in {differs} samples of rows {top} and on")

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(compare, range(0, shape[1], SHARDS[1])))


def encoding_of(image: Path) -> dict[str, Any]:
    """Give what decides the stored bytes of an array: its chunks, shards and codecs."""
    metadata = json.loads((image / "zarr.json").read_bytes())
    return {key: metadata[key] for key in ("chunk_grid", "codecs", "data_type", "fill_value")}


def size_bytes(folder: Path) -> int:
    """Add up the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
