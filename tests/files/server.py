"""An S3 server on loopback, as a process of its own, and what can come between it and a client."""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3

PATIENCE = 60  # seconds for the server to start
KEY, SECRET = "AKIAFOUNDINNOFILE000", "a-secret-that-is-found-in-no-file-at-all"
# What credentials of the machine must not come in.
OTHERS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


@dataclass(frozen=True)
class Server:
    """A server at an address.

    url: as `http://127.0.0.1:1234`
    """

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """In which it is found."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
        }

    def bucket(self, name: str) -> Bucket:
        """A new bucket."""
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=name)
        return Bucket(name, client)


@dataclass(frozen=True)
class Bucket:
    """What boto3 sees of a bucket, which is not what the package looks through."""

    name: str
    client: Any

    def url(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def upload(self, folder: Path, key: str) -> str:
        """All files of a folder; returns where they are."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{key}/{path.relative_to(folder)}", path.read_bytes())
        return self.url(key)

    def tree(self, key: str) -> dict[str, str]:
        """Every object below `key` with its digest, as `tests.command.tree` has files."""
        names = {each: each.removeprefix(f"{key}/") for each in self.keys(f"{key}/")}
        return {
            name: hashlib.sha256(self.get(each)).hexdigest()
            for each, name in names.items()
            if Path(name).stem != "report" and ".kmeans-dask" not in name.split("/")
        }

    def bytes_below(self, key: str) -> dict[str, bytes]:
        return {each.removeprefix(f"{key}/"): self.get(each) for each in self.keys(f"{key}/")}


@contextmanager
def started() -> Iterator[Server]:
    """A server that ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + PATIENCE
            while True:
                with suppress(OSError):
                    urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE).close()
                    break
                assert process.poll() is None, "moto's server has ended"
                assert time.monotonic() < end, "moto's server does not start"
                time.sleep(0.05)
            yield Server(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def size(self) -> int:
        """Of its body, in bytes."""
        return int(self.headers.get("content-length") or 0)


class Cut(Exception):
    """The connection is cut now."""


Fault = Callable[[Request], int | None]


@dataclass(frozen=True)
class Answer:
    """An answer, as a client gets it.

    whole: whether all of `data` is sent; else the connection is cut after half of `data`, or within
        the headers where `data` is empty
    until: an event; half of `data` is sent byte by byte, and the connection is cut when it is set
    """

    status: int
    headers: Mapping[str, str]
    data: bytes
    whole: bool = True
    until: threading.Event | None = None


Change = Callable[[Request, Answer], Answer]


def page(request: Request, answer: Answer) -> Answer:
    """Return the login page of a network in place of any answer."""
    del answer
    html = b"<!DOCTYPE html><html><body>Please<br>log in</body></html>"
    headers = {"Content-Type": "text/html", "Content-Length": str(len(html))}
    return Answer(200, headers, b"" if request.method == "HEAD" else html)


@dataclass
class Between:
    """A proxy before a server, at which requests can fail.

    before: called with each request when half its body has come; may wait, or raise `Cut`; returns
        the status to answer with instead of asking the server, or None
    after: called in the same way when the server has answered; returns the status to answer with
        instead of the server's, or None
    change: called with each request and its answer; returns the answer for the client
    max_keys: the most names in a page of a list; 0 for as many as the server gives
    """

    server: Server
    before: Fault = lambda request: None
    after: Fault = lambda request: None
    change: Change = lambda request, answer: answer
    max_keys: int = 0
    seen: list[Request] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def open(self, port: int = 0) -> Iterator[Between]:
        between = self
        address = self.server.url.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with suppress(ConnectionError):
                    super().handle()

            def log_message(self, *said: object) -> None:
                pass

            def pass_on(self) -> None:
                request = Request(self.command, self.path, dict(self.headers.items()))
                request = Request(
                    self.command, self.path, {k.lower(): v for k, v in request.headers.items()}
                )
                between.seen.append(request)
                half = request.size // 2
                body = self.rfile.read(half)
                try:
                    status = between.before(request)
                    body += self.rfile.read(request.size - half)
                    if status:
                        error = b"<Error><Code>SlowDown</Code></Error>"
                        return self.answer(Answer(status, {}, error))
                    status, headers, data = self.ask(request, body)
                    answer = Answer(between.after(request) or status, headers, data)
                    self.answer(between.change(request, answer))
                except Cut:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)

            def ask(self, request: Request, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
                connection = http.client.HTTPConnection(address, timeout=PATIENCE)
                try:
                    path = request.path
                    if between.max_keys and "list-type" in path:
                        path += f"&max-keys={between.max_keys}"
                    connection.request(request.method, path, body, dict(request.headers))
                    answer = connection.getresponse()
                    return answer.status, dict(answer.getheaders()), answer.read()
                finally:
                    connection.close()

            def answer(self, answer: Answer) -> None:
                self.send_response(answer.status)
                is_head = self.command == "HEAD"
                length = str(len(answer.data))
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                if is_head:
                    length = answer.headers.get("Content-Length", "0")
                self.send_header("Content-Length", length)
                if not answer.whole and (is_head or not answer.data):
                    self.wfile.write(b"".join(self._headers_buffer)[:-9])  # type: ignore[attr-defined]
                    raise Cut
                self.end_headers()
                if is_head:  # an answer to HEAD has no body: its bytes would begin the next answer
                    return
                half = answer.data[: len(answer.data) // 2]
                if answer.until:
                    for byte in half:
                        self.wfile.write(bytes([byte]))
                        if answer.until.wait(0.05):
                            break
                    answer.until.wait()
                    raise Cut
                self.wfile.write(answer.data if answer.whole else half)
                if not answer.whole:
                    raise Cut

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as proxy:
            proxy.daemon_threads = True
            self.url = f"http://127.0.0.1:{proxy.server_address[1]}"
            thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                proxy.shutdown()
                thread.join()
