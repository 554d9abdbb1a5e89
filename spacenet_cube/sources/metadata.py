"""Imagery metadata: what a WorldView ``.IMD`` or ``.XML`` beside a raster says of it.

Pure.  Both forms hold the same tree, as ``name = value;`` lines with ``BEGIN_GROUP``, and
as XML elements in capitals.  Document types are refused, so no entity is ever expanded.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import PurePosixPath
from typing import Any
from xml.parsers import expat

_TILE = re.compile(r"_r\d+c\d+(?=[-_.]|$)", re.IGNORECASE)

_ORDER = (".imd", ".xml")


LIMIT_BYTES = 8 << 20
"""Largest file that is read; real ones have some kilobytes."""

_MOST_DEEP = 64
_BANDS: Mapping[str, str] = {
    "P": "pan",
    "C": "coastal",
    "B": "blue",
    "G": "green",
    "Y": "yellow",
    "R": "red",
    "RE": "rededge",
    "N": "nir1",
    "N1": "nir1",
    "N2": "nir2",
}
_LINE = re.compile(r"^\s*(\w+)\s*=\s*(.*?)\s*;?\s*$")
_TIME = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z?$")

Tree = dict[str, Any]
"""Names in lower case; a group is a tree, all else is text."""


class ImdError(ValueError):
    """The text is no imagery metadata; the message says why."""


@dataclass(frozen=True, slots=True)
class BandCalibration:
    """What turns a band's digital numbers into radiance."""

    band: str
    """Name of the band as sensors' tables have it, such as ``rededge``."""

    abs_cal_factor: float
    """Radiance a count over the whole band, W m-2 sr-1."""

    effective_bandwidth_um: float
    """Width that the factor is divided by for spectral radiance, micrometres."""


@dataclass(frozen=True, slots=True)
class Imagery:
    """How a scene was taken, as its provider says.  Angles are means over the scene, degrees."""

    source: str
    """Key of the file that says so, relative to the source."""

    satellite: str | None = None
    """Satellite, such as ``WV03``."""

    catalog_id: str | None = None
    """The provider's id of the acquisition."""

    acquired: str | None = None
    """Time of the first line, ISO 8601 in UTC."""

    sun_elevation_deg: float | None = None
    """Of the sun above the horizon."""

    sun_azimuth_deg: float | None = None
    """Of the sun, clockwise from north."""

    satellite_elevation_deg: float | None = None
    """Of the satellite above the horizon, from the ground."""

    satellite_azimuth_deg: float | None = None
    """Of the satellite from the ground, clockwise from north."""

    off_nadir_deg: float | None = None
    """Between the line of sight and straight down, at the satellite."""

    in_track_deg: float | None = None
    """View angle along the track."""

    cross_track_deg: float | None = None
    """View angle across the track."""

    cloud_cover: float | None = None
    """Share of the scene under cloud, 0 to 1."""

    pan_sharpening: str | None = None
    """Algorithm that mixed the panchromatic band in, ``None`` as text for none of it."""

    bands: tuple[BandCalibration, ...] = ()
    """One entry for each band that has a calibration."""


def parse_imagery(content: bytes, source: str) -> Imagery | None:
    """Read an ``.IMD`` or ``.XML`` file.

    Parameters
    ----------
    content
        The file's bytes.
    source
        What it is called, to say where the facts are from.

    Returns
    -------
    Imagery or None
        None for an XML of another kind, which deliveries hold too.

    Raises
    ------
    ImdError
        If it is damaged, too large, or declares a document type.

    Examples
    --------
    >>> text = b"<IMD><IMAGE><SATID>WV03</SATID><MEANSUNEL>43.2</MEANSUNEL></IMAGE></IMD>"
    >>> parse_imagery(text, "a.XML").sun_elevation_deg
    43.2
    """
    if len(content) > LIMIT_BYTES:
        raise ImdError(f"it has more than {LIMIT_BYTES:,} bytes")
    head = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    tree = _of_xml(content) if head == b"<" else _of_lines(content)
    found = _imagery(tree, source)
    nothing = found.satellite is None and found.sun_elevation_deg is None and not found.bands
    return None if nothing else found


def _of_lines(content: bytes) -> Tree:
    """The tree that ``name = value;`` lines and groups write down."""
    root: Tree = {}
    stack = [root]
    for line in content.decode("utf-8", "replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        name, value = found[1].lower(), found[2].strip('"')
        if name == "begin_group":
            if len(stack) > _MOST_DEEP:
                raise ImdError(f"it nests more than {_MOST_DEEP} groups")
            stack.append(stack[-1].setdefault(value.lower(), {}))
        elif name == "end_group":
            if len(stack) == 1:
                raise ImdError(f"group {value!r} ends and never began")
            stack.pop()
        else:
            stack[-1].setdefault(name, value)
    if len(stack) > 1:
        raise ImdError("it is cut short: a group never ends")
    return root


def _of_xml(content: bytes) -> Tree:
    """The tree of the ``IMD`` element, or of the whole document where there is none."""
    reader = _XmlTree()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(content, True)  # noqa: FBT003 - expat takes no keyword
    except expat.ExpatError as error:
        raise ImdError(f"it is damaged XML: {error}") from error
    root = reader.root
    top: Tree = next((value for value in root.values() if isinstance(value, dict)), {})
    inner = top.get("imd")
    return inner if isinstance(inner, dict) else top


def _refuse_doctype(*_: object) -> None:
    raise ImdError("it declares a document type, which could expand without bound")


class _XmlTree:
    """Grows a tree from expat's events."""

    def __init__(self) -> None:
        self.root: Tree = {}
        self._stack: list[tuple[str, Tree, list[str]]] = [("", self.root, [])]

    def start(self, name: str, _attributes: object) -> None:
        if len(self._stack) > _MOST_DEEP:
            raise ImdError(f"it nests more than {_MOST_DEEP} elements")
        self._stack.append((name.lower().rpartition(":")[2], {}, []))

    def text(self, piece: str) -> None:
        self._stack[-1][2].append(piece)

    def end(self, _name: str) -> None:
        name, children, pieces = self._stack.pop()
        self._stack[-1][1].setdefault(name, children or "".join(pieces).strip())


def _imagery(tree: Tree, source: str) -> Imagery:
    image = tree.get("image_1") or tree.get("image")
    image = image if isinstance(image, dict) else {}
    return Imagery(
        source=source,
        satellite=_text(image, "satid"),
        catalog_id=_text(image, "catid"),
        acquired=_time(_text(image, "firstlinetime") or _text(image, "tlctime")),
        sun_elevation_deg=_number(image, "meansunel"),
        sun_azimuth_deg=_number(image, "meansunaz"),
        satellite_elevation_deg=_number(image, "meansatel"),
        satellite_azimuth_deg=_number(image, "meansataz"),
        off_nadir_deg=_number(image, "meanoffnadirviewangle"),
        in_track_deg=_number(image, "meanintrackviewangle"),
        cross_track_deg=_number(image, "meancrosstrackviewangle"),
        cloud_cover=_number(image, "cloudcover"),
        pan_sharpening=_text(tree, "pansharpenalgorithm"),
        bands=_bands(tree),
    )


def _bands(tree: Tree) -> tuple[BandCalibration, ...]:
    found: list[BandCalibration] = []
    for code, band in _BANDS.items():
        group = tree.get(f"band_{code.lower()}")
        if not isinstance(group, dict) or any(each.band == band for each in found):
            continue
        factor, width = _number(group, "abscalfactor"), _number(group, "effectivebandwidth")
        if factor is not None and width is not None and factor > 0 and width > 0:
            found.append(BandCalibration(band, factor, width))
    return tuple(found)


def _text(tree: Tree, name: str) -> str | None:
    value = tree.get(name)
    return value[:256] if isinstance(value, str) and value else None


def _number(tree: Tree, name: str) -> float | None:
    try:
        value = float(tree[name])
    except (KeyError, TypeError, ValueError):
        return None
    # -999 and its like stand for "not known".
    return value if isfinite(value) and value > -999 else None  # noqa: PLR2004 - the provider's mark


def _time(text: str | None) -> str | None:
    found = _TIME.match(text or "")
    return f"{found[1]}Z" if found else None


def sidecar_of(key: str, sidecars: Iterable[str]) -> str | None:
    """Find the metadata file that tells of a raster.

    Parameters
    ----------
    key
        The raster's key.
    sidecars
        Keys of the metadata files there are.

    Returns
    -------
    str or None
        In the raster's own folder: of its own name rather than of its product's, and
        ``.IMD`` rather than ``.XML``.

    Examples
    --------
    >>> sidecar_of("MS/a-M2AS_R1C1-1_P001.TIF", ["MS/a-M2AS-1_P001.XML", "MS/README.XML"])
    'MS/a-M2AS-1_P001.XML'
    """
    raster = PurePosixPath(key)
    stem = raster.stem.lower()
    names = (stem, _TILE.sub("", stem))
    ranked = [
        (names.index(path.stem.lower()), _ORDER.index(path.suffix.lower()), text)
        for text in sidecars
        for path in [PurePosixPath(text)]
        if path.parent == raster.parent
        and path.stem.lower() in names
        and path.suffix.lower() in _ORDER
    ]
    return min(ranked)[2] if ranked else None
