"""Overlap: a target is refused that is, contains or lies inside a source.

A build writes and removes objects at its target, and a survey takes what lies in its source for
a scene; so neither may reach into the other.
"""

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from spacenet_cube.errors import StoreError
from spacenet_cube.sources.scene import Scene
from spacenet_cube.storage.base.urls import S3
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate
from spacenet_cube.storage.s3.clients import resolved

_Parts = tuple[str, ...]


def refuse_overlap(cube: Location, scenes: Iterable[Scene]) -> None:
    """Refuse to build a cube where its sources are.

    Parameters
    ----------
    cube
        Where the cube is or will be; what lies next to it counts as well.
    scenes
        What it is built from.

    Raises
    ------
    StoreError
        If the cube's place is, contains or lies inside the source of a scene.
    """
    places = [cube.plain, cube.beside(".build"), cube.beside(".manifest")]
    mine = [(place, _parts(place)) for place in places]
    for source in _sources(scenes):
        theirs = _parts(source)
        for place, parts in mine:
            how = _how(parts, theirs)
            if how:
                raise StoreError(
                    f"the target {place.url} {how} the source {source.url}, so a build could "
                    "overwrite or remove sources, or take its own objects for them; name a "
                    "target apart from the source"
                )


def refuse_inside(what: str, place: Location, source: Location) -> None:
    """Refuse a folder for temporary or unpacked files that is or lies inside a source.

    Parameters
    ----------
    what
        What the folder is for, such as ``builds.unit.stage``.
    place
        Where it is.
    source
        Where the source files are.

    Raises
    ------
    StoreError
        If it is or does: the next survey would take what is put there for scenes.
    """
    theirs = _parts(source)
    if _parts(place)[: len(theirs)] == theirs:
        raise StoreError(
            f"the {what} folder {place.url} lies in the source {source.url}, so what is put there "
            "would be taken for sources; name one apart from the source"
        )


def _sources(scenes: Iterable[Scene]) -> list[Location]:
    """Places that the scenes were surveyed in, and the scenes that lie elsewhere."""
    found: dict[str, Location] = {}
    for scene in scenes:
        root = scene.source or scene.href.removesuffix(f"/{scene.key}")
        if not scene.href.startswith(f"{root.rstrip('/')}/"):
            found.setdefault(scene.href, locate(scene.href, scene.access))
        found.setdefault(root, locate(root, scene.access))
    return list(found.values())


def _how(target: _Parts, source: _Parts) -> str:
    """How two places overlap; empty where they do not."""
    if target == source:
        return "is"
    if target[: len(source)] == source:
        return "lies inside"
    return "contains" if source[: len(target)] == target else ""


def _parts(place: Location) -> _Parts:
    """A place as parts that are equal where two names mean one place."""
    plain = place.plain
    if plain.is_local:
        return ("", *_split(os.path.realpath(plain.path)))
    if plain.scheme in S3:
        endpoint = resolved(plain.options)[0] if not plain.extra else str(plain.extra)
        bucket = plain.url.partition("://")[2]
        return ("s3", endpoint.lower().rstrip("/"), *_split(bucket))
    host = urlsplit(plain.url).netloc.lower()
    return (plain.scheme, host, *_split(plain.url.partition("://")[2].partition("/")[2]))


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
