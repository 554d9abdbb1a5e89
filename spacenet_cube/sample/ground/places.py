"""What can be said of a place: its streets, towns, water and land.

Lengths without a unit are pixels of the AOI's finest product.  Shares are fractions of
the AOI's width (``u``, from the west) or height (``v``, from the north).
"""

from dataclasses import dataclass
from enum import Enum, auto

from spacenet_cube.sample.ground.spectra import Material


class Frame(Enum):
    """How streets run."""

    SQUARE = auto()
    """North and east."""

    TILTED = auto()
    """Straight, a sixth of a right angle off north."""

    WARPED = auto()
    """Winding."""

    RADIAL = auto()
    """Around the first town's centre and away from it."""


@dataclass(frozen=True, slots=True)
class Town:
    """A built-up disc with a frayed rim."""

    v: float
    """Centre, as a share of the height."""

    u: float
    """Centre, as a share of the width."""

    radius: float
    """As a share of the width."""


@dataclass(frozen=True, slots=True)
class River:
    """A river that runs from north to south."""

    v_span: tuple[float, float]
    """Where it begins and ends, as shares of the height."""

    u_span: tuple[float, float]
    """Where it is there, as shares of the width."""

    meander: float
    """How far it strays, as a share of the width."""

    half_width: float
    """As a share of the width."""

    water: tuple[Material, Material]
    """At the bank and in the middle."""


@dataclass(frozen=True, slots=True)
class Sea:
    """Water wherever ``v * south + u * east`` exceeds a level."""

    south: float
    """Weight of the share of the height."""

    east: float
    """Weight of the share of the width."""

    level: float
    """Where the shore is."""

    wobble: float
    """How much the shore strays from that line."""

    water: tuple[Material, Material]
    """Near the shore and far out."""


@dataclass(frozen=True, slots=True)
class Place:
    """The temper of an AOI."""

    seed: int
    """Chooses every random pattern."""

    ground: tuple[Material, Material]
    """Open land blends from the first to the second."""

    hills: tuple[Material, Material]
    """High land blends from the first to the second."""

    hill_line: float
    """Height above which land is hill, in [0, 1]; 1 for none."""

    relief: float
    """How strongly slopes are lit; 0 for flat land."""

    frame: Frame
    """How streets run."""

    lots: tuple[int, int]
    """Lots of a block, along and across."""

    lot: int
    """Edge of a lot."""

    street: int
    """Width of a street."""

    storeys: int
    """Length of a house's shadow."""

    roofs: tuple[Material, Material, Material, Material, Material, Material, Material, Material]
    """Roofs of houses, equally likely."""

    yards: tuple[Material, Material]
    """Ground around houses, from the poorest to the lushest."""

    parks: int
    """Blocks in 16 that are parks."""

    halls: int
    """Blocks in 16 with few large roofs."""

    pools: bool
    """Whether some yards have a pool."""

    farmed: float
    """Share of the open land that is farmed, in [0, 1]."""

    crops: tuple[Material, Material]
    """Farmland, from the barest to the greenest field."""

    pivots: bool
    """Whether fields are round, under pivots."""

    towns: tuple[Town, ...]
    """Built-up land."""

    sprawl: float
    """How far noise can turn land into town, in [0, 1]."""

    rivers: tuple[River, ...] = ()
    """Rivers, the later over the earlier."""

    seas: tuple[Sea, ...] = ()
    """Seas and bays."""

    banks: tuple[Material, Material] = (Material.SOIL, Material.TREES)
    """Land along water, from the water outwards."""
