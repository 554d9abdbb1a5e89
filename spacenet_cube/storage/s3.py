"""S3 by two clients from one description: s3fs to list and look, obstore for the bulk.

obstore moves ranges and shards about twice as fast as s3fs (DESIGN.md, Storage).  Both
resolve credentials by botocore's chain when they are first used, so none is ever held in
a value of ours.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import NoCredentialsError
from obstore import delete, get, put, put_async
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import S3Store
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import ObjectStore

from spacenet_cube.core.access import StorageOptions
from spacenet_cube.errors import StoreError

if TYPE_CHECKING:
    from obstore import PutResult

_CREDENTIALS_LAST = timedelta(minutes=5)
_WHOLE_BYTES = 256 << 20
_FALLBACK_REGION = "us-east-1"
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_FORKED = [False]


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


def addresses_by_path(options: StorageOptions) -> bool:
    """Whether the bucket stands in the path: as said, or wherever the server is not AWS."""
    elsewhere = any(os.environ.get(name) for name in _ENDPOINT_VARIABLES)
    return options.addresses_by_path or (elsewhere and options.path_style is None)


class S3Bucket:
    """A bucket read and written by obstore."""

    def __init__(self, name: str, options: StorageOptions) -> None:
        self._name, self._options = name, options

    def store(self, prefix: str) -> "WholeObjectStore":
        """A Zarr store below a prefix, to write to."""
        return WholeObjectStore(_client(self._name, prefix, self._options))

    def read(self, key: str, start: int, size_bytes: int) -> tuple[bytes, str | None]:
        """Bytes of an object and its tag, in one request; how many arrived is not checked."""
        client = _client(self._name, "", self._options)
        answer = client.get(key, options={"range": (start, start + size_bytes)})
        tag = answer.meta.get("e_tag")
        return answer.bytes(), tag.strip('"') if tag else None  # type: ignore[return-value]

    def create(self, key: str, content: bytes) -> bool:
        """Store an object unless one is there; False where the store says that one is."""
        client = _client(self._name, "", self._options)
        try:
            put(client, key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True


class WholeObjectStore(ObjectStore[S3Store]):
    """A Zarr store that writes a shard in one request, where obstore alone would make seven.

    It reads and writes synchronously too, as zarr's local store does, so that zarr encodes a
    shard the same way, byte for byte, wherever it goes.
    """

    @cached_property
    def tags(self) -> dict[str, str]:
        """Tags that the server answered with, by key."""
        return {}

    def _note(self, key: str, answer: "PutResult") -> None:
        if answer["e_tag"]:
            self.tags[key] = answer["e_tag"].strip('"')

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        self._check_writable()
        content, in_parts = value.as_buffer_like(), _in_parts(value)
        self._note(key, await put_async(self.store, key, content, use_multipart=in_parts))

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write an object."""
        self._check_writable()
        content, in_parts = value.as_buffer_like(), _in_parts(value)
        self._note(key, put(self.store, key, content, use_multipart=in_parts))

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read an object or a part of it; None where there is none."""
        try:
            answer = get(self.store, key, options=_asked(byte_range))
            content = answer.bytes()
        except (FileNotFoundError, NotFoundError):
            return None
        start, stop = answer.range
        if len(content) != stop - start:
            raise OSError(f"{len(content):,} of {stop - start:,} bytes of {key} arrived")
        return (prototype or default_buffer_prototype()).buffer.from_bytes(memoryview(content))

    def delete_sync(self, key: str) -> None:
        """Remove an object, if it is there."""
        self._check_writable()
        with suppress(FileNotFoundError, NotFoundError):
            delete(self.store, key)


def _in_parts(value: Buffer) -> bool | None:
    """Whether an object is large enough to be written in parts, as obstore decides."""
    return False if len(value) <= _WHOLE_BYTES else None


def _asked(byte_range: ByteRequest | None) -> Any:  # noqa: ANN401 - obstore has a form for each
    """A range as obstore takes it; None for the whole."""
    match byte_range:
        case RangeByteRequest():
            return {"range": (byte_range.start, byte_range.end)}
        case OffsetByteRequest():
            return {"range": {"offset": byte_range.offset}}
        case SuffixByteRequest():
            return {"range": {"suffix": byte_range.suffix}}
    return None


def _client(bucket: str, prefix: str, options: StorageOptions) -> S3Store:
    if _FORKED[0]:
        raise StoreError(
            f"this process was forked from one that had s3://{bucket} open, and would hang; start "
            "workers by 'spawn' or 'forkserver', or use threads"
        )
    return _store(bucket, prefix, options)


@cache
def _store(bucket: str, prefix: str, options: StorageOptions) -> S3Store:
    """One client for all threads."""
    session = botocore.session.Session(profile=options.profile)
    (endpoint, region), by_path = resolved(session, options), addresses_by_path(options)
    wait = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2}
    settings: dict[str, Any] = {
        "region": region,
        "endpoint": endpoint if by_path else _with_bucket(endpoint, bucket),
        "virtual_hosted_style_request": not by_path,
        "request_payer": options.requester_pays,
        "skip_signature": options.anonymous,
        "client_options": {
            "allow_http": endpoint.startswith("http:"),
            "timeout": timedelta(seconds=options.timeout_s * 10),
            "connect_timeout": timedelta(seconds=options.timeout_s),
        },
        "retry_config": {
            "max_retries": options.retries,
            "backoff": wait,
            "retry_timeout": timedelta(seconds=options.timeout_s * (options.retries + 1)),
        },
    }
    if not options.anonymous:
        settings["credential_provider"] = _credentials(session)
    return S3Store(bucket, prefix=prefix or None, **settings)


def _with_bucket(endpoint: str, bucket: str) -> str:
    """The address of a bucket whose name is part of the host's."""
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{bucket}.{host}"


def resolved(session: Any, options: StorageOptions) -> tuple[str, str]:  # noqa: ANN401
    """Endpoint and region as botocore finds them in options, profile and environment."""
    region = options.region or session.get_config_variable("region") or _FALLBACK_REGION
    client = session.create_client(
        "s3",
        region_name=region,
        endpoint_url=options.endpoint_url,
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106 - nothing is sent
        config=Config(s3={"addressing_style": "path"}),
    )
    return str(client.meta.endpoint_url), str(region)


def _credentials(session: Any) -> Callable[[], Any]:  # noqa: ANN401 - botocore ships no types
    """What obstore asks for credentials: the usual chain, asked again every few minutes."""

    def provide() -> dict[str, Any]:
        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LAST,
        }

    return provide


def _note_fork() -> None:
    _FORKED[0] = bool(_store.cache_info().currsize)


os.register_at_fork(after_in_child=_note_fork)
