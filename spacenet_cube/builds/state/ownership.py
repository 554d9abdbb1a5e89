"""Ownership: which objects next to and inside a cube were made by a build, by their keys.

Pure.  A folder that holds a cube may hold files of people and other programs, and whoever can
write to it can write any name into a manifest or a ledger.  So an object belongs to a build only
if its key has the form that builds give, and a manifest, a ledger or a draft's name gives it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from spacenet_cube.builds.tasks.keys import block_keys, coordinate_keys
from spacenet_cube.format.layout import level_of
from spacenet_cube.format.levels import level_name
from spacenet_cube.plans.documents import coordinate_arrays, group_documents, pixel_arrays
from spacenet_cube.plans.plan import Plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.storage.base.entries import Entry

ROOT = "zarr.json"

Counts = Mapping[str, tuple[int, ...]]
"""Objects along each dimension of every array, by the array's path below the cube."""

_NUMBER = r"(?:0|[1-9][0-9]{0,9})"
_KEY = re.compile(
    rf"(?:(?P<level>ovr_[1-9][0-9]{{0,9}}x)/)?"
    rf"(?:zarr\.json|(?P<array>image|source_index|band|y|x|spatial_ref|wavelength|fwhm)"
    rf"/(?:zarr\.json|c(?:/{_NUMBER})*))"
)
_MANIFEST = re.compile(r"[0-9a-f]{64}\.jsonl")
_TASK = re.compile(r"(?:(?:unit|overview)-[0-9]{1,2}-[0-9]{6,12}|coordinates)")
_LEDGER = re.compile(
    rf"(?:plan|base|spoilt|failed)\.json|done/{_TASK.pattern}\.json|lock/[0-9]{{6,12}}\.json"
)
# write_durably and create; Location.write_bytes; zarr's LocalStore, which replaces the suffix.
_DRAFT = re.compile(r"\.(?P<name>.+)\.(?:[0-9a-f]{32}|[0-9]+-[0-9]+)\.partial")
_ZARR_DRAFT = re.compile(r"(?P<stem>.+)\.[0-9a-f]{32}\.partial")
_SHOWN = 10
_SHOWN_LETTERS = 120


def has_form(key: str) -> bool:
    """Whether a build could write an object of that key into a cube.

    Examples
    --------
    >>> has_form("ovr_2x/image/c/0/1/2"), has_form("image/../../x"), has_form("mine/zarr.json")
    (True, False, False)
    """
    found = _KEY.fullmatch(key)
    return found is not None and (found["level"] is None or level_of(key) > 0)


def is_manifest(name: str) -> bool:
    """Whether a name below ``.manifest`` is that of a manifest, or of a draft of one."""
    return any(_MANIFEST.fullmatch(each) for each in (name, *_finals(name)))


def is_digest(text: object) -> bool:
    """Whether this is a SHA-256 as 64 hexadecimal digits, and nothing that leads elsewhere."""
    return isinstance(text, str) and _MANIFEST.fullmatch(f"{text}.jsonl") is not None


def is_ledger(name: str) -> bool:
    """Whether a name below ``.build`` is one that a ledger or a lock gives, or a draft of one.

    Examples
    --------
    >>> is_ledger("done/unit-0-000001.json"), is_ledger("done/../../x.json")
    (True, False)
    """
    return any(_LEDGER.fullmatch(each) for each in (name, *_finals(name)))


def is_task(name: str) -> bool:
    """Whether this is the name of a task.

    Examples
    --------
    >>> is_task("overview-2-000007"), is_task("../../home/precious")
    (True, False)
    """
    return _TASK.fullmatch(name) is not None


def _finals(key: str) -> Iterator[str]:
    """Keys that a draft of this name would get; none for what is no draft."""
    folder, slash, name = key.rpartition("/")
    own, zarrs = _DRAFT.fullmatch(name), _ZARR_DRAFT.fullmatch(name)
    if own is not None:
        yield f"{folder}{slash}{own['name']}"
    elif zarrs is not None:
        yield f"{folder}{slash}{zarrs['stem']}"
        yield f"{folder}{slash}{zarrs['stem']}.json"


@dataclass(frozen=True)
class Ownership:
    """What is known of the objects that builds wrote into a cube."""

    named: frozenset[str] = frozenset()
    """Keys that manifests name, and the root's where it is ours."""

    begun: Counts = field(default_factory=dict)
    """Arrays that a ledger says were begun."""

    by_form: bool = False
    """Whether the cube is ours but nothing lists its objects, so that the form decides."""

    def names(self, key: str) -> bool:
        """Whether a build wrote the object of this key, or was about to."""
        if key == ROOT or not has_form(key):
            return key in self.named & {ROOT}
        return self.by_form or key in self.named or _is_in(key, self.begun)

    def owns(self, key: str) -> bool:
        """The same, drafts of such objects included."""
        return self.names(key) or any(map(self.names, _finals(key)))

    def own(self, listing: Mapping[str, Entry]) -> set[str]:
        """Keys of a listing that builds wrote."""
        return {key for key, entry in listing.items() if not entry.is_link and self.owns(key)}

    def foreign(self, listing: Mapping[str, Entry]) -> set[str]:
        """Keys of a listing that belong to somebody else; a symbolic link always does."""
        return set(listing) - self.own(listing)


def _is_in(key: str, arrays: Counts) -> bool:
    """Whether a key is that of a document or an object of some arrays."""
    path, _, name = key.rpartition("/")
    if name == ROOT:
        return path in arrays or any(one.startswith(f"{path}/") for one in arrays)
    path, _, rest = f"{key}/".partition("/c/")
    counts, index = arrays.get(path), [int(part) for part in rest.split("/") if part]
    if counts is None or len(counts) != len(index):
        return False
    return all(number < count for number, count in zip(index, counts, strict=True))


def arrays_of(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Objects along each dimension of every array of a plan's cube, by the array's path."""
    found = {}
    for level in range(len(plan.levels)):
        small = {name: spec for name, (spec, _) in coordinate_arrays(plan, level).items()}
        for name, spec in {**pixel_arrays(plan, level), **small}.items():
            edges = spec.shard or spec.chunk or spec.shape
            counts = (-(-size // edge) for size, edge in zip(spec.shape, edges, strict=True))
            found[f"{level_name(level)}/{name}".lstrip("/")] = tuple(counts)
    return found


def parse_arrays(found: object) -> dict[str, tuple[int, ...]]:
    """Read back what a ledger says of arrays; what no build could have begun is left out."""
    if not isinstance(found, dict):
        return {}
    return {
        path: tuple(counts)
        for path, counts in found.items()
        if has_form(f"{path}/{ROOT}") and isinstance(counts, list)
        if all(type(count) is int for count in counts)
    }


def keys_of(plan: Plan) -> Iterator[str]:
    """Every key that a build of a plan writes, the root's included."""
    for level, grid in enumerate(plan.levels):
        yield from block_keys(plan, level, Block(0, 0, *grid.shape_yx))
    yield from coordinate_keys(plan)
    yield from (f"{path}/{ROOT}".lstrip("/") for path in group_documents(plan))


def occupied(foreign: Iterable[str], needed: Iterable[str]) -> list[str]:
    """Foreign objects that are where a build has to write an object or a folder.

    Parameters
    ----------
    foreign
        Keys of objects that no build wrote.
    needed
        Keys that a build writes.

    Returns
    -------
    list of str
        Ascending.

    Examples
    --------
    >>> occupied(["image", "notes.txt", "y/c/0/a"], ["image/c/0", "y/c/0"])
    ['image', 'y/c/0/a']
    """
    suspects = sorted(foreign)
    wanted = set(needed) if suspects else set()
    folders = {above for key in wanted for above in _above(key)}
    return [
        key
        for key in suspects
        if key in wanted or key in folders or not wanted.isdisjoint(_above(key))
    ]


def _above(key: str) -> Iterator[str]:
    """Folders that lead to a key, the nearest first."""
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def shown(foreign: Iterable[str], own: Iterable[str]) -> str:
    """Name foreign objects for people, a folder that holds nothing else as one.

    Parameters
    ----------
    foreign
        Their keys.
    own
        Keys of the objects that are not foreign.

    Returns
    -------
    str
        One printable line.

    Examples
    --------
    >>> shown(["mine/zarr.json", "mine/c/0", "image/a.txt"], ["image/zarr.json"])
    'image/a.txt, mine/'
    """
    shared = {above for key in own for above in _above(key)}
    found = sorted({_topmost(key, shared) for key in foreign})
    told = [_printable(name) for name in found[:_SHOWN]]
    more = [f"and {len(found) - _SHOWN:,} more"] if len(found) > _SHOWN else []
    return ", ".join([*told, *more])


def _topmost(key: str, shared: set[str]) -> str:
    """The folder that holds a key and nothing of ours, or the key itself."""
    found = key
    for above in _above(key):
        if above in shared:
            break
        found = f"{above}/"
    return found


def _printable(name: str) -> str:
    short = name if len(name) <= _SHOWN_LETTERS else f"{name[:_SHOWN_LETTERS]}..."
    return short if short.isprintable() else ascii(short)
