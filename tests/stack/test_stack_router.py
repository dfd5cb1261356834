"""services/router in front of upstreams that the test controls."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from stack_programs import PATIENCE_S

from support.ports import free_port


class Upstream(ThreadingHTTPServer):
    """Answers every request with what the test says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.headers: list[tuple[str, str]] = []
        self.chunks = lambda: iter([b"hello"])
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Say nothing: a visitor who leaves is what one of the tests is about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        self.server.asked.append((self.command, self.path, headers, body))
        self.send_response(200)
        for header in self.server.headers:
            self.send_header(*header)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in self.server.chunks():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = respond  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server():
    made = Upstream()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def upstream(server):
    server.asked.clear()
    server.headers = []
    server.chunks = lambda: iter([b"hello"])
    return server


@pytest.fixture(scope="module")
def router(start_for_all, server):
    """A router whose web is the test's upstream and whose api is away; its port."""
    port = free_port()
    program = start_for_all(
        "router", "web", PORT=str(port), WEB_URL=server.url, API_URL=f"http://127.0.0.1:{free_port()}"
    )
    program.wait_for("Uvicorn running")
    return port


def test_the_request_arrives_as_it_was_sent_but_for_what_belongs_to_the_connection(router, upstream):
    connection = http.client.HTTPConnection("127.0.0.1", router, timeout=PATIENCE_S)
    headers = {
        "Host": "todo.example",
        "Connection": "x-mine, keep-alive",
        "X-Mine": "only for the router",
        "TE": "trailers",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "forged.example",
        "X-Kept": "yes",
    }
    connection.request("POST", "/a/../b%2fc%zz?q=1&q=%20", body=b"a body", headers=headers)
    assert connection.getresponse().read() == b"hello"
    connection.close()
    [(method, path, received, body)] = upstream.asked
    assert (method, path, body) == ("POST", "/a/../b%2fc%zz?q=1&q=%20", b"a body")
    assert sorted(received) == [
        ("accept-encoding", "identity"),
        ("content-length", "6"),
        ("host", upstream.url.removeprefix("http://")),
        ("x-forwarded-for", "203.0.113.9, 127.0.0.1"),
        ("x-forwarded-host", "todo.example"),
        ("x-forwarded-proto", "http"),
        ("x-kept", "yes"),
    ]


def test_the_answer_arrives_as_it_was_given_but_for_what_belongs_to_the_connection(router, upstream):
    upstream.headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "X-Theirs"), ("X-Theirs", "hop")]
    answer = httpx.get(f"http://127.0.0.1:{router}/")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "x-theirs" not in answer.headers
    assert len(answer.headers.get_list("date")) == 1


def test_a_cookie_of_one_visitor_is_not_sent_for_another(router, upstream):
    upstream.headers = [("Set-Cookie", "session=of-the-first")]
    for _ in range(2):
        httpx.get(f"http://127.0.0.1:{router}/")
    assert [name for _, _, headers, _ in upstream.asked for name, _ in headers if name == "cookie"] == []


def test_the_answer_is_passed_on_while_it_is_still_being_made(router, upstream):
    first_was_seen = threading.Event()

    def chunks():
        yield b"first"
        yield b"second" if first_was_seen.wait(PATIENCE_S) else b"too late"

    upstream.chunks = chunks
    with httpx.stream("GET", f"http://127.0.0.1:{router}/") as answer:
        received = answer.iter_raw()
        assert next(received) == b"first"
        first_was_seen.set()
        assert list(received) == [b"second"]


def test_a_visitor_who_leaves_in_the_middle_frees_the_upstream(router, upstream):
    freed = threading.Event()

    def chunks():
        try:
            while True:
                yield b"x" * 65_536
        finally:
            freed.set()

    upstream.chunks = chunks
    with httpx.stream("GET", f"http://127.0.0.1:{router}/") as answer:
        next(answer.iter_raw())
    assert freed.wait(PATIENCE_S)


def test_an_upstream_that_is_away_is_a_page_in_words(router):
    answer = httpx.get(f"http://127.0.0.1:{router}/api/todos")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert (
        "<p>The service <b>api</b>, which makes this page, does not answer: All connection attempts failed.\n"
        "It may just be restarting; please try again.</p>" in answer.text
    )


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("http://169.254.169.254/latest/meta-data/", 404, b"Not Found"),
        ("%2fapi/todos", 400, b"the request must name a path\n"),
    ],
)
def test_a_target_that_is_not_a_path_reaches_no_upstream(router, upstream, target, status, words):
    connection = http.client.HTTPConnection("127.0.0.1", router, timeout=PATIENCE_S)
    connection.request("GET", target)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (status, words)
    connection.close()
    assert upstream.asked == []
