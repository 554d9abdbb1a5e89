"""Recipe files: finding them, reading them safely, and pointing at the line at fault.

A recipe may come from anyone.  It is read with PyYAML's safe loader, and its size, depth,
aliases and duplicate keys are checked first: 271 bytes of aliases expand to 43 million
items, and a duplicate key would silently win.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from spacenet_cube.errors import RecipeError
from spacenet_cube.recipe.grids import Area
from spacenet_cube.recipe.model import Recipe

LIMIT_BYTES = 1 << 20
"""Largest recipe that is read."""

LIMIT_POLYGON_BYTES = 1 << 23
"""Largest polygon file that is read."""

LIMIT_DEPTH = 20
"""Deepest nesting that is read; recipes need 6."""

LIMIT_PARTS = 20_000
"""Most keys, values and brackets that are read; 18 cubes need 1,000, and PyYAML takes 0.3 s."""

_MOST_FAULTS = 20
_LONGEST = 400

_POLYGON_SUFFIXES = frozenset({".geojson", ".json"})
_SUFFIXES = (".yaml", ".yml")
_Path = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: ``no`` and ``on`` are words, ``1:30`` is no number, dates are text.

    PyYAML follows YAML 1.1, where a product named ``no`` would be False
    (https://yaml.org/spec/1.2.2/#103-core-schema).
    """


_Loader.yaml_implicit_resolvers = {}
for _tag, _form, _first in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$",
        list("-+0123456789."),
    ),
    ("merge", r"<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_form), _first)


def bundled_recipes() -> tuple[str, ...]:
    """Names of the recipes that ship with the package, in order.

    Returns
    -------
    tuple of str
        One name an area, such as ``AOI_2_Vegas``.
    """
    return tuple(sorted(path.stem for path in _bundle().glob("*.yaml")))


def _bundle() -> Path:
    """The folder of bundled recipes: inside the wheel, or beside the package in its source."""
    inside = Path(__file__).parent / "bundled"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "recipes"


def load_recipe(recipe: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    recipe
        Path of a YAML file, or name of a bundled recipe.

    Returns
    -------
    Recipe
        Checked and frozen.

    Raises
    ------
    RecipeError
        If there is no such recipe, or it is wrong; the message names file and line.

    Examples
    --------
    >>> load_recipe("AOI_2_Vegas").product("MS").name
    'MUL'
    """
    path = _find(recipe)
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise RecipeError(
                f"{path} has more than {LIMIT_BYTES:,} bytes, which no recipe needs; "
                "name a recipe file"
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}; name a readable recipe") from error
    return parse_recipe(text, str(path), folder=path.parent)


def _find(recipe: str | Path) -> Path:
    path = Path(recipe)
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise RecipeError(f"{str(recipe)[:60]!r} cannot be a recipe: {error.strerror}") from error
    named = str(recipe)
    if named in bundled_recipes():
        return _bundle() / f"{named}.yaml"
    looks_like_path = path.suffix in _SUFFIXES or len(path.parts) > 1
    mend = "check the path" if looks_like_path else "give a path, or one of these names"
    raise RecipeError(
        f"there is no recipe {named!r}; {mend} (bundled: {', '.join(bundled_recipes())})"
    )


def parse_recipe(text: str, name: str = "recipe", *, folder: Path | None = None) -> Recipe:
    """Check the text of a recipe.

    Parameters
    ----------
    text
        YAML.
    name
        What messages call it: the path of the file, say.
    folder
        Where the polygon files that it names lie; none is read by default.

    Returns
    -------
    Recipe
        Checked and frozen.

    Raises
    ------
    RecipeError
        If the text is no YAML, or not a recipe; the message names the line.
    """
    try:
        if len(text) > LIMIT_BYTES:
            raise RecipeError(f"{name} has more than {LIMIT_BYTES:,} characters; shorten it")
        _refuse_tricks(text, name)
        root = yaml.compose(text, Loader=_Loader)
        lines = {} if root is None else dict(_lines(root, (), name))
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = getattr(mark, "line", 0) + 1
        raise RecipeError(
            f"{name}, line {line}: this is not YAML: {_plain(error.problem)}; mend the line"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{name}: this is not YAML: {_plain(error)}; mend the file") from error
    try:
        _read_polygons(data, folder)
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError("\n".join(_faults(name, lines, error))) from error


def _read_polygons(data: object, folder: Path | None) -> None:
    """Put the content of polygon files in the place of their names."""
    if not isinstance(data, dict):
        return
    products = data.get("products")
    cut = [
        line
        for product in (products if isinstance(products, list) else ())
        if isinstance(product, dict) and isinstance(product.get("cutlines"), list)
        for line in product["cutlines"]
    ]
    for holder in (data.get("area"), *cut):
        named = holder.get("polygon") if isinstance(holder, dict) else None
        if isinstance(named, str) and Path(named).suffix.lower() in _POLYGON_SUFFIXES:
            holder["polygon"] = _polygon_file(named, folder)


def _polygon_file(named: str, folder: Path | None) -> object:
    """A polygon file beside the recipe: a recipe from anyone reaches no other."""
    if folder is None or Path(named).name != named:
        raise RecipeError(
            f"polygon file {named!r} must lie beside the recipe file; put it there and give its "
            "name alone, or write the polygon out as WKT"
        )
    return read_geojson(folder / named)


def read_geojson(path: Path) -> object:
    """Read a GeoJSON file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    object
        Its JSON.

    Raises
    ------
    RecipeError
        If it is too large, cannot be read, or is no JSON.
    """
    try:
        if not path.is_file():
            raise RecipeError(f"{str(path)!r} is no file; name a GeoJSON file")
        if path.stat().st_size > LIMIT_POLYGON_BYTES:
            raise RecipeError(
                f"{path} has more than {LIMIT_POLYGON_BYTES:,} bytes; simplify the polygon"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path} cannot be read: {error}; name a GeoJSON file") from error


def area_of(bbox: Sequence[float] | None = None, polygon: Path | None = None) -> Area | None:
    """The area that a user asks for, in longitude and latitude.

    Parameters
    ----------
    bbox
        West, south, east, north, degrees.
    polygon
        A GeoJSON file.

    Returns
    -------
    Area or None
        None where neither is given.

    Raises
    ------
    RecipeError
        If both are given, or either is wrong.
    """
    if bbox is None and polygon is None:
        return None
    shape = None if polygon is None else read_geojson(polygon)
    try:
        return Area.model_validate({"bbox": bbox, "polygon": shape})
    except ValidationError as error:
        told = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise RecipeError(f"area: {told}") from error


def _refuse_tricks(text: str, name: str) -> None:
    """Refuse aliases and deep nesting before anything is built from them."""
    depth = 0
    for parts, event in enumerate(yaml.parse(text, Loader=_Loader)):
        line = 1 + (event.start_mark.line if event.start_mark else 0)
        if parts > LIMIT_PARTS:
            raise RecipeError(
                f"{name}, line {line}: more than {LIMIT_PARTS:,} keys and values, which no recipe "
                "needs; put polygons into GeoJSON files, and products into recipes of their own"
            )
        if getattr(event, "tag", None):
            raise RecipeError(
                f"{name}, line {line}: tags (!) are not read in recipes; write the plain value"
            )
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise RecipeError(
                f"{name}, line {line}: anchors and aliases (& and *) are not read in recipes, "
                "because they can expand without bound; write the value out"
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > LIMIT_DEPTH:
            raise RecipeError(
                f"{name}, line {line}: nested more than {LIMIT_DEPTH} deep, which no recipe "
                "needs; flatten it"
            )


def _lines(node: yaml.Node, path: _Path, name: str) -> Iterator[tuple[_Path, int]]:
    """Line of every key and item, by path; a key that stands twice is refused."""
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*path, index), name)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(f"{name}, line {line}: a key must be a plain word; correct it")
            if key.tag == "tag:yaml.org,2002:merge":
                raise RecipeError(
                    f"{name}, line {line}: merge keys (<<) are not read in recipes, because they "
                    "hide what stands twice; write the values out"
                )
            if key.value in seen:
                raise RecipeError(
                    f"{name}, line {line}: {_short(key.value)} stands twice, so one of them would "
                    "silently win; remove one"
                )
            seen.add(key.value)
            yield from _lines(value, (*path, key.value), name)
            yield (*path, key.value), line


def _faults(name: str, lines: dict[_Path, int], error: ValidationError) -> list[str]:
    """A line a fault, top to bottom; what merely follows from a fault inside it is left out."""
    first = error.errors(include_url=False, include_context=False)[: 10 * _MOST_FAULTS]
    found = [(_place(lines, tuple(fault["loc"])), fault) for fault in first]
    roots = [
        (lines.get(place, 1), _told(f"{name}, line {lines.get(place, 1)}", place, fault))
        for place, fault in found
        if not _follows(place, fault, [other for other in found if other[1] is not fault])
    ]
    return list(dict.fromkeys(told for _, told in sorted(roots)))[:_MOST_FAULTS]


def _follows(place: _Path, fault: Any, others: Sequence[tuple[_Path, Any]]) -> bool:  # noqa: ANN401
    """Whether a fault is there only because of another one, inside it."""
    inside = [other for other, _ in others if other[: len(place)] == place]
    if fault["type"] == "too_short":
        return bool(inside)
    return fault["type"] != "missing" and any(len(other) > len(place) for other in inside)


def _place(lines: dict[_Path, int], loc: _Path) -> _Path:
    """Where in the file pydantic's location is: without its tags for alternatives."""
    place: _Path = ()
    for part in loc:
        if (*place, part) in lines:
            place = (*place, part)
    return place


def _told(where: str, place: _Path, fault: Any) -> str:  # noqa: ANN401 - pydantic's
    """One fault of pydantic's as one line: where, what, and the mend."""
    key = fault["loc"][-1] if fault["loc"] else "recipe"
    message = fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "extra_forbidden":
            told = (
                f"{_short(key)} is not a key that recipes have here; correct or remove it "
                "(spacenet-cube schema lists the keys)"
            )
        case "missing":
            told = f"{key!r} is missing; add it"
        case "value_error":
            told = message
        case _:
            said = message[:1].lower() + message[1:]
            told = f"{_short(fault['input'])} cannot stand: {said}; correct the value"
    return f"{where}: {_plain(_shown(place))}: {_plain(told)}"


def _shown(path: Sequence[str | int]) -> str:
    """A path as people write it: ``products[0].bands``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "recipe"


def _short(value: object, most: int = 60) -> str:
    # Only the start is ever written: what is refused may be long.
    text = repr(value[: most + 1] if isinstance(value, (str, list, tuple)) else value)
    return text if len(text) <= most else f"{text[:most]}..."


def _plain(said: object) -> str:
    """What a message repeats, on one line, short, and without what a terminal would obey."""
    text = " ".join(str(said)[: 2 * _LONGEST].split())
    seen = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return seen if len(seen) <= _LONGEST else f"{seen[: _LONGEST // 2]} ... {seen[-100:]}"
