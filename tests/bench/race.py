"""The race: every contender in turn, in fresh processes, round after round."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from tests.bench.contenders import CONTENDERS
from tests.bench.equal import UnequalError, check_pixels, encoding_of, size_bytes
from tests.bench.meter import Reading, measure
from tests.bench.strips import Corpus, corpus_in, write_corpus

NAMES = tuple(CONTENDERS)
"""Every contender."""

OVERLAP_SHARE = 16
"""The files share one part in so many of their width: 512 columns of 8192."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a contender left, once its pixels were checked."""

    encoding: dict[str, Any]
    """What decides the stored bytes: chunks, shards, codecs."""

    size_bytes: int
    """All files together."""


def run(
    only: Sequence[str], size: int, repeats: int, folder: Path, console: Console
) -> dict[str, Any]:
    """Time all in turn, and compare what they wrote in the first round before telling any time.

    Parameters
    ----------
    only
        Contenders to run; all if there are none.
    size
        Edge of each of the two source files, pixels.
    repeats
        Timed builds by each.
    folder
        Where sources and outputs go.
    console
        Told what is going on.

    Returns
    -------
    dict
        For each contender its label, readings and medians, ready for JSON.

    Raises
    ------
    UnequalError
        If two contenders wrote different pixels, or encoded them differently.
    """
    names = [name for name in NAMES if not only or name in only]
    overlap = size // OVERLAP_SHARE
    corpus = corpus_in(folder, size, overlap, (1, 2))
    console.print(f"writing two sources, {corpus.size_bytes / 1e9:.2f} GB")
    write_corpus(corpus)
    arguments = [str(number) for number in (size, overlap, 1, 2)]
    readings: dict[str, list[Reading]] = {name: [] for name in names}
    written: dict[str, Written] = {}
    for turn in range(1, repeats + 1):
        for name in names:
            target = folder / name
            readings[name].append(measure(name, corpus, arguments, target))
            if turn == 1:
                written[name] = _inspect(corpus, target, CONTENDERS[name].image)
                console.print(f"{name} wrote the expected pixels")
            shutil.rmtree(target)
        _refuse_other_encodings(written)
        console.print(f"round {turn} of {repeats} done")
    return {
        "shape_yx": list(corpus.shape_yx),
        "source_bytes": corpus.size_bytes,
        "equal": True,
        "contenders": {name: _summary(name, readings[name], written[name]) for name in names},
    }


def _inspect(corpus: Corpus, target: Path, image: str) -> Written:
    """Check what a contender wrote, pixel for pixel, and look at how it is stored."""
    check_pixels(corpus, target / image)
    return Written(encoding_of(target / image), size_bytes(target))


def _refuse_other_encodings(written: Mapping[str, Written]) -> None:
    """Refuse to compare contenders which were asked for different work.

    Raises
    ------
    UnequalError
        If two encoded their arrays differently.
    """
    first = next(iter(written))
    for name, found in written.items():
        if found.encoding != written[first].encoding:
            raise UnequalError(
                f"{name} encodes image as {found.encoding}, but {first} as "
                f"{written[first].encoding}; give both one encoding, in tests/bench/target.py"
            )


def _summary(name: str, readings: Sequence[Reading], written: Written) -> dict[str, Any]:
    """Give medians of time, and the worst of memory."""
    return {
        "label": CONTENDERS[name].label,
        "median_seconds": median(reading.seconds for reading in readings),
        "median_cpu_seconds": median(reading.cpu_seconds for reading in readings),
        "median_wall_seconds": median(reading.wall_seconds for reading in readings),
        "peak_private_bytes": max(reading.private_bytes for reading in readings),
        "peak_unique_bytes": max(reading.unique_bytes for reading in readings),
        "stored_bytes": written.size_bytes,
        "readings": [asdict(reading) for reading in readings],
    }
