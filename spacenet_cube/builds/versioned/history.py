"""Revisions: the versions of a cube that icechunk keeps, named, and gone back to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacenet_cube.builds.state.lock import hold
from spacenet_cube.builds.state.publish import read_root
from spacenet_cube.errors import RecipeError, StoreError
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.icechunk.repository import MovedError, Repository
from spacenet_cube.storage.icechunk.version import Version
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import from_environment, locate

if TYPE_CHECKING:
    from rich.console import RenderableType

type Options = StorageOptions | Mapping[str, Any] | None


def history(cube: str | Path, *, target_options: Options = None) -> tuple[Version, ...]:
    """Tell which versions a cube has.

    Parameters
    ----------
    cube
        URL of a versioned cube, such as ``icechunk+s3://bucket/cubes/AOI/MUL.icechunk``.
    target_options
        How it is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.

    Returns
    -------
    tuple of Version
        Newest first; those that readers were taken back from, too.

    Raises
    ------
    RecipeError
        If it is no versioned cube.
    StoreError
        If there is none, or the store refuses or fails.
    """
    with _opened(cube, target_options) as (_, repository):
        return repository.history()


def tag(
    cube: str | Path, name: str, version: str | None = None, *, target_options: Options = None
) -> Version:
    """Give a version a name, for good.

    Parameters
    ----------
    cube
        URL of a versioned cube.
    name
        A name that no version has or had.
    version
        Tag, branch, snapshot or time; by default the newest.
    target_options
        How it is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.

    Returns
    -------
    Version
        The one that has the name now.

    Raises
    ------
    RecipeError
        If it is no versioned cube.
    StoreError
        If there is no such version, the name is taken, or the store refuses or fails.
    """
    with _opened(cube, target_options) as (where, repository):
        snapshot = _published(where, repository.snapshot(version))
        repository.tag(name, snapshot)
        return _known(repository, snapshot)


def rollback(cube: str | Path, version: str, *, target_options: Options = None) -> Version:
    """Let readers see an earlier version, or a later one again.

    Nothing is deleted: what was seen until now stays in the history, and can be gone back to.

    Parameters
    ----------
    cube
        URL of a versioned cube.
    version
        Tag, branch, snapshot or time.
    target_options
        How it is reached; they go before ``SPACENET_CUBE_TARGET_OPTIONS``.

    Returns
    -------
    Version
        The one that readers see now.

    Raises
    ------
    RecipeError
        If it is no versioned cube.
    StoreError
        If there is no such version, someone builds or published meanwhile, or the store
        refuses or fails.
    """
    with _opened(cube, target_options) as (where, repository), hold(where) as lock:
        expected = repository.snapshot(None)
        snapshot = _published(where, repository.snapshot(version))
        lock.cube.check()
        repository.move(snapshot, expected)
        return _known(repository, snapshot)


@contextmanager
def _opened(cube: str | Path, options: Options) -> Iterator[tuple[Location, Repository]]:
    where = locate(cube, from_environment("target").over(options))
    if where.address is None or not where.address.is_repository:
        raise RecipeError(
            f"{where.url} is no versioned cube, so it has no versions; give an address such as "
            "icechunk+s3://bucket/cubes/AOI_2_Vegas/MUL.icechunk"
        )
    try:
        yield where, Repository(where.plain.url, where.options)
    except FileNotFoundError as error:
        raise StoreError(
            f"there is no repository at {where.plain.url}; check the address, or build it with "
            "'spacenet-cube build ... --to icechunk+...'"
        ) from error
    except MovedError as error:
        raise StoreError(
            f"another version of {where.url} was published meanwhile, so nothing was done; look "
            "at 'spacenet-cube history', then run the same command again"
        ) from error
    except FAULTS as error:
        raise StoreError(f"{where.url}: {where.told(error)}; nothing was done") from error


def _published(where: Location, snapshot: str) -> str:
    """A snapshot, if it holds a cube."""
    if read_root(where.at(snapshot)) is None:
        raise StoreError(
            f"snapshot {snapshot} of {where.url} holds no cube; 'spacenet-cube history' shows "
            "those that do"
        )
    return snapshot


def _known(repository: Repository, snapshot: str) -> Version:
    return next(version for version in repository.history() if version.id == snapshot)


def history_table(url: str, versions: tuple[Version, ...]) -> "RenderableType":
    """Lay versions out as a table for a terminal.

    Parameters
    ----------
    url
        Where the cube is.
    versions
        As `history` gives them.

    Returns
    -------
    rich.console.RenderableType
        What ``rich.print`` takes.
    """
    from rich.table import Table  # noqa: PLC0415 - not wanted where JSON is

    table = Table(title=url, title_justify="left")
    for name in ("", "snapshot", "written", "message", "tags"):
        table.add_column(name, no_wrap=name in {"snapshot", "written"})
    for each in versions:
        mark = "*" if each.current else ""
        table.add_row(mark, each.id, each.time, each.message, ", ".join(each.tags))
    return table
