"""Our reading of XML-RPC against the standard library's writing of it, and against servers that misbehave."""

from __future__ import annotations

import socket
import threading
import xmlrpc.client

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.errors import Unavailable
from bootstrap.world.rpc import Connection, Fault, _render_call, parse_answer

text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
scalars = st.booleans() | st.integers(-(2**31), 2**31 - 1) | text
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(value=documents)
def test_every_answer_is_read_as_the_standard_library_wrote_it(value):
    assert parse_answer(xmlrpc.client.dumps((value,), methodresponse=True).encode()) == value


@given(value=documents)
def test_every_call_is_written_as_the_standard_library_reads_it(value):
    parameters, method = xmlrpc.client.loads(_render_call("a.b", (value, 1)))
    assert (parameters, method) == ((value, 1), "a.b")


@given(garbage=st.binary(max_size=200))
def test_garbage_is_no_answer(garbage):
    with pytest.raises((ValueError, Fault)):
        parse_answer(garbage)


def test_a_fault_has_code_and_text():
    answer = xmlrpc.client.dumps(xmlrpc.client.Fault(10, "BAD_NAME: x")).encode()
    with pytest.raises(Fault) as caught:
        parse_answer(answer)
    assert (caught.value.code, caught.value.text, str(caught.value)) == (10, "BAD_NAME: x", "BAD_NAME: x (fault 10)")


def test_an_answer_with_entities_is_refused():
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><methodResponse><params><param><value>&a;</value></param></params></methodResponse>'
    with pytest.raises(ValueError, match="its answer declares entities"):
        parse_answer(bomb)


@pytest.fixture
def serve(tmp_path):
    """Start a server that sends these bytes to whoever connects, then closes."""
    path = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threads = []

    def start(answer, *, linger=None):
        def run():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                if linger is not None:
                    linger.wait(10)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        return str(path)

    yield start
    listener.close()
    for thread in threads:
        thread.join()


BAD_ANSWERS = {
    "nothing": (b"", "it closed the connection"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<x>", "it closed the connection"),
    "an error page": (b"HTTP/1.1 500 Oops\r\n\r\n<html>", "it answered HTTP/1.1 500 Oops"),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\nx", "its answer has no usable length"),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx", "its answer has no usable length"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_server_that_misbehaves_is_unavailable(serve, case):
    answer, cause = BAD_ANSWERS[case]
    path = serve(answer)
    connection = Connection(path)
    with pytest.raises(Unavailable) as caught:
        connection.call("a.b")
    connection.close()
    assert str(caught.value) == (
        f"cannot talk to supervisord at {path}: {cause}\n"
        "  way out: run the command again; if it stays so, look into log/supervisord.log"
    )


def test_a_server_that_says_nothing_is_unavailable_in_time(serve):
    over = threading.Event()
    path = serve(b"", linger=over)
    connection = Connection(path, timeout_s=0.05)
    with pytest.raises(Unavailable, match="timed out"):
        connection.call("a.b")
    over.set()
    connection.close()


def test_a_socket_below_a_very_long_directory_is_reached(tmp_path):
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    short = tmp_path / "s"
    listener.bind(str(short))
    listener.listen()
    short.rename(deep / "s")
    connection = Connection(str(deep / "s"))
    assert connection.peer_pid > 0
    connection.close()
    listener.close()
