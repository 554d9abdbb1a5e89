"""Clients of S3 from one description: s3fs to list, obstore for objects.

Both resolve credentials by botocore's chain when they are first used, and again where those
have expired, so none is ever held in a value of ours.  Neither tries again by itself:
`storage.base.retry` does, for both alike.
"""

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import NoCredentialsError
from obstore.store import S3Store

from spacenet_cube.storage.base.forks import ForkGuard
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.s3.pace import SLOWEST_BYTES_S

_CREDENTIALS_LAST = timedelta(minutes=5)
_FALLBACK_REGION = "us-east-1"
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_SMALL_BYTES = 1 << 20
_SHORTEST_S = 0.125
_GUARD = ForkGuard()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits for one answer."""

    silence_s: float
    """Longest time without a byte; for a PUT, until its answer."""

    whole_s: float
    """Longest time for the whole of it."""


def patience(
    timeout_s: float, size_bytes: int, *, writes: bool = False, bytes_s: int = SLOWEST_BYTES_S
) -> Patience:
    """How long to wait for a request that carries so many bytes.

    Parameters
    ----------
    timeout_s
        Longest wait where nothing moves.
    size_bytes
        Bytes of the larger of request and answer.
    writes
        Whether the bytes go up: then the client hears nothing until all are sent.
    bytes_s
        Bytes a second under which a connection counts as stalled.

    Returns
    -------
    Patience
        What bytes take is rounded up to a power of the root of two, so that few clients are
        needed.

    Examples
    --------
    >>> patience(60, 16 << 20)
    Patience(silence_s=60, whole_s=124.0)
    >>> patience(60, 100)
    Patience(silence_s=60, whole_s=60)
    >>> patience(60, 16 << 20, writes=True, bytes_s=16 << 20)
    Patience(silence_s=61.0, whole_s=61.0)
    """
    if size_bytes <= _SMALL_BYTES:
        return Patience(timeout_s, timeout_s)
    takes_s = max(size_bytes / bytes_s, _SHORTEST_S)
    whole_s = timeout_s + 2 ** (math.ceil(2 * math.log2(takes_s)) / 2)
    return Patience(whole_s if writes else timeout_s, whole_s)


def s3fs_arguments(options: StorageOptions) -> dict[str, Any]:
    """Keyword arguments of `s3fs.S3FileSystem`; none of them is a secret."""
    client: dict[str, Any] = {"region_name": options.region} if options.region else {}
    style = "path" if addresses_by_path(options) else "auto"
    found: dict[str, Any] = {
        "anon": options.anonymous,
        "requester_pays": options.requester_pays,
        "client_kwargs": client,
        "config_kwargs": {
            "s3": {"addressing_style": style},
            "connect_timeout": options.timeout_s,
            "read_timeout": options.timeout_s,
            "retries": {"max_attempts": options.retries, "mode": "standard"},
            "max_pool_connections": max(10, options.concurrency),
        },
    }
    if options.endpoint_url:
        found["endpoint_url"] = options.endpoint_url
    if options.profile:
        found["profile"] = options.profile
    return found


def trying_once(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an `s3fs.S3FileSystem` that leaves trying again to us."""
    once = {**arguments["config_kwargs"], "retries": {"total_max_attempts": 1, "mode": "standard"}}
    return {**arguments, "config_kwargs": once}


def addresses_by_path(options: StorageOptions) -> bool:
    """Whether the bucket stands in the path: as said, or wherever the server is not AWS."""
    elsewhere = any(os.environ.get(name) for name in _ENDPOINT_VARIABLES)
    return options.addresses_by_path or (elsewhere and options.path_style is None)


def client(
    bucket: str,
    options: StorageOptions,
    waits: Patience,
    *,
    inner_retries: int = 0,
    prefix: str = "",
) -> S3Store:
    """An obstore client of a bucket, one for all threads.

    Parameters
    ----------
    bucket
        Its name.
    options
        How it is reached.
    waits
        How long it waits for an answer.
    inner_retries
        Tries of its own, for uploads in parts, of which each is tried again by itself.
    prefix
        Put before every key.

    Returns
    -------
    S3Store
        With the newest credentials.

    Raises
    ------
    StoreError
        If the process was forked from one that had clients.
    """
    _GUARD.use(f"s3://{bucket}")
    generation = KEYRING.generation(options.profile)
    return _client(bucket, prefix, options, waits, inner_retries, generation)


@cache
def _client(
    bucket: str,
    prefix: str,
    options: StorageOptions,
    waits: Patience,
    inner_retries: int,
    generation: int,
) -> S3Store:
    """A client; a later generation of credentials has one of its own."""
    endpoint, region = resolved(options)
    by_path = addresses_by_path(options)
    wait = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2}
    settings: dict[str, Any] = {
        "region": region,
        "endpoint": endpoint if by_path else _with_bucket(endpoint, bucket),
        "virtual_hosted_style_request": not by_path,
        "request_payer": options.requester_pays,
        "skip_signature": options.anonymous,
        "client_options": {
            "allow_http": endpoint.startswith("http:"),
            "timeout": timedelta(seconds=waits.whole_s),
            "read_timeout": timedelta(seconds=waits.silence_s),
            "connect_timeout": timedelta(seconds=options.timeout_s),
        },
        "retry_config": {
            "max_retries": inner_retries,
            "backoff": wait,
            "retry_timeout": timedelta(seconds=waits.whole_s * (inner_retries + 1)),
        },
    }
    if not options.anonymous:
        settings["credential_provider"] = _provider(options.profile, generation)
    return S3Store(bucket, prefix=prefix or None, **settings)


def _with_bucket(endpoint: str, bucket: str) -> str:
    """The address of a bucket whose name is part of the host's."""
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{bucket}.{host}"


@cache
def resolved(options: StorageOptions) -> tuple[str, str]:
    """Endpoint and region as botocore finds them in options, profile and environment."""
    session = botocore.session.Session(profile=options.profile)
    region = options.region or session.get_config_variable("region") or _FALLBACK_REGION
    found = session.create_client(
        "s3",
        region_name=region,
        endpoint_url=options.endpoint_url,
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106 - nothing is sent
        config=Config(s3={"addressing_style": "path"}),
    )
    return str(found.meta.endpoint_url), str(region)


@cache
def _provider(profile: str | None, generation: int) -> Callable[[], Any]:
    """What obstore asks for credentials: the usual chain, asked again every few minutes."""
    # The chain reads files and starts programs when its session is made; a later
    # generation therefore has a session of its own.
    session = botocore.session.Session(profile=profile)
    lock = threading.Lock()

    def provide() -> dict[str, Any]:
        with lock:
            found = session.get_credentials()
            if found is None:
                raise NoCredentialsError
            frozen = found.get_frozen_credentials()
        KEYRING.given[profile, generation] = _print(frozen)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LAST,
        }

    return provide


class Keyring:
    """Which credentials are the newest, by profile; it keeps their prints and never themselves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations: dict[str | None, int] = {}
        self.given: dict[tuple[str | None, int], str] = {}
        """Print of what was last handed out, by profile and generation."""

    def generation(self, profile: str | None) -> int:
        """How often the credentials of a profile were replaced."""
        return self._generations.get(profile, 0)

    def renew(self, profile: str | None, refused: int) -> bool:
        """Ask the chain anew, after credentials were refused as expired.

        Parameters
        ----------
        profile
            Whose.
        refused
            Generation of those that were.

        Returns
        -------
        bool
            Whether there are others now, asked for here or by another thread.

        Raises
        ------
        BotoCoreError
            If the chain fails, or finds none any more.
        """
        with self._lock:
            held = self.generation(profile)
            if held == refused:
                _provider.cache_clear()
                _provider(profile, held + 1)()
                # Both clients begin anew, even with the same: one may hold older ones.
                self._generations[profile] = held = held + 1
            return self.given[profile, held] != self.given.get((profile, refused))


def _print(frozen: Any) -> str:  # noqa: ANN401 - botocore ships no types
    """A print of credentials by which others are told from them."""
    return sha256("\n".join(str(part) for part in frozen).encode()).hexdigest()


KEYRING = Keyring()
"""That of this process."""
