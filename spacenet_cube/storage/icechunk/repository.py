"""Repositories: icechunk, which keeps every version of a cube, opened from a description.

A branch is moved in one conditional step, so readers see one whole version or another.
icechunk is an extra: it is imported when a repository is opened, and not before.  Credentials
are resolved by botocore's chain wherever a request is signed, so no pickle holds them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.exceptions import NoCredentialsError

from spacenet_cube.errors import MissingExtraError, StoreError
from spacenet_cube.storage.base.forks import ForkGuard
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.base.urls import bucket_and_key, refuse_odd_key
from spacenet_cube.storage.icechunk.version import MAIN, Version, as_time
from spacenet_cube.storage.s3.clients import addresses_by_path, resolved

if TYPE_CHECKING:
    import icechunk

_CREDENTIALS_LAST = timedelta(minutes=5)
GUARD = ForkGuard()
"""Of icechunk in this process."""
_LOG = "ICECHUNK_LOG"
_TOLD = {
    "parent-directory-not-clean": (
        "something that is no repository lies there; move it away, or name another target"
    ),
    "tag-already-exists": "a version has that name, and names stay; choose another",
    "tag-previously-deleted": "a version had that name, which is not used again; choose another",
}


@cache
def library() -> Any:  # noqa: ANN401 - a module
    """The icechunk package, quiet unless its own variable asks it to speak.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import icechunk  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "versioned cubes (icechunk+...) need icechunk, which is not installed; "
            "pip install 'spacenet-cube[icechunk]'"
        ) from error
    if _LOG not in os.environ:
        icechunk.set_logs_filter("error")
    return icechunk


class RepositoryError(OSError):
    """A fault of icechunk, told in one line, among the faults of storage."""


class SilentError(RepositoryError, ConnectionError):
    """Nothing answered."""


class MovedError(RepositoryError):
    """A branch is not where it was thought to be: another has moved it."""


@contextmanager
def faults_told() -> Iterator[None]:
    """Turn what icechunk raises into faults of storage.

    Raises
    ------
    FileNotFoundError
        If there is no repository.
    MovedError
        If a branch is not where it was thought to be.
    RepositoryError
        For anything else.
    """
    ice = library()
    try:
        yield
    except ice.RepositoryNotFoundError as error:
        message = "there is no repository"
        raise FileNotFoundError(message) from error
    except ice.ConflictError as error:
        raise MovedError(_first_line(error)) from error
    except ice.IcechunkError as error:
        kind = SilentError if "dispatch failure" in str(error) else RepositoryError
        raise kind(_TOLD.get(getattr(error, "kind", "")) or _first_line(error)) from error


def _first_line(error: BaseException) -> str:
    """What an error says, without where in icechunk it was met."""
    return " ".join(str(error).partition("\n\ncontext:")[0].split())


def credentials(profile: str | None) -> Any:  # noqa: ANN401 - icechunk is an extra
    """What icechunk asks for credentials: the usual chain, asked again every few minutes.

    It is pickled by its name and the profile's, wherever a store goes.

    Raises
    ------
    NoCredentialsError
        If the chain finds none.
    """
    found = botocore.session.Session(profile=profile).get_credentials()
    if found is None:
        raise NoCredentialsError
    frozen = found.get_frozen_credentials()
    until = datetime.now(UTC) + _CREDENTIALS_LAST
    return library().S3StaticCredentials(frozen.access_key, frozen.secret_key, frozen.token, until)


def _storage(place: str, options: StorageOptions) -> "icechunk.Storage":
    ice = library()
    if "://" not in place:
        return ice.local_filesystem_storage(place)  # type: ignore[no-any-return]
    bucket, prefix = bucket_and_key(place)
    refuse_odd_key(bucket, prefix)
    endpoint, region = resolved(options)
    signing: dict[str, Any] = (
        {"anonymous": True}
        if options.anonymous
        else {"get_credentials": partial(credentials, options.profile)}
    )
    return ice.s3_storage(  # type: ignore[no-any-return]
        bucket=bucket,
        prefix=prefix,
        region=region,
        endpoint_url=endpoint,
        allow_http=endpoint.startswith("http:"),
        force_path_style=addresses_by_path(options),
        requester_pays=options.requester_pays,
        network_stream_timeout_seconds=max(1, round(options.timeout_s)),
        **signing,
    )


def _config(options: StorageOptions) -> "icechunk.RepositoryConfig":
    ice = library()
    retries = ice.StorageRetriesSettings(max_tries=options.retries + 1)
    return ice.RepositoryConfig(  # type: ignore[no-any-return]
        storage=ice.StorageSettings(retries=retries)
    )


class Repository:
    """Every version of one cube.

    Parameters
    ----------
    place
        Absolute path or URL of its folder.
    options
        How it is reached.
    create
        Whether to make it where there is none; whoever does must be alone.

    Raises
    ------
    FileNotFoundError
        If there is none.
    RepositoryError
        If the store refuses or fails.
    StoreError
        If this process was forked from one that had a repository open.
    """

    def __init__(self, place: str, options: StorageOptions, *, create: bool = False) -> None:
        GUARD.use(place)
        self.place, ice = place, library()
        make: Callable[..., icechunk.Repository] = (
            ice.Repository.open_or_create if create else ice.Repository.open
        )
        with faults_told():
            self.inner = make(_storage(place, options), config=_config(options))

    def tip(self, branch: str = MAIN) -> str | None:
        """Snapshot that a branch is at; None where there is no such branch."""
        with faults_told():
            return self.inner.lookup_branch(branch) if branch in self._branches() else None

    def parent(self, snapshot: str) -> str | None:
        """Snapshot that another was made on."""
        with faults_told():
            return self.inner.lookup_snapshot(snapshot).parent_id

    def _branches(self) -> set[str]:
        return self.inner.list_branches()

    def snapshot(self, version: str | None) -> str:
        """The snapshot that a version names: a tag, a branch, a snapshot or a time.

        Parameters
        ----------
        version
            None for the newest.

        Returns
        -------
        str
            Name of a snapshot.

        Raises
        ------
        StoreError
            If it names none.
        RepositoryError
            If the store fails.
        """
        with faults_told():
            if version is None or version in self._branches():
                return self.inner.lookup_branch(version or MAIN)
            if version in self.inner.list_tags():
                return self.inner.lookup_tag(version)
            return self._snapshot_or_time(version)

    def _snapshot_or_time(self, version: str) -> str:
        ice, when = library(), as_time(version)
        try:
            if when is not None:
                return self.inner.readonly_session(MAIN, as_of=when).snapshot_id
            return self.inner.lookup_snapshot(version).id
        except (ice.NotFoundError, ice.InvalidInputError) as error:
            raise StoreError(
                f"{self.place} has no version {version!r}: it is neither a tag (there "
                f"{_listed(self.inner.list_tags())}), a branch, a snapshot nor a time at which "
                "there was one; 'spacenet-cube history' shows what there is"
            ) from error

    def history(self) -> tuple[Version, ...]:
        """Versions that `main` is or was at, newest first; and those that have a tag."""
        with faults_told():
            tags: dict[str, list[str]] = {}
            for name in sorted(self.inner.list_tags()):
                tags.setdefault(self.inner.lookup_tag(name), []).append(name)
            held = {each.id: each for each in self.inner.ancestry(branch=MAIN)}
            current = next(iter(held))
            for snapshot in (*tags, *self._left()):
                if snapshot not in held:
                    held[snapshot] = self.inner.lookup_snapshot(snapshot)
        found = [
            Version(
                id=each.id,
                time=each.written_at.astimezone(UTC).isoformat(timespec="seconds"),
                message=each.message,
                plan=_plan(each.metadata),
                tags=tuple(tags.get(each.id, ())),
                current=each.id == current,
            )
            for each in sorted(held.values(), key=lambda one: one.written_at, reverse=True)
            if each.parent_id is not None
        ]
        return tuple(found)

    def _left(self) -> Iterator[str]:
        """Snapshots that `main` was taken away from."""
        reset = library().UpdateType.BranchReset
        for update in self.inner.ops_log():
            if isinstance(update.kind, reset) and update.kind.name == MAIN:
                yield update.kind.previous_snap_id

    def tag(self, name: str, snapshot: str) -> None:
        """Give a snapshot a name that never changes."""
        with faults_told():
            self.inner.create_tag(name, snapshot)

    def move(self, snapshot: str, expected: str) -> None:
        """Let `main` be at a snapshot, if it is still where it is expected.

        Parameters
        ----------
        snapshot
            Where it shall be.
        expected
            Where it is.

        Raises
        ------
        MovedError
            If it is elsewhere.
        RepositoryError
            If the store fails.

        Notes
        -----
        An answer may get lost although the step was taken; reading back settles that.
        """
        try:
            with faults_told():
                self.inner.reset_branch(MAIN, snapshot, from_snapshot_id=expected)
        except RepositoryError:
            if self.tip() != snapshot:
                raise

    def begin(self, branch: str, snapshot: str) -> None:
        """Make a branch at a snapshot."""
        with faults_told():
            self.inner.create_branch(branch, snapshot)

    def branches(self, prefix: str) -> list[str]:
        """Branches whose names begin so, the one with the newest snapshot last."""

        def written_at(branch: str) -> datetime:
            return self.inner.lookup_snapshot(self.inner.lookup_branch(branch)).written_at

        with faults_told():
            found = [branch for branch in self._branches() if branch.startswith(prefix)]
            return sorted(found, key=written_at)

    def drop(self, prefix: str, *, but: str | None = None) -> None:
        """Remove every branch whose name begins so, but one; snapshots stay."""
        with faults_told():
            for branch in sorted(self._branches()):
                if branch.startswith(prefix) and branch != but:
                    self.inner.delete_branch(branch)


def _plan(metadata: dict[str, Any]) -> str | None:
    told = metadata.get("plan")
    return None if told is None else str(told)


def _listed(names: set[str]) -> str:
    return f"are {', '.join(sorted(names))}" if names else "are none"
