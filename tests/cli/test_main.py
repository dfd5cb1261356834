"""What stands around the verbs: help, colours, typing errors, interruptions."""

from __future__ import annotations

import os
import subprocess

import pytest


def on_a_terminal(sandbox, *arguments, **environ):
    """What a terminal of 80 columns shows of a command."""
    ours, theirs = os.openpty()
    environ = {**sandbox.environ, "TERM": "xterm", **environ}
    subprocess.run(sandbox.words(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environ, check=False)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        return b"".join(iter(lambda: read_or_end(terminal), b"")).decode()


def read_or_end(terminal):
    try:
        return terminal.read(65536)
    except OSError:  # EIO: nothing is left of what a side that has gone wrote
        return b""


def test_a_terminal_gets_colours(sandbox):
    sandbox.sleeper("api")
    assert on_a_terminal(sandbox, "plan") == "\x1b[32mstart   \x1b[0mapi-web  it is not running\r\n"
    assert on_a_terminal(sandbox, "stop").startswith("\x1b[31m\x1b[1merror: \x1b[0mcannot act on programs by hand: ")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_whoever_wants_no_colour_gets_none(sandbox, environ):
    sandbox.sleeper("api")
    assert on_a_terminal(sandbox, "plan", **environ) == "start   api-web  it is not running\r\n"
    assert on_a_terminal(sandbox, "stop", **environ).startswith("error: cannot act on programs by hand: ")
