"""Pages made from the code: keys of recipes, and commands with their options.

A page holds a marker, ``<!-- generated: recipe keys -->``; before Sphinx parses the page,
the marker becomes Markdown.  Made from the JSON Schema that ``spacenet-cube schema`` prints
and from the command line itself, so that a key or an option without a line cannot be.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer
from sphinx.application import Sphinx

from spacenet_cube.cli.app import app as command_line
from spacenet_cube.recipe.model import Recipe

MARKER = "<!-- generated: {} -->"
"""What stands in a page until it is built."""

Schema = Mapping[str, Any]


def recipe_keys(schema: Schema) -> str:
    """Write one section a part of the recipe, each with a table of its keys.

    Parameters
    ----------
    schema
        JSON Schema of recipes: the recipe itself, and its parts in ``$defs``.

    Returns
    -------
    str
        Markdown; every key is a row, with its type, its default and its description.
    """
    parts = {"Recipe": schema, **_in_order(schema)}
    return "\n\n".join(_part(name, part) for name, part in parts.items())


def _in_order(schema: Schema) -> dict[str, Schema]:
    """Sort the parts of a recipe by where its keys first refer to them."""
    found: dict[str, Schema] = {}
    for name in _references(schema["properties"]):
        if name not in found:
            part = schema["$defs"][name]
            inner = _in_order({"properties": part["properties"], "$defs": schema["$defs"]})
            found |= {name: part} | inner
    return found


def _references(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Name the parts that a piece of schema refers to."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield str(value["$ref"]).rpartition("/")[2]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _part(name: str, part: Schema) -> str:
    required = set(part.get("required", ()))
    rows = [
        f"| `{key}` | {_kind(field)} | {_default(key, field, required)} | {_cell(_about(field))} |"
        for key, field in part["properties"].items()
        if "const" not in field
    ]
    head = f"({_anchor(name)})=\n### {name}\n\n{_cell(part.get('description', ''))}\n"
    return "\n".join([head, "| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _anchor(name: str) -> str:
    return f"keys-{name.casefold()}"


def _about(field: Schema) -> str:
    return str(field.get("description", ""))


def _default(key: str, field: Schema, required: set[str]) -> str:
    if key in required:
        return "required"
    value = field.get("default")
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, Mapping):
        value = value.get("kind")
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value else ""


def _kind(field: Schema) -> str:
    """Say in words what a key takes."""
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = [_kind(one) for one in field[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "const" in field or "enum" in field:
        return ", ".join(f"`{each}`" for each in field.get("enum", [field.get("const")]))
    return _array(field) if field["type"] == "array" else _scalar(field)


def _array(field: Schema) -> str:
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} numbers"
    inner = field["items"]
    if inner.get("type") == "array" and "items" in inner and inner["items"].get("type") == "array":
        return "polygons"
    kind = _kind(inner)
    return f"list of ({kind})" if " or " in kind else f"list of {kind}"


def _scalar(field: Schema) -> str:
    names = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    name = names.get(field["type"], str(field["type"]))
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None and abs(high) < 1e6:  # noqa: PLR2004 - a bound that can be meant
        return f"{name}, {low:g} to {high:g}"
    return name


def commands(app: typer.Typer) -> str:
    """Write one section a command, with its arguments and options.

    Parameters
    ----------
    app
        The command line.

    Returns
    -------
    str
        Markdown, in the order in which ``--help`` lists the commands.
    """
    group: Any = typer.main.get_command(app)
    return "\n\n".join(_command(name, one) for name, one in group.commands.items())


def _command(name: str, command: Any) -> str:  # noqa: ANN401 - click's, which typer bundles
    rows = [_option(each) for each in command.params if each.name != "help"]
    takes = [_place(each) for each in command.params if _is_place(each)]
    usage = f"`{' '.join(['spacenet-cube', name, *takes])}`"
    text = _cell(str(command.help))
    head = f"(command-{name})=\n## {name}\n\n{text}\n\n{usage}\n"
    table = ["| option | default | meaning |", "|---|---|---|", *rows] if rows else []
    return "\n".join([head, *table])


def _is_place(parameter: Any) -> bool:  # noqa: ANN401 - click's
    return bool(parameter.param_type_name == "argument")


def _place(parameter: Any) -> str:  # noqa: ANN401 - click's
    """Name an argument as ``--help`` does, without its braces."""
    return str(parameter.metavar or parameter.name).upper()


def _option(parameter: Any) -> str:  # noqa: ANN401 - click's
    names = _place(parameter) if _is_place(parameter) else "` `".join(parameter.opts)
    default = "required" if parameter.required else parameter.default
    shown = "" if default in {None, False, ()} or callable(default) else str(default)
    return f"| `{names}` | {shown} | {_cell(parameter.help or '')} |"


def _cell(text: str) -> str:
    """Put text on one line that Markdown takes as it is."""
    escaped = re.sub(r"([\\*<|_])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<!\S)--[a-z-]+", r"`\g<0>`", escaped)


GENERATED: dict[str, Callable[[], str]] = {
    "recipe keys": lambda: recipe_keys(Recipe.model_json_schema()),
    "commands": lambda: commands(command_line),
}
"""What a marker may name, and what makes it."""


def insert(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Put what is generated where a page's markers are; ``source`` holds the page's text."""
    for name, made in GENERATED.items():
        marker = MARKER.format(name)
        if marker in source[0]:
            source[0] = source[0].replace(marker, made())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
