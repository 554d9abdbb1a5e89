"""Recipes: what a user wants, as data.

Pure.  A recipe is checked here and nowhere else.  It is frozen, refuses keys it does not know,
and says nothing of how the work is done.  ``spacenet-cube schema`` prints its JSON
Schema for editors.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, get_args
from unicodedata import category, is_normalized

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from spacenet_cube.errors import RecipeError
from spacenet_cube.raster.crs import Finite
from spacenet_cube.recipe.bands import Band, sensor_bands
from spacenet_cube.recipe.grids import (
    AnyGrid,
    Area,
    Cutline,
    Edge,
    LikeGrid,
    Model,
    NativeGrid,
    Place,
    native_by_name,
)
from spacenet_cube.storage.base.options import StorageOptions

DType = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
"""Sample types a cube can hold, which are those that GeoTIFF and Zarr share."""

Profile = Literal["cloud", "gdal312"]
"""Names of the encoding profiles; see `Encoding`."""

PROFILES: tuple[str, ...] = get_args(Profile)
"""The same, to list."""

_RESERVED = {"", ".", ".."}
_MOST_BANDS, _MOST_PRODUCTS, _MOST_NAMES, _MOST_PATTERNS = 4096, 256, 64, 1024
_MOST_STARS = 32


def _plain_name(name: str) -> str:
    """Refuse a name that would leave its folder once it is part of a path."""
    odd = not name.isprintable() or any(sign in name for sign in '/\\:*?"<>|')
    # Two spellings of one letter look alike, and are one name to some file systems.
    spelt = is_normalized("NFC", name) and name == name.strip()
    if odd or name in _RESERVED or not spelt or name.startswith("~"):
        message = (
            f"{name!r} becomes part of a path: use letters, digits, dots, dashes and underscores"
        )
        raise ValueError(message)
    return name


def _name_in_url(name: str) -> str:
    """Refuse a name with a character that a shell, a scheme or a store takes for more.

    Letters, digits, ``.``, ``_`` and ``-`` are unreserved in a URL (RFC 3986, section 2.3) and
    safe in keys of S3; letters and digits of any script are taken.

    Raises
    ------
    ValueError
        If it has another character, or ends as a repository's name does.
    """
    _plain_name(name)
    odd = sorted({sign for sign in name if sign not in "._-" and category(sign)[0] not in "LMN"})
    if odd:
        message = (
            f"{name!r} becomes part of a path and of URLs, where {' '.join(map(repr, odd))} may "
            f"mean something else: use letters, digits, '.', '_' and '-', such as {_mended(name)!r}"
        )
        raise ValueError(message)
    if name.endswith(".icechunk"):
        message = f"{name!r} ends as repositories of versioned cubes do: leave '.icechunk' out"
        raise ValueError(message)
    return name


def _mended(name: str) -> str:
    """A name with a dash for each character that may not be in it."""
    return "".join(s if s in "._-" or category(s)[0] in "LMN" else "-" for s in name)


def _inside(pattern: str) -> str:
    """Refuse a pattern that reaches outside the source it is relative to."""
    path = PurePosixPath(pattern)
    # Two slashes are kept: a key of S3 may have an empty part.
    parts = [part for part in pattern.split("/") if part != "."]
    strays = path.is_absolute() or ".." in path.parts or pattern.startswith("~")
    if strays or ":" in pattern or "\\" in pattern or not path.parts:
        message = (
            f"{pattern!r} must stay inside the source: give a path relative to it, "
            "without '..', '~', drive or scheme, such as 'scenes/*.tif'"
        )
        raise ValueError(message)
    return _matchable("/".join(parts).removesuffix("/"))


def _matchable(pattern: str) -> str:
    """Refuse a pattern that no file name would need."""
    if not pattern.isprintable():
        message = f"{pattern!r} holds characters that cannot be seen: write it anew"
        raise ValueError(message)
    if pattern.count("*") > _MOST_STARS or pattern.count("[") > _MOST_STARS:
        message = f"{pattern!r} has more than {_MOST_STARS} wildcards: give a simpler pattern"
        raise ValueError(message)
    if any("**" in part and part != "**" for part in pattern.split("/")):
        message = f"{pattern!r}: ** stands alone between slashes, such as 'a/**/*.tif'"
        raise ValueError(message)
    return pattern


def _few_stars(pattern: str) -> str:
    """Refuse a pattern of names that cannot be meant."""
    return _matchable(pattern.replace("**", "*"))


def _alone_is_a_list(value: Any) -> Any:  # noqa: ANN401 - whatever the YAML held
    """Let one pattern stand where a list of them may."""
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_plain_name)]
PathName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_name_in_url)]
Pattern = Annotated[str, Field(max_length=1024), AfterValidator(_inside)]
NamePattern = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_few_stars)]
Patterns = Annotated[
    Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=64)],
    BeforeValidator(_alone_is_a_list, json_schema_input_type=Pattern | tuple[Pattern, ...]),
]


Line = Annotated[str, Field(max_length=4096)]
"""What people read, and what stands in metadata."""


class Licence(Model):
    """What a user of the cube must honour; carried into every cube."""

    spdx: Line = Field(description="SPDX identifier, such as CC-BY-SA-4.0.", min_length=1)
    url: Line | None = Field(None, description="Where the licence's text stands.")
    attribution: Line = Field(description="The credit line to show with the data.", min_length=1)


class BandSpec(Model):
    """A band described by the recipe itself rather than looked up by sensor."""

    name: Name = Field(description="What cube.image.sel(band=...) takes.")
    index: int | None = Field(
        None, ge=1, le=65535, description="Band number in the files, from 1; default: its place."
    )
    wavelength_nm: Finite | None = Field(None, gt=0, description="Centre wavelength, nanometres.")
    edges_nm: tuple[Finite, Finite] | None = Field(
        None, description="Lower and upper edge of the band, nanometres."
    )

    @model_validator(mode="after")
    def _edges_rise(self) -> Self:
        if self.edges_nm is not None and not self.edges_nm[0] < self.edges_nm[1]:
            message = f"edges_nm {list(self.edges_nm)} must rise: give [lower, upper]"
            raise ValueError(message)
        return self


class Nodata(Model):
    """A nodata value, and whether it marks single samples or whole pixels."""

    value: float = Field(description="The value.")
    each_band: bool | None = Field(
        None,
        description="true: a sample that holds it is no data, whatever other bands hold. false: "
        "only a pixel is, where every band holds it, even if a file's tag names the value.",
    )


class Expect(Model):
    """Facts the survey checks, so that a surprise is an error and never a cube."""

    dtype: DType | None = Field(None, description="Sample type of every file.")
    bands: int | None = Field(None, ge=1, description="Bands in every file.")
    crs: Line | None = Field(None, description="CRS of every file, such as EPSG:4326.")
    pixel_size: tuple[Edge, Edge] | None = Field(
        None,
        description="Pixel width and height (x, y) in CRS units, both positive; "
        "met when within 1e-4 of its value.",
    )
    scenes: int | None = Field(
        None, ge=1, description="Number of scenes that a complete source holds."
    )


Rule = Literal[
    "first",
    "last",
    "newest",
    "oldest",
    "order",
    "min",
    "max",
    "mean",
    "median",
    "feather",
]
"""Names of the mosaic rules; see `spacenet_cube.raster.combine`."""


def _kind_of_band(value: Any) -> str:  # noqa: ANN401 - whatever the YAML held
    """Tell a band's name from its description, so that faults are told of one of them."""
    return "described" if isinstance(value, (dict, BandSpec)) else "named"


def _kind_of_nodata(value: Any) -> str:  # noqa: ANN401 - whatever the YAML held
    """Tell a value from its description, so that faults are told of one of them."""
    return "described" if isinstance(value, (dict, Nodata)) else "value"


class Encoding(Model):
    """How pixels are chunked and compressed."""

    profile: Profile = Field(
        "cloud",
        description="cloud: sharded, blosc zstd + crc32c. gdal312: unsharded zstd with "
        "checksum, which GDAL 3.8 to 3.12 and QGIS open.",
    )
    chunk: int = Field(512, ge=16, le=8192, description="Edge of a chunk, pixels.")
    shard: int = Field(
        2048, ge=16, le=16384, description="Edge of a shard, pixels; a multiple of chunk."
    )

    @model_validator(mode="after")
    def _shards_hold_whole_chunks(self) -> Self:
        if self.shard % self.chunk or self.shard % 2:
            message = (
                f"shard {self.shard} must be even, for overviews halve it, and hold whole chunks "
                f"of {self.chunk}: use a multiple, such as 2048 with 512"
            )
            raise ValueError(message)
        return self


def _looked_up(bands: Sequence[str | BandSpec], sensor: str | None) -> tuple[Band, ...]:
    """Bands as values: those only named are the sensor's, where there is one."""
    try:
        return tuple(
            Band(band.name, band.wavelength_nm, band.edges_nm)
            if isinstance(band, BandSpec)
            else sensor_bands(sensor, [band])[0]
            if sensor
            else Band(band)
            for band in bands
        )
    except RecipeError as error:
        raise ValueError(str(error)) from error


class Product(Model):
    """One cube to be: which files, which bands, which rules."""

    name: PathName = Field(description="Name of the cube; it is written to <recipe>/<name>.zarr.")
    aliases: tuple[Name, ...] = Field(
        (), max_length=_MOST_NAMES, description="Other names users know it by."
    )
    title: Line | None = Field(None, description="One line for people.")
    sources: Annotated[
        Annotated[tuple[Patterns, ...], Field(min_length=1, max_length=64)],
        BeforeValidator(
            _alone_is_a_list,
            json_schema_input_type=Pattern | tuple[Pattern | tuple[Pattern, ...], ...],
        ),
        Field(
            description="Alternatives, tried in order; the first that matches any file is "
            "used. Each is a pattern (or a list of patterns taken together), relative to "
            "source, such as 'scenes/*.tif' or 'scenes.tar.gz'.",
        ),
    ]
    exclude: Annotated[
        Annotated[tuple[NamePattern, ...], Field(max_length=_MOST_PATTERNS)],
        BeforeValidator(_alone_is_a_list, json_schema_input_type=str | tuple[str, ...]),
    ] = Field((), description="Patterns of file names or keys to leave out, such as '*_COG.TIF'.")
    sensor: Line | None = Field(None, description="WorldView-2 or WorldView-3: looks bands up.")
    catalog_id: Line | None = Field(None, description="The provider's id of the acquisition.")
    bands: tuple[
        Annotated[
            Annotated[Name, Tag("named")] | Annotated[BandSpec, Tag("described")],
            Discriminator(_kind_of_band),
        ],
        ...,
    ] = Field(
        min_length=1,
        max_length=_MOST_BANDS,
        description="Bands of the cube, in order: names, or descriptions.",
    )
    nodata: (
        Annotated[
            Annotated[float, Tag("value")] | Annotated[Nodata, Tag("described")],
            Discriminator(_kind_of_nodata),
        ]
        | None
    ) = Field(
        None,
        description="Value that, in every band at once, marks a pixel without data; or {value, "
        "each_band: true}, where it marks single samples. By default that of the files' tags, "
        "which mark single samples; 0 where they have none.",
    )
    mosaic: Rule = Field(
        "first",
        description="What overlapping valid pixels become: that of the first or last scene in "
        "scene order, of the newest or oldest, or in the order given; or the min, max, mean, "
        "median, or feather (weighted by the distance from the scene's edge).",
    )
    order: tuple[NamePattern, ...] = Field(
        (),
        max_length=_MOST_PATTERNS,
        description="For mosaic: order. Patterns of file names; scenes that match the first win, "
        "and those that match none come last.",
    )
    feather_px: int = Field(
        64,
        ge=1,
        le=1024,
        description="For mosaic: feather. Pixels from edge to full weight.",
    )
    cutlines: tuple[Cutline, ...] = Field(
        (), max_length=_MOST_PATTERNS, description="Polygons outside of which scenes are not used."
    )
    grid: Annotated[
        AnyGrid, BeforeValidator(native_by_name, json_schema_input_type=Literal["native"] | AnyGrid)
    ] = Field(
        default_factory=NativeGrid,
        description="The grid of the cube: native; {crs, resolution}; or {like, factor}.",
    )
    encoding: Encoding = Field(default_factory=Encoding, description="Chunks and codecs.")
    expect: Expect = Field(default_factory=Expect, description="Facts the survey checks.")

    @field_validator("bands")
    @classmethod
    def _bands_are_known_and_distinct(
        cls, bands: tuple[str | BandSpec, ...], info: ValidationInfo
    ) -> tuple[str | BandSpec, ...]:
        names = Counter(band.name for band in _looked_up(bands, info.data.get("sensor")))
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            message = f"band {twice[0]!r} is named twice: give every band its own name"
            raise ValueError(message)
        return bands

    @model_validator(mode="after")
    def _an_order_is_given_where_it_is_used(self) -> Self:
        if (self.mosaic == "order") != bool(self.order):
            message = (
                "mosaic: order and a list of patterns in order: belong together; give both, "
                "or neither"
            )
            raise ValueError(message)
        return self

    def with_profile(self, profile: str) -> "Product":
        """The same product under another encoding profile.

        Raises
        ------
        RecipeError
            If there is no such profile.
        """
        if profile not in PROFILES:
            raise RecipeError(
                f"there is no encoding profile {profile!r}; use one of {', '.join(PROFILES)}"
            )
        encoding = self.encoding.model_copy(update={"profile": profile})
        return self.model_copy(update={"encoding": encoding})

    @property
    def band_values(self) -> tuple[Band, ...]:
        """Bands of the cube, in order."""
        return _looked_up(self.bands, self.sensor)

    @property
    def band_indexes(self) -> tuple[int, ...]:
        """Where each band stands in the files, from 1."""
        return tuple(
            place if isinstance(band, str) or band.index is None else band.index
            for place, band in enumerate(self.bands, start=1)
        )


class Recipe(Model):
    """One area of interest: its sources, and a cube for each product."""

    name: PathName = Field(description="Name of the area, such as AOI_2_Vegas.")
    title: Line | None = Field(None, description="One line for people.")
    source: Place | None = Field(
        None,
        max_length=4096,
        description="Folder or URL the patterns are relative to; --source overrides it.",
    )
    storage: StorageOptions = Field(
        default_factory=StorageOptions,
        description="How source is reached, without a secret; --source-option goes before it.",
    )
    licence: Licence = Field(description="What users of the cubes must honour.")
    area: Area | None = Field(None, description="Limits every product; the whole by default.")
    products: tuple[Product, ...] = Field(
        min_length=1, max_length=_MOST_PRODUCTS, description="The cubes to be."
    )

    @model_validator(mode="after")
    def _likeness_ends(self) -> Self:
        for product in self.products:
            other = self.reference_product(product)
            if other is not None and isinstance(other.grid, LikeGrid):
                message = (
                    f"{product.name} takes its grid from {other.name}, which takes it from "
                    f"{other.grid.like}: name the product that has a grid of its own"
                )
                raise ValueError(message)
        return self

    def reference_product(self, product: Product) -> Product | None:
        """The product of this recipe that another takes its grid from, if it does."""
        if not isinstance(product.grid, LikeGrid):
            return None
        wanted = product.grid.like.casefold()
        for other in self.products:
            if wanted in {name.casefold() for name in (other.name, *other.aliases)}:
                return other
        return None

    def with_area(self, area: Area) -> "Recipe":
        """The same recipe, limited to an area."""
        return self.model_copy(update={"area": area})

    @model_validator(mode="after")
    def _product_names_are_distinct(self) -> Self:
        names = [name for product in self.products for name in (product.name, *product.aliases)]
        # Products are asked for in any letter case, and some file systems know none.
        folded = Counter(name.casefold() for name in names)
        twice = sorted(name for name in names if folded[name.casefold()] > 1)
        if twice:
            message = f"product name {twice[0]!r} stands twice: give every product its own"
            raise ValueError(message)
        return self

    def product(self, name: str) -> Product:
        """Find a product by name or alias, in any letter case.

        Raises
        ------
        RecipeError
            If the recipe has no such product.
        """
        for product in self.products:
            if name.casefold() in {n.casefold() for n in (product.name, *product.aliases)}:
                return product
        known = ", ".join(product.name for product in self.products)
        raise RecipeError(
            f"recipe {self.name} has no product {name!r}; it has {known}: name one of these"
        )
