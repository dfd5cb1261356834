"""One keep-alive HTTP/1.1 connection for small answers: method, path, headers → status and body.

``http.client`` would bring ``ssl`` and ``email`` along: 6 MiB for a process that stays, and 30 ms of every boot. What
is asked here is instance metadata: one hop away, in clear text, with a length. No proxy and no redirect is followed; an
answer in chunks is refused. Protocol: RFC 9112.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from bootstrap.world import clock as house_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.world.clock import Clock

_LONGEST_HEAD = 16_384
_BLOCK = 16_384


class BrokenAnswerError(Exception):
    """What came back is no answer that could be used; the text says why."""


class TooLongError(Exception):
    """The body is longer than it may be."""


class Connection:
    """Opened by the first request, and anew after anything that went wrong."""

    def __init__(self, host: str, port: int, *, timeout_s: float, most_bytes: int, clock: Clock = house_clock) -> None:
        self._address = host, port
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        self._clock = clock
        self._socket: socket.socket | None = None
        self._rest = b""
        self.date: str | None = None  # as the last answer has it

    def ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """The whole answer within the time limit: a server that drips holds us no longer than one that hangs.

        Raises OSError (TimeoutError is one), BrokenAnswerError and TooLongError; after each the connection is closed.
        """
        try:
            return self._ask(method, path, headers)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b""

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        give_up = self._clock.now() + self._timeout_s
        host, port = self._address
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        named = f"[{host}]" if ":" in host else host
        lines = [f"{method} {path} HTTP/1.1", f"Host: {named}:{port}", *(f"{k}: {v}" for k, v in headers.items())]
        if method != "GET":
            lines.append("Content-Length: 0")
        self._socket.settimeout(self._timeout_s)
        self._socket.sendall("\r\n".join([*lines, "\r\n"]).encode("ascii"))
        status, fields = self._read_head(give_up)
        self.date = fields[b"date"].decode("latin-1") if b"date" in fields else None
        body = self._read_body(fields, give_up)
        if fields.get(b"connection", b"").lower() == b"close":
            self.close()
        return status, body

    def _read_head(self, give_up: float) -> tuple[int, dict[bytes, bytes]]:
        while b"\r\n\r\n" not in self._rest:
            if len(self._rest) > _LONGEST_HEAD or not b"HTTP/1.".startswith(self._rest[:7]):
                raise BrokenAnswerError("it answered something that is not HTTP")
            if not self._receive(give_up):
                raise BrokenAnswerError("it closed the connection without an answer")
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        words = first.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
            raise BrokenAnswerError("it answered something that is not HTTP")
        fields = (line.partition(b":") for line in lines)
        return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in fields}

    def _read_body(self, fields: Mapping[bytes, bytes], give_up: float) -> bytes:
        if b"transfer-encoding" in fields:
            raise BrokenAnswerError("it answered in pieces without a length")
        length = fields.get(b"content-length")
        if length is not None and not (length.isdigit() and len(length) < 16):
            raise BrokenAnswerError("it answered something that is not HTTP")
        wanted = self._most_bytes + 1 if length is None else int(length)
        while len(self._rest) < wanted and len(self._rest) <= self._most_bytes:
            if not self._receive(give_up):
                break
        body, self._rest = self._rest[:wanted], self._rest[wanted:]
        if len(body) > self._most_bytes:
            raise TooLongError
        if length is None:
            self.close()  # it ended with the connection
        elif len(body) < wanted:
            raise BrokenAnswerError("the answer was cut short")
        return body

    def _receive(self, give_up: float) -> bool:
        left_s = give_up - self._clock.now()
        if self._socket is None or left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        block = self._socket.recv(_BLOCK)
        self._rest += block
        return bool(block)
