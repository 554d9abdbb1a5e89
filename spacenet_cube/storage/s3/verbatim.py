"""Objects of S3 whose keys obstore would change: botocore sends a key as it is.

Sources may have such keys (``a//b``, ``/a``, ``a/../b``); cubes never do.
"""

from typing import Any

from fsspec.asyn import sync

from spacenet_cube.compat import requests_of


def read(fs: Any, bucket: str, key: str, span: tuple[int, int] | None) -> tuple[bytes, Any]:  # noqa: ANN401 - s3fs ships no types
    """Read an object or a part of it.

    Parameters
    ----------
    fs
        The s3fs filesystem.
    bucket, key
        The object.
    span
        First byte, and the one after the last; None for all.

    Returns
    -------
    content : bytes
        What arrived.
    answer : mapping
        botocore's, with ``ContentLength`` in bytes and ``ETag``.

    Raises
    ------
    FAULTS
        If it is not there, or cannot be read.
    """
    asked = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}

    async def once() -> tuple[bytes, Any]:
        answer = await requests_of(fs)("get_object", Bucket=bucket, Key=key, **asked)
        async with answer["Body"] as body:
            return await body.read(), answer

    return sync(fs.loop, once)  # type: ignore[no-any-return]


def head(fs: Any, bucket: str, key: str) -> Any:  # noqa: ANN401 - s3fs ships no types
    """Ask for the size and tag of an object: botocore's ``ContentLength`` and ``ETag``."""
    return fs.call_s3("head_object", Bucket=bucket, Key=key)


def delete(fs: Any, bucket: str, key: str) -> None:  # noqa: ANN401 - s3fs ships no types
    """Remove one object, if it is there."""
    fs.call_s3("delete_object", Bucket=bucket, Key=key)
