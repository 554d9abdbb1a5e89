"""The corpus: every file of the sample, in the layout the bucket first had."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.sample import papers
from spacenet_cube.sample.archive import write_archive
from spacenet_cube.sample.catalog import ALIASES, Delivery, check_tile_size, delivery, product_names
from spacenet_cube.sample.facts import AOIS
from spacenet_cube.sample.raster import replaced, write_cog, write_tile

DEFAULT_TILE_SIZE = 192
"""Edge of a full PAN tile in pixels; the real one has 16384."""

_LARGEST_POOL = 4


@dataclass(frozen=True, slots=True)
class _Job:
    """Files that are written together."""

    paths: tuple[Path, ...]
    """What is there afterwards."""

    run: Callable[[], None]
    """Writes them."""


def write_sample(
    root: str | os.PathLike[str],
    *,
    aois: Iterable[str] | None = None,
    products: Iterable[str] | None = None,
    tile_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, ...]:
    """Write the sample corpus; the same request gives the same bytes.

    Parameters
    ----------
    root
        Folder to write to; made if need be.  Files of the same name are replaced, one
        at a time and each at once.
    aois
        Such as ``["AOI_2_Vegas"]``; all five by default.
    products
        By their first names (``MUL``) or today's (``MS``); all by default.
    tile_size
        Edge of a full PAN tile in pixels, a multiple of 8.  MUL tiles have a quarter,
        pan-sharpened tiles half of it; the real size is 16384.
    progress
        Called in the calling thread with files written and files in all.

    Returns
    -------
    tuple[Path, ...]
        The files written, sorted.

    Raises
    ------
    RecipeError
        If an AOI or a product is unknown, if together they select nothing, or if
        ``tile_size`` is no positive multiple of 8.
    StoreError
        If a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_sample(folder, aois=["AOI_2_Vegas"], products=["MUL"], tile_size=8)
    >>> written[0].name, written[1].name
    ('055649178030_01_LAYOUT.JPG', '055649178030_01_README.TXT')
    """
    size = check_tile_size(DEFAULT_TILE_SIZE if tile_size is None else tile_size)
    folder = Path(root)
    chosen = [delivery(*names, tile_size=size) for names in _selected(aois, products)]
    jobs = [_text_job(folder / "LICENSE.md", papers.LICENSE.encode())]
    jobs += [job for item in chosen for job in _jobs(folder, item)]
    try:
        _run(jobs, progress)
    except OSError as error:
        raise StoreError(
            f"the sample cannot be written to {folder}: {error}; "
            "give a folder that can be written to, on a disk with room"
        ) from error
    return tuple(sorted(path for job in jobs for path in job.paths))


def _selected(aois: Iterable[str] | None, products: Iterable[str] | None) -> list[tuple[str, str]]:
    """List AOI and product, once each, in the catalog's order.

    Raises
    ------
    RecipeError
        If a name is unknown, or if nothing is selected.
    """
    every = {name for aoi in AOIS for name in product_names(aoi)}
    wanted_aois = _names(aois, AOIS)
    wanted = {ALIASES.get(name, name) for name in _names(products, every)}
    _check_names("AOI", wanted_aois, AOIS)
    _check_names("product", wanted, [*sorted(every), *ALIASES])
    pairs = [
        (aoi, product)
        for aoi in AOIS
        if aoi in wanted_aois
        for product in product_names(aoi)
        if product in wanted
    ]
    if not pairs:
        raise RecipeError(
            f"no AOI of {sorted(wanted_aois)} has a product of {sorted(wanted)}, so there is "
            "nothing to write; Rio has 3-Band and 8-Band, the others all the rest"
        )
    return pairs


def _names(given: Iterable[str] | None, every: Iterable[str]) -> set[str]:
    return {given} if isinstance(given, str) else set(every if given is None else given)


def _check_names(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are not known.

    Raises
    ------
    RecipeError
        If there is one.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise RecipeError(
            f"the sample has no {kind} {unknown[0]!r}; choose from {', '.join(known)}"
        )


def _jobs(root: Path, item: Delivery) -> Iterator[_Job]:
    folder = root / item.aoi / "srcData" / "rasterData"
    if not item.code:
        archive = folder / f"{item.product}.tar.gz"
        yield _Job((archive,), partial(_write_rio, archive, item))
        return
    folder /= item.product
    for kind, make in _PAPERS.items():
        yield _text_job(folder / f"{item.order}_01_{kind}", make(item))
    for tile in item.tiles:
        path, sibling = folder / f"{tile.name}.TIF", folder / f"{tile.name}_COG.TIF"
        first = tile is item.tiles[0]
        write = partial(write_tile, path, item, tile)
        if first or item.product == "RGB-PanSharpen":
            cog = partial(write_cog, sibling, path, item.tiles[0].width)
            yield _Job((path, sibling), partial(_both, write, cog))
        else:
            yield _Job((path,), write)


_PAPERS = {
    "LAYOUT.JPG": papers.layout_jpeg,
    "README.TXT": papers.readme_text,
    "README.XML": papers.readme_xml,
}


def _both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()


def _text_job(path: Path, content: bytes) -> _Job:
    return _Job((path,), partial(_write_bytes, path, content))


def _write_bytes(path: Path, content: bytes) -> None:
    with replaced(path) as part:
        part.write_bytes(content)


def _write_rio(path: Path, item: Delivery) -> None:
    # The real members are probably JPEG, whose bytes differ between encoders.
    with replaced(path) as part:
        members = (
            (f"{tile.name}.tif", partial(write_tile, delivery=item, tile=tile))
            for tile in item.tiles
        )
        write_archive(part, item.product, members)


def _run(jobs: list[_Job], progress: Callable[[int, int], None] | None) -> None:
    done, total = 0, sum(len(job.paths) for job in jobs)
    workers = min(_LARGEST_POOL, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        try:
            for future in as_completed(running := {pool.submit(j.run): j for j in jobs}):
                future.result()
                done += len(running[future].paths)
                if progress is not None:
                    progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
