"""What programs, neighbours and terminals do to us."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.ports import free_port
from support.sandbox import Sandbox, kill_and_wait, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
# a program that writes its title over its own environment, as nginx, redis and Ruby do
TITLED = """\
import ctypes, os, time
stack = next(line for line in open("/proc/self/maps") if "[stack]" in line)
fields = open("/proc/self/stat").read().rpartition(") ")[2].split()
start, end = int(fields[47]), int(fields[48])
ctypes.memset(start, 0x20, end - start)
open("titled", "w").write(str(os.getpid()))
time.sleep(1000)
"""


def test_a_program_that_overwrites_its_environment_is_still_found_after_kill_9_of_supervisord(sandbox):
    folder = sandbox.service(
        "api", f"processes:\n  web: {{command: 'exec {sys.executable} titled.py', ready: {{exec: 'test -e titled'}}}}\n"
    )
    (folder / "titled.py").write_text(TITLED)
    sandbox.run("up")
    old = sandbox.pids()["api-web"]
    assert b"BOOTSTRAP_MARK" not in sandbox.environ_of(old)
    kill_and_wait(sandbox.daemon)
    sandbox.run("up")
    assert old not in sandbox.marked()
    assert sandbox.pids()["api-web"] != old
    sandbox.run("down")
    assert sandbox.marked() == {}


def test_what_a_crashed_leader_leaves_in_its_group_does_not_stand_beside_its_successor(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -s child'}\n"
        "    command: 'sleep 2000 & echo $! >> child; exec sleep 1000'\n",
    )
    sandbox.run("up")
    before = sandbox.pids()["api-web"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: len((folder / "child").read_text().split()) == 2, "the restart")
    first, second = map(int, (folder / "child").read_text().split())
    wait_until(lambda: first not in sandbox.marked(), "the end of the old child")
    assert second in sandbox.marked()


@needs_root
def test_a_service_user_can_use_its_data_directory(sandbox):
    for above in [sandbox.state, *sandbox.state.parents]:
        if above.exists() and above.stat().st_mode & 0o001 == 0 and str(above).startswith("/tmp/pytest"):
            above.chmod(above.stat().st_mode | 0o011)
    sandbox.service(
        "api",
        "processes:\n  web:\n    user: nobody\n    ready: {exec: 'test -e $BOOTSTRAP_DATA/written'}\n"
        "    command: 'touch $BOOTSTRAP_DATA/written && exec sleep 1000'\n",
    )
    sandbox.run("up")
    assert (sandbox.state / "data/api/written").stat().st_uid == 65534


def test_another_box_whose_path_ends_like_ours_is_left_alone(tmp_path):
    inner = Sandbox(tmp_path / "x")
    outer = Sandbox(tmp_path / f"y:{inner.root.parent}".replace("/", "_"))
    for box in (inner, outer):
        box.sleeper("api")
        box.run("up")
    try:
        mine = inner.pids()
        kill_and_wait(outer.daemon)
        outer.run("up")
        assert inner.pids() == mine
    finally:
        for box in (inner, outer):
            box.clean_up()


def test_two_names_of_one_state_are_one_box(sandbox, tmp_path):
    sandbox.sleeper("api")
    sandbox.run("up")
    before = sandbox.pids()
    (tmp_path / "link").symlink_to(sandbox.state)
    sandbox.run("--state", str(tmp_path / "link"), "up")
    assert sandbox.pids() == before


def test_an_up_that_meets_a_supervisor_shutting_down_waits_for_it(sandbox):
    sandbox.sleeper(
        "api",
        command='trap "sleep 0.5; exit 0" TERM; touch up; while :; do sleep 0.01; done',
        ready="{exec: 'test -e up'}",
    )
    sandbox.run("up")
    os.kill(sandbox.daemon, signal.SIGTERM)
    sandbox.run("up")
    assert sandbox.status()["converged"]


def test_down_ends_a_supervisor_that_does_not_answer(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    os.kill(sandbox.daemon, signal.SIGSTOP)
    done = sandbox.run("down", environ={"BOOTSTRAP_RPC_TIMEOUT": "0.2"})
    assert done.stdout.startswith("ending the supervisor by force: cannot talk to supervisord at ")
    assert sandbox.marked() == {}


def test_what_has_cleared_its_environment_and_fled_is_gone_after_down(sandbox):
    folder = sandbox.sleeper(
        "api",
        command='env -i setsid -f sh -c "echo \\$\\$ > fled; exec sleep 3000"; exec sleep 1000'.replace("'", ""),
        ready="{exec: 'test -s fled'}",
    )
    sandbox.run("up")
    fled = int((folder / "fled").read_text())
    sandbox.run("down")
    stat = Path(f"/proc/{fled}/stat")
    assert not stat.exists() or stat.read_text().split()[2] in "ZX"


@pytest.mark.parametrize("output", ["| head -n 1", "> /dev/full", "1>&-", "1>&- 2>&-"])
def test_an_output_that_breaks_does_not_stop_the_work(sandbox, output):
    for name in ("a", "b", "c"):
        sandbox.sleeper(name)
    words = " ".join(sandbox.words("up", "-v"))
    subprocess.run(
        ["/bin/sh", "-c", f"{words} {output}"], env=sandbox.environ, cwd=sandbox.root, capture_output=True, check=False
    )
    wait_until(lambda: sandbox.status()["converged"], "everything to run")


def test_secrets_that_a_program_writes_are_masked_where_its_log_is_quoted(sandbox):
    sandbox.service(
        "bad",
        "secret: [TOKEN]\nprocesses:\n  main: {command: 'echo \"conn $TOKEN\"; exec sleep 1000',"
        " ready: {exec: 'echo \"bad login $TOKEN\"; exit 1', timeout: 200ms}}\n",
    )
    sandbox.config("services/bad/common/TOKEN", "canary-0815")
    done = sandbox.run("up", code=1)
    assert "canary" not in done.stdout + done.stderr
    assert "| conn ••••••" in done.stdout
    assert "bad login ••••••" in done.stdout


def quiesced(sandbox, **process):
    """A program whose stop script leaves a trace."""
    process = {"command": "exec sleep 1000", "ready": {"alive": "0s"}, "stop": {"script": "touch quiesced"}} | process
    return sandbox.service("api", json.dumps({"processes": {"web": process}}))


def test_a_check_that_boot_runs_is_no_reason_to_stop_the_program(sandbox):
    folder = quiesced(sandbox, check={"exec": "touch checked; exec sleep 1000", "every": "50ms", "timeout": "20s"})
    sandbox.sleeper("other")
    child = sandbox.start("boot")
    wait_until((folder / "checked").exists, "a check")
    before = sandbox.pids()
    sandbox.config("services/other/common/X", "1")
    done = sandbox.run("up")
    assert "left behind" not in done.stdout
    assert sandbox.pids()["api-web"] == before["api-web"]
    assert sandbox.pids()["other-web"] != before["other-web"]
    assert not (folder / "quiesced").exists()
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == 0
    assert sandbox.marked() == {}


@needs_root
def test_who_claims_to_be_left_of_a_program_is_ended_alone(sandbox):
    folder = quiesced(sandbox)
    sandbox.sleeper("other")
    sandbox.run("up")
    before = sandbox.pids()
    claim = {"BOOTSTRAP_MARK": f"deadbeef:{sandbox.state}", "BOOTSTRAP_PROGRAM": "api-web"}
    with subprocess.Popen(["sleep", "1000"], env=claim, user=65534, group=65534, start_new_session=True) as liar:
        wait_until(lambda: liar.pid in sandbox.marked(), "it to be executed")
        sandbox.config("services/other/common/X", "1")
        sandbox.run("up")
        assert liar.wait(timeout=30) == -signal.SIGTERM
    assert sandbox.pids()["api-web"] == before["api-web"]
    assert not (folder / "quiesced").exists()


def test_what_the_supervisor_has_adopted_of_an_earlier_run_is_ended_too(sandbox):
    folder = quiesced(
        sandbox,
        command=f"env BOOTSTRAP_MARK=deadbeef:{sandbox.state} setsid sh -c 'echo $$ >stale; exec sleep 2000' & exec sleep 1000",
        ready={"exec": "test -s stale"},
    )
    sandbox.sleeper("other")
    sandbox.run("up")
    before, stale = sandbox.pids(), int((folder / "stale").read_text())
    wait_until(lambda: sandbox.marked()[stale].token == "deadbeef", "it to be executed")
    sandbox.config("services/other/common/X", "1")
    sandbox.run("up")
    assert stale not in sandbox.marked()
    assert sandbox.pids()["api-web"] == before["api-web"]
    assert not (folder / "quiesced").exists()


@needs_root
def test_a_command_that_another_user_runs_gets_no_terminal_of_ours_whatever_is_redirected(sandbox):
    sandbox.service("api", "processes:\n  web: {command: exec sleep 1000, user: nobody}\n")
    script = "echo said; [ -t 1 ] && echo tty1; [ -t 2 ] && echo tty2; (: </dev/tty) 2>/dev/null && echo tty; exit 3"
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [
            "setsid",
            "-c",
            "sh",
            "-c",
            'exec "$@" </dev/null',
            "sh",
            *sandbox.words("run", "api", "--", "sh", "-c", script),
        ],
        env=sandbox.environ,
        cwd=sandbox.root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as child:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # EIO: nobody holds the other side any more
            while block := os.read(ours, 4096):
                said += block
        assert (child.wait(timeout=30), said.split()) == (3, [b"said"])
    os.close(ours)


@pytest.mark.parametrize(("name", "shown"), [(b"\x1b[2Jx", "\\x1b[2Jx"), (b"\xff\xfe", "\ufffd\ufffd")])
def test_the_name_of_whoever_has_a_port_is_shown_without_obeying_it(sandbox, name, shown):
    port = free_port()
    sandbox.service("api", f"processes:\n  web: {{command: exec sleep 9, port: {port}, ready: {{alive: 0s}}}}\n")
    script = (
        "import ctypes, socket, sys, time\n"
        f"ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)\n"
        f"held = socket.create_server(('127.0.0.1', {port})); print('held', flush=True); time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        done = sandbox.run("up", code=1)
        other.kill()
    assert f'port {port} is in use by "{shown}" (pid {other.pid})' in done.stderr


def test_a_program_that_types_up_is_not_ended_half_way(sandbox):
    """Its own replacement would be the end of the command that replaces it."""
    command = " ".join(str(word) for word in sandbox.words("up"))
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {alive: 0s}\n"
        f"    command: 'while ! [ -e go ]; do sleep 0.02; done; {command} >said 2>&1; echo $? >code; exec sleep 1000'\n",
    )
    sandbox.run("up")
    before = sandbox.pids()
    sandbox.config("common/X", "1")
    (folder / "go").touch()
    wait_until(lambda: (folder / "code").exists() and (folder / "code").read_text(), "its answer")
    assert (folder / "code").read_text() == "2\n"
    assert (folder / "said").read_text().splitlines()[-2:] == [
        'error: cannot stop "api-web": this very command runs in it, and would end half-way',
        "  nothing has been changed; way out: type it outside of the programs of this box",
    ]
    assert sandbox.pids() == before


def test_something_else_in_the_place_of_what_is_known_of_a_program_stops_it_all_the_same(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    (facts,) = sandbox.state.glob("run/store/api-web-*/program.json")
    facts.unlink()
    facts.mkdir()
    sandbox.run("down")
    assert sandbox.marked() == {}


def test_a_pipe_in_the_place_of_a_file_of_ours_holds_nobody_up(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    for name in ("run/remembered", "run/ready.json", "run/sessions.json", "format", "log/ledger/api-web.jsonl"):
        path = sandbox.state / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        for verb in (["status", "api-web"], ["up"]):
            sandbox.run(*verb, timeout=20)
    sandbox.run("down")
    assert sandbox.marked() == {}
