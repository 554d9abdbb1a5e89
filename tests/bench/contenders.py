"""Who is measured, by name; what each needs is imported only where it runs.

Run as a program, this does one build in a fresh process and prints its figures::

    python -m tests.bench.contenders ours FOLDER SIZE OVERLAP ROWS COLS TARGET
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time

from tests.bench.strips import Corpus, corpus_in

Build = Callable[[Corpus, Path], Mapping[str, float] | None]
"""Write the mosaic of a corpus below a folder; may give the seconds of its stages."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to the same array."""

    label: str
    """What the table calls it."""

    module: str
    """Module of ``tests.bench`` it is in."""

    function: str
    """Function of that module."""

    image: str
    """Where its native image lies below the target."""

    @property
    def build(self) -> Build:
        """Its function; what it needs is imported now."""
        found: Build = getattr(import_module(f"tests.bench.{self.module}"), self.function)
        return found


CONTENDERS: Mapping[str, Contender] = {
    "ours": Contender("spacenet_cube", "ours", "build", "bench/MUL-PanSharpen.zarr/image"),
    "odc-stac": Contender("odc-stac", "peers", "odc_documented", "image"),
    "odc-stac-tuned": Contender("odc-stac, tuned", "peers", "odc_tuned", "image"),
    "rioxarray": Contender("rioxarray", "peers", "rioxarray_documented", "image"),
    "rioxarray-tuned": Contender("rioxarray, tuned", "peers", "rioxarray_tuned", "image"),
    "floor": Contender("floor", "floor", "build", "image"),
}
"""Every contender, in the order in which they run."""

DOCUMENTED = ("odc-stac", "rioxarray")
"""Peers as their own pages show them."""

TUNED = ("odc-stac-tuned", "rioxarray-tuned")
"""Peers in the fastest settings found."""


def main(arguments: list[str]) -> None:
    """Do one build and print its seconds, without imports, as JSON."""
    name, folder, size, overlap, rows, cols, target = arguments
    corpus = corpus_in(Path(folder), int(size), int(overlap), (int(rows), int(cols)))
    build = CONTENDERS[name].build
    begun, begun_cpu = perf_counter(), process_time()
    stages = build(corpus, Path(target))
    seconds, cpu_seconds = perf_counter() - begun, process_time() - begun_cpu
    figures = {"seconds": seconds, "cpu_seconds": cpu_seconds, "stages": dict(stages or {})}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
