"""Secrets: options of a filesystem that may hold one, kept out of pickles and of words.

A reader may be given ``key``, ``secret`` or ``token`` outright.  They stay in this process:
what is pickled is the rest, and a number under which the same process finds them again.
Elsewhere, on a Dask worker say, credentials are resolved by the usual AWS chain.
"""

import re
from collections.abc import Mapping
from itertools import count
from os import getpid
from typing import Any

_SECRETS = re.compile(
    r"key|secret|token|password|passwd|credential|auth|cookie|header|session|sas|account|user",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"(?i)((?:x-amz-(?:signature|credential|security-token)|awsaccesskeyid|signature|sig|"
    r"(?:session_?)?token|secret\w*|password)[\"']?\s*[=:]\s*[\"']?)[^\s&\"'<>,;)]+"
)
_BODY = re.compile(r"<\?xml.*|<Error>.*", re.DOTALL)
_HELD: dict[tuple[int, int], Mapping[str, Any]] = {}
_NUMBERS = count()


def public(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that may be secrets, at any depth.

    Examples
    --------
    >>> public({"key": "AKIA", "anon": False, "client_kwargs": {"aws_secret_access_key": "x"}})
    {'anon': False, 'client_kwargs': {}}
    """
    return {
        name: public(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if not _SECRETS.search(str(name))
    }


def sealed(options: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, tuple[int, int]]:
    """What may be pickled of options, and where this process keeps the rest.

    Parameters
    ----------
    options
        Keyword arguments of a filesystem.

    Returns
    -------
    tuple
        For `unsealed`.
    """
    if options is None:
        return None, (0, 0)
    ticket = next((mine for mine, held in _HELD.items() if held is options), None)
    if ticket is None:
        ticket = (getpid(), next(_NUMBERS))
        _HELD[ticket] = options
    return public(options), ticket


def unsealed(
    options: Mapping[str, Any] | None, ticket: tuple[int, int]
) -> Mapping[str, Any] | None:
    """The options again: all of them in the process that sealed them, the public ones elsewhere."""
    return _HELD.get(ticket, options) if ticket[0] == getpid() else options


def scrubbed(said: str) -> str:
    """What an error says, without a server's own words and what follows names of secrets.

    Examples
    --------
    >>> scrubbed("GET /a?X-Amz-Signature=abc&b=1 failed: <?xml ...><Error>token</Error>")
    'GET /a?X-Amz-Signature=...&b=1 failed: '
    """
    return _SAID.sub(r"\1...", _BODY.sub("", said))
