"""Verifying: a published cube held against its manifest, as closely as is asked.

It changes nothing.  An object is damaged only where the store gave it and it is not what the
records say; where the store refuses or fails, verifying fails.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from spacenet_cube.builds.tasks.runner import each_of
from spacenet_cube.errors import RecipeError
from spacenet_cube.integrity.check_object import Inspected, Subject, inspect
from spacenet_cube.integrity.compare import Compared, compare
from spacenet_cube.integrity.expected import ROOT, Holdings, document_faults, listing_faults
from spacenet_cube.integrity.findings import LEVELS, Fault, Sampling, Verification
from spacenet_cube.integrity.inventory import Inventory, take_inventory
from spacenet_cube.plans.plan import Plan
from spacenet_cube.progress import Progress
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import from_environment, locate

_A_FEW = Sampling()


def verify(
    cube: str | os.PathLike[str],
    level: str = "full",
    *,
    plan: Plan | None = None,
    sampling: Sampling = _A_FEW,
    workers: int | None = None,
    storage_options: StorageOptions | Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Say whether a published cube is what its records say, and name every fault.

    Parameters
    ----------
    cube
        Path or URL of the cube.
    level
        ``list``: keys and sizes against one LIST, and every document.  ``index``: the index
        of every shard as well.  ``sample``: some objects whole as well, their digests and
        every chunk decoded.  ``full``: all of them.
    plan
        Made anew from the sources: then pixels are compared with the sources too.
    sampling
        Chooses the objects that ``sample`` reads, and the units compared with the sources.
    workers
        Objects at once; the number of processors by default.  Each holds one object, and what
        it decodes to.
    storage_options
        How the storage is reached, as fsspec takes it; by default as
        ``SPACENET_CUBE_TARGET_OPTIONS`` says.
    scratch
        Folder for units that are built to be compared; the system's temporary one by default.
    progress
        Told the stage, how many of its objects are done, and how many there are.

    Returns
    -------
    Verification
        Sound where it holds no fault.

    Raises
    ------
    RecipeError
        If there is no such level, or the plan is of another cube.
    SourceError
        If a source cannot be read.
    StoreError
        If no published cube of ours is there, or the store refuses or fails.

    Examples
    --------
    With a cube built below ``cubes``::

        found = verify("cubes/AOI_2_Vegas/MUL.zarr", "index")
        assert found.is_sound, str(found.faults[0])
    """
    if level not in LEVELS:
        raise RecipeError(f"there is no level {level!r} of verifying; use one of {LEVELS}")
    where, count = located(cube, storage_options), workers or os.cpu_count() or 1
    inventory = take_inventory(where, count)
    held = inventory.holdings
    faults = [*inventory.faults, *listing_faults(held), *document_faults(held)]
    subjects = tuple(_subjects(held, level, sampling, faults))
    look = partial(inspect, where)
    looked = list(each_of(look, subjects, workers=count, stage=level, progress=progress))
    faults += [one.fault for one in looked if one.fault is not None]
    compared = None
    if plan is not None:
        compared = compare(
            plan,
            where,
            held,
            sampling=sampling,
            workers=count,
            scratch=scratch,
            progress=progress,
        )
        faults += compared.faults
    return _verification(where, level, inventory, faults, subjects, looked, compared)


def located(
    cube: str | os.PathLike[str], options: StorageOptions | Mapping[str, Any] | None
) -> Location:
    """Where a cube is that is given by its path or URL."""
    said = from_environment("target") if options is None else options
    return locate(os.fspath(cube), said)


def _subjects(
    held: Holdings, level: str, sampling: Sampling, faults: Iterable[Fault]
) -> Iterator[Subject]:
    """Objects to look at, by key, without those that are known to be damaged."""
    if level == "list":
        return
    known = {fault.key for fault in faults}
    digests = {} if held.manifest is None else held.manifest.by_key
    keys = [
        key
        for key in held.sizes
        if key not in known and not key.endswith(ROOT) and (key in digests or held.locate(key))
    ]
    whole = {"index": set(), "full": set(keys)}.get(level)
    whole = sampling.of(keys) if whole is None else whole
    for key in keys:
        found = held.locate(key)
        layout, index = found or (None, ())
        document = held.arrays[layout.path] if layout and layout.path in held.can_decode else None
        digest = digests[key].sha256 if key in digests else None
        yield Subject(key, held.sizes[key], digest, layout, index, document, key in whole)


def _verification(
    cube: Location,
    level: str,
    inventory: Inventory,
    faults: Iterable[Fault],
    subjects: tuple[Subject, ...],
    looked: Iterable[Inspected],
    compared: Compared | None,
) -> Verification:
    held = inventory.holdings
    papers = sum(map(len, held.papers.values())) + inventory.manifest_bytes
    own = held.manifest
    objects = len(held.sizes) if own is None else len(own.objects) + 2
    whole = sum(subject.whole for subject in subjects) + len(held.papers) + (own is not None)
    return Verification(
        url=cube.url,
        level=level,
        faults=tuple(sorted(faults, key=lambda fault: (fault.key, fault.kind))),
        objects=objects,
        objects_read=whole,
        size_bytes=sum(held.sizes.values()) + inventory.manifest_bytes,
        bytes_read=papers + sum(one.bytes_read for one in looked),
        manifest=None if own is None else own.digest,
        notes=(*inventory.notes, *(compared.notes if compared else ())),
        compared=None if compared is None else {"units": compared.units, "of": compared.of},
    )
