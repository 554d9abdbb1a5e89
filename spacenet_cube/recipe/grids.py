"""Wanted: what a recipe may say of grids, areas and cutlines.

Pure.  The parts of the recipe's model that say where pixels lie and which are used.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pyproj import CRS
from pyproj.exceptions import CRSError

from spacenet_cube.raster.crs import Finite, refuse_files
from spacenet_cube.raster.polygons import polygons_from, refuse_unsound

Resampling = Literal[
    "nearest",
    "bilinear",
    "cubic",
    "cubic_spline",
    "lanczos",
    "average",
    "mode",
    "min",
    "max",
    "med",
    "q1",
    "q3",
    "rms",
]
"""Names of GDAL's resampling methods."""


def _known_crs(text: str) -> str:
    """Refuse what is no CRS; give the code where there is one."""
    refuse_files(" ".join(text.split()))
    try:
        crs = CRS.from_user_input(text)
    except CRSError as error:
        message = f"CRS {text[:60]!r} is unknown: give a code such as EPSG:32723"
        raise ValueError(message) from error
    if len(crs.axis_info) != _AXES:
        message = f"CRS {text[:60]!r} has no plane of x and y: give a code such as EPSG:32723"
        raise ValueError(message)
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else str(crs.to_wkt("WKT2_2019"))


_SCHEMES = {"s3", "s3a", "http", "https", "file", "local", "memory", "gs", "gcs", "az", "abfs"}
_CONNECTIONS = ("/vsi", "gtiff_dir:", "gtiff_raw:")


def _place(text: str) -> str:
    """Refuse a place that a library would take for a command: chains, connection strings."""
    scheme, sign, _ = text.partition("://")
    odd = "::" in text or (sign and scheme.casefold() not in _SCHEMES)
    if odd or not text.isprintable() or text.casefold().startswith(_CONNECTIONS):
        message = (
            f"{text[:60]!r} is no folder or URL that recipes may name: give one such as "
            "/data/scenes, s3://bucket/scenes or https://host/scenes"
        )
        raise ValueError(message)
    return text


Place = Annotated[str, AfterValidator(_place)]
"""A folder or URL."""


def _crs_or_utm(text: str) -> str:
    return "utm" if text.casefold() == "utm" else _known_crs(text)


def _pair(value: Any) -> Any:  # noqa: ANN401 - whatever the YAML held
    """Let one number stand for both axes."""
    return (value, value) if isinstance(value, (int, float, str)) else value


_AXES = 2

Edge = Annotated[float, Field(ge=1e-9, le=1e9, allow_inf_nan=False)]
"""Edge of a pixel: from a tenth of a millimetre in degrees to more than the Earth in metres."""

Polygons = Annotated[
    tuple[tuple[tuple[tuple[Finite, Finite], ...], ...], ...],
    BeforeValidator(polygons_from),
    AfterValidator(refuse_unsound),
]
"""Polygons, each an outline and its holes, each a ring of points (x, y)."""


class Model(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)


def native_by_name(value: Any) -> Any:  # noqa: ANN401 - whatever the YAML held
    """Let the word native stand for the native grid, and say what else there is."""
    if isinstance(value, str) and value != "native":
        message = (
            f"grid {value!r} is unknown: give native, or a mapping such as "
            "{crs: utm, resolution: 0.5} or {like: PAN, factor: 4}"
        )
        raise ValueError(message)
    return {"kind": "native"} if value == "native" else value


class NativeGrid(Model):
    """The sources' own lattice; pixels pass through unchanged."""

    kind: Literal["native"] = Field("native", description="Marks the native grid.")
    tolerance_px: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="How far, in pixels, a scene's corner may lie from the lattice.",
    )


class TargetGrid(Model):
    """A grid of the author's choice, which every scene is resampled onto."""

    kind: Literal["target"] = Field("target", description="Marks a grid of one's own.")
    crs: Annotated[str, AfterValidator(_crs_or_utm)] = Field(
        description="CRS such as EPSG:32723, or utm for the zone most of the scenes lie in."
    )
    resolution: Annotated[tuple[Edge, Edge], BeforeValidator(_pair)] = Field(
        description="Pixel edge in units of the CRS; [x, y] where they differ."
    )
    anchor: tuple[Finite, Finite] = Field(
        (0.0, 0.0), description="A point (x, y) of the CRS that is a corner of pixels."
    )
    resampling: Resampling = Field("bilinear", description="How pixels are interpolated.")


class LikeGrid(Model):
    """The grid of another product or cube, or one that nests in it."""

    kind: Literal["like"] = Field("like", description="Marks a grid taken from elsewhere.")
    like: Place = Field(
        min_length=1,
        max_length=1024,
        description="Product of this recipe, or path or URL of a cube.",
    )
    factor: int = Field(
        1, ge=1, le=1024, description="Pixels of this grid are as many times as large."
    )
    resampling: Resampling = Field("bilinear", description="How pixels are interpolated.")
    tolerance_px: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="Scenes this close to the grid, in pixels, pass through unchanged.",
    )


def _kind_of_grid(value: Any) -> str:  # noqa: ANN401 - whatever the YAML held
    """Tell grids apart by the key that only one kind has, so that faults are told of one."""
    if isinstance(value, Model):
        return str(getattr(value, "kind", "native"))
    if not isinstance(value, dict) or "kind" in value:
        return str(value["kind"]) if isinstance(value, dict) else "native"
    return "like" if "like" in value else "target" if value.keys() - {"tolerance_px"} else "native"


AnyGrid = Annotated[
    Annotated[NativeGrid, Tag("native")]
    | Annotated[TargetGrid, Tag("target")]
    | Annotated[LikeGrid, Tag("like")],
    Discriminator(_kind_of_grid),
]


class Area(Model):
    """What a build is limited to."""

    bbox: tuple[Finite, Finite, Finite, Finite] | None = Field(
        None, description="west, south, east, north."
    )
    polygon: Polygons | None = Field(
        None,
        description="WKT, a GeoJSON object, or the name of a GeoJSON file beside the recipe; "
        "pixels whose centre lies outside hold no data.",
    )
    crs: Annotated[str, AfterValidator(_known_crs)] = Field(
        "EPSG:4326", description="CRS of the coordinates, x before y."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.bbox is None) == (self.polygon is None):
            message = "an area is a bbox or a polygon: give one of the two"
            raise ValueError(message)
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (west < east and south < north):
                message = (
                    f"bbox {list(self.bbox)} holds no area: give west, south, east, north, in "
                    "that order"
                )
                raise ValueError(message)
        return self

    @property
    def shape(self) -> Polygons:
        """The area as polygons, whichever way it was given."""
        if self.polygon is not None:
            return self.polygon
        assert self.bbox is not None
        west, south, east, north = self.bbox
        return (
            (
                (
                    (west, south),
                    (east, south),
                    (east, north),
                    (west, north),
                    (west, south),
                ),
            ),
        )


class Cutline(Model):
    """A polygon outside of which a scene is not used."""

    scenes: str = Field(
        min_length=1, max_length=1024, description="Pattern of file names, such as '*R1C1*'."
    )
    polygon: Polygons = Field(
        description="WKT, a GeoJSON object, or the name of a GeoJSON file beside the recipe."
    )
    crs: Annotated[str, AfterValidator(_known_crs)] = Field(
        "EPSG:4326", description="CRS of the polygon, x before y."
    )
