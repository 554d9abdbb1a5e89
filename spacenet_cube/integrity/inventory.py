"""Inventory: a published cube's listing, documents and manifest, read once.

What lies there is anybody's, so nothing of it is believed before it is compared.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.state.ownership import is_digest
from spacenet_cube.errors import StoreError, VerifyError
from spacenet_cube.format.layout import layout
from spacenet_cube.format.manifest import Manifest, parse, parsed_object, place
from spacenet_cube.integrity.expected import ROOT, Holdings, digest_of, manifest_entry
from spacenet_cube.integrity.findings import REBUILD, REPAIR, Fault
from spacenet_cube.storage.base.faults import FAULTS, is_absence
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.location import Location

_SUFFIX = ".jsonl"
_DIGEST_LENGTH = 64
_NO_MANIFEST = (
    "the cube has no manifest, as cubes built before there were any: sizes and digests cannot be "
    "checked; build it again to have one"
)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is known of a cube without looking at its pixels."""

    holdings: Holdings
    """Listing, documents and manifest."""

    faults: tuple[Fault, ...]
    """Of the root and the manifest, as far as each is told by the other."""

    notes: tuple[str, ...]
    """What cannot be checked, and why."""

    manifest_bytes: int
    """Size of the manifest that is believed."""


def take_inventory(cube: Location, workers: int) -> Inventory:
    """List a cube and read its documents and its manifest.

    Parameters
    ----------
    cube
        Where it is.
    workers
        Documents read at once.

    Returns
    -------
    Inventory
        Nothing is changed.

    Raises
    ------
    StoreError
        If no published cube of ours is there, or the store refuses or fails.
    """
    try:
        listing = entries(cube)
        # Nothing is read through a link: it leads out of the cube, and no build makes one.
        links = {key for key, entry in listing.items() if entry.is_link}
        sizes = {k: 0 if k in links else e.size_bytes for k, e in sorted(listing.items())}
        beside = _sizes(cube.beside(".manifest"))
        papers = _papers(
            cube, (key for key in sizes if _is_document(key) and key not in links), workers
        )
        _refuse_what_is_no_cube(cube, papers, beside)
        found, content, faults, notes = _believed(cube, papers.get(ROOT), sorted(beside))
    except FAULTS as error:
        raise StoreError(f"{cube.url} cannot be verified: {cube.told(error)}") from error
    return Inventory(Holdings(sizes, papers, found), faults, notes, len(content))


@dataclass(frozen=True, slots=True)
class Origin:
    """What a cube was built from, as far as it says so itself."""

    recipe: str
    """Name of the recipe."""

    product: str
    """Name of the product."""

    profile: str | None
    """Encoding profile; None where its documents do not tell."""

    pinned: bool
    """Whether any of its scenes was held to its digest, so that a plan must name it too."""


def origin(cube: Location) -> Origin:
    """What a cube was built from; where its root is damaged, its address says as much.

    Parameters
    ----------
    cube
        Where it is.

    Returns
    -------
    Origin
        Nothing of it is checked.

    Raises
    ------
    StoreError
        If the store refuses or fails.
    """
    try:
        root, image = (read_or_none(cube, key) or b"" for key in (ROOT, f"image/{ROOT}"))
    except FAULTS as error:
        raise StoreError(f"{cube.url} cannot be read: {cube.told(error)}") from error
    attributes = (parsed_object(root) or {}).get("attributes")
    own = attributes.get("spacenet_cube") if isinstance(attributes, dict) else None
    told = own if isinstance(own, dict) else {}
    *_, above, name = ["", *cube.url.split("/")]
    return Origin(
        str(told.get("aoi") or above),
        str(told.get("product") or name.removesuffix(".zarr")),
        _profile(parsed_object(image)),
        any(isinstance(one, dict) and "sha256" in one for one in _scenes(told)),
    )


def _scenes(told: Mapping[str, object]) -> list[object]:
    scenes = told.get("scenes")
    return scenes if isinstance(scenes, list) else []


def _profile(image: dict[str, object] | None) -> str | None:
    try:
        return "cloud" if layout("image", image or {}).is_sharded else "gdal312"
    except VerifyError:
        return None


def _is_document(key: str) -> bool:
    return key == ROOT or key.endswith(f"/{ROOT}")


def _sizes(where: Location) -> dict[str, int]:
    found = sorted(entries(where).items())
    return {key: entry.size_bytes for key, entry in found if not entry.is_link}


def _papers(cube: Location, keys: Iterable[str], workers: int) -> dict[str, bytes]:
    wanted = tuple(keys)
    with ThreadPoolExecutor(workers, "inventory") as pool:
        found = pool.map(partial(read_or_none, cube), wanted)
        return {key: each for key, each in zip(wanted, found, strict=True) if each is not None}


def read_or_none(cube: Location, key: str) -> bytes | None:
    """An object's bytes, or None where there is none.

    Parameters
    ----------
    cube
        Where the cube is.
    key
        Of the object.

    Returns
    -------
    bytes or None
        A refusal is an error, and never an absence.

    Raises
    ------
    FAULTS
        If it cannot be read.
    """
    try:
        return (cube / key).read_bytes()
    except FAULTS as error:
        if is_absence(error):
            return None
        raise


def _refuse_what_is_no_cube(
    cube: Location, papers: dict[str, bytes], beside: dict[str, int]
) -> None:
    root = parsed_object(papers.get(ROOT, b""))
    attributes = (root or {}).get("attributes")
    if beside or (isinstance(attributes, dict) and "spacenet_cube" in attributes):
        if ROOT not in papers and Ledger(cube).is_there:
            raise StoreError(
                f"the cube at {cube.url} is not published: {cube.beside('.build').url} holds an "
                "unfinished build; run the same 'spacenet-cube build' again to finish it"
            )
        return
    found = "a Zarr group that is none of spacenet_cube's" if root else "no cube"
    raise StoreError(f"{cube.url} holds {found}, and no manifest is beside it; check the address")


def _believed(
    cube: Location, root: bytes | None, beside: list[str]
) -> tuple[Manifest | None, bytes, tuple[Fault, ...], tuple[str, ...]]:
    """The manifest to hold a cube against, its bytes, faults of root and manifest, notes."""
    entry = manifest_entry(parsed_object(root or b""))
    named = str((entry or {}).get("sha256"))
    sound = {name: (*each,) for name in beside if (each := _manifest(cube, name)) is not None}
    own = sound.get(f"{named}{_SUFFIX}")
    # Where the root does not name a manifest that is there, one that fits the root is believed.
    fitting = own or _fitting(root, list(sound.values()))
    if fitting is None:
        faults, notes = _unbelievable(cube, root, named if entry else None, beside)
        return None, b"", faults, notes
    found, content = fitting
    lost = () if root is not None else (_no_root(found),)
    stale = [name for name in beside if name != f"{found.digest}{_SUFFIX}"]
    notes = tuple(f"{cube.beside('.manifest').url}/{name} is of no use" for name in stale)
    return found, content, lost, notes


def _manifest(cube: Location, name: str) -> tuple[Manifest, bytes] | None:
    """A manifest, where it is the one that its name says."""
    content = read_or_none(cube.beside(".manifest"), name)
    if content is None or f"{sha256(content).hexdigest()}{_SUFFIX}" != name:
        return None
    try:
        return parse(content), content
    except VerifyError:
        return None


def _fitting(
    root: bytes | None, found: list[tuple[Manifest, bytes]]
) -> tuple[Manifest, bytes] | None:
    """The manifest of a root, or the only one where the root tells nothing."""
    document = parsed_object(root or b"")
    own = None if document is None else digest_of(document)
    fitting = [each for each in found if each[0].root_sha256 == own]
    if fitting:
        return fitting[0]
    # A root that names another manifest than those that are there may be of another build.
    alone = len(found) == 1 and not _names_one(document)
    return found[0] if alone else None


def _names_one(root: dict[str, object] | None) -> bool:
    named = (manifest_entry(root) or {}).get("sha256")
    return isinstance(named, str) and is_digest(named)


def _unbelievable(
    cube: Location, root: bytes | None, named: str | None, beside: list[str]
) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """Faults and notes where no manifest can be believed."""
    if named is None and not beside and root is not None:
        return (), (_NO_MANIFEST,)
    note = ("no digest can be checked: no manifest can be believed",)
    folder = cube.beside(".manifest").url
    faults = [
        Fault(f"{folder}/{name}", "manifest", f"sha256 {name.removesuffix(_SUFFIX)}", said, REPAIR)
        for name in beside
        for said in ["other bytes"]
        if _manifest(cube, name) is None
    ]
    if named is not None and f"{named}{_SUFFIX}" not in beside:
        where = cube.beside(place(named)).url if is_digest(named) else f"{folder}/..."
        faults.append(Fault(where, "manifest", f"sha256 {named[:_DIGEST_LENGTH]}", "none", REPAIR))
        if beside or not is_digest(named):
            told = f"{named[:_DIGEST_LENGTH]}, which is not there"
            faults.append(Fault(ROOT, "document", "the digest of a manifest", told, REBUILD))
    if named is None:
        faults.append(Fault(ROOT, "document", "the digest of a manifest", "none", REBUILD))
    if root is None:
        faults.append(Fault(ROOT, "lost", "the root's document", "nothing", REBUILD))
    return tuple(faults), note


def _no_root(found: Manifest) -> Fault:
    return Fault(ROOT, "lost", f"digest {found.root_sha256}", "nothing", REPAIR)
