"""Cost: what a build will ask of its stores, its machine and a purse, before it starts.

Pure.  Requests and bytes follow from the plan; how far pixels compress is assumed unless
it was measured on a sample of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from spacenet_cube.builds.tasks.prices import GB, S3, Prices
from spacenet_cube.builds.tasks.schedule import schedule
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.plans.documents import coordinate_arrays, group_documents, pixel_arrays
from spacenet_cube.plans.plan import TASKS_PER_WORKER, Plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.sources.files.byte_ranges import HEAD_BYTES, PART_BYTES
from spacenet_cube.sources.scene import Scene

ASSUMED_SHARE: Mapping[str, float] = {"u": 0.45, "i": 0.45, "f": 0.8}
"""Stored bytes over raw ones, by kind of sample: 11-bit imagery in 16 bits comes to 0.37."""

_LISTINGS = 8
_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """What a few windows of the sources showed."""

    stored_share: float
    """Stored bytes over raw ones, with the cube's own codecs."""

    windows: int
    """How many were tried."""

    rate_bytes_s: float | None
    """Bytes a second at which they were fetched; None where the source is local."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests to one store."""

    list: int = 0
    """LIST requests."""

    get: int = 0
    """GET and HEAD requests."""

    put: int = 0
    """PUT requests."""

    def usd(self, prices: Prices) -> float:
        """What they cost."""
        return (self.list + self.put) * prices.put_usd + self.get * prices.get_usd


@dataclass(frozen=True, slots=True)
class Cost:
    """What a build will take."""

    source: Requests
    """Requests to the source; none where it is local."""

    target: Requests
    """Requests to the target; none where it is local."""

    fetched_bytes: int
    """Bytes that come from a remote source."""

    needed_bytes: int
    """Bytes of strips and tiles that hold the pixels needed, as stored, local or not."""

    stored_bytes: int
    """Bytes of the cube as stored."""

    stored_share: float
    """Stored bytes over raw ones where there is data."""

    stored_is: str
    """How that is known: ``assumed``, or ``measured on n windows``."""

    scratch_bytes: int
    """Disk space that mirrors of remote scenes take at once."""

    peak_memory_bytes: int
    """Memory that arrays, and answers that are on their way, take at once."""

    rate_bytes_s: float
    """Bytes a second at which the source is read."""

    rate_is: str
    """How that is known: ``stated`` or ``measured``."""

    prices: Prices
    """What dollars were counted by."""

    @property
    def read_s(self) -> float:
        """Seconds that reading the source takes at that rate."""
        return max(self.fetched_bytes, self.needed_bytes) / self.rate_bytes_s

    def source_usd(self) -> dict[str, float]:
        """What reading costs whoever pays for it, by where the build runs."""
        asked = self.source.usd(self.prices)
        return {
            where: asked + self.fetched_bytes / GB * each
            for where, each in self.prices.out_usd_gb.items()
        }

    @property
    def storage_usd_month(self) -> float:
        """What a month of keeping the cube costs."""
        return self.stored_bytes / GB * self.prices.stored_usd_gb_month

    def to_dict(self) -> dict[str, Any]:
        """Every figure as plain values, ready for JSON."""
        return {
            "source_requests": asdict(self.source),
            "target_requests": asdict(self.target),
            "fetched_bytes": self.fetched_bytes,
            "needed_bytes": self.needed_bytes,
            "stored_bytes": self.stored_bytes,
            "stored_share": self.stored_share,
            "stored_is": self.stored_is,
            "scratch_bytes": self.scratch_bytes,
            "peak_memory_bytes": self.peak_memory_bytes,
            "read_s": self.read_s,
            "rate_bytes_s": self.rate_bytes_s,
            "rate_is": self.rate_is,
            "prices": {"store": self.prices.store, "as_of": self.prices.as_of}
            | {"source": self.prices.source},
            "source_usd": self.source_usd(),
            "target_requests_usd": self.target.usd(self.prices),
            "storage_usd_month": self.storage_usd_month,
        }


def cost(
    plan: Plan,
    *,
    workers: int,
    remote_target: bool,
    list_requests: int = 0,
    sample: Sample | None = None,
    rate_bytes_s: float = 100e6,
    prices: Prices = S3,
) -> Cost:
    """Count what a build will take.

    Parameters
    ----------
    plan
        The plan.
    workers
        Units at once.
    remote_target
        Whether the cube goes to a store that counts requests.
    list_requests
        LIST requests of the survey.
    sample
        What a few windows showed; without it, a share is assumed.
    rate_bytes_s
        Bytes a second the source gives, where it was not measured.
    prices
        What dollars are counted by.

    Returns
    -------
    Cost
        Upper estimates, but for what is assumed or measured.
    """
    windows = _windows(plan)
    parts = [
        _fetch(plan.scenes[number - 1], some, plan.product.band_indexes)
        for number, some in sorted(windows.items())
    ]
    remote = [part for part in parts if part.remote]
    share = sample.stored_share if sample else _assumed(plan)
    measured = sample.rate_bytes_s if sample else None
    return Cost(
        source=Requests(list_requests, sum(part.requests for part in remote), 0)
        if remote
        else Requests(),
        target=_target(plan) if remote_target else Requests(),
        fetched_bytes=sum(part.needed_bytes + HEAD_BYTES for part in remote),
        needed_bytes=sum(part.needed_bytes for part in parts),
        stored_bytes=int(_image_bytes(plan) * share * _covered(plan)),
        stored_share=share,
        stored_is=f"measured on {sample.windows} windows" if sample else "assumed",
        scratch_bytes=schedule(plan.units, plan.scenes).staged_with(
            workers * TASKS_PER_WORKER, plan.scenes
        ),
        peak_memory_bytes=plan.peak_memory_bytes(workers) + _in_requests(plan),
        rate_bytes_s=measured or rate_bytes_s,
        rate_is="measured" if measured else "stated",
        prices=prices,
    )


def _assumed(plan: Plan) -> float:
    dtype = np.dtype(plan.dtype)
    return 1.0 if dtype.itemsize == 1 else ASSUMED_SHARE[dtype.kind]


def _in_requests(plan: Plan) -> int:
    """Bytes of answers that are held until they are on the disk."""
    fetching = [scene.access.concurrency for scene in plan.scenes if scene.is_remote]
    return max(fetching, default=0) * PART_BYTES


def _image_bytes(plan: Plan) -> int:
    """Raw bytes of the pixels of all levels; `source_index` is flat, and takes next to nothing."""
    return sum(prod(grid.shape_yx) for grid in plan.levels) * plan.pixel_bytes


def _covered(plan: Plan) -> float:
    """Share of the grid that scenes cover; the rest is fill, which takes next to nothing."""
    held = sum(piece.target.pixels for unit in plan.units for piece in unit.pieces)
    return min(1.0, held / prod(plan.grid.shape_yx))


def _windows(plan: Plan) -> dict[int, list[Block]]:
    """Windows that units need, by number of the scene."""
    found: dict[int, list[Block]] = {}
    for unit in plan.units:
        for piece in unit.pieces:
            found.setdefault(piece.scene, []).append(piece.window)
    return found


@dataclass(frozen=True, slots=True)
class _Fetch:
    """What is read of one scene."""

    remote: bool
    needed_bytes: int
    requests: int


def _fetch(scene: Scene, windows: Sequence[Block], band_indexes: Sequence[int]) -> _Fetch:
    rows, cols = scene.layout.block_yx
    across, down = -(-scene.shape_yx[1] // cols), -(-scene.shape_yx[0] // rows)
    places = {place for window in windows for place in _places(window, rows, cols)}
    held = scene.data_bytes if scene.data_bytes is not None else scene.size_bytes
    planes = len(set(band_indexes)) if scene.layout.interleave == "band" else scene.count
    needed = int(held * len(places) / (across * down) * planes / scene.count)
    runs = _runs(places, across) * (planes if scene.layout.interleave == "band" else 1)
    # A header is fetched once by the survey and once when the scene is staged.
    requests = 2 + max(runs, -(-needed // PART_BYTES))
    return _Fetch(scene.is_remote, needed, requests)


def _places(window: Block, rows: int, cols: int) -> Iterable[tuple[int, int]]:
    for down in range(window.row // rows, (window.row + window.height - 1) // rows + 1):
        for across in range(window.col // cols, (window.col + window.width - 1) // cols + 1):
            yield down, across


def _runs(places: set[tuple[int, int]], across: int) -> int:
    """How many stretches of consecutive blocks there are."""
    numbers = {row * across + col for row, col in places}
    return sum(number - 1 not in numbers for number in numbers)


def _target(plan: Plan) -> Requests:
    """Objects written and, for the overviews above the first, read back."""
    # Beside the cube are the lock, the plan and a record a task while it is built, and the
    # manifest afterwards; a sign of life every few seconds is not counted.
    put = 1 + 1 + len(tasks(plan)) + 1 + 1 + len(group_documents(plan))
    get = 0
    for level in range(len(plan.levels)):
        put += len(coordinate_arrays(plan, level))
        objects = 0
        for spec in pixel_arrays(plan, level).values():
            edges = spec.shard or spec.chunk
            objects += prod(-(-size // edge) for size, edge in zip(spec.shape, edges, strict=True))
        put += objects
        get += objects if 1 <= level < len(plan.levels) - 1 else 0
    return Requests(list=_LISTINGS * -(-put // _LISTED), get=get, put=put)
