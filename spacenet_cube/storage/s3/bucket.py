"""S3: objects of a bucket, each request tried until it is answered.

Every path has its check.  A listing and a part of an object are read until readings agree, a
whole object is compared with its tag, and what was stored is compared with the tag
it got, where nothing else vouches for the bytes: over plain http (docs/design.md).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import fsspec
from obstore import delete, get, head, put
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import S3Store

from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.base.retry import Agree, persist, seen_before, settle
from spacenet_cube.storage.base.urls import is_safe_key, refuse_odd_key
from spacenet_cube.storage.s3 import verbatim
from spacenet_cube.storage.s3.clients import (
    KEYRING,
    client,
    patience,
    resolved,
    s3fs_arguments,
    trying_once,
)
from spacenet_cube.storage.s3.etags import PIECE_BYTES, proves, tag_of
from spacenet_cube.storage.s3.pace import Easing, Pace
from spacenet_cube.storage.s3.pages import Found, Page, agreed

_UPLOAD_PART_BYTES = 16 << 20
_UPLOADS_AT_ONCE = 4
_UNKNOWN_BYTES = 64 << 20
_TELLING_BYTES = 1 << 20
_DELETED_AT_ONCE = 1000

_Answer = tuple[Any, int, str | None]
"""Bytes, how many were promised, and the tag."""


@cache
def _pace_of(_bucket: str, _options: StorageOptions) -> Pace:
    """The pace of uploads to a bucket, one for all who write there."""
    return Pace()


class S3Bucket:
    """A bucket, read and written by obstore and listed by s3fs; threads may share one."""

    def __init__(self, name: str, options: StorageOptions) -> None:
        self.name, self.options = name, options

    def __eq__(self, other: object) -> bool:
        """Whether it is the same bucket, reached in the same way."""
        return isinstance(other, S3Bucket) and (self.name, self.options) == (
            other.name,
            other.options,
        )

    def __hash__(self) -> int:
        """Of bucket and way."""
        return hash((self.name, self.options))

    @cached_property
    def doubts(self) -> bool:
        """Whether bytes may change on the way unseen, so that they are compared."""
        said = self.options.read_twice
        return resolved(self.options)[0].startswith("http:") if said is None else said

    @property
    def _pace(self) -> Pace:
        return _pace_of(self.name, self.options)

    def _client(
        self,
        size_bytes: int,
        *,
        writes: bool = False,
        inner_retries: int = 0,
    ) -> S3Store:
        waits = patience(self.options.timeout_s, size_bytes, writes=writes)
        return client(self.name, self.options, waits, inner_retries=inner_retries)

    def persist[T](self, key: str, once: Callable[[], T]) -> T:
        """Try until it works; credentials that have expired are asked for anew."""
        options, used = self.options, [0]

        def noting() -> T:
            used[0] = KEYRING.generation(options.profile)
            return once()

        def renew() -> bool:
            return KEYRING.renew(options.profile, used[0])

        what = f"s3://{self.name}/{key}"
        return persist(noting, options.retries, what, None if options.anonymous else renew)

    def _settled[T](
        self, key: str, read: Callable[[], tuple[T, bool]], agree: Agree[T] = seen_before
    ) -> T:
        """Read until it is proven or agreed on, each reading tried until it works."""
        return settle(
            lambda: self.persist(key, read), self.options.retries, f"s3://{self.name}/{key}", agree
        )

    def read_range(self, key: str, start: int, size_bytes: int) -> tuple[Any, str | None]:
        """A part of an object, and the tag of the answer; it is checked by its length alone."""

        def once() -> tuple[Any, str | None]:
            content, _, tag = self._get(key, size_bytes, (start, start + size_bytes))
            return _whole(content, size_bytes, key), tag

        return self.persist(key, once)

    def read(self, key: str, byte_range: Any = None) -> Any:  # noqa: ANN401 - obstore's forms
        """An object, or a part of it whose chunks have check sums of their own.

        Raises
        ------
        FAULTS
            If it is not there, or cannot be read.
        """

        def once() -> tuple[Any, bool]:
            content, size_bytes, tag = self._get(key, _UNKNOWN_BYTES, byte_range)
            sure = byte_range is not None or not self.doubts
            return _whole(content, size_bytes, key), sure or proves(tag, content)

        return self._settled(key, once)

    def _get(self, key: str, likely_bytes: int, byte_range: Any = None) -> _Answer:  # noqa: ANN401 - obstore's forms
        """Bytes of one answer, how many it promised, and its tag."""
        if not is_safe_key(key):
            content, said = verbatim.read(self._s3fs(), self.name, key, byte_range)
            return content, int(said["ContentLength"]), _plain(said["ETag"])
        options = None if byte_range is None else {"range": byte_range}
        answer = get(self._client(likely_bytes), key, options=options)  # type: ignore[arg-type]
        start, stop = answer.range
        return answer.bytes(), stop - start, _tag(answer.meta)

    def size_and_etag(self, key: str) -> tuple[int, str | None]:
        """Size of an object in bytes, and its tag."""

        def once() -> tuple[int, str | None]:
            if not is_safe_key(key):
                said = verbatim.head(self._s3fs(), self.name, key)
                return int(said["ContentLength"]), _plain(said["ETag"])
            try:
                meta = head(self._client(0), key)
            except FileNotFoundError:
                raise
            except FAULTS:
                # An answer to HEAD has no body, so its reason is asked for by a GET.
                meta = get(self._client(0), key, options={"range": (0, 1)}).meta
            return int(meta["size"]), _tag(meta)

        return self.persist(key, once)

    def write(self, key: str, content: Any) -> str | None:  # noqa: ANN401 - whatever holds bytes
        """Store an object by one PUT, and make sure that it is what was sent; its tag."""
        refuse_odd_key(self.name, key)
        # A try is given up early, and the next has twice the time, should all be slow now.
        easing = Easing(self._pace)

        def once() -> str | None:
            waits = patience(
                self.options.timeout_s, len(content), writes=True, bytes_s=easing.bytes_s
            )
            up, begun = client(self.name, self.options, waits), time.monotonic()
            try:
                tag = _plain(put(up, key, content, use_multipart=False)["e_tag"])
            except FAULTS:
                if time.monotonic() - begun >= waits.whole_s:
                    easing.ran_out()
                raise
            if len(content) >= _TELLING_BYTES:
                self._pace.note(len(content), time.monotonic() - begun)
            if self.doubts and not proves(tag, content):
                self._compare(key, content)
            return tag

        return self.persist(key, once)

    def create(self, key: str, content: bytes) -> bool:
        """Store an object unless one is there; False where the store says that one is.

        That one may be ours all the same: an answer may get lost after the object was stored.
        """
        refuse_odd_key(self.name, key)

        def once() -> str | None:
            up = self._client(len(content), writes=True)
            return _plain(put(up, key, content, mode="create", use_multipart=False)["e_tag"])

        try:
            tag = self.persist(key, once)
        except AlreadyExistsError:
            return False
        if self.doubts and not proves(tag, content):
            self.write(key, content)
        return True

    def _compare(self, key: str, content: Any) -> None:  # noqa: ANN401 - whatever holds bytes
        """Read an object back: its tag is no digest, or other bytes were stored."""
        stored = self.read(key)
        if memoryview(stored) != memoryview(content):
            raise OSError(f"{key} was changed on its way to the store")

    def upload(self, key: str, file: Path) -> None:
        """Store a local file, in parts where it is large, and make sure that it is what was sent.

        Each part is tried again by itself.
        """
        refuse_odd_key(self.name, key)
        size_bytes = file.stat().st_size
        if size_bytes <= _UPLOAD_PART_BYTES:
            self.write(key, file.read_bytes())
            return

        def once() -> None:
            answer = put(
                self._client(
                    _UPLOAD_PART_BYTES * _UPLOADS_AT_ONCE,
                    writes=True,
                    inner_retries=self.options.retries,
                ),
                key,
                file,
                use_multipart=True,
                chunk_size=_UPLOAD_PART_BYTES,
                max_concurrency=_UPLOADS_AT_ONCE,
            )
            if self.doubts and _plain(answer["e_tag"]) != tag_of(_pieces(file), _UPLOAD_PART_BYTES):
                raise OSError(f"{key} was changed on its way to the store")

        self.persist(key, once)

    def delete(self, keys: list[str]) -> None:
        """Remove objects, those that are there, and nothing below them."""
        safe = [key for key in keys if is_safe_key(key)]
        for key in keys:
            if not is_safe_key(key):
                self.persist(key, lambda key=key: verbatim.delete(self._s3fs(), self.name, key))  # type: ignore[misc]
        for first in range(0, len(safe), _DELETED_AT_ONCE):
            some = safe[first : first + _DELETED_AT_ONCE]
            with suppress(FileNotFoundError, NotFoundError):
                self.persist(some[0], lambda some=some: delete(self._client(0, writes=True), some))  # type: ignore[misc]

    def remove_tree(self, key: str) -> None:
        """Remove an object and everything below it, and make sure that it is gone.

        Raises
        ------
        OSError
            If something stays there.
        """
        assert key, "a whole bucket is never removed"
        self.delete([key])
        for _ in range(self.options.retries + 1):
            left = list(self.find(key))
            if not left:
                return
            self.delete(left)
        if self.find(key):
            raise OSError(f"s3://{self.name}/{key} cannot be removed: objects stay below it")

    def exists(self, key: str) -> bool:
        """Whether there is an object of that name, or any below it."""
        if key:
            with suppress(FileNotFoundError):
                self.size_and_etag(key)
                return True
        page = self._page(_folder(key), {"MaxKeys": 1})
        return not key or bool(page.objects)

    def find(self, key: str, depth: int | None = None) -> Found:
        """Objects below a key.

        Parameters
        ----------
        key
            As of a folder; empty for the whole bucket.
        depth
            Folders to look into, 1 for the one that was named; None for all.

        Returns
        -------
        dict
            By key, which begins with the one that was given.
        """
        found: Found = {}
        waiting = [(_folder(key), 1)]
        while waiting:
            folder, level = waiting.pop()
            for page in self._pages(folder, by_folder=depth is not None):
                found |= page.objects
                if depth is not None and level < depth:
                    waiting += [(below, level + 1) for below in page.folders]
        return dict(sorted(found.items()))

    def _pages(self, folder: str, *, by_folder: bool) -> Iterator[Page]:
        asked: dict[str, Any] = {"Delimiter": "/"} if by_folder else {}
        following: Mapping[str, str] | None = {}
        while following is not None:
            page = self._page(folder, asked | dict(following))
            yield page
            following = page.following

    def _page(self, folder: str, asked: Mapping[str, Any]) -> Page:
        """One answer to a LIST."""

        def once() -> tuple[Page, bool]:
            page = self._page_once({"Bucket": self.name, "Prefix": folder, **asked})
            return page, not self.doubts

        return self._settled(folder, once, agreed)

    def _page_once(self, asked: dict[str, Any]) -> Page:
        try:
            # botocore too parses sizes and times, and raises what int() and the like raise.
            answer = self._s3fs().call_s3("list_objects_v2", **asked)
            rows = [row for row in answer.get("Contents", ()) if not row["Key"].endswith("/")]
            more = bool(answer.get("IsTruncated"))
            return Page(
                {row["Key"]: (int(row["Size"]), _plain(row["ETag"])) for row in rows},
                tuple(row["Prefix"] for row in answer.get("CommonPrefixes", ())),
                {"ContinuationToken": answer["NextContinuationToken"]} if more else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            where = f"s3://{self.name}/{asked['Prefix']}"
            raise OSError(f"the listing of {where} is garbled") from error

    def _s3fs(self) -> Any:  # noqa: ANN401 - s3fs ships no types
        """The filesystem to list by, with the newest credentials."""
        fs = fsspec.filesystem(
            "s3", use_listings_cache=False, **trying_once(s3fs_arguments(self.options))
        )
        fs.retries = 1
        newest = KEYRING.generation(self.options.profile)
        if getattr(fs, "generation", newest) != newest:
            fs.connect(refresh=True)
        fs.generation = newest
        return fs


def _folder(key: str) -> str:
    return f"{key}/" if key else ""


def _plain(tag: str | None) -> str | None:
    """A tag without its quotes."""
    return tag.strip('"') if tag else None


def _tag(meta: Any) -> str | None:  # noqa: ANN401 - obstore's mapping
    return _plain(meta.get("e_tag"))


def _whole(content: Any, size_bytes: int, key: str) -> Any:  # noqa: ANN401 - obstore's bytes
    """Bytes of an answer, all of them; a body with a false length would pass for the object."""
    if len(content) != size_bytes:
        raise OSError(f"{len(content):,} of {size_bytes:,} bytes of {key} arrived")
    return content


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(PIECE_BYTES):
            yield piece
