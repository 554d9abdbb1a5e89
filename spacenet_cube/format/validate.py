"""Foreign metadata: what a cube from anywhere says of itself, checked before it is believed.

Pure.  Whoever can write to a store can write anything into ``zarr.json``: other types, vast
shapes, names that lead elsewhere, a CRS that names files.  What opens a cube checks it here.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from spacenet_cube.raster.crs import Finite, refuse_files

MOST_EDGE_PX = 1 << 24
"""Longest side that plans have, so the longest that is believed."""

MOST_BLOCK_PX = 16384
"""Longest edge of a chunk or shard that recipes may ask for."""

MOST_BANDS = 4096
"""Most bands that recipes may ask for."""


def _text_of_crs(text: str) -> str:
    refuse_files(" ".join(text.split()))
    return text


_Crs = Annotated[str, AfterValidator(_text_of_crs)]
_Edge = Annotated[int, Field(ge=1, le=MOST_EDGE_PX, strict=True)]
_Text = Annotated[str, Field(max_length=4096, strict=True)]
_Box = tuple[Finite, Finite, Finite, Finite]
_Affine = Annotated[list[Finite], Field(min_length=6, max_length=9)]


class _Lenient(BaseModel):
    """Keys that are not ours may say what they like."""

    model_config = ConfigDict(extra="ignore")


class _Level(_Lenient):
    asset: Annotated[str, Field(pattern=r"^(\.|ovr_[0-9]{1,10}x)$")]
    shape: tuple[_Edge, _Edge] = Field(alias="spatial:shape")
    transform: _Affine = Field(alias="spatial:transform")

    @model_validator(mode="after")
    def _has_pixels(self) -> "_Level":
        if not (self.transform[0] and self.transform[4]):
            message = "a pixel has no size"
            raise ValueError(message)
        return self


class _Multiscales(_Lenient):
    layout: Annotated[list[_Level], Field(min_length=1, max_length=32)]


class _Scene(_Lenient):
    index: Annotated[int, Field(ge=1, le=1 << 31, strict=True)]
    id: _Text
    key: _Text
    bbox: _Box
    acquired: _Text | None
    imagery: dict[str, Any] | None = None


class _Own(_Lenient):
    aoi: _Text
    product: _Text
    scenes: Annotated[list[_Scene], Field(min_length=1)]
    sensor: _Text | None = None
    mosaic: _Text | None = None
    catalog_id: _Text | None = None
    plan: _Text | None = None
    settings: _Text | None = None
    software: _Text | None = None


class _Root(_Lenient):
    own: _Own = Field(alias="spacenet_cube")
    multiscales: _Multiscales
    bbox: _Box = Field(alias="spatial:bbox")
    code: _Crs | None = Field(None, alias="proj:code")
    wkt2: _Crs | None = Field(None, alias="proj:wkt2")
    title: _Text = ""
    license: _Text = ""
    license_url: _Text = ""
    attribution: _Text = ""

    @model_validator(mode="after")
    def _box_is_one(self) -> "_Root":
        west, south, east, north = self.bbox
        if not (west < east and south < north):
            message = "spatial:bbox encloses nothing"
            raise ValueError(message)
        return self


def unsound(attributes: Mapping[str, Any]) -> str | None:
    """Say what in a cube's attributes cannot be believed.

    Parameters
    ----------
    attributes
        Of the root.

    Returns
    -------
    str or None
        Where it stands and what is wrong with it, for people; None where all is sound.

    Examples
    --------
    >>> unsound({"spacenet_cube": 1})
    'spacenet_cube: input should be a valid dictionary or instance of _Own'
    """
    try:
        _Root.model_validate(dict(attributes))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in fault["loc"]) or "attributes"
        told = fault["msg"].removeprefix("Value error, ")
        return f"{place}: {told[:1].lower()}{told[1:200]}"
    return None


def unsound_shapes(
    found: Mapping[str, tuple[int, ...]], shape_yx: tuple[int, int], blocks: tuple[int, ...]
) -> str | None:
    """Say what in the shapes of a level's arrays does not go together.

    Parameters
    ----------
    found
        Shape of each array by name.
    shape_yx
        Rows and columns that the attributes tell of.
    blocks
        Edges of chunks and shards of the pixels.

    Returns
    -------
    str or None
        For people; None where all is sound.

    Examples
    --------
    >>> unsound_shapes({"image": (3, 4, 5), "source_index": (4, 6)}, (4, 5), ())
    'source_index is (4, 6) where (4, 5) belongs'
    """
    bands = found.get("image", (0,))[0]
    if not 1 <= bands <= MOST_BANDS or max(blocks, default=0) > MOST_BLOCK_PX:
        return f"image has {bands} bands and blocks of {max(blocks, default=0)} pixels"
    rows, cols = shape_yx
    belongs = {"image": (bands, rows, cols), "source_index": shape_yx, "y": (rows,), "x": (cols,)}
    belongs |= dict.fromkeys(("band", "wavelength", "fwhm"), (bands,)) | {"spatial_ref": ()}
    for name, shape in belongs.items():
        if name in found and found[name] != shape:
            return f"{name} is {found[name]} where {shape} belongs"
    return None
