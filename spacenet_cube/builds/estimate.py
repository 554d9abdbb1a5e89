"""Estimating: how far a few windows of the sources compress, and how fast they come."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import MemoryStore, StorePath

from spacenet_cube.builds.tasks.cost import Sample
from spacenet_cube.builds.unit.read import reader
from spacenet_cube.builds.unit.stage import Stage
from spacenet_cube.compat import objects_in
from spacenet_cube.plans.documents import pixel_arrays
from spacenet_cube.plans.plan import Plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.validity import Samples
from spacenet_cube.sources.scene import Scene
from spacenet_cube.storage.scratch import scratch_folder
from spacenet_cube.storage.stores.settings import array_settings

WINDOWS = 6
"""Windows that are tried at least, in as many scenes where there are so many."""


def estimate(plan: Plan, scratch: Path | None = None) -> Sample:
    """Compress a few windows of the sources with the cube's own codecs.

    Parameters
    ----------
    plan
        The plan.
    scratch
        Folder for what is fetched; it is emptied afterwards.

    Returns
    -------
    Sample
        Windows lie on the diagonals of scenes that are spread evenly over the plan, so the
        same plan is tried on the same windows.

    Raises
    ------
    SourceError
        If a scene cannot be read.
    """
    raw = stored = fetched = 0
    spent_s = 0.0
    with scratch_folder(scratch) as folder, Stage(plan, folder, []) as stage:
        open_scene = reader(plan.product.band_indexes, stage.local)
        windows = list(_windows(plan))
        for scene, window in windows:
            samples = np.empty((len(plan.bands), window.height, window.width), plan.dtype)
            began_s = time.perf_counter()
            with open_scene(scene, window) as read:
                read(window, samples)
            spent_s += time.perf_counter() - began_s
            raw += samples.nbytes
            stored += _stored_bytes(plan, samples)
        fetched = stage.fetched_bytes
    rate = fetched / spent_s if fetched and spent_s else None
    return Sample(stored / raw, len(windows), rate)


def _windows(plan: Plan) -> Iterator[tuple[Scene, Block]]:
    """Chunks on the diagonals of a few scenes."""
    step = max(1, len(plan.scenes) // WINDOWS)
    chosen = plan.scenes[::step][:WINDOWS]
    each = -(-WINDOWS // len(chosen))
    edge = plan.product.encoding.chunk
    for scene in chosen:
        rows, cols = scene.shape_yx
        high, wide = min(edge, rows), min(edge, cols)
        for turn in range(1, each + 1):
            row, col = (
                (size - part) * turn // (each + 1) for size, part in ((rows, high), (cols, wide))
            )
            yield scene, Block(row, col, high, wide)


def _stored_bytes(plan: Plan, samples: Samples) -> int:
    """Bytes of an array of chunks, encoded as the cube's are."""
    spec = pixel_arrays(plan, 0)["image"]
    chunk = (1, *samples.shape[1:])
    document = type(spec)(
        spec.dims, samples.shape, spec.dtype, spec.fill, {}, chunk, (), spec.profile
    ).document()
    store = MemoryStore()
    with array_settings():
        array = zarr.Array.from_dict(StorePath(store, ""), document)
    array[...] = samples
    return sum(map(len, objects_in(store).values()))
