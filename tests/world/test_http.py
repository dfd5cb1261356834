"""What is no answer is told apart from an answer, and a connection lives as long as it is good."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest

from bootstrap.world.http import BrokenAnswerError, Connection, TooLongError

CLOSE = None


@contextmanager
def server(*answers):
    """Each connection sends the next answers, one a request, until CLOSE; yields the port and what was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []
    left = list(answers)

    def serve():
        while left:
            connection, _ = listener.accept()
            with connection:
                while left and (answer := left.pop(0)) is not CLOSE:
                    request = connection.recv(65536)
                    if not request:
                        left.insert(0, answer)
                        break
                    asked.append(request)
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        thread.join()
        listener.close()


def ok(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def connect(port):
    return Connection("127.0.0.1", port, timeout_s=5, most_bytes=100)


def test_two_requests_share_a_connection():
    with server(ok(b"one"), ok(b"")) as (port, asked):
        connection = connect(port)
        assert connection.ask("GET", "/a", {"X-Token": "t"}) == (200, b"one")
        assert connection.ask("PUT", "/b", {}) == (200, b"")
        connection.close()
    host = b"Host: 127.0.0.1:%d\r\n" % port
    assert asked == [
        b"GET /a HTTP/1.1\r\n" + host + b"X-Token: t\r\n\r\n",
        b"PUT /b HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n",
    ]


def test_a_body_without_a_length_ends_with_the_connection():
    with server(b"HTTP/1.0 404 Not Found\r\n\r\nno", CLOSE) as (port, _):
        assert connect(port).ask("GET", "/", {}) == (404, b"no")


def test_a_server_that_says_it_closes_is_connected_to_anew():
    with server(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1", CLOSE, ok(b"2")) as (port, _):
        connection = connect(port)
        assert connection.ask("GET", "/", {}) == (200, b"1")
        assert connection.ask("GET", "/", {}) == (200, b"2")
        connection.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it answered something that is not HTTP"),
        (b"HTTP/1.1 soon\r\n\r\n", "it answered something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "it answered something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 20_000, "it answered something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "it answered in pieces without a length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "the answer was cut short"),
        (b"", "it closed the connection without an answer"),
    ],
)
def test_what_is_no_answer_is_refused_and_the_connection_given_up(answer, why):
    with server(answer, CLOSE, ok(b"well again")) as (port, _):
        connection = connect(port)
        with pytest.raises(BrokenAnswerError) as refused:
            connection.ask("GET", "/", {})
        assert str(refused.value) == why
        assert connection.ask("GET", "/", {}) == (200, b"well again")
        connection.close()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"])
def test_a_body_may_not_be_longer_than_the_limit(head):
    with server(head + b"a" * 101, CLOSE) as (port, _):
        connection = connect(port)
        with pytest.raises(TooLongError):
            connection.ask("GET", "/", {})
