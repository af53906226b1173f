"""An object store for tests: a folder behind as much of S3 as readers need. It checks no signatures.

It runs in a process of its own: some calls of deltalake hold Python's lock while they wait for an answer.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def bucket(name: str, folder: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Serves a folder as a bucket on loopback: its endpoint, and who signed the requests that came."""
    with TemporaryFile("a+") as log:
        command = [sys.executable, __file__, name, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server:

            def signers() -> list[str]:
                log.seek(0)
                return log.read().splitlines()

            try:
                assert server.stdout
                yield f"http://127.0.0.1:{int(server.stdout.readline())}", signers
            finally:
                server.terminate()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        signer = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        # In one piece: requests come side by side.
        os.write(sys.stderr.fileno(), f"{signer and signer.group(1)}\n".encode())
        first, _, key = unquote(url.path).lstrip("/").partition("/")
        if first != sys.argv[1]:
            self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif key:
            self.read(Path(sys.argv[2], key))
        else:
            self.list({key: values[0] for key, values in parse_qs(url.query).items()})

    do_HEAD = do_GET

    def read(self, file: Path) -> None:
        # `a//b` is another key than `a/b`.
        if "//" in unquote(self.path) or not file.is_file():
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        data = file.read_bytes()
        headers = {
            "ETag": f'"{len(data)}"',
            "Last_Modified": formatdate(file.stat().st_mtime, usegmt=True),
        }
        part = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not part:
            self.answer(200, data, **headers)
            return
        start, end = part.groups()
        first = int(start) if start else max(0, len(data) - int(end))
        last = min(int(end), len(data) - 1) if start and end else len(data) - 1
        headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
        self.answer(206, data[first : last + 1], **headers)

    def list(self, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("start-after", "")
        folder = Path(sys.argv[2])
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size><ETag>&quot;e&quot;</ETag>"
            "<LastModified>2026-11-01T00:00:00.000Z</LastModified></Contents>"
            for key, path in sorted(files.items())
            if key.startswith(prefix) and key > after
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        self.answer(200, body.encode(), Content_Type="application/xml")


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
