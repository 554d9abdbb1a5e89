"""Ground for torture: sources of few pixels, whose cubes have many tasks and are quickly built."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr

import spacenet_cube as sc
from spacenet_cube.raster.grid import Block
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import locate
from tests.scenes import LICENCE, Lattice, write_geotiff

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - made by mkdtemp
"""Where the disk is memory: a process that is killed loses nothing of what it wrote there, and
nobody waits for synchronisation."""

SPOTS = {
    "b.tif": Block(0, 0, 30, 50),
    "d.tif": Block(20, 30, 40, 40),
    "f.tif": Block(50, 50, 43, 45),
    "h.tif": Block(5, 70, 30, 20),
}
"""Where scenes lie; ``b`` and ``f`` keep the grid what it is: 93 x 95 pixels, nine units, and
shards at the edges that are not full."""


SMALL = {
    "b.tif": Block(0, 0, 16, 24),
    "d.tif": Block(10, 14, 20, 20),
    "f.tif": Block(24, 23, 21, 20),
    "h.tif": Block(3, 30, 14, 12),
}
"""The same on 45 x 43 pixels, four units, for what is built thousands of times."""


def deliver(folder: Path, name: str, seed: int, block: Block | None = None) -> None:
    """Write a scene whose samples follow from a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    where = SPOTS[name] if block is None else block
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 2000, (2, where.height, where.width)).astype(np.uint16)
    image[:, 2:5, 3:6] = 0
    transform = Lattice().transform(where.row, where.col)
    write_geotiff(folder / name, image, transform=transform)


def deliver_all(folder: Path, seed: int = 1, spots: Mapping[str, Block] = SPOTS) -> Path:
    """Write every scene."""
    for number, (name, block) in enumerate(spots.items()):
        deliver(folder, name, seed * 100 + number, block)
    return folder


def plan_of(folder: Path) -> sc.Plan:
    """The plan of a cube of what is in a folder, in units of 2 x 2 shards of 16 pixels."""
    recipe = sc.Recipe.model_validate(
        {
            "name": "AOI",
            "source": str(folder),
            "licence": LICENCE,
            "products": [
                {
                    "name": "P",
                    "sources": ["*.tif"],
                    "bands": ["red", "nir"],
                    "encoding": {"chunk": 16, "shard": 16},
                }
            ],
        }
    )
    return sc.plan(recipe, "P", sc.survey(recipe, "P"))


def content(cube: str, options: dict[str, str] | None = None) -> dict[str, bytes]:
    """Every object of a cube and of its manifest, by its place; nothing else may be there."""
    found = {}
    for suffix in ("", ".manifest", ".build"):
        place = locate(cube + suffix, options)
        for key in entries(place):
            found[f"{suffix}/{key}"] = bytes((place / key).read_bytes())
    return found


def opens(cube: str, options: dict[str, str] | None = None) -> bool:
    """Whether xarray finds a cube at a place, or any level of one."""
    asked = None if options is None else {"endpoint_url": options["endpoint_url"]}
    for group in (None, "ovr_2x"):
        try:
            xr.open_zarr(cube, group=group, storage_options=asked, chunks=None).close()
        except (FileNotFoundError, KeyError):
            continue
        return True
    return False


@contextmanager
def signed() -> Iterator[None]:
    """Let requests be signed as the owner of the test servers."""
    names = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "ownersecret"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
