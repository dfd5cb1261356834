"""A very small HTTP server: fixed answers, GET and HEAD, one thread, no work for a request.

It stands in front of nobody's data and takes no orders, but anybody may reach it: so requests are small, connections
are few and short-lived, and what is slow or strange is closed. HTTP/1.1 as in RFC 9112, one request a connection.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from typing import TYPE_CHECKING

from bootstrap.errors import Unavailable
from bootstrap.page.documents import TEXT, Document
from bootstrap.world import clock

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CONNECTIONS = 128  # load balancers ask a few times a second; the rest of our descriptors is for the box
LONGEST_REQUEST = 4096
PATIENCE_S = 5.0
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Server:
    """Listens from the start; until the first ``publish`` it says that the box is starting."""

    def __init__(self, address: str, port: int) -> None:
        """Raises Unavailable when the address can't be had."""
        self._documents: Mapping[str, Document] = {}
        self._connections: dict[socket.socket, _Connection] = {}
        try:
            self._listener = socket.create_server((address, port), backlog=256)
        except OSError as error:
            raise Unavailable(
                f'cannot open the health endpoint "{address}:{port}": {os.strerror(error.errno or 0)}\n'
                "  way out: end what listens there, or give `health:` another port"
            ) from error
        self._listener.setblocking(False)  # noqa: FBT003 - socket takes it by position only
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it really listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def publish(self, documents: Mapping[str, Document]) -> None:
        """Answer with these from now on."""
        self._documents = documents

    def close(self) -> None:
        """Stop listening, and wait until the thread has ended."""
        self._is_over = True
        self._wake.send(b"!")
        self._thread.join()
        for connection in list(self._connections):
            self._drop(connection)
        for end in (self._listener, self._wake, self._woken):
            end.close()
        self._selector.close()

    def _serve(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(1.0 if self._connections else None):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Connection):
                    self._go_on(key.data)
            self._drop_slow()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            peer, _ = self._listener.accept()
            if len(self._connections) >= MOST_CONNECTIONS:
                self._drop(next(iter(self._connections)))  # the oldest: whoever is honest has been answered long ago
            peer.setblocking(False)  # noqa: FBT003 - likewise
            connection = _Connection(peer)
            self._connections[peer] = connection
            self._selector.register(peer, selectors.EVENT_READ, connection)
            self._go_on(connection)  # most requests are there already

    def _go_on(self, connection: _Connection) -> None:
        try:
            done = connection.go_on(self._documents)
        except BlockingIOError:
            return
        except OSError:
            done = True
        if done:
            self._drop(connection.peer)
        elif connection.is_answering:
            self._selector.modify(connection.peer, selectors.EVENT_WRITE, connection)

    def _drop_slow(self) -> None:
        oldest = clock.now() - PATIENCE_S
        while self._connections:
            peer, connection = next(iter(self._connections.items()))  # in the order in which they came
            if connection.began > oldest:
                return
            self._drop(peer)

    def _drop(self, peer: socket.socket) -> None:
        if self._connections.pop(peer, None) is not None:
            self._selector.unregister(peer)
            peer.close()


class _Connection:
    """One request and its answer."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.began = clock.now()
        self._read = b""
        self._answer: memoryview | None = None

    @property
    def is_answering(self) -> bool:
        return self._answer is not None

    def go_on(self, documents: Mapping[str, Document]) -> bool:
        """Read or write what can be; whether all is done. Raises OSError."""
        while self._answer is None:
            block = self.peer.recv(LONGEST_REQUEST)
            self._read += block
            if b"\r\n\r\n" in self._read:
                self._answer = memoryview(_answer(self._read, documents))
            elif not block or len(self._read) >= LONGEST_REQUEST:
                self._answer = memoryview(_render(Document(status=400, kind=TEXT, body=b"bad request\n")))
        while self._answer:
            self._answer = self._answer[self.peer.send(self._answer) :]
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_WR)
        return True


def _answer(request: bytes, documents: Mapping[str, Document]) -> bytes:
    words = request.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _render(Document(status=400, kind=TEXT, body=b"bad request\n"))
    method, target, _ = words
    if method not in {b"GET", b"HEAD"}:
        return _render(Document(status=405, kind=TEXT, body=b"only GET and HEAD\n"))
    path = target.partition(b"?")[0].decode("ascii", errors="replace")
    starting = Document(status=503, kind=TEXT, body=b"starting\n")
    unknown = starting if path in {"/healthz", "/readyz"} else Document(status=404, kind=TEXT, body=b"not found\n")
    return _render(documents.get(path, unknown), is_head=method == b"HEAD")


def _render(document: Document, *, is_head: bool = False) -> bytes:
    allow = "Allow: GET, HEAD\r\n" if document.status == 405 else ""
    head = (
        f"HTTP/1.1 {document.status} {_REASONS[document.status]}\r\n"
        f"Content-Type: {document.kind}\r\nContent-Length: {len(document.body)}\r\n{allow}"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if is_head else document.body)
