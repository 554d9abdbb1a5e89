"""Plans of real areas at their true size, from scenes made up of their known tile grids."""

from dataclasses import replace

import spacenet_cube as sc
from spacenet_cube.builds.tasks.cost import cost
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.plans.plan import Plan, plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.sources.scene import Scene
from tests.scenes import Lattice
from tests.test_plan import paris

THREAD_MB_S = 50
"""What a thread does, cautiously: half of what the bench measures on local files."""

_RIO_TILE_DEG = 360 / 4096
_RIO_QUADKEYS = """
013022223103 013022223112 013022223113 013022223121 013022223123 013022223130 013022223131
013022223132 013022223133 013022223301 013022223310 013022223311 013022232002 013022232003
013022232020 013022232021 013022232022 013022232023 013022232030 013022232031 013022232032
013022232033 013022232120 013022232122 013022232200 013022232201 013022232210 013022232211
013022232300
"""


def _column_row(quadkey: str) -> tuple[int, int]:
    column = int("".join(str(int(digit) & 1) for digit in quadkey), 2)
    row = int("".join(str(int(digit) >> 1) for digit in quadkey), 2)
    return column, row


def rio(name: str) -> Plan:
    """3-Band (19,584 px a tile, uint8) or 8-Band (4,896 px, uint16): 29 tiles."""
    count, tile, dtype, sample = {
        "3-Band": (3, 19584, "uint8", 1),
        "8-Band": (8, 4896, "uint16", 2),
    }[name]
    places = {key: _column_row(key) for key in _RIO_QUADKEYS.split()}
    left, top = (min(place[k] for place in places.values()) for k in (0, 1))
    pixel = _RIO_TILE_DEG / tile
    lattice = Lattice(-43.857421875, -22.763671875, pixel, pixel, "EPSG:4326")
    scenes = [
        lattice.cut(
            f"{key}.tif",
            Block((row - top) * tile, (col - left) * tile, tile, tile),
            count=count,
            dtype=dtype,
            size_bytes=tile * tile * count * sample,
        )
        for key, (col, row) in places.items()
    ]
    return plan(sc.load_recipe("AOI_1_Rio"), name, [_remote(each) for each in scenes])


def remote_paris() -> Plan:
    """MUL-PanSharpen, 290 tiles of 8192 pixels, in the bucket."""
    made = paris()
    scenes = [
        replace(_remote(each), size_bytes=each.shape_yx[0] * each.shape_yx[1] * 16)
        for each in made.scenes
    ]
    return plan(sc.load_recipe("AOI_3_Paris"), "MUL-PanSharpen", scenes)


def _remote(scene: Scene) -> Scene:
    layout = replace(scene.layout, block_yx=(1, scene.shape_yx[1]))
    return replace(scene, href=f"s3://spacenet-dataset/{scene.key}", layout=layout)


def sizing() -> list[str]:
    """Rows of the table of what to size, as the page on deployment has them."""
    rows = []
    for title, made in (
        ("Rio 3-Band", rio("3-Band")),
        ("Rio 8-Band", rio("8-Band")),
        ("Paris MUL-PanSharpen", remote_paris()),
    ):
        told = cost(made, workers=1, remote_target=True)
        rows.append(
            f"| {title} | {len(made.scenes)} | {len(made.units):,} | {len(tasks(made)):,} "
            f"| {told.fetched_bytes / 1e9:,.1f} GB | {told.stored_bytes / 1e9:,.1f} GB "
            f"| {told.source.get:,} | {told.target.put:,} | {told.target.usd(told.prices):.2f} "
            f"| {told.peak_memory_bytes / 1e9:.2f} GB | {told.scratch_bytes / 1e9:.1f} GB "
            f"| {made.bytes_in / THREAD_MB_S / 1e6 / 3600:.1f} h |"
        )
    return rows
