"""A proxy before an S3 server that fails some requests, seeded, in a process of its own.

Which request fails, and how, hangs on the seed, on what is asked for and on how often it was
asked for before; not on the order in which threads ask.  Signatures pass: headers are sent on
as they came.  ``POST /__chaos`` changes what fails, ``GET /__chaos`` tells what did.
"""

import argparse
import http.client
import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.places import ROOT
from tests.s3_servers import free_port, wait_for

_EVERYWHERE = ("503", "500", "reset-before", "lost", "stall")
_OF_BODIES = ("reset-after", "cut", "short", "flip")
KINDS = (*_EVERYWHERE, *_OF_BODIES)
"""Faults; ``expired`` is one more, which only happens where it is named.

``503`` and ``500`` are answered instead of the server; ``reset-before`` never reaches it;
``lost`` does, and the answer is a reset; ``reset-after`` sends the answer's headers alone,
``cut`` half of its body, ``short`` half of it with a length that fits; ``flip`` changes one
bit, of a request's body where it has one; ``stall`` holds the answer, or half of it, back.
"""

PATHS = ("list", "head", "part", "whole", "put", "delete")
"""What a request is for; ``part`` is a ranged GET."""

_CODES = {
    "503": (503, "SlowDown"),
    "500": (500, "InternalError"),
    "expired": (400, "ExpiredToken"),
}
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-authorization"}
_CONTROL = "/__chaos"


def path_of(method: str, target: str, ranged: bool) -> str:  # noqa: FBT001 - a header is there or not
    """What a request is for."""
    parts = urlsplit(target)
    if method == "GET":
        is_list = "list-type" in parts.query or parts.path.strip("/").count("/") < 1
        return "list" if is_list else "part" if ranged else "whole"
    if method == "DELETE" or "delete" in parts.query.split("&"):
        return "delete"
    return "head" if method == "HEAD" else "put"


def fitting(path: str, kinds: list[str], has_body: bool) -> list[str]:  # noqa: FBT001 - as above
    """The faults that can happen to a request."""
    able = {*_EVERYWHERE, "expired"}
    if path in {"list", "part", "whole"}:
        able |= set(_OF_BODIES)
    if path == "put" and has_body:
        able.add("flip")
    return [kind for kind in kinds if kind in able]


class _Chaos(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, upstream: str, seed: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.upstream = urlsplit(upstream)
        self.defaults: dict[str, Any] = {
            "seed": seed,
            "rate": 0.0,
            "kinds": list(KINDS),
            "paths": list(PATHS),
            "stall_s": 30.0,
            "most": None,
            "lasting": {},
        }
        self.settings = self.defaults
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.fired: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def draw(self, path: str, identity: str, has_body: bool) -> tuple[str | None, random.Random]:  # noqa: FBT001
        """Which fault happens to a request, and the chance that its details come from."""
        with self.lock:
            told = self.settings
            self.asked[identity] += 1
            self.requests[path] += 1
            chance = random.Random(f"{told['seed']} {identity} {self.asked[identity]}")  # noqa: S311
            kinds = fitting(path, told["kinds"], has_body)
            most = told["most"]
            spent = most is not None and sum(self.fired.values()) >= most
            if spent or path not in told["paths"] or not kinds or chance.random() >= told["rate"]:
                return None, chance
            kind = chance.choice(kinds)
            self.fired[f"{kind} {path}"] += 1
            return kind, chance

    def is_expired(self, path: str, signature: str) -> bool:
        """Whether the key that a request is signed with has been used for all that it lasts."""
        found = re.search(r"Credential=([^/]+)/", signature)
        with self.lock:
            key = found[1] if found else ""
            lasts = self.settings["lasting"].get(key)
            if lasts is None:
                return False
            self.asked[key] += 1
            over = self.asked[key] > lasts
            self.fired[f"expired {path}"] += over
            return bool(over)

    def handle_error(self, *_: object) -> None:
        """A connection that was reset, here or by the client, is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Chaos

    def setup(self) -> None:
        super().setup()
        there = self.server.upstream
        self.up = http.client.HTTPConnection(there.hostname or "", there.port, timeout=120)

    def finish(self) -> None:
        self.up.close()
        super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self) -> None:
        """Pass a request on and its answer back, or do otherwise."""
        if self.path == _CONTROL:
            self.control()
            return
        size = int(self.headers.get("Content-Length") or 0)
        asked = self.headers.get("Range")
        path = path_of(self.command, self.path, asked is not None)
        kind, chance = self.server.draw(path, f"{self.command} {self.path} {asked}", size > 0)
        if kind == "reset-before":
            self.reset()
            return
        body = self.rfile.read(size)
        if self.server.is_expired(path, self.headers.get("Authorization") or ""):
            kind = "expired"
        if kind in _CODES:
            self.refuse(*_CODES[kind])
            return
        if kind == "flip" and body:
            body, kind = flipped(body, chance), None
        status, reason, headers, content = self.forward(body)
        if kind == "lost":
            self.reset()
            return
        if kind == "flip":
            content = flipped(content, chance)
        if kind == "short":
            content = content[: chance.randrange(len(content))] if content else content
        self.reply(kind, chance, (status, reason, headers, content))

    def reply(self, kind: str | None, chance: random.Random, what: tuple[Any, ...]) -> None:
        status, reason, headers, content = what
        # An answer without a body is all there once its headers are.
        if kind == "stall" and (not content or chance.random() < 0.5):
            self.stall()
            return
        self.send_response_only(status, reason)
        for name, value in headers:
            if self.command == "HEAD" or name.lower() != "content-length":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind in {"reset-after", "cut", "stall"}:
            part = 0 if kind == "reset-after" else chance.randrange(len(content) or 1)
            self.wfile.write(content[:part])
            self.wfile.flush()
            self.stall() if kind == "stall" else self.reset()
            return
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status: int, code: str) -> None:
        content = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", "0" if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def stall(self) -> None:
        """Say nothing until the client gives up, or a long time is over."""
        self.wfile.flush()
        self.connection.settimeout(float(self.server.settings["stall_s"]))
        with suppress(OSError):
            self.connection.recv(1)
        self.reset()

    def reset(self) -> None:
        """End the connection in the way that the other side sees as a reset."""
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        try:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        except OSError:
            pass

    def forward(self, body: bytes) -> tuple[int, str, list[tuple[str, str]], bytes]:
        """Ask the server; a connection that it closed in the meantime is opened again."""
        for last in (False, True):
            try:
                self.up.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name.lower() not in _HOP:
                        self.up.putheader(name, value)
                self.up.endheaders(body or None)
                answer = self.up.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.up.close()
                if last:
                    raise
            else:
                kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP]
                return answer.status, answer.reason, kept, content
        raise AssertionError

    def control(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with server.lock:
            if self.command == "POST":
                server.settings = server.defaults | json.loads(body)
                server.fired.clear()
                server.requests.clear()
                server.asked.clear()
            told = {"fired": dict(server.fired), "requests": dict(server.requests)}
        content = json.dumps(told).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's


def flipped(content: bytes, chance: random.Random) -> bytes:
    """The bytes with one bit changed."""
    if not content:
        return content
    at = chance.randrange(len(content) * 8)
    changed = bytearray(content)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


@dataclass
class Chaos:
    """A running proxy."""

    url: str

    def set(self, **settings: Any) -> None:
        """Say what fails: ``rate``, ``kinds``, ``paths``, ``seed``, ``most``, ``stall_s``.

        ``lasting`` says for how many requests an access key is good, by key.

        What is not said is as at the start; counting begins anew.
        """
        self._ask("POST", json.dumps(settings))

    def fired(self) -> Counter[str]:
        """How many faults happened, by kind and path such as ``"503 list"``."""
        return Counter(self._ask("GET")["fired"])

    def requests(self) -> Counter[str]:
        """How many requests came, by path."""
        return Counter(self._ask("GET")["requests"])

    def _ask(self, method: str, body: str | None = None) -> dict[str, Any]:
        there = urlsplit(self.url)
        connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=30)
        connection.request(method, _CONTROL, body)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return found


@contextmanager
def chaos(upstream: str, seed: int = 1) -> Iterator[Chaos]:
    """A proxy in front of an S3 server; nothing fails until it is told so."""
    port = free_port()
    program = [sys.executable, "-m", "tests.chaos_proxy", str(port), upstream, str(seed)]
    with subprocess.Popen(program, cwd=ROOT) as process:
        try:
            assert wait_for(port, 60), "the proxy did not start"
            found = Chaos(f"http://127.0.0.1:{port}")
            found.set()
            yield found
        finally:
            process.terminate()


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    parser.add_argument("seed", type=int)
    told = parser.parse_args()
    server = _Chaos(told.port, told.upstream, told.seed)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    while thread.is_alive():
        time.sleep(0.5)


if __name__ == "__main__":
    main()
