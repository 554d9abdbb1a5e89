"""URLs taken apart by plain string operations.

Pure.  A key of S3 may hold any character: ``#``, ``?`` and ``%`` are parts of its name, and no
URL parser may cut it there.  Only the web has escapes: its names are percent-encoded
(RFC 3986, https://www.rfc-editor.org/rfc/rfc3986#section-2.1).
"""

import re
from html import unescape
from urllib.parse import quote, unquote

from spacenet_cube.errors import StoreError

LOCAL = {"", "file", "local"}
"""Schemes of the local disk."""

S3 = {"s3", "s3a"}
"""Schemes of S3."""

WEB = {"http", "https"}
"""Schemes of the web."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[A-Za-z0-9._-]+")
_SIGNED = re.compile(r"[?&](x-amz-|x-goog-|awsaccesskeyid=|signature=|sig=)", re.IGNORECASE)
_PATH_SAFE = "/-._~!$&'()*+,;=:@"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FIRST_PRINTABLE, _DELETE = 0x20, 0x7F


def scheme_of(text: str) -> str:
    """Scheme of a URL in lower case; empty for a local path.

    Examples
    --------
    >>> scheme_of("S3://bucket/a#b"), scheme_of("/data/a#b")
    ('s3', '')
    """
    found = _SCHEME.match(text)
    return found[1].lower() if found else ""


def bucket_and_key(url: str) -> tuple[str, str]:
    """Bucket of an S3 URL, and everything after the slash that follows it.

    Examples
    --------
    >>> bucket_and_key("s3://bucket/cubes#v2/what?%20.tif")
    ('bucket', 'cubes#v2/what?%20.tif')
    >>> bucket_and_key("s3://bucket//a//b")
    ('bucket', '/a//b')
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key


def s3_url(text: str) -> str:
    """Check the URL of a bucket or of a key, and take one trailing slash off.

    Parameters
    ----------
    text
        As it was typed.

    Returns
    -------
    str
        Everything else is as it was.

    Raises
    ------
    StoreError
        If it names no bucket, holds credentials or a signature, or its key is only slashes.

    Examples
    --------
    >>> s3_url("s3://bucket/cubes#v2/")
    's3://bucket/cubes#v2'
    """
    bucket, key = bucket_and_key(text)
    if "@" in bucket or ":" in bucket:
        raise StoreError(
            "an S3 URL carries credentials before its bucket, which would end in metadata and "
            "logs; take them out and use the AWS profile or environment"
        )
    if not _BUCKET.fullmatch(bucket):
        raise StoreError(
            f"{text!r} names no bucket: {bucket!r} is not a bucket's name, which has letters, "
            "digits, dots and dashes; write s3://bucket/prefix"
        )
    if _SIGNED.search(key):
        raise StoreError(
            f"the URL for s3://{bucket} carries a query that holds a signature, which would end "
            "in metadata and logs; name the folder or bucket itself, and use the AWS profile or "
            "environment"
        )
    if key and not key.strip("/"):
        raise StoreError(f"{text!r} has only slashes after its bucket; write s3://{bucket}/prefix")
    return text.removesuffix("/")


def is_safe_key(key: str) -> bool:
    """Whether obstore sends a key as it is.

    It strips slashes at the ends, and refuses empty parts, ``.``, ``..`` and control characters
    (object_store's ``Path``, https://docs.rs/object_store/latest/object_store/path/).

    Examples
    --------
    >>> [is_safe_key(key) for key in ("a#b/c?d%20", "a//b", "/a", "a/../b")]
    [True, False, False, False]
    """
    parts = key.split("/")
    controls = any(ord(sign) < _FIRST_PRINTABLE or ord(sign) == _DELETE for sign in key)
    return not key or not (controls or {"", ".", ".."} & set(parts))


def refuse_odd_key(bucket: str, key: str) -> None:
    """Refuse to write to a key that would be changed on its way, or that readers refuse.

    Raises
    ------
    StoreError
        If the key has an empty part, ``.``, ``..``, a slash at an end, or a control character.
    """
    if not is_safe_key(key):
        raise StoreError(
            f"nothing is written to s3://{bucket}/{key!r}: its key has an empty part ('//'), a "
            "part '.' or '..', a slash at an end, or a control character, which Zarr readers "
            "refuse or change; give another target"
        )


def web_url(text: str) -> str:
    """Percent-encode what a URL of the web may not hold; escapes that are there stay.

    Parameters
    ----------
    text
        As it was typed, without query and fragment.

    Examples
    --------
    >>> web_url("https://host/my folder/50%/a%20b/")
    'https://host/my%20folder/50%25/a%20b/'
    """
    scheme, _, rest = _STRAY_PERCENT.sub("%25", text).partition("://")
    host, sign, path = rest.partition("/")
    return f"{scheme}://{host}{sign}{quote(path, safe=_PATH_SAFE + '%')}"


def without_end(text: str) -> str:
    """A URL without slashes at its end.

    Examples
    --------
    >>> without_end("memory://a//"), without_end("memory://")
    ('memory://a', 'memory://')
    """
    scheme, sign, rest = text.partition("://")
    return f"{scheme}{sign}{rest.rstrip('/')}"


def web_part(name: str) -> str:
    """A file's name, percent-encoded for the path of a URL.

    Examples
    --------
    >>> web_part("a b#1/50%.tif")
    'a%20b%231/50%25.tif'
    """
    return quote(name, safe=_PATH_SAFE)


def web_name(link: str) -> str | None:
    """The name that a link of a web server's listing is of; None for one that sorts or jumps.

    Examples
    --------
    >>> web_name("a%20b%231.tif"), web_name("a&amp;b.tif"), web_name("?C=N;O=D")
    ('a b#1.tif', 'a&b.tif', None)
    """
    plain = unescape(link)
    return None if {"?", "#"} & set(plain) else unquote(plain)
