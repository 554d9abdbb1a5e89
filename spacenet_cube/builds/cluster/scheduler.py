"""Scheduler: checks the address of a Dask scheduler, and whether one answers there, in time.

Dask itself retries most faults until its own limits are over, which are longer than anyone waits
for the answer to a wrong address.
"""

import asyncio
import socket
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.core import connect
from distributed.comm.registry import backends
from distributed.security import Security

from spacenet_cube.errors import StoreError

ANSWER_S = 5.0
"""Seconds in which a scheduler must answer."""

_SPARE_S = 0.5
_CONNECTING = 0.9
_TCP = "tcp://"
_HOSTED = {"tcp", "tls", "ws", "wss"}
_EXAMPLE = "tcp://10.0.0.1:8786"


def normalised(address: str) -> str:
    """An address with its scheme.

    Parameters
    ----------
    address
        As it was typed; ``tcp://`` is added where no scheme is given, as Dask does.

    Returns
    -------
    str
        Scheme, host and port.

    Raises
    ------
    StoreError
        If Dask has no such scheme, or host or port are missing.

    Examples
    --------
    >>> normalised("10.0.0.1:8786")
    'tcp://10.0.0.1:8786'
    """
    found = address.strip() if "://" in address else f"{_TCP}{address.strip()}"
    scheme, place = parse_address(found)
    if scheme not in backends:
        known = ", ".join(sorted(backends))
        raise StoreError(
            f"no Dask scheduler answers at {address}: Dask has no scheme {scheme}:// (it has "
            f"{known}); give the scheduler's own address, such as {_EXAMPLE}; that of the "
            "dashboard is another"
        )
    if scheme in _HOSTED and not _has_port(place):
        raise StoreError(
            f"no Dask scheduler answers at {address or repr(address)}: it names no host and port; "
            f"write it as {_EXAMPLE}"
        )
    return found


def _has_port(place: str) -> bool:
    try:
        host, port = parse_host_port(place)
    except ValueError:
        return False
    return bool(host) and 0 < int(port) < 1 << 16


def check_scheduler(address: str, timeout_s: float) -> None:
    """Refuse an address at which no Dask scheduler answers.

    Parameters
    ----------
    address
        With its scheme.
    timeout_s
        Seconds to wait, in all.

    Raises
    ------
    StoreError
        If the host is unknown, nothing listens, what answers is no scheduler, or certificates
        are missing.
    """
    answers: SimpleQueue[dict[str, Any] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(asyncio.run(asyncio.wait_for(_identity(address, timeout_s), timeout_s)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must hear of it
            answers.put(error)

    # A thread of its own: resolving a name cannot be interrupted.
    Thread(target=ask, name="scheduler", daemon=True).start()
    try:
        found = answers.get(timeout=timeout_s + _SPARE_S)
    except Empty:
        found = TimeoutError()
    if isinstance(found, Exception):
        raise StoreError(
            f"no Dask scheduler answers at {address}: {_reason(found, timeout_s)}"
        ) from found
    if found.get("type") != "Scheduler":
        raise StoreError(
            f"no Dask scheduler answers at {address}: a {found.get('type')} of Dask's answers; "
            "give the address that the log of 'dask scheduler' shows"
        )


async def _identity(address: str, timeout_s: float) -> dict[str, Any]:
    """What a server of Dask's says of itself."""
    scheme, place = parse_address(address)
    arguments = Security().get_connection_args("client")
    if scheme in {"tls", "wss"} and arguments.get("ssl_context") is None:
        raise _NoCertificatesError
    if scheme in _HOSTED:
        host, port = parse_host_port(place)
        await asyncio.get_running_loop().getaddrinfo(host, int(port))
    # A part of the limit, so that the reason of a connection that fails is not lost.
    comm = await connect(address, timeout=_CONNECTING * timeout_s, **arguments)
    try:
        await comm.write({"op": "identity", "reply": True})
        found = await comm.read()
    finally:
        comm.abort()
    return dict(found)


class _NoCertificatesError(Exception):
    """Dask is configured with no certificates, and needs some."""


def _reason(error: Exception, timeout_s: float) -> str:
    """Why no scheduler was reached, and what to do."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    if isinstance(error, _NoCertificatesError):
        names = "DASK_DISTRIBUTED__COMM__TLS__"
        return (
            "its scheme needs certificates, and Dask is configured with none; set "
            f"{names}CA_FILE, {names}CLIENT__CERT and {names}CLIENT__KEY to the cluster's files"
        )
    if isinstance(error, socket.gaierror):
        return f"its host is unknown ({error.strerror}); correct the address"
    if isinstance(root, ConnectionRefusedError):
        return (
            "nothing listens on its port (connection refused); start one with 'dask scheduler', "
            "or correct the address"
        )
    why = f"{type(root).__name__}: {' '.join(str(root).split())}"
    # Dask cancels its own try to connect where the limit ends it.
    if isinstance(error, TimeoutError) or isinstance(root, asyncio.CancelledError):
        why = f"nothing that speaks Dask's protocol answered within {timeout_s:g} s"
    return (
        f"{why}; give the address that the log of 'dask scheduler' shows (not the dashboard's), "
        "and see that no firewall lies between and that both sides use tls:// or neither"
    )
