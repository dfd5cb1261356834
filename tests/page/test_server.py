"""The health endpoint against honest, slow and strange clients."""

from __future__ import annotations

import socket
import time

import pytest

from bootstrap.errors import Unavailable
from bootstrap.page.documents import Document
from bootstrap.page.server import Server

OK = {"/healthz": Document(status=200, kind="text/plain", body=b"ok\n")}


@pytest.fixture
def server():
    server = Server("127.0.0.1", 0)
    yield server
    server.close()


def ask(server, request):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        blocks = []
        while block := connection.recv(65536):
            blocks.append(block)
    return b"".join(blocks)


def get(server, path="/healthz", method="GET"):
    return ask(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_an_answer_is_whole_and_says_how_long_it_is(server):
    server.publish(OK)
    assert get(server) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
        b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\nok\n"
    )
    assert get(server, method="HEAD").endswith(b"\r\n\r\n")
    assert get(server, "/healthz?from=lb").endswith(b"ok\n")


def test_before_anything_is_known_it_is_starting(server):
    assert get(server).startswith(b"HTTP/1.1 503 ")
    assert get(server).endswith(b"starting\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /secret HTTP/1.1\r\n\r\n", b"404"),
        (b"GET  /healthz HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x00\xff\r\n\r\n", b"400"),
        (b"GET /healthz\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 8192 + b" HTTP/1.1\r\n\r\n", b"400"),
    ],
)
def test_strange_requests_get_an_answer_and_nothing_else(server, request_, status):
    server.publish(OK)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request_)
        assert connection.recv(65536).split()[1] == status


def test_five_hundred_idle_connections_hold_nobody_up(server):
    server.publish(OK)
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(500)]
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        assert get(server).endswith(b"ok\n")
        times.append(time.perf_counter() - begun)
    for connection in idle:
        connection.close()
    assert sorted(times)[int(len(times) * 0.99) - 1] < 0.25, "50 ms where nothing else runs"


def test_a_taken_port_is_told(server):
    with pytest.raises(Unavailable) as caught:
        Server("127.0.0.1", server.port)
    assert str(caught.value) == (
        f'cannot open the health endpoint "127.0.0.1:{server.port}": Address already in use\n'
        "  way out: end what listens there, or give `health:` another port"
    )
