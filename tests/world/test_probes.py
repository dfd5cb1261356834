"""Probes against real sockets, processes and files that behave badly."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bootstrap.definition import Alive, Exec, Http, Limits, Log, Tcp
from bootstrap.health import ProbeResult
from bootstrap.launcher import Launch, render_env, render_run
from bootstrap.world import logs, probes
from bootstrap.world.logs import Position
from bootstrap.world.probes import Target, probe_once

HEALTHZ = Http(path="/healthz")
PLENTY_S = 10.0  # for a probe that has to succeed or fail by itself


@pytest.fixture
def target(tmp_path):
    """A program whose `run` file runs its arguments in an environment of its own."""
    run = tmp_path / "run"
    run.write_text('#!/bin/sh\nexport GREETING=hello\nexec "$@"\n')
    return Target(
        program="api-web",
        port=None,
        run=str(run),
        log=str(tmp_path / "api-web.log"),
        log_start=Position(),
        age_s=0.0,
    )


@contextmanager
def listening(answer, backlog=8):
    """A port where each connection is handed to ``answer``, in a thread."""
    server = socket.create_server(("127.0.0.1", 0), backlog=backlog)

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    answer(connection)
                except OSError:
                    continue  # the probe has gone

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


@contextmanager
def answering(*pieces, requests=None):
    """A server that reads one request and sends these bytes."""

    def answer(connection):
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        if requests is not None:
            requests.append(request)
        for piece in pieces:
            connection.sendall(piece)

    with listening(answer) as port:
        yield port


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# http


@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_an_answer_of_200_to_399_is_ready(target, status):
    with answering(b"HTTP/1.1 %d Whatever\r\n\r\n" % status) as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S) == ProbeResult(
            ok=True, detail=f"GET http://127.0.0.1:{port}/healthz answered {status}"
        )


@pytest.mark.parametrize("status", [400, 404, 500, 503, 999])
def test_any_other_answer_is_not_ready(target, status):
    with answering(b"HTTP/1.0 %d\r\n\r\n" % status) as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S) == ProbeResult(
            ok=False, detail=f"GET http://127.0.0.1:{port}/healthz answered {status}"
        )


def test_the_request_is_plain_http(target):
    requests = []
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", requests=requests) as port:
        probe_once(HEALTHZ, replace(target, port=port), PLENTY_S)
    assert requests[0].decode().split("\r\n") == [
        "GET /healthz HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: bootstrap",
        "Connection: close",
        "",
        "",
    ]


def test_a_redirect_is_not_followed(target):
    requests = []
    with answering(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n", requests=requests) as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S).ok
    assert len(requests) == 1


def test_a_proxy_of_the_environment_is_not_asked(target, free_port, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S).ok


def test_a_path_cannot_smuggle_a_second_header_in(target):
    requests = []
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", requests=requests) as port:
        result = probe_once(Http(path="/a b\r\nX: ü"), replace(target, port=port), PLENTY_S)
    assert result.detail == f"GET http://127.0.0.1:{port}/a%20b%0D%0AX:%20%C3%BC answered 200"
    assert requests[0].startswith(b"GET /a%20b%0D%0AX:%20%C3%BC HTTP/1.1\r\nHost: ")


def test_early_hints_are_not_the_answer(target):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with answering(hints, hints + b"HTTP/1.1 503 Busy\r\n\r\n") as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S).detail == (
            f"GET http://127.0.0.1:{port}/healthz answered 503"
        )


def test_the_body_is_not_waited_for(target):
    gone = threading.Event()

    def answer(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        connection.recv(1)  # until the probe hangs up
        gone.set()

    with listening(answer) as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S).ok
        assert gone.wait(PLENTY_S)


def test_nothing_that_listens_is_said_in_these_words(target, free_port):
    expected = ProbeResult(ok=False, detail=f"nothing listens on 127.0.0.1:{free_port}")
    assert probe_once(HEALTHZ, replace(target, port=free_port), PLENTY_S) == expected
    assert probe_once(Tcp(), replace(target, port=free_port), PLENTY_S) == expected


def test_a_connection_that_is_cut_off_is_said(target):
    with answering() as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S) == ProbeResult(
            ok=False, detail=f"GET http://127.0.0.1:{port}/healthz was cut off before an answer"
        )


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\n",
        b"HTTP\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 020 OK\r\n\r\n",
        b"HTTP/1.1 \xd9\xa2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02",
        b"HTTP/1.1 " + b"x" * 200_000,
        b"HTTP/1.1 100 Continue\r\n" + b"x" * 200_000,
    ],
)
def test_something_that_is_not_http_is_said(target, answer):
    with answering(answer) as port:
        assert probe_once(HEALTHZ, replace(target, port=port), PLENTY_S) == ProbeResult(
            ok=False, detail=f"GET http://127.0.0.1:{port}/healthz was answered with something that is not HTTP"
        )


def test_silence_ends_with_the_timeout(target):
    with listening(lambda connection: connection.recv(4096) and connection.recv(1)) as port:
        assert probe_once(HEALTHZ, replace(target, port=port), 0.1) == ProbeResult(
            ok=False, detail=f"GET http://127.0.0.1:{port}/healthz was not answered within 0.1 s"
        )


@pytest.mark.parametrize("drop", [b"H", b"HTTP/1.1 100 C\r\n\r\n"])
def test_an_answer_that_drips_ends_with_the_timeout(target, drop):
    hung_up = threading.Event()

    def drip(connection):
        connection.sendall(b"HTTP/1.1 1" if drop == b"H" else b"")
        while not hung_up.wait(0.01):
            connection.sendall(drop)

    begun = time.monotonic()
    with listening(drip) as port:
        result = probe_once(HEALTHZ, replace(target, port=port), 0.2)
        took_s = time.monotonic() - begun
        hung_up.set()
    assert result.detail == f"GET http://127.0.0.1:{port}/healthz was not answered within 0.2 s"
    assert 0.2 <= took_s < PLENTY_S


# tcp


def test_a_port_that_accepts_is_ready(target):
    with listening(lambda _: None) as port:
        assert probe_once(Tcp(), replace(target, port=port), PLENTY_S) == ProbeResult(
            ok=True, detail=f"127.0.0.1:{port} accepts connections"
        )


def test_a_full_queue_ends_with_the_timeout(target):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as first:
        port = server.getsockname()[1]
        first.connect(("127.0.0.1", port))  # nobody accepts it
        assert probe_once(Tcp(), replace(target, port=port), 0.1) == ProbeResult(
            ok=False, detail=f"127.0.0.1:{port} did not accept a connection within 0.1 s"
        )


def test_a_connection_to_itself_does_not_count_and_leaves_the_port_free(target, monkeypatch):
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        monkeypatch.setattr(probes.socket, "socket", lambda *_: ours)
        assert probe_once(Tcp(), replace(target, port=port), PLENTY_S) == ProbeResult(
            ok=False, detail=f"nothing listens on 127.0.0.1:{port}"
        )
        monkeypatch.undo()
    with socket.socket() as program:
        program.bind(("127.0.0.1", port))  # would fail for a minute after an ordinary close


def test_no_descriptor_for_a_socket_is_said(target, monkeypatch):
    def refuse(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(probes.socket, "socket", refuse)
    assert probe_once(Tcp(), replace(target, port=8001), PLENTY_S) == ProbeResult(
        ok=False, detail="cannot connect to 127.0.0.1:8001: Too many open files"
    )


def test_an_unusual_refusal_is_passed_on(target, monkeypatch):
    class Unreachable(socket.socket):
        def connect(self, _):
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(probes.socket, "socket", Unreachable)
    assert probe_once(Tcp(), replace(target, port=8001), PLENTY_S) == ProbeResult(
        ok=False, detail="cannot connect to 127.0.0.1:8001: Network is unreachable"
    )


@pytest.mark.parametrize("probe", [HEALTHZ, Tcp()])
def test_a_program_without_a_port_is_not_ready(target, probe):
    assert probe_once(probe, target, PLENTY_S) == ProbeResult(
        ok=False, detail="api-web has no port that could be probed"
    )


# exec


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition):
    deadline = time.monotonic() + PLENTY_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_command_that_exits_0_is_ready(target):
    assert probe_once(Exec(command="echo fine"), target, PLENTY_S) == ProbeResult(
        ok=True, detail='"echo fine" exited with code 0'
    )


def test_a_command_that_fails_is_told_with_its_last_line(target):
    command = "echo first; echo '127.0.0.1:5433 - no response' >&2; echo; exit 2"
    assert probe_once(Exec(command=command), target, PLENTY_S) == ProbeResult(
        ok=False, detail=f'"{command}" exited with code 2: 127.0.0.1:5433 - no response'
    )


def test_a_command_that_fails_in_silence_is_told_without_a_line(target):
    assert probe_once(Exec(command="exit 7"), target, PLENTY_S).detail == '"exit 7" exited with code 7'


def test_a_command_that_is_killed_is_told_with_the_signal(target):
    assert probe_once(Exec(command="kill -SEGV $$"), target, PLENTY_S).detail == (
        '"kill -SEGV $$" was killed by SIGSEGV'
    )
    assert probe_once(Exec(command="kill -40 $$"), target, PLENTY_S).detail == '"kill -40 $$" was killed by signal 40'


def test_a_command_runs_in_the_programs_environment_and_not_in_ours(target, monkeypatch):
    monkeypatch.setenv("OURS", "leaked")
    command = '[ "$GREETING$OURS" = hello ]'
    assert probe_once(Exec(command=command), target, PLENTY_S).ok


def test_a_command_reads_nothing(target):
    assert probe_once(Exec(command="! read line"), target, PLENTY_S).ok


def test_a_command_runs_through_the_launcher(target, tmp_path):
    launch = Launch(program="api-web", command="exit 1", directory=str(tmp_path), credentials=None, limits=Limits())
    env = tmp_path / "env"
    env.write_text(render_env(launch, {"ANSWER": "it's 42"}))
    (tmp_path / "run").write_text(render_run(launch, str(env)))
    command = f'[ "$ANSWER" = "it\'s 42" ] && [ "$PWD" = {tmp_path} ]'
    assert probe_once(Exec(command=command), target, PLENTY_S).ok


def test_a_run_file_that_is_gone_is_not_ready(target):
    result = probe_once(Exec(command="true"), replace(target, run="/nowhere/run"), PLENTY_S)
    assert not result.ok
    assert result.detail.startswith('"true" exited with code ')


def test_a_command_that_does_not_end_is_killed_with_all_that_it_started(target, tmp_path):
    command = f"trap '' TERM INT HUP; sleep 1000 & echo $! $$ >{tmp_path}/pids; wait"
    assert probe_once(Exec(command=command), target, 1.0) == ProbeResult(
        ok=False, detail=f'"{command}" did not end within 1 s'
    )
    for pid in (tmp_path / "pids").read_text().split():
        wait_until(lambda pid=int(pid): is_gone(pid))


def test_a_command_leaves_nothing_running_and_is_not_held_up_by_it(target, tmp_path):
    command = f"sleep 1000 & echo $! >{tmp_path}/pid"
    assert probe_once(Exec(command=command), target, PLENTY_S).ok
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_endless_output_is_not_kept(target):
    result = probe_once(Exec(command="head -c 3000000 /dev/zero; echo; echo enough; exit 1"), target, PLENTY_S)
    assert result.detail.endswith(" exited with code 1: enough")


def test_output_without_end_ends_with_the_timeout(target):
    assert probe_once(Exec(command="exec yes"), target, 0.2).detail == '"exec yes" did not end within 0.2 s'


def test_output_cannot_drive_the_terminal(target):
    result = probe_once(Exec(command=r"printf '\033]0;owned\007\377'; exit 1"), target, PLENTY_S)
    assert result.detail == r""""printf '\033]0;owned\007\377'; exit 1" exited with code 1: \x1b]0;owned\x07\xff"""


def test_a_long_line_of_output_is_cut(target):
    result = probe_once(Exec(command="head -c 1000 /dev/zero | tr '\\0' x; exit 1"), target, PLENTY_S)
    assert result.detail.endswith(f" exited with code 1: {'x' * 200}…")


def test_a_machine_without_room_for_a_process_is_said(target, monkeypatch):
    import subprocess

    def refuse(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert probe_once(Exec(command="true"), target, PLENTY_S) == ProbeResult(
        ok=False, detail='cannot run "true": Resource temporarily unavailable'
    )


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_probe_leaves_no_descriptor_open(target):
    before = open_descriptors()
    for command in ("true", "exit 1", "sleep 1000"):
        probe_once(Exec(command=command), target, 0.1)
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        probe_once(HEALTHZ, replace(target, port=port), PLENTY_S)
    assert open_descriptors() == before


# log


def write(path, text, mode="ab"):
    with Path(path).open(mode) as file:
        file.write(text)


def started_now(target):
    return replace(target, log_start=logs.read_end(target.log))


def test_a_line_that_matches_is_ready(target):
    write(target.log, b"starting\nlistening on 8001\nmore\n")
    assert probe_once(Log(pattern=r"listening on \d+"), target, PLENTY_S) == ProbeResult(
        ok=True, detail='its log says "listening on 8001"'
    )


def test_no_line_that_matches_is_not_ready(target):
    write(target.log, b"starting\n")
    assert probe_once(Log(pattern="^listening"), target, PLENTY_S) == ProbeResult(
        ok=False, detail=f'no line of {target.log} matches "^listening"'
    )


def test_a_log_that_is_not_there_is_not_ready(target):
    assert not probe_once(Log(pattern=""), target, PLENTY_S).ok


def test_lines_of_an_earlier_start_do_not_count(target):
    write(target.log, b"ready\n")
    later = started_now(target)
    assert not probe_once(Log(pattern="ready"), later, PLENTY_S).ok
    write(target.log, b"ready\n")
    assert probe_once(Log(pattern="ready"), later, PLENTY_S).ok


def test_a_pattern_matches_within_one_line(target):
    write(target.log, b"one\ntwo\n")
    assert not probe_once(Log(pattern=r"one\s+two"), target, PLENTY_S).ok
    assert probe_once(Log(pattern="^two$"), target, PLENTY_S).ok


def test_a_line_without_its_end_counts(target):
    write(target.log, b"starting\nready> ")
    assert probe_once(Log(pattern="^ready>"), target, PLENTY_S).ok


def test_odd_bytes_do_not_hide_a_line(target):
    write(target.log, b"\xff\xfe\0 ready\r\n")
    assert probe_once(Log(pattern="ready$"), target, PLENTY_S) == ProbeResult(
        ok=True, detail='its log says "\\xff\\xfe\\x00 ready"'
    )


def test_a_line_that_crosses_two_blocks_is_one_line(target):
    write(target.log, b"x\n" * 32_760 + b"now we are ready\n")
    assert probe_once(Log(pattern="^now we are ready$"), target, PLENTY_S).ok


def test_only_the_first_64_kib_of_a_line_are_looked_at(target):
    write(target.log, b"x" * 65_536 + b"ready\n")
    assert not probe_once(Log(pattern="ready"), target, PLENTY_S).ok
    write(target.log, b"x" * 65_531 + b"ready\n")
    assert probe_once(Log(pattern="ready"), target, PLENTY_S).ok


def test_a_log_that_was_emptied_is_read_from_its_beginning(target):
    write(target.log, b"old and long\n")
    later = started_now(target)
    write(target.log, b"ready\n", mode="wb")
    assert probe_once(Log(pattern="ready"), later, PLENTY_S).ok


def test_the_log_is_followed_through_a_rotation(target):
    write(target.log, b"ready\n")
    later = started_now(target)
    write(target.log, b"rea")
    Path(target.log).rename(f"{target.log}.1")
    write(target.log, b"dy at last\n")
    assert probe_once(Log(pattern="^ready"), later, PLENTY_S) == ProbeResult(
        ok=True, detail='its log says "ready at last"'
    )


def test_a_pipe_in_place_of_the_log_does_not_hold_us_up(target):
    os.mkfifo(target.log)
    assert not probe_once(Log(pattern=""), target, PLENTY_S).ok


# alive


def test_a_process_that_lived_long_enough_is_ready(target):
    assert probe_once(Alive(after_s=1.0), replace(target, age_s=1.0), PLENTY_S) == ProbeResult(
        ok=True, detail="alive for 1.0 s"
    )


def test_a_process_that_is_too_young_is_not_ready(target):
    assert probe_once(Alive(after_s=1.0), replace(target, age_s=0.3), PLENTY_S) == ProbeResult(
        ok=False, detail="alive for 0.3 s of 1 s"
    )


def test_alive_0_is_ready_at_once(target):
    assert probe_once(Alive(after_s=0.0), target, PLENTY_S).ok


def test_probes_that_need_no_process_import_none():
    import subprocess
    import sys

    code = (
        "import sys, bootstrap.world.probes; print({'subprocess', 'signal', 'http', 'http.client'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
