"""ETags: what a store's tag proves of the bytes it stands for.

Pure.  S3 tags an object stored by one PUT with the MD5 of its bytes, and one uploaded in
parts with the MD5 of the parts' MD5s and their number, ``...-N``.  Objects that the server
encrypts with keys of its own (KMS) have tags that look alike and are no digest, so a tag can
prove bytes right and never wrong.
"""

import re
from collections.abc import Iterable
from hashlib import md5
from typing import Any

_DIGEST = re.compile(r"[0-9a-f]{32}")
_PARTED = re.compile(r"[0-9a-f]{32}-(\d{1,5})")
_MIB = 1 << 20
_USUAL_PARTS_MIB = (8, 16, 64, 5, 10, 15, 25, 32, 50, 100, 128, 256, 512, 1024)
"""Part sizes of aws-cli and boto3 (8), s3fs (50), obstore (5), Hadoop (64, 128) and others."""

PIECE_BYTES = _MIB
"""Pieces to digest are this long, the last one apart, so that parts end where pieces do."""


def part_sizes(etag: str | None, size_bytes: int) -> tuple[int, ...]:
    """Sizes of the parts that an object may have been uploaded in, the likeliest first.

    Parameters
    ----------
    etag
        The store's tag, without quotes.
    size_bytes
        Size of the object.

    Returns
    -------
    tuple of int
        0 stands for one PUT.  Empty where the tag can prove nothing: it is no digest, or no
        usual size of part gives that many parts.

    Examples
    --------
    >>> part_sizes("9b2cf535f27731c974343645a3985328", 20 << 20)
    (0,)
    >>> part_sizes("9b2cf535f27731c974343645a3985328-3", 20 << 20)
    (8388608,)
    >>> part_sizes("W/whatever", 20 << 20)
    ()
    """
    if etag is None:
        return ()
    if _DIGEST.fullmatch(etag):
        return (0,)
    found = _PARTED.fullmatch(etag)
    count = int(found[1]) if found else 0
    sizes = (size * _MIB for size in _USUAL_PARTS_MIB)
    return tuple(size for size in sizes if count and _parts(size_bytes, size) == count)


def _parts(size_bytes: int, part_bytes: int) -> int:
    return max(1, -(-size_bytes // part_bytes))


def tag_of(pieces: Iterable[Any], part_bytes: int) -> str:
    """The tag that S3 gives to bytes.

    Parameters
    ----------
    pieces
        The bytes in order, in pieces of `PIECE_BYTES`; the last may be shorter.
    part_bytes
        Size of a part, a multiple of `PIECE_BYTES`; 0 for one PUT.

    Returns
    -------
    str
        Without quotes.

    Examples
    --------
    >>> tag_of([b"abc"], 0)
    '900150983cd24fb0d6963f7d28e17f72'
    >>> tag_of([b"abc"], 8 << 20)
    'af5da9f45af7a300e3aded972f8ff687-1'
    """
    whole, parts, held = md5(usedforsecurity=False), [], 0
    for piece in pieces:
        whole.update(piece)
        held += len(piece)
        if part_bytes and held >= part_bytes:
            parts.append(whole.digest())
            whole, held = md5(usedforsecurity=False), 0
    if not part_bytes:
        return whole.hexdigest()
    if held or not parts:
        parts.append(whole.digest())
    return f"{md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


def proves(etag: str | None, content: Any) -> bool:  # noqa: ANN401 - whatever holds bytes
    """Whether a tag proves that bytes are those that were stored by one PUT.

    Examples
    --------
    >>> proves("900150983cd24fb0d6963f7d28e17f72", b"abc"), proves("x", b"abc")
    (True, False)
    """
    return bool(etag and _DIGEST.fullmatch(etag)) and tag_of([content], 0) == etag
