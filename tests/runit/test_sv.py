"""What sv's words mean, and what they do to services of several programs and to boxes that are down."""

from __future__ import annotations

import pytest

from runit_compat.sv_command import Command, UsageError, parse_command
from runit_compat.sv_words import Seen, describe, describe_whole, has_taken_effect

DOWN = Seen(state="down", pid=0, seconds=3)
UP = Seen(state="run", pid=7, seconds=2)


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (["status", "a"], {}, Command(kind="status", services=("a",))),
        (["up", "a", "b"], {}, Command(kind="control", services=("a", "b"), letters="u")),
        (["-v", "up", "a"], {}, Command(kind="control", services=("a",), letters="u", waits=True)),
        (["-w3", "x", "a"], {}, Command(kind="control", services=("a",), letters="x", waits=True, wait_s=3)),
        (["check", "a"], {"SVWAIT": "9s"}, Command(kind="check", services=("a",), letters="C", waits=True, wait_s=9)),
        (["D", "a"], {}, Command(kind="control", services=("a",), letters="d", waits=True, kills=True)),
    ],
)
def test_words(words, environ, expected):
    assert parse_command(words, "sv", environ) == expected


def test_an_init_script_names_the_service():
    assert parse_command(["stop"], "nginx", {}) == Command(
        kind="control", services=("nginx",), letters="d", waits=True, lsb=True
    )
    with pytest.raises(UsageError) as error:
        parse_command(["stat"], "nginx", {})
    assert str(error.value) == "usage: nginx [-w sec] command\n\n"


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (DOWN, "down: api: 3s, normally up"),
        (Seen(state="down", pid=0, seconds=0, normally_up=False, want_up=True), "down: api: 0s, want up"),
        (UP, "run: api: (pid 7) 2s"),
        (
            Seen(state="run", pid=7, seconds=0, normally_up=False, paused=True, want_down=True, got_term=True),
            "run: api: (pid 7) 0s, normally down, paused, want down, got TERM",
        ),
    ],
)
def test_lines(seen, line):
    assert describe(seen, "api") == line


def test_a_logger_stands_behind_its_program():
    seen = Seen(state="run", pid=7, seconds=2, log=UP)
    assert describe_whole(seen, "api") == "run: api: (pid 7) 2s; run: log: (pid 7) 2s"


@pytest.mark.parametrize(
    ("letters", "seen", "before", "expected"),
    [
        ("u", UP, DOWN, True),
        ("u", DOWN, DOWN, False),
        ("d", UP, UP, False),
        ("t", UP, UP, False),
        ("t", Seen(state="run", pid=8, seconds=0), UP, True),
        ("t", Seen(state="down", pid=0, seconds=0, want_up=True), UP, False),
        ("t", DOWN, UP, True),
        ("C", Seen(state="run", pid=7, seconds=0, is_ready=False), UP, False),
        ("p", UP, UP, False),
        ("h", UP, UP, True),
    ],
)
def test_effects(letters, seen, before, expected):
    assert has_taken_effect(letters, seen, before) is expected


def test_a_service_of_several_programs_and_a_box_that_is_down(sandbox):
    sandbox.service(
        "api",
        "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s}}\n"
        "  worker: {command: exec sleep 1000, ready: {alive: 0s}}\n",
    )
    sandbox.run("up")
    assert sandbox.run("sv", "stop", "api").stdout == (
        "ok: down: api-web: 0s, normally up\nok: down: api-worker: 0s, normally up\n"
    )
    assert sandbox.run("sv", "once", "/etc/service/api-web", code=1).stdout == (
        "fail: /etc/service/api-web: unable to run once: bootstrap starts again what exits\n"
    )
    assert sandbox.run("sv", "start", "api-web").stdout.startswith("ok: run: api-web: (pid ")
    sandbox.run("up")
    sandbox.run("down")
    assert sandbox.run("sv", "status", "api-web", code=1).stdout == (
        "fail: api-web: unable to change to service directory: file does not exist\n"
    )
