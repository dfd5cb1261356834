"""What a definition can ask for that runit's service directories have: finish, control, a logger, a start by hand."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from support.sandbox import kill_and_wait, wait_until

FINISH = '#!/bin/sh\necho "finish $1 $2 $WORD" >> order\n'


def finishing(sandbox, command="[ -e code ] && exit $(cat code); echo armed; exec sleep 1000", finish=FINISH, **more):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {log: armed}\n    finish: ./finish\n"
        f"    command: {json.dumps(command)}\n"
        + "".join(f"    {key}: {json.dumps(value)}\n" for key, value in more.items()),
    )
    (folder / "finish").write_text(finish)
    (folder / "finish").chmod(0o755)
    sandbox.config("services/api/common/WORD", "it's me")
    return folder


def order(folder):
    try:
        return (folder / "order").read_text().splitlines()
    except FileNotFoundError:
        return []


def test_finish_gets_exit_code_and_signal_and_comes_before_the_next_start(sandbox):
    folder = finishing(sandbox, "echo start >> order; [ -e code ] && exit $(cat code); echo armed; exec sleep 1000")
    sandbox.run("up")
    os.kill(sandbox.pids()["api-web"], signal.SIGUSR1)
    wait_until(lambda: len(order(folder)) == 3, "its return")
    (folder / "code").write_text("7")
    os.kill(wait_until(lambda: sandbox.pids().get("api-web"), "its pid"), signal.SIGKILL)
    wait_until(lambda: "finish 7 0 it's me" in order(folder), "an exit")
    assert order(folder)[:6] == [
        "start",
        f"finish -1 {int(signal.SIGUSR1)} it's me",
        "start",
        "finish -1 9 it's me",
        "start",
        "finish 7 0 it's me",
    ]


def test_a_stop_is_over_when_finish_is(sandbox):
    folder = finishing(sandbox, finish="#!/bin/sh\nsleep 0.3\necho finished >> order\n")
    sandbox.run("up")
    sandbox.run("stop")
    assert order(folder) == ["finished"]
    assert sandbox.marked().keys() == {sandbox.daemon}
    sandbox.run("up")
    kill_and_wait(sandbox.daemon, signal.SIGTERM)
    assert order(folder) == ["finished"] * 2
    assert sandbox.marked() == {}


def test_a_finish_that_hangs_costs_the_grace(sandbox):
    finishing(sandbox, finish="#!/bin/sh\nexec sleep 1000\n", stop={"grace": "300ms"})
    sandbox.run("up")
    sandbox.run("stop")
    assert sandbox.marked().keys() == {sandbox.daemon}
    sandbox.run("up")
    kill_and_wait(sandbox.daemon, signal.SIGTERM)
    assert sandbox.marked() == {}


@pytest.mark.parametrize(("code", "left"), [(0, ["control", "INT"]), (1, ["control", "TERM"])])
def test_a_script_that_exits_0_stands_for_the_signal(sandbox, code, left):
    command = (
        'for name in TERM INT; do trap "echo $name >> order; exit 0" $name; done; echo $$ > pid; echo armed;'
        " while :; do sleep 0.01; done"
    )
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {log: armed}\n    stop: {script: ./control, instead: true}\n"
        f"    command: {json.dumps(command)}\n",
    )
    script = f"#!/bin/sh\necho control >> order\n[ {code} -ne 0 ] || kill -INT $(cat pid)\nexit {code}\n"
    (folder / "control").write_text(script)
    (folder / "control").chmod(0o755)
    for end in (lambda: sandbox.run("stop"), lambda: kill_and_wait(sandbox.daemon, signal.SIGTERM), lambda: None):
        sandbox.run("up")
        end()
        if end.__code__.co_names:
            assert order(folder) == left
            (folder / "order").unlink()
    kill_and_wait(sandbox.daemon)
    sandbox.run("up")
    assert order(folder) == left, "an orphan too"


def logged(sandbox, log="exec cat >> received"):
    return sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -e started'}\n"
        f"    log: {json.dumps(log)}\n"
        '    command: \'echo to the log; echo to nobody >&2; touch started; trap "echo last words; exit 0" TERM;'
        " while :; do sleep 0.01; done'\n",
    )


def test_a_logger_gets_the_standard_output_and_is_a_program_of_its_own(sandbox):
    folder = logged(sandbox)
    sandbox.run("up")
    received = folder / "received"
    wait_until(lambda: received.exists() and received.read_text() == "to the log\n", "the first line")
    assert Path(sandbox.box.program_log("api-web")).read_text() == "to nobody\n"
    before = sandbox.pids()
    assert list(before) == ["api-web-log", "api-web"]
    os.kill(before["api-web-log"], signal.SIGKILL)
    wait_until(lambda: sandbox.pids().get("api-web-log") not in {None, before["api-web-log"]}, "its return")
    assert sandbox.pids()["api-web"] == before["api-web"]
    sandbox.run("stop", "api-web")
    wait_until(lambda: received.read_text() == "to the log\nlast words\n", "the last line")
    logged(sandbox, log="exec cat >> elsewhere")
    assert sandbox.run("up").stdout.splitlines()[0].startswith("replace api-web-log")


def test_what_a_person_has_to_start_waits_for_that(sandbox):
    sandbox.service("api", "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s}, start: by-hand}\n")
    sandbox.sleeper("web")
    done = sandbox.run("up")
    assert [name for name, pid in sandbox.pids().items() if pid] == ["web-web"]
    assert "keep    api-web  only a person starts it" in done.stdout
    assert sandbox.status()["converged"]
    sandbox.run("start", "api-web")
    pid = sandbox.pids()["api-web"]
    sandbox.run("up")
    assert sandbox.pids()["api-web"] == pid
