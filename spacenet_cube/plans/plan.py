"""Plans: what a build will do, settled before it starts.

Pure.  The same recipe and scenes give the same plan, byte for byte, and its digest names
the build.  A plan holds no credentials and no clock, and pickles small.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from hashlib import sha256
from math import isfinite
from typing import Any

import numpy as np

from spacenet_cube.errors import RecipeError
from spacenet_cube.plans.placement import Seat, grown, seat_scenes
from spacenet_cube.plans.precedence import check_order, combines, reach_px
from spacenet_cube.plans.units import Unit, units
from spacenet_cube.raster.grid import Block, Grid, levels
from spacenet_cube.raster.polygons import on_grid
from spacenet_cube.recipe.bands import Band
from spacenet_cube.recipe.grids import Area, NativeGrid
from spacenet_cube.recipe.model import Licence, Nodata, Product, Recipe
from spacenet_cube.sources.expectations import differences
from spacenet_cube.sources.nodata import held, marks_each_band, settled
from spacenet_cube.sources.scene import Scene, scene_order

SHARDS_PER_UNIT = 2
"""Edge of a work unit in shards: 2 x 2, so that a unit's own overview fills one shard."""

STRIPE_ROWS = 512
"""Rows handled at once inside a unit, which bounds the memory beside the unit itself."""

WARP_PX = 1 << 20
"""Source or target pixels that are resampled at once, for the same reason."""

MOST_SIDE_PX = 1 << 24
"""Longest side of a grid: 5,000 km at 0.3 m; its axis takes 128 MB."""

MOST_UNITS = 250_000
"""Most units of a plan, which takes about 1 kB for each: 600 km x 600 km at 0.3 m."""

UPLOADS = 2
"""Encoded shards that go up to a bucket at once for a task, while it makes the next one."""

TASKS_PER_WORKER = 2
"""Tasks that are begun for each that computes: others wait until what they wrote is durable."""

_MANY_SCENES = np.iinfo(np.uint16).max
_ENCODED_SHARE = 0.6
_NO_SETTINGS = ("aliases", "title", "sources", "exclude", "sensor", "catalog_id", "expect")
_WARP_COPIES = 7
_COMBINE_COPIES = 12


def halves_held(workers: int) -> int:
    """How many halves of shards a build holds at most, until the next overview needs them.

    Three wait for their fourth, one of the level above waits for theirs, and each worker makes
    another; more of higher levels, which are oldest, may have to be read back.

    Parameters
    ----------
    workers
        Tasks at once.

    Returns
    -------
    int
        Each is a quarter of a shard.

    Examples
    --------
    >>> halves_held(2)
    6
    """
    return 4 + workers


@dataclass(frozen=True)
class Plan:
    """Everything a build needs to know.  Frozen, picklable, and the same for the same input."""

    aoi: str
    """Name of the recipe, such as ``AOI_2_Vegas``."""

    licence: Licence
    """What users of the cube must honour."""

    product: Product
    """The product's part of the recipe."""

    scenes: tuple[Scene, ...]
    """Sources; scene k of `source_index` is ``scenes[k - 1]``."""

    dtype: str
    """numpy's name of the sample type of every scene, and so of the cube."""

    grid: Grid
    """The native grid."""

    seats: tuple[Seat, ...]
    """How each scene lies on the grid, in scene order."""

    deviation_px: float
    """Largest distance of a scene's corner from the lattice, pixels, before snapping."""

    area: Area | None
    """What the build is limited to, if anything."""

    units: tuple[Unit, ...]
    """The native level, cut into work."""

    nodata: float = 0.0
    """Value of what holds no data, as samples hold it."""

    @property
    def each_band(self) -> bool:
        """Whether nodata marks single samples of the cube, which averages then leave out."""
        said = marks_each_band(self.product)
        if said is None:
            return any(self.tag_of(scene) is not None for scene in self.scenes)
        return said

    def tag_of(self, scene: Scene) -> float | None:
        """The value of a scene's tag that marks single samples of it, as samples hold it.

        Parameters
        ----------
        scene
            One of the plan's.

        Returns
        -------
        float or None
            None where the file has no tag, or the recipe says that values mark whole pixels.
        """
        return None if marks_each_band(self.product) is False else held(scene.nodata, self.dtype)

    @property
    def cube_path(self) -> str:
        """Where the cube lands below the target: ``AOI_2_Vegas/MUL.zarr``."""
        return f"{self.aoi}/{self.product.name}.zarr"

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands of the cube, in order."""
        return self.product.band_values

    @cached_property
    def levels(self) -> tuple[Grid, ...]:
        """The native grid, then each overview, until one fits into a chunk."""
        return levels(self.grid, self.product.encoding.chunk)

    @property
    def source_index_dtype(self) -> str:
        """Smallest unsigned type that numbers every scene."""
        return "uint16" if len(self.scenes) <= _MANY_SCENES else "uint32"

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel with all bands of the cube, raw."""
        return len(self.bands) * np.dtype(self.dtype).itemsize

    @property
    def bytes_in(self) -> int:
        """Raw bytes of source pixels that the units read, all bands of the files."""
        sample = np.dtype(self.dtype).itemsize
        return sum(
            piece.window.pixels * self.scenes[piece.scene - 1].count * sample
            for unit in self.units
            for piece in unit.pieces
        )

    @property
    def bytes_out(self) -> int:
        """Raw bytes of all levels with their `source_index`, before compression."""
        each = self.pixel_bytes + np.dtype(self.source_index_dtype).itemsize
        return sum(rows * cols * each for rows, cols in (g.shape_yx for g in self.levels))

    def cutlines_of(self, scene: Scene) -> tuple[Any, ...]:
        """Polygons on the grid, inside each of which pixels of a scene must lie.

        Parameters
        ----------
        scene
            One of the plan's.

        Returns
        -------
        tuple of polygons
            Points (column, row); empty where nothing is cut off.
        """
        found = [polygons for wild, polygons in self._cutlines if fnmatchcase(scene.id, wild)]
        return tuple(found)

    @cached_property
    def _cutlines(self) -> tuple[tuple[str, Any], ...]:
        """Cutlines and area on the grid, each with the pattern of the scenes that it cuts."""
        lines = [(cut.scenes, cut.polygon, cut.crs) for cut in self.product.cutlines]
        if self.area is not None and self.area.polygon is not None:
            lines.append(("*", self.area.polygon, self.area.crs))
        return tuple((wild, on_grid(polygon, crs, self.grid)) for wild, polygon, crs in lines)

    def window_of(self, number: int, block: Block) -> Block | None:
        """Pixels of a scene that a block of the grid needs, margins included.

        Parameters
        ----------
        number
            Number of the scene, from 1.
        block
            Pixels of the grid.

        Returns
        -------
        Block or None
            None where it needs none.
        """
        return _window(self.seats, self.scenes, reach_px(self.product), number, block)

    def peak_memory_bytes(self, workers: int) -> int:
        """Upper estimate of the memory that the arrays of a build hold at once.

        Each worker holds half a unit (a row of its shards), its `source_index`, a stripe
        beside it, the unit's overview, and a shard as it is encoded; encoded ones are on their
        way to a bucket.  Halves of shards wait for the next overview.

        Parameters
        ----------
        workers
            Units in flight at once.

        Returns
        -------
        int
            Bytes, beside about 200 MB that the interpreter and its libraries need.
        """
        edge = self.product.encoding.shard * SHARDS_PER_UNIT
        rows, cols = (min(edge, size) for size in self.grid.shape_yx)
        pixel = self.pixel_bytes + np.dtype(self.source_index_dtype).itemsize
        unit = rows * cols * pixel
        stripe = min(STRIPE_ROWS, rows) * cols * pixel
        shard = unit // SHARDS_PER_UNIT**2
        held = unit // SHARDS_PER_UNIT + unit // 4
        beside = max(2 * stripe, self._computing_bytes)
        encoded = shard * _ENCODED_SHARE
        each = int(held + beside + shard + encoded * (1 + UPLOADS * TASKS_PER_WORKER))
        return workers * each + halves_held(workers) * int(shard // 4)

    @property
    def _computing_bytes(self) -> int:
        """Memory of one worker to resample a block, and to combine a stripe of scenes."""
        sample = np.dtype(self.dtype).itemsize
        warped = any(seat.warp is not None for seat in self.seats)
        resampling = _WARP_COPIES * WARP_PX * (self.pixel_bytes + sample) if warped else 0
        combining = _COMBINE_COPIES * WARP_PX * self.pixel_bytes if combines(self.product) else 0
        return resampling + combining

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, ready for JSON; what is not finite is told in words."""
        plain: dict[str, Any] = _finite(
            {
                "aoi": self.aoi,
                "product": _product_facts(self.product, ()),
                "licence": self.licence.model_dump(mode="json"),
                "dtype": self.dtype,
                "grid": {
                    "crs": self.grid.crs,
                    "shape_yx": list(self.grid.shape_yx),
                    "transform": list(tuple(self.grid.transform)[:6]),
                    "deviation_px": self.deviation_px,
                },
                "warps": _warps(self.seats),
                "area": None if self.area is None else self.area.model_dump(mode="json"),
                "levels": [list(level.shape_yx) for level in self.levels],
                "scenes": [scene_facts(scene) for scene in self.scenes],
                "units": [
                    [
                        _quad(unit.block),
                        [[p.scene, _quad(p.window), _quad(p.target)] for p in unit.pieces],
                    ]
                    for unit in self.units
                ],
            }
        )
        return plain

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the plan as canonical JSON; it names the build."""
        return _digest(self.to_dict())

    @cached_property
    def settings(self) -> str:
        """SHA-256 of what decides pixels beside the scenes, which an update may not change."""
        product = _product_facts(self.product, _NO_SETTINGS)
        area = None if self.area is None else self.area.model_dump(mode="json")
        facts: dict[str, Any] = {"product": product, "area": area, "dtype": self.dtype}
        facts["index"] = self.source_index_dtype
        if self.each_band:
            facts["each_band"] = True
        return _digest(_finite(facts))


def _product_facts(product: Product, exclude: Sequence[str]) -> dict[str, Any]:
    """A product as plain values; what most recipes leave out is there only where it is said."""
    facts: dict[str, Any] = product.model_dump(mode="json", exclude=set(exclude))
    return facts


def _digest(value: Mapping[str, Any]) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()


def _warps(seats: Sequence[Seat]) -> list[Any]:
    """What of each seat is not said by the grid and the units."""
    return [None if seat.warp is None else _warp_facts(asdict(seat.warp)) for seat in seats]


def _warp_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """What decides pixels: where longitudes meet follows from the pipeline."""
    return {key: value for key, value in facts.items() if key not in {"turn_px", "poles"}}


def _window(
    seats: Sequence[Seat], scenes: Sequence[Scene], margin_px: int, number: int, block: Block
) -> Block | None:
    seat, scene = seats[number - 1], scenes[number - 1]
    return seat.window(scene.shape_yx, grown(block, margin_px))


def _finite(value: Any) -> Any:  # noqa: ANN401 - any plain value
    """Plain values without tuples, and without the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value if not isinstance(value, float) or isfinite(value) else str(value)


def _quad(block: Block) -> list[int]:
    return [block.row, block.col, block.height, block.width]


def scene_facts(scene: Scene) -> dict[str, Any]:
    """A scene as plain values, without the place and the time it was found at."""
    facts = asdict(replace(scene, href="", source="")) | {
        "transform": list(tuple(scene.transform)[:6])
    }
    del facts["href"], facts["source"], facts["access"], facts["modified"], facts["modified_ns"]
    if scene.sha256 is None:
        del facts["sha256"]
    if not any(scene.flip):
        del facts["flip"]
    return facts


def plan(
    recipe: Recipe,
    product: str | Product,
    scenes: Sequence[Scene],
    *,
    reference: Grid | None = None,
) -> Plan:
    """Settle how a cube will be built.

    Parameters
    ----------
    recipe
        What is wanted.
    product
        Name or alias of one of its products, or the product itself (a changed copy, say).
    scenes
        What `survey` found, in any order.
    reference
        The grid that a product's ``like`` names, as `reference_grid` finds it.

    Returns
    -------
    Plan
        The grid, the work units, and what each of them reads.

    Raises
    ------
    RecipeError
        If there are no scenes, they differ in sample type (or in CRS, on a native grid), they do
        not suit the grid,
        the area holds none of them, or the mosaic rule needs a time that a name does not tell.
    """
    wanted = recipe.product(product) if isinstance(product, str) else product
    if not scenes:
        raise RecipeError(
            f"{recipe.name} {wanted.name} has no scenes, so there is nothing to build; "
            "check the product's sources and exclude"
        )
    ordered = tuple(sorted(scenes, key=scene_order))
    unlike = differences(ordered, native=isinstance(wanted.grid, NativeGrid))
    if unlike:
        raise RecipeError(f"{recipe.name} {wanted.name}: {'; '.join(unlike)}")
    check_order(wanted, ordered)
    nodata = settled(wanted, ordered)
    if not isinstance(wanted.nodata, Nodata):
        wanted = wanted.model_copy(update={"nodata": nodata})
    seating = seat_scenes(recipe, wanted, ordered, reference)
    edge = wanted.encoding.shard * SHARDS_PER_UNIT
    _refuse_vast(wanted, seating.grid, edge)
    window_of = partial(_window, seating.seats, ordered, reach_px(wanted))
    return Plan(
        aoi=recipe.name,
        licence=recipe.licence,
        product=wanted,
        scenes=ordered,
        dtype=ordered[0].dtype,
        grid=seating.grid,
        seats=seating.seats,
        deviation_px=seating.deviation_px,
        area=recipe.area,
        units=units(
            seating.grid.shape_yx,
            edge,
            [seat.block for seat in seating.seats],
            window_of,
        ),
        nodata=nodata,
    )


def _refuse_vast(product: Product, grid: Grid, edge: int) -> None:
    """Refuse a grid that no imagery fills, before its axes and units are laid out in memory."""
    rows, cols = grid.shape_yx
    count = -(-rows // edge) * -(-cols // edge)
    if max(rows, cols) > MOST_SIDE_PX or count > MOST_UNITS:
        raise RecipeError(
            f"the grid of {product.name} has {rows:,} x {cols:,} (y, x) pixels in {count:,} units, "
            f"where {MOST_SIDE_PX:,} a side and {MOST_UNITS:,} units can be built: a scene may lie "
            "far from the others; exclude it, limit the area, or correct the resolution"
        )


def summary(planned: Plan, workers: int) -> Mapping[str, Any]:
    """The figures people ask of a plan, as plain values.

    Parameters
    ----------
    planned
        The plan.
    workers
        Units in flight at once, for the peak memory.

    Returns
    -------
    Mapping
        Sizes in pixels and bytes; ready for JSON.
    """
    filled = [unit for unit in planned.units if unit.pieces]
    return {
        "aoi": planned.aoi,
        "product": planned.product.name,
        "cube": planned.cube_path,
        "digest": planned.digest,
        "crs": planned.grid.crs,
        "shape_yx": list(planned.grid.shape_yx),
        "resolution_xy": list(planned.grid.resolution_xy),
        "bbox": list(asdict(planned.grid.box).values()),
        "bands": [band.name for band in planned.bands],
        "dtype": planned.dtype,
        "scenes": len(planned.scenes),
        "deviation_px": planned.deviation_px,
        "levels": [list(level.shape_yx) for level in planned.levels],
        "units": len(planned.units),
        "units_with_data": len(filled),
        "bytes_in": planned.bytes_in,
        "bytes_out": planned.bytes_out,
        "workers": workers,
        "peak_memory_bytes": planned.peak_memory_bytes(workers),
    }
