"""Keys: which objects of a cube a task writes.

Pure.  No two tasks write one object.
"""

from itertools import product

from spacenet_cube.builds.tasks.tasks import Task, half
from spacenet_cube.format.levels import level_name
from spacenet_cube.plans.documents import ArraySpec, coordinate_arrays, pixel_arrays
from spacenet_cube.plans.plan import Plan
from spacenet_cube.raster.grid import Block


def task_keys(plan: Plan, task: Task) -> tuple[str, ...]:
    """Keys of all objects that a task writes.

    Parameters
    ----------
    plan
        The plan.
    task
        One of its tasks.

    Returns
    -------
    tuple of str
        Ascending.
    """
    found = block_keys(plan, task.level, task.block)
    if task.level == 0 and len(plan.levels) > 1:
        found += block_keys(plan, 1, half(task.block))
    return tuple(sorted(found))


def block_keys(plan: Plan, level: int, block: Block) -> tuple[str, ...]:
    """Keys of the shards, or chunks where there are no shards, of a block of a level.

    Parameters
    ----------
    plan
        Its documents say how arrays are cut.
    level
        0 for the native level, n for the n-th overview.
    block
        Pixels of the level; it starts on a shard.

    Returns
    -------
    tuple of str
        Of `image`, then of `source_index`.
    """
    return tuple(
        "/".join([*_path(level, name), "c", *map(str, place)])
        for name, spec in pixel_arrays(plan, level).items()
        for place in product(*_places(spec, block))
    )


def _places(spec: ArraySpec, block: Block) -> list[range]:
    """Numbers of shards along each dimension."""
    edges = spec.shard or spec.chunk
    before = [range(-(-size // edge)) for size, edge in zip(spec.shape, edges, strict=True)][:-2]
    rows = range(block.row // edges[-2], -(-(block.row + block.height) // edges[-2]))
    cols = range(block.col // edges[-1], -(-(block.col + block.width) // edges[-1]))
    return [*before, rows, cols]


def coordinate_keys(plan: Plan) -> tuple[str, ...]:
    """Keys of the small arrays of every level, each of one chunk.

    Parameters
    ----------
    plan
        The plan.

    Returns
    -------
    tuple of str
        By level, then by array.
    """
    return tuple(
        "/".join([*_path(level, name), "c", *("0" for _ in spec.shape)])
        for level in range(len(plan.levels))
        for name, (spec, _) in coordinate_arrays(plan, level).items()
    )


def _path(level: int, name: str) -> list[str]:
    return [part for part in (level_name(level), name) if part]
