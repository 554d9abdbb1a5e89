"""A web server for a folder that answers ranges, which Python's own does not.

Its listing of the folder is a page of links, percent-encoded as RFC 3986 has it.
"""

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self) -> None:
        raw, sign, _ = self.path.partition("?")
        path = Path(sys.argv[2]) / unquote("" if sign else raw.lstrip("/"))
        content = path.read_bytes() if path.is_file() else b""
        if path.is_dir():
            self.list_folder(path)
            return
        found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        status = 200 if path.is_file() else 404
        body = content
        if found and status == 200:
            start, stop = int(found[1]), int(found[2] or len(content) - 1)
            body, status = content[start : stop + 1], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def list_folder(self, path: Path) -> None:
        names = sorted(each.name + "/" * each.is_dir() for each in path.iterdir())
        body = "".join(f'<a href="{quote(name)}">x</a>' for name in names).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_GET = do_HEAD = answer  # noqa: N815 - http.server's names


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
