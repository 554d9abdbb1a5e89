"""S3 servers for tests, as processes on this machine, and a proxy that counts and fails.

moto is started for every run.  Ceph's radosgw, where it is installed, is the real thing: it
checks signatures and enforces requester pays.
"""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import s3fs
from zarr.core.sync import sync

CEPH_PROGRAMS = ("radosgw", "ceph-mon", "ceph-osd", "radosgw-admin", "monmaptool", "ceph")
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-authorization"}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def wait_for(port: int, seconds: float) -> bool:
    """Wait until something answers HTTP on a port."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        else:
            return True
    return False


_ONE_BY_ONE = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
app = DomainDispatcherApplication(create_backend_app)
run_simple(sys.argv[2], int(sys.argv[4]), app, threaded=False)
"""


@contextmanager
def moto(*, at_once: bool = True) -> Iterator[str]:
    """A moto server in a process of its own; its address.

    It looks and stores in two steps, so where conditions count it must do one request after
    the other, as ``at_once=False`` makes it.
    """
    port = free_port()
    program = "from moto.server import main; main()" if at_once else _ONE_BY_ONE
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            assert wait_for(port, 60), "moto did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def filesystem(endpoint: str) -> s3fs.S3FileSystem:
    """A client of the tests' own."""
    return s3fs.S3FileSystem(
        endpoint_url=endpoint,
        key="owner",
        secret="ownersecret",  # noqa: S106 - of a server that ends with the tests
        use_listings_cache=False,
        config_kwargs={"s3": {"addressing_style": "path"}},
    )


def forget_clients() -> None:
    """Drop the clients that s3fs keeps, as a new process would have none.

    zarr makes its own, which run in its loop and which s3fs leaves to their maker to close.
    """
    for fs in list(s3fs.S3FileSystem._cache.values()):  # noqa: SLF001 - s3fs has no public way
        if fs.asynchronous and fs._s3 is not None:  # noqa: SLF001
            sync(fs._s3.close())  # noqa: SLF001
    s3fs.S3FileSystem.clear_instance_cache()


@dataclass
class Seen:
    """One request that went through the proxy."""

    method: str
    path: str
    query: str
    size_bytes: int
    """Bytes of the answer's body."""

    @property
    def is_listing(self) -> bool:
        return self.method == "GET" and ("list-type" in self.query or self.path.count("/") < 2)


Fault = Callable[[str, str], tuple[int, bytes] | None]
"""Given method and path, an answer instead of the server's; None to let it through."""


@dataclass
class Proxy:
    """Counts requests, and answers some of them itself."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    fault: Fault | None = None
    lose: Callable[[str, str], bool] | None = None
    """Given method and path, whether the server's answer gets lost on its way back."""
    shorten: int = 0
    """How many of the next bodies lose their last byte, with a length that hides it."""

    def of(self, method: str) -> list[Seen]:
        """Requests for objects."""
        return [one for one in self.seen if one.method == method and not one.is_listing]


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:  # noqa: C901 - a handler and what it needs
    """A proxy on this machine in front of an S3 server."""
    there = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def answer(self) -> None:
            """Pass a request on and its answer back."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            instead = found.fault(self.command, parts.path) if found.fault else None
            if instead is None:
                status, headers, content = self.forward(body)
                if found.lose and found.lose(self.command, parts.path):
                    self.close_connection = True
                    return
            else:
                (status, content), headers = instead, {"Content-Type": "application/xml"}
            if found.shorten and status == 206 and self.command == "GET":
                found.shorten -= 1
                content = content[:-1]
            found.seen.append(Seen(self.command, parts.path, parts.query, len(content)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=60)
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            keep_length = self.command == "HEAD"
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in _HOP and (keep_length or name.lower() != "content-length")
            }
            return answer.status, kept, content

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fault_answer(code: str, status: int = 403) -> tuple[int, bytes]:
    """S3's answer to a request it refuses."""
    return status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()


def missing_ceph() -> list[str]:
    return [program for program in CEPH_PROGRAMS if shutil.which(program) is None]


_CONF = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
run dir = {home}/run
log file = {home}/$name.log
admin socket = {home}/run/$name.asok
pid file = {home}/run/$name.pid
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
osd memory target = 939524096
osd objectstore = bluestore
bluestore block size = 17179869184
bluestore block db size = 0
bluestore block wal size = 0
osd data = {home}/osd.$id
mon data = {home}/mon.$id
ms bind ipv4 = true
public network = 127.0.0.0/8
[client.rgw]
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 32
rgw dns name = localhost
rgw enable usage log = false
"""


def _ceph_commands(home: Path, fsid: str, osd: str, v1: int, v2: int) -> list[list[str]]:
    conf = ["-c", str(home / "ceph.conf")]
    address = f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]"
    monmap = str(home / "monmap")
    return [
        ["monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap],
        ["ceph-mon", *conf, "--mkfs", "-i", "a", "--monmap", monmap],
        ["ceph-mon", *conf, "-i", "a"],
        ["ceph", *conf, "--connect-timeout", "30", "osd", "new", osd],
        ["ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", osd],
        ["ceph-osd", *conf, "-i", "0"],
        ["radosgw", *conf, "-n", "client.rgw"],
    ]


@contextmanager
def ceph(home: Path) -> Iterator[str]:
    """Ceph's radosgw with its data in a folder; its address.

    Users are owner and guest; their secrets are their names with ``secret`` behind.
    """
    port, v1, v2 = free_port(), free_port(), free_port()
    fsid, osd = (Path("/proc/sys/kernel/random/uuid").read_text().strip() for _ in range(2))
    for folder in ("run", "osd.0", "mon.a"):
        (home / folder).mkdir(parents=True)
    conf = home / "ceph.conf"
    conf.write_text(_CONF.format(home=home, fsid=fsid, port=port, v1=v1, v2=v2))
    try:
        for command in _ceph_commands(home, fsid, osd, v1, v2):
            _run(command)
        assert wait_for(port, 90), "radosgw did not start"
        for user in ("owner", "guest"):
            _run(
                ["radosgw-admin", "-c", str(conf), "user", "create", f"--uid={user}"],
                f"--display-name={user}",
                f"--access-key={user}",
                f"--secret-key={user}secret",
            )
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(home / "run")


def _run(command: list[str], *more: str) -> None:
    done = subprocess.run(
        [*command, *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"


def _stop(run: Path) -> None:
    """End the daemons that were started here, by the ids they wrote down."""
    pids = [int(file.read_text()) for file in sorted(run.glob("*.pid")) if file.read_text().strip()]
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
