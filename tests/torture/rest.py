"""At rest: whatever is done to the files of a published cube is found, and named.

Each trial damages one cube in one way, verifies it at the level that promises to find that,
and at level ``full``, and mends it again.  The report has to name the damaged objects and no
others.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import fsspec

import spacenet_cube as sc
from spacenet_cube.format.layout import index_size_bytes, layout
from spacenet_cube.integrity.expected import stored_form
from tests.s3_servers import filesystem, moto
from tests.tiny_cubes import KINDS, planned, scenes
from tests.torture.score import Score

Content = Mapping[str, bytes]
Damage = Callable[[Random, "Cube"], Mapping[str, bytes | None]]
"""Given a cube, what its files become: bytes by path, None where one is lost."""


_HELD: list[tempfile.TemporaryDirectory[str]] = []


@dataclass(frozen=True)
class Cube:
    """A sound cube on disk."""

    url: str
    """Its folder."""

    content: Content
    """Its files and its manifest, by path from the folder that holds the cube."""

    stale: Content
    """The same files of an older build, from other pixels."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return Path(self.url).name

    def key(self, path: str) -> str:
        """What a report calls a file."""
        inside = path.removeprefix(f"{self.name}/")
        return inside if inside != path else f"{Path(self.url).parent}/{path}"

    def put(self, files: Mapping[str, bytes | None]) -> None:
        """Make files what is given."""
        for path, content in files.items():
            file = Path(self.url).parent / path
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)


def _files(url: str) -> Content:
    above = Path(url).parent
    folders = (Path(url), Path(f"{url}.manifest"))
    found = (p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(above)): p.read_bytes() for p in found}


@contextmanager
def cubes() -> Iterator[list[Cube]]:
    """A cube of each kind, to damage."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(_built(), folder, dirs_exist_ok=True)
        yield [_cube(Path(folder, kind)) for kind in KINDS]


@cache
def _built() -> Path:
    """A folder for each kind of cube: its sources and itself, as they were and as they are."""
    _HELD.append(tempfile.TemporaryDirectory(prefix="torture-"))
    folder = Path(_HELD[-1].name)
    for kind in KINDS:
        for age, seed in (("old", 1), ("new", 2)):
            source = folder / kind / age
            scenes(source, kind, seed)
            sc.build(planned(source, kind), folder / kind / f"{age}-cubes", workers=1)
    return folder


def _cube(folder: Path) -> Cube:
    old, new = (str(folder / f"{age}-cubes" / "AOI" / "P.zarr") for age in ("old", "new"))
    return Cube(new, _files(new), _files(old))


def _any(random: Random, cube: Cube) -> str:
    """Any file: the root, the manifest, another document, a coordinate or pixels alike often."""
    root = f"{cube.name}/zarr.json"
    papers = [p for p in cube.content if p.endswith("zarr.json") and p != root]
    chunks = [path for path in cube.content if "/c" in path]
    pixels = [path for path in chunks if {"image", "source_index"} & set(path.split("/"))]
    manifest = [path for path in cube.content if path.endswith(".jsonl")]
    kinds = [[root], manifest, papers, sorted(set(chunks) - set(pixels)), pixels, pixels]
    return random.choice(random.choice(kinds))


def _is_paper(path: str) -> bool:
    return path.endswith(("zarr.json", ".jsonl"))


def _flip(random: Random, cube: Cube) -> Mapping[str, bytes | None]:
    """One bit of any file; of a shard, every other time one of its index."""
    path = _any(random, cube)
    content = bytearray(cube.content[path])
    at = random.randrange(len(content))
    found = _shard(cube, path)
    if found is not None and random.random() < 0.5:
        at = len(content) - 1 - random.randrange(found)
    content[at] ^= 1 << random.randrange(8)
    return {path: bytes(content)}


def _shard(cube: Cube, path: str) -> int | None:
    """Bytes of the index of a shard; None for anything else."""
    array, dot, _ = path.rpartition("/c/")
    if not dot:
        return None
    document = json.loads(cube.content[f"{array}/zarr.json"])
    found = layout(array, document)
    return index_size_bytes(found) if found.is_sharded else None


def _truncate(random: Random, cube: Cube) -> Mapping[str, bytes | None]:
    path = _any(random, cube)
    return {path: cube.content[path][: random.randrange(len(cube.content[path]))]}


def _lose(random: Random, cube: Cube) -> Mapping[str, bytes | None]:
    return {_any(random, cube): None}


def _swap(random: Random, cube: Cube) -> Mapping[str, bytes | None]:
    """Two shards of an array exchanged, or one of an older build."""
    shards = sorted(path for path in cube.content if "/c/" in path)
    while True:
        one = random.choice(shards)
        if random.random() < 0.5:
            files = {one: cube.stale.get(one)}
        else:
            alike = [path for path in shards if path.partition("/c/")[0] == one.partition("/c/")[0]]
            other = random.choice(alike)
            files = {one: cube.content[other], other: cube.content[one]}
        if all(content not in {None, cube.content[path]} for path, content in files.items()):
            return files


def _edit(random: Random, cube: Cube) -> Mapping[str, bytes | None]:
    """A document that is valid and plausible, and not the one that was written."""
    papers = sorted(path for path in cube.content if path.endswith("zarr.json"))
    while True:
        path = random.choice(papers) if random.random() < 0.5 else f"{cube.name}/zarr.json"
        document = json.loads(cube.content[path])
        random.choice(_EDITS)(random, document)
        if json.loads(cube.content[path]) != document:
            return {path: stored_form(document)}


def _nodes(document: Any) -> list[dict[str, Any]]:
    """A document and its consolidated copies."""
    copies = document.get("consolidated_metadata", {}).get("metadata", {})
    return [document, *(copies[name] for name in sorted(copies))]


def _node(random: Random, document: Any) -> dict[str, Any]:
    """The document itself, or as often one of its copies."""
    own, *others = _nodes(document)
    return random.choice(others) if others and random.random() < 0.5 else own


def _array(random: Random, document: Any) -> dict[str, Any]:
    arrays = [node for node in _nodes(document) if node["node_type"] == "array"]
    return random.choice(arrays) if arrays else {}


def _edit_shape(random: Random, document: Any) -> None:
    array = _array(random, document)
    if array.get("shape"):
        array["shape"][-1] += random.choice([-1, 1, 16])


def _edit_fill(random: Random, document: Any) -> None:
    array = _array(random, document)
    if array:
        array["fill_value"] = random.choice([0, 1, 255, "NaN"])


def _edit_codec(random: Random, document: Any) -> None:
    array = _array(random, document)
    if array:
        codecs = array["codecs"]
        inner = codecs[0].get("configuration", {}).get("codecs", codecs)
        if random.random() < 0.5 and len(inner) > 1:
            inner.pop()
        else:
            inner.insert(1, {"name": "gzip", "configuration": {"level": 5}})


def _edit_transform(random: Random, document: Any) -> None:
    attributes = _node(random, document)["attributes"]
    if "spatial:transform" in attributes:
        attributes["spatial:transform"][random.choice([0, 2, 4, 5])] += 0.5
    if "GeoTransform" in attributes:
        attributes["GeoTransform"] = "500000.5 0.5 0.0 4000000.0 0.0 -0.5"


def _edit_attribute(random: Random, document: Any) -> None:
    attributes = _node(random, document)["attributes"]
    if attributes and random.random() < 0.5:
        del attributes[random.choice(sorted(attributes))]
    else:
        attributes["comment"] = "edited"


def _edit_own(random: Random, document: Any) -> None:
    """What the root says of its build and of its manifest."""
    own = document["attributes"].get("spacenet_cube")
    if not own:
        return
    match random.randrange(5):
        case 0:
            own["manifest"]["sha256"] = "0" * 64
        case 1:
            own["manifest"]["objects"] += 1
        case 2:
            del own["manifest"]
        case 3:
            own["scenes"][0]["size_bytes"] += 1
        case _:
            own["plan"] = "f" * 64


_EDITS = (_edit_shape, _edit_fill, _edit_codec, _edit_transform, _edit_attribute, _edit_own)


def _kind(path: str) -> str:
    if path == "P.zarr/zarr.json":
        return "roots"
    if path.endswith(".jsonl"):
        return "manifests"
    return "other documents" if path.endswith("zarr.json") else "pixels and coordinates"


def _promised(cube: Cube, files: Mapping[str, bytes | None]) -> str:
    """The first level that promises to find a damage."""
    for path, content in files.items():
        before = cube.content[path]
        if _is_paper(path) or content is None or len(content) != len(before):
            return "list"
        size_bytes = _shard(cube, path)
        if size_bytes is not None and len(files) == 1:
            at = next(k for k, (a, b) in enumerate(zip(content, before, strict=True)) if a != b)
            if at >= len(content) - size_bytes:
                return "index"
    return "full"


def _trials(row: str, said: str, damage: Damage, n: int, seed: int) -> Score:
    random, failures, figures = Random(seed), list[str](), Counter[str]()
    with cubes() as kinds:
        for trial in range(n):
            cube = kinds[trial % len(kinds)]
            files = damage(random, cube)
            changed = [path for path, content in files.items() if content != cube.content[path]]
            assert changed, "the fault fired"
            cube.put(files)
            promised = _promised(cube, files)
            figures[f"of {_kind(changed[0])}"] += 1
            figures[f"promised by {promised}"] += 1
            failures += _missed(trial, cube, files, {promised, "full"})
            cube.put({path: cube.content[path] for path in files})
    bad = {line.partition(":")[0] for line in failures}
    return Score(row, said, n - len(bad), n, seed, dict(figures), tuple(failures))


def _missed(
    trial: int, cube: Cube, files: Mapping[str, bytes | None], levels: set[str]
) -> list[str]:
    """What a report should have said, and did not."""
    wanted = {cube.key(path) for path in files}
    failures = []
    for level in sorted(levels):
        found = sc.verify(cube.url, level, workers=1)
        named = {fault.key for fault in found.faults}
        if named != wanted:
            failures.append(f"{trial}: {cube.url} {level}: {sorted(wanted)}, named {sorted(named)}")
        if not all(str(fault).startswith(fault.key) for fault in found.faults):
            failures.append(f"{trial}: {cube.url} {level}: a fault that does not name its object")
    return failures


def flips(n: int, seed: int) -> Score:
    """Flip a bit of any file."""
    return _trials("flips", "a flipped bit found and named", _flip, n, seed)


def truncations(n: int, seed: int) -> Score:
    """Cut any file short."""
    return _trials("truncations", "a truncated file found and named", _truncate, n, seed)


def lost(n: int, seed: int) -> Score:
    """Lose any file."""
    return _trials("lost", "a lost file found and named", _lose, n, seed)


def swapped(n: int, seed: int) -> Score:
    """Exchange two shards, or put one of an older build."""
    return _trials("swapped", "swapped or stale shards found and named", _swap, n, seed)


def edited(n: int, seed: int) -> Score:
    """Edit a document."""
    return _trials("edited", "an edited document found and named", _edit, n, seed)


def repaired(n: int, seed: int) -> Score:
    """Damage a cube in any of these ways, and repair it."""
    random, failures, figures = Random(seed), list[str](), Counter[str]()
    ways = {"flip": _flip, "truncate": _truncate, "lose": _lose, "swap": _swap, "edit": _edit}
    with cubes() as kinds:
        plans = [
            planned(Path(cube.url).parents[2] / "new", Path(cube.url).parts[-4]) for cube in kinds
        ]
        for trial in range(n):
            cube, plan = kinds[trial % len(kinds)], plans[trial % len(kinds)]
            way = random.choice(sorted(ways))
            files = ways[way](random, cube)
            cube.put(files)
            before = _inodes(cube.url)
            done = sc.repair(cube.url, plan, workers=2)
            figures[way] += 1
            figures["objects rewritten"] += len(done.rewritten)
            after = _inodes(cube.url)
            touched = {path for path, inode in after.items() if before.get(path) != inode}
            if touched != set(files) or not done.found.is_sound or _files(cube.url) != cube.content:
                failures.append(
                    f"{trial}: {way} {sorted(files)}: {done}, touched {sorted(touched)}"
                )
                cube.put({path: cube.content[path] for path in files})
    good = n - len(failures)
    said = "repaired byte for byte, only what was damaged rewritten"
    return Score("repaired", said, good, n, seed, dict(figures), tuple(failures))


def _inodes(url: str) -> dict[str, tuple[int, int]]:
    above = Path(url).parent
    found = (p for p in above.rglob("*") if p.is_file())
    return {str(p.relative_to(above)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def clean(n: int, seed: int) -> Score:
    """Verify sound cubes, on disk, in memory and on S3, at every level."""
    random, failures, figures = Random(seed), list[str](), Counter[str]()
    access = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "ownersecret"}
    with cubes() as kinds, moto() as server, patch.dict(os.environ, access):
        places: list[tuple[str, dict[str, str] | None]] = [(cube.url, None) for cube in kinds]
        remote, memory = filesystem(server), fsspec.filesystem("memory")
        remote.mkdir("rest")
        for cube in kinds:
            kind = Path(cube.url).parts[-4]
            for path, content in cube.content.items():
                remote.pipe_file(f"rest/{kind}/{path}", content)
                memory.pipe_file(f"/rest/{kind}/{path}", content)
            places.append((f"s3://rest/{kind}/{cube.name}", {"endpoint_url": server}))
            places.append((f"memory://rest/{kind}/{cube.name}", None))
        for trial in range(n):
            (url, options), level = places[trial % len(places)], random.choice(sc.LEVELS)
            found = sc.verify(url, level, workers=2, storage_options=options)
            figures[url.partition("://")[0] if "://" in url else "on disk"] += 1
            if not found.is_sound or found.notes or found.objects_read < 1:
                failures.append(f"{trial}: {url}: {found}: {found.faults[:1]} {found.notes}")
        memory.rm("/rest", recursive=True)
    good = n - len(failures)
    return Score("clean", "0 false alarms", good, n, seed, dict(figures), tuple(failures))
