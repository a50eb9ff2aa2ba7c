"""As much of S3's protocol as reading, listing and storing small objects takes, in memory, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

ACCESS_KEY = "AKIDEXAMPLE"


class Bucket(ThreadingHTTPServer):
    """Objects by "bucket/key"; `address` is where they are served to who signs with `ACCESS_KEY`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        #: Requests that are answered with 503 before one is served again.
        self.refusals = 0
        self.stored: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Bucket
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name, query = unquote(parts.path).strip("/"), parse_qs(parts.query, keep_blank_values=True)
        if self._refused():
            return
        if "list-type" in query:
            self._answer(200, _listing(self.server.objects, name, query))
        elif name not in self.server.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, self.server.objects[name])

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            body = _without_chunks(body)
        name = unquote(urlsplit(self.path).path).strip("/")
        if not self._refused():
            self.server.objects[name] = body
            self.server.stored.append(name)
            self._answer(200, b"")

    def do_DELETE(self) -> None:
        if not self._refused():
            self.server.objects.pop(unquote(urlsplit(self.path).path).strip("/"), None)
            self._answer(204, b"")

    def _refused(self) -> bool:
        if ACCESS_KEY not in self.headers.get("Authorization", ""):
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        elif self.server.refusals:
            self.server.refusals -= 1
            self._answer(503, b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>")
        else:
            return False
        return True

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{md5(content).hexdigest()}"')
        self.send_header("Last-Modified", formatdate(1_700_000_000, usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _listing(objects: dict[str, bytes], bucket: str, query: dict[str, list[str]]) -> bytes:
    prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
    keys = [name.partition("/")[2] for name in sorted(objects) if name.startswith(f"{bucket}/")]
    entries, folders = [], set()
    for key in keys:
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            continue
        content = objects[f"{bucket}/{key}"]
        entries.append(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>&quot;{md5(content).hexdigest()}&quot;"
            "</ETag><LastModified>2023-11-14T22:13:20.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
        )
    entries += [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders)]
    head = f"<Name>{bucket}</Name><KeyCount>{len(entries)}</KeyCount><IsTruncated>false</IsTruncated>"
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f"<?xml version='1.0'?><ListBucketResult {space}>{head}{''.join(entries)}</ListBucketResult>".encode()


def _without_chunks(body: bytes) -> bytes:
    content = b""
    while True:
        head, _, body = body.partition(b"\r\n")
        length = int(head.partition(b";")[0], 16)
        if length == 0:
            return content
        content, body = content + body[:length], body[length + 2 :]


@contextmanager
def served_bucket() -> Iterator[Bucket]:
    """A bucket that answers while the block runs."""
    with Bucket() as bucket:
        thread = threading.Thread(target=bucket.serve_forever, daemon=True)
        thread.start()
        try:
            yield bucket
        finally:
            bucket.shutdown()
            thread.join(10)
