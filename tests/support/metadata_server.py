"""An instance metadata service (IMDSv2) that behaves as badly as it is told to.

Everything is counted in requests, never in seconds: tags appear at the n-th reading, a token dies when the test says
so. Headers and body leave in one write: in two, delayed acknowledgements would add 40 ms to every request.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote

TAGS = "/latest/meta-data/tags/instance"
TOKEN = "/latest/api/token"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One scripted answer; ``hang`` says nothing until the test ends, ``drip`` sends a body without end,
    ``cut_short`` promises more than it sends."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    hang: bool = False
    drip: bool = False
    cut_short: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    connection: int  # the client's port: equal for requests on one connection


@dataclass
class MetadataServer:
    """A context manager; ``endpoint`` is its address, ``requests`` what it was asked."""

    tags: dict[str, str] | None = field(default_factory=dict)  # None: not enabled in metadata
    instance_id: str = "i-0123456789abcdef0"
    region: str = "eu-west-1"
    address: str = "10.0.0.7"
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.items: dict[str, str] = {}
        self._scripts: dict[str, deque[Answer]] = {}
        self._after: dict[str, deque[list[str]]] = {}
        self._delayed = 0
        self._tokens: set[str] = set()
        self._issued = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(self, path: str, *answers: Answer) -> None:
        """The next requests for ``path`` get these answers, later ones the truth again."""
        self._scripts.setdefault(path, deque()).extend(answers)

    def delay_tags(self, lists: int) -> None:
        """The first so many readings of the list of tags find it empty."""
        self._delayed = lists

    def drop_after_list(self, *keys: str) -> None:
        """The next reading of the list still shows these keys; then they are gone. May be told several times."""
        self._after.setdefault(TAGS, deque()).append(list(keys))

    def expire_tokens(self) -> None:
        with self._lock:
            self._tokens.clear()

    def paths(self) -> list[str]:
        """What was asked, in order, below ``/latest/``."""
        return [request.path.removeprefix("/latest/") for request in self.requests]

    def wait_until_over(self, timeout_s: float | None = None) -> bool:
        return self._over.wait(timeout_s)

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            script = self._scripts.get(request.path)
            if script:
                return script.popleft()
            if request.path == TOKEN:
                return self._give_token(request)
            if request.headers.get("x-aws-ec2-metadata-token") not in self._tokens:
                return _page(401, "Unauthorized")
            return self._give(request.path)

    def _give_token(self, request: Request) -> Answer:
        ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if request.method != "PUT" or not ttl.isdigit() or not 1 <= int(ttl) <= 21_600:
            return _page(400, "Bad Request")
        if "x-forwarded-for" in request.headers:
            return _page(403, "Forbidden")
        self._issued += 1
        token = f"token-{self._issued}=="
        self._tokens.add(token)
        return Answer(body=token.encode(), headers=(("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ttl),))

    def _give(self, path: str) -> Answer:
        facts = {"instance-id": self.instance_id, "placement/region": self.region, "local-ipv4": self.address}
        if (fact := facts.get(path.removeprefix("/latest/meta-data/"))) is not None:
            return Answer(body=fact.encode())
        if path == TAGS:
            return self._give_list()
        key = unquote(path.removeprefix(f"{TAGS}/"))
        if path.startswith(f"{TAGS}/") and self.tags is not None and key in self.tags:
            return Answer(body=self.tags[key].encode())
        if path in self.items:
            return Answer(body=self.items[path].encode())
        return _page(404, "Not Found")

    def _give_list(self) -> Answer:
        if self.tags is None:
            return _page(404, "Not Found")
        if self._delayed > 0:
            self._delayed -= 1
            return Answer()
        listing = "\n".join(self.tags)
        if dropped := self._after.get(TAGS):
            for key in dropped.popleft():
                del self.tags[key]
        return Answer(body=listing.encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


def _page(status: int, text: str) -> Answer:
    return Answer(status=status, body=f"<html><body><h1>{status} - {text}</h1></body></html>".encode())


def _length_of(answer: Answer) -> int:
    return len(answer.body) + (1_000_000 if answer.drip or answer.cut_short else 0)


def _handler_of(service: MetadataServer) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"service": service})


class _Handler(BaseHTTPRequestHandler):
    service: MetadataServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one write

    def do_GET(self) -> None:
        request = Request(
            method=self.command,
            path=self.path,
            headers={key.lower(): value for key, value in self.headers.items()},
            connection=self.client_address[1],
        )
        self._send(self.service.answer(request))

    def do_PUT(self) -> None:
        self.do_GET()

    def _send(self, answer: Answer) -> None:
        if answer.hang:
            self.service.wait_until_over()
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(_length_of(answer)))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.drip:
            self._drip()
        if answer.cut_short:
            self.close_connection = True

    def _drip(self) -> None:
        """One byte a hundredth of a second, until the client has had enough or the test is over."""
        self.close_connection = True
        try:
            while not self.service.wait_until_over(0.01):
                self.wfile.write(b".")
                self.wfile.flush()
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass
