"""A bucket that speaks what is needed of S3's protocol, in memory, and believes signed requests of one key only.

It is no S3: what it shows is that our calls are those of the protocol. Signatures are verified as AWS describes them (Signature
Version 4), but for bodies, which the client sends as UNSIGNED-PAYLOAD or with their hash.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

BUCKET, KEY_ID, SECRET, REGION = "a-bucket", "TESTKEYID", "a test's own secret", "eu-west-3"
PAGE = 3
"""Objects on one page of a list: S3 has 1,000."""


@dataclass
class Bucket:
    url: str
    objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def bucket() -> Iterator[Bucket]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    running = Bucket(f"http://127.0.0.1:{server.server_port}")
    server.bucket = running  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None: ...

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if not self._is_signed(parts.path, query, body):
            self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            return
        name = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        held: Bucket = self.server.bucket  # type: ignore[attr-defined]
        with held.lock:
            if self.command == "POST" and "delete" in query:
                self._delete(held, body)
            else:
                self._do(held, name, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815  (names of http.server)

    def _do(self, held: Bucket, name: str, query: dict[str, str], body: bytes) -> None:
        match self.command, "uploads" in query, "uploadId" in query:
            case "POST", True, _:
                upload = str(len(held.parts))
                held.parts[upload] = {}
                self._answer(
                    200,
                    f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode(),
                )
            case "PUT", _, True:
                held.parts[query["uploadId"]][int(query["partNumber"])] = body
                self._answer(200, headers={"etag": f'"{hashlib.md5(body).hexdigest()}"'})  # noqa: S324  (what S3 calls it)
            case "POST", _, True:
                whole = b"".join(part for _, part in sorted(held.parts.pop(query["uploadId"]).items()))
                held.objects[name] = (whole, datetime.now(UTC))
                self._answer(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
            case "DELETE", _, True:
                held.parts.pop(query["uploadId"], None)
                self._answer(204)
            case "PUT", _, _:
                held.objects[name] = (body, datetime.now(UTC))
                self._answer(200, headers={"etag": '"x"'})
            case "DELETE", _, _:
                held.objects.pop(name, None)
                self._answer(204)
            case "GET", _, _ if not name:
                self._answer(200, _listing(held, query))
            case (("GET" | "HEAD"), _, _) if name in held.objects:
                content, modified = held.objects[name]
                self._answer(
                    200, content, {"etag": '"x"', "last-modified": modified.strftime("%a, %d %b %Y %H:%M:%S GMT")}
                )
            case _:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _delete(self, held: Bucket, body: bytes) -> None:
        names = [str(each.text) for each in ET.fromstring(body).findall(".//{*}Key")]  # noqa: S314  (of our own client)
        for each in names:
            held.objects.pop(each, None)
        rows = "".join(f"<Deleted><Key>{escape(each)}</Key></Deleted>" for each in names)
        self._answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode())

    def _answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for header, value in {"content-length": str(len(content)), **(headers or {})}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _is_signed(self, path: str, query: dict[str, str], body: bytes) -> bool:
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        given = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        sent_hash = self.headers.get("x-amz-content-sha256", "")
        if scheme != "AWS4-HMAC-SHA256" or sent_hash not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return False
        names = given["SignedHeaders"].split(";")
        headers = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names)
        asked = "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items())
        )
        canonical = "\n".join([self.command, path, asked, headers, given["SignedHeaders"], sent_hash])
        scope = given["Credential"].removeprefix(f"{KEY_ID}/")
        text = "\n".join([scheme, self.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return f"/{REGION}/s3/" in scope and hmac.compare_digest(expected, given["Signature"])


def _listing(held: Bucket, query: dict[str, str]) -> bytes:
    after = query.get("continuation-token", "")
    found = [name for name in sorted(held.objects) if name.startswith(query.get("prefix", "")) and name > after]
    page = found[:PAGE]
    rows = "".join(
        f"<Contents><Key>{escape(name)}</Key><LastModified>{held.objects[name][1]:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        f"<Size>{len(held.objects[name][0])}</Size><ETag>x</ETag></Contents>"
        for name in page
    )
    more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(found) > PAGE else ""
    return f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{rows}</ListBucketResult>".encode()
