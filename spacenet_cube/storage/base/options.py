"""Access: how a source or target is reached, as data and without a single secret.

Pure.  A recipe, the command line and the environment say it in the same words.  Credentials
are named by profile or left to the usual AWS chain, and resolved where they are used.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from spacenet_cube.errors import RecipeError

_SECRETS = ("key", "secret", "token", "password", "credential", "auth", "cookie")


class StorageOptions(BaseModel):
    """How a source or target is reached.  Holds no secret, so it may be stored and printed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    anonymous: bool = Field(
        default=False, description="Send requests unsigned, which is free and needs no account."
    )
    requester_pays: bool = Field(
        default=False, description="Accept that requests and bytes are billed to your account."
    )
    endpoint_url: str | None = Field(None, description="Address of an S3 server other than AWS.")
    region: str | None = Field(None, max_length=64, description="Region of the bucket.")
    profile: str | None = Field(
        None, max_length=128, description="Profile of the AWS configuration to sign with."
    )
    path_style: bool | None = Field(
        None, description="Bucket in the path, not the host name; default: where endpoint_url is."
    )
    concurrency: int = Field(8, ge=1, le=256, description="Requests in flight at once.")
    retries: int = Field(5, ge=0, le=100, description="Attempts after the first that failed.")
    timeout_s: float = Field(60, gt=0, le=3600, description="Longest wait for an answer, seconds.")
    read_twice: bool | None = Field(
        None,
        description=(
            "Read what no digest covers until two readings agree; default: over plain http, "
            "which has no check of its own."
        ),
    )

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_is_an_address(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://x")
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            message = "endpoint_url must be http://host or https://host, without credentials"
            raise ValueError(message)
        return url

    @model_validator(mode="after")
    def _payers_are_known(self) -> Self:
        if self.anonymous and self.requester_pays:
            message = "requester_pays needs signed requests: leave anonymous out"
            raise ValueError(message)
        return self

    @property
    def addresses_by_path(self) -> bool:
        """Whether the bucket stands in the path of a request."""
        return bool(self.endpoint_url) if self.path_style is None else self.path_style

    def over(self, above: "StorageOptions | Mapping[str, Any] | None") -> "StorageOptions":
        """These options, with what is said above them taking precedence.

        Whoever says ``requester_pays`` takes back an ``anonymous`` said below, because both
        cannot hold.

        Raises
        ------
        RecipeError
            If the options cannot stand, or are none of ours.

        Examples
        --------
        >>> below = StorageOptions(anonymous=True, region="us-east-1")
        >>> below.over({"requester_pays": True}).model_dump(exclude_unset=True)
        {'requester_pays': True, 'region': 'us-east-1'}
        """
        said = storage_options(above).model_dump(exclude_unset=True)
        kept = self.model_dump(exclude_unset=True)
        if said.get("requester_pays"):
            kept.pop("anonymous", None)
        if said.get("anonymous"):
            kept.pop("requester_pays", None)
        return storage_options(kept | said)

    def gdal_environment(self) -> dict[str, str]:
        """The same access as GDAL's configuration options, for a ``/vsis3/`` name.

        Returns
        -------
        dict of str to str
            What ``rasterio.Env`` takes.  The package itself never reads through GDAL's
            network layer, which passes short and damaged answers on.
        """
        found = {
            "AWS_NO_SIGN_REQUEST": "YES" if self.anonymous else "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE" if self.addresses_by_path else "TRUE",
            "GDAL_HTTP_MAX_RETRY": str(self.retries),
            "GDAL_HTTP_TIMEOUT": f"{self.timeout_s:g}",
        }
        if self.requester_pays:
            found["AWS_REQUEST_PAYER"] = "requester"
        if self.region:
            found["AWS_REGION"] = self.region
        if self.profile:
            found["AWS_PROFILE"] = self.profile
        if self.endpoint_url:
            parts = urlsplit(self.endpoint_url)
            found["AWS_S3_ENDPOINT"] = parts.netloc
            found["AWS_HTTPS"] = "YES" if parts.scheme == "https" else "NO"
        return found


def storage_options(said: StorageOptions | Mapping[str, Any] | None) -> StorageOptions:
    """Check options that somebody said.

    Parameters
    ----------
    said
        Options by name, or options already checked; None for the defaults.

    Returns
    -------
    StorageOptions
        Checked and frozen.

    Raises
    ------
    RecipeError
        If an option is a secret, unknown or wrong.  A value that may be a secret is not
        repeated.

    Examples
    --------
    >>> storage_options({"anonymous": "true"}).anonymous
    True
    """
    if isinstance(said, StorageOptions):
        return said
    for name in said or ():
        _refuse_stranger(str(name))
    try:
        return StorageOptions.model_validate(dict(said or {}))
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0]) if fault["loc"] else "storage"
        told = fault["msg"].removeprefix("Value error, ")
        raise RecipeError(f"storage option {name}: {told}; correct its value") from error


def _refuse_stranger(name: str) -> None:
    if name in StorageOptions.model_fields:
        return
    if any(word in name.lower() for word in _SECRETS):
        raise RecipeError(
            f"storage option {name!r} would carry a secret into plans and logs; name a profile "
            "(profile=...), or leave credentials to the AWS environment"
        )
    raise RecipeError(
        f"there is no storage option {name[:40]!r}; use one of "
        f"{', '.join(StorageOptions.model_fields)}"
    )


def _shown(name: str) -> str:
    """A name that is one of ours; whatever else stands there may be a secret."""
    return repr(name) if name in StorageOptions.model_fields else "of no name"


def options_of_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Read options written as ``name=value``, as the command line and environment have them.

    Raises
    ------
    RecipeError
        If one has no ``=``.

    Examples
    --------
    >>> options_of_pairs(["anonymous=true", "region=us-east-1"])
    {'anonymous': 'true', 'region': 'us-east-1'}
    """
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise RecipeError(
                f"storage option {_shown(name)} has no value; write it as name=value, such as "
                "anonymous=true"
            )
        found[name.strip()] = value.strip()
    return found
