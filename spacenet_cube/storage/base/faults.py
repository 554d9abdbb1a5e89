"""Faults of storage, each told in one line: what was found, and the mend.

botocore, aiohttp, s3fs and obstore each raise families of their own, some outside
`OSError`; `FAULTS` names them all.  Nothing of a request but its address is repeated.
"""

import re
from collections.abc import Iterator

from aiohttp import ClientError as HttpError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotFoundError,
    NotModifiedError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from spacenet_cube.storage.base.options import StorageOptions
from spacenet_cube.storage.base.secrets import scrubbed

FAULTS = (OSError, BotoCoreError, ClientError, HttpError, BaseError, ResponseParserError)
"""What any access to storage may raise."""


class ChangedError(OSError):
    """The object is not the one that was surveyed; trying again is no use."""


class DiskError(OSError):
    """The local disk failed where remote bytes were to be kept; the message says where."""


# obstore passes on what S3 answered, icechunk what its SDK makes of that.
_CODE = re.compile(r"<Code>(\w+)</Code>|service error: (?:unhandled error \()?(\w+)[):]")
_EXPIRED = "the AWS session token has expired; sign in anew, or refresh the credentials"
_WRONG_KEY = "the AWS access key is not known there; correct the profile or the environment"
_ELSEWHERE = "the bucket is in another region; add region=... to the storage options"
_TOLD = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidAccessKeyId": _WRONG_KEY,
    "InvalidToken": _WRONG_KEY,
    "InvalidClientTokenId": _WRONG_KEY,
    "SignatureDoesNotMatch": (
        "the AWS secret key is wrong; correct the profile or the environment"
    ),
    "NoSuchBucket": "there is no such bucket; correct the URL, or endpoint_url",
    "RequestTimeTooSkewed": (
        "this machine's clock is wrong, so its signatures are refused; set the clock"
    ),
    "PermanentRedirect": _ELSEWHERE,
    "301": _ELSEWHERE,
    "307": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
}
_EXPIRY = {code for code, told in _TOLD.items() if told is _EXPIRED}
_REFUSED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "InvalidPayer"}
_DENIED = (PermissionError, PermissionDeniedError, UnauthenticatedError)
_ANSWERED = (
    AlreadyExistsError,
    InvalidPathError,
    NotModifiedError,
    NotSupportedError,
    PreconditionError,
    ChangedError,
    DiskError,
)
_LONGEST = 300
_NO_CREDENTIALS = (
    "no AWS credentials were found; name a profile (profile=...), set the AWS environment, or "
    "add anonymous=true where the bucket is public"
)


def explain(error: BaseException, options: StorageOptions) -> str:
    """Say what a fault of storage means and what mends it.

    Parameters
    ----------
    error
        One of `FAULTS`.
    options
        How the location was reached.

    Returns
    -------
    str
        One line: what was found, and the mend after a semicolon.

    Examples
    --------
    >>> explain(PermissionError("Access Denied"), StorageOptions(anonymous=True))
    'unsigned requests are refused (403); if the bucket is requester pays ...anonymous=false'
    """
    noted = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
    return noted + _explained(error, options)


def _explained(error: BaseException, options: StorageOptions) -> str:
    code = error_code(error)
    if isinstance(error, (ChangedError, DiskError)):
        return str(error)
    if code in _TOLD:
        return _TOLD[code]
    if "NoCredentialsError" in str(error):
        return _NO_CREDENTIALS
    if code in _REFUSED or isinstance(error, _DENIED):
        return _refusal(options)
    return _unanswered(error, options) or _as_raised(error)


def _refusal(options: StorageOptions) -> str:
    if options.anonymous:
        return (
            "unsigned requests are refused (403); if the bucket is requester pays and you accept "
            "the bill, add --requester-pays (requester_pays: true in the recipe); else sign with "
            "anonymous=false"
        )
    if options.requester_pays:
        return (
            "access is denied (403) although requester_pays is set; ask the owner for the right, "
            "or sign with another profile"
        )
    return (
        "access is denied (403); if the bucket is requester pays and you accept the bill, add "
        "--requester-pays (requester_pays: true in the recipe); else ask for the right, or sign "
        "with another profile"
    )


def _unanswered(error: BaseException, options: StorageOptions) -> str | None:
    """What is wrong where no server has answered; None where one has, or it is a local fault."""
    where = options.endpoint_url or "AWS"
    silent = f"nothing answers at {where}; correct endpoint_url, or check the network"
    kinds: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (ProfileNotFound, f"there is no AWS profile {options.profile!r}; correct profile=..."),
        ((NoCredentialsError, PartialCredentialsError), _NO_CREDENTIALS),
        (
            CredentialRetrievalError,
            "the AWS credentials cannot be fetched; check the profile's provider",
        ),
        ((EndpointConnectionError, HTTPClientError, HttpError, ConnectionError), silent),
        (TimeoutError, f"no answer from {where} in time; try again, or raise timeout_s"),
    )
    for each in _chain(error):
        for kind, told in kinds:
            if isinstance(each, kind):
                return told
    if not (isinstance(error, BaseError) and "HTTP error" in str(error)):
        return None
    return kinds[-1][1] if "TimedOut" in str(error) else silent


def _as_raised(error: BaseException) -> str:
    if any(isinstance(each, ClientError) for each in _chain(error)):
        # The words are the server's, which may repeat what it was sent.
        return f"the server answered {error_code(error)}; see its documentation, or ask its owner"
    plain = scrubbed(str(error).partition("Debug source")[0])
    said = " ".join(plain.split()) or type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def error_code(error: BaseException) -> str | None:
    """S3's own code of an error, such as ``NoSuchBucket``, if the server said one."""
    for each in _chain(error):
        if isinstance(each, ClientError):
            return str(each.response.get("Error", {}).get("Code"))
        found = _CODE.search(str(each)) if isinstance(each, (BaseError, OSError)) else None
        if found:
            return found[1] or found[2]
    return None


def is_expired(error: BaseException) -> bool:
    """Whether credentials have expired, so that others may be let in."""
    return error_code(error) in _EXPIRY


def is_final(error: BaseException) -> bool:
    """Whether trying again is no use: refused, not there, or not what was asked for.

    Examples
    --------
    >>> is_final(PermissionError("403")), is_final(ConnectionResetError())
    (True, False)
    """
    code = error_code(error)
    kinds = (*_DENIED, FileNotFoundError, NotFoundError, NoCredentialsError, ProfileNotFound)
    return code in _TOLD or code in _REFUSED or isinstance(error, (*kinds, *_ANSWERED))


def is_absence(error: BaseException) -> bool:
    """Whether an object is not there, in a bucket that is.

    Examples
    --------
    >>> is_absence(FileNotFoundError("x")), is_absence(PermissionError("x"))
    (True, False)
    """
    missing = isinstance(error, (FileNotFoundError, NotFoundError))
    return missing and error_code(error) != "NoSuchBucket"
