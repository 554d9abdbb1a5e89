"""Memory at two sizes: a build of four times the area must not need more."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench.meter import Reading, measure
from tests.bench.strips import corpus_in, write_corpus

LIMIT_BYTES = 1_500_000_000
"""Most private memory a build may hold, with two workers and eight uint16 bands."""

LIMIT_DIFFERENCE = 0.10
"""Most that the two peaks may differ, as a share of the smaller."""

GRIDS_YX = ((1, 1), (2, 2))
"""Source files of the two products: north to south, and west to east."""


def _files(grid_yx: tuple[int, int]) -> int:
    return grid_yx[0] * grid_yx[1]


def run(size: int, repeats: int, folder: Path, console: Console) -> dict[str, Any]:
    """Build one source file, then four of the same size, and compare the peaks.

    Parameters
    ----------
    size
        Edge of a source file, pixels.
    repeats
        Builds of the larger product; the highest peak counts, because workers seldom all hold
        the most they can at the same time.  The smaller is built so much more often that as
        many units are built of both, and so both have as many chances of that.
    folder
        Where sources and outputs go.
    console
        Told what is going on.

    Returns
    -------
    dict
        The readings, how far the peaks differ, and whether the bars are met; ready for JSON.
    """
    products: list[dict[str, Any]] = []
    for grid_yx in GRIDS_YX:
        corpus = corpus_in(folder, size, 0, grid_yx)
        console.print(f"writing {len(corpus.strips)} sources, {corpus.size_bytes / 1e9:.2f} GB")
        write_corpus(corpus)
        arguments = [str(number) for number in (size, 0, *grid_yx)]
        readings: list[Reading] = []
        for _ in range(repeats * _files(GRIDS_YX[-1]) // _files(grid_yx)):
            readings.append(measure("ours", corpus, arguments, folder / "ours"))
            shutil.rmtree(folder / "ours")
        products.append(
            {
                "shape_yx": list(corpus.shape_yx),
                "peak_private_bytes": max(reading.private_bytes for reading in readings),
                "peak_unique_bytes": max(reading.unique_bytes for reading in readings),
                "readings": [asdict(reading) for reading in readings],
            }
        )
    peaks = sorted(product["peak_private_bytes"] for product in products)
    difference = peaks[-1] / peaks[0] - 1
    return {
        "products": products,
        "difference": difference,
        "passed": peaks[-1] <= LIMIT_BYTES and difference <= LIMIT_DIFFERENCE,
    }
