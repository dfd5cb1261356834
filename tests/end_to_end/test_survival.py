"""What is killed, whenever, the next `up` mends; there are never two of anything."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time

import pytest

from bootstrap import control
from bootstrap.world import scripts
from support.sandbox import kill_and_wait, wait_until


def copies(sandbox):
    """The program of every living main process; one that has not taken over from its launcher yet is waited for."""

    def mains():
        marked = sandbox.marked()
        marked.pop(sandbox.daemon)
        found = [process for process in marked.values() if process.parent not in marked]
        return found if all(process.program for process in found) else None

    return sorted(process.program for process in wait_until(mains, "every launcher to hand over"))


def test_after_kill_9_of_supervisord_up_ends_the_old_tree_before_it_starts_the_new(sandbox):
    for name in ("api", "web"):
        sandbox.sleeper(name)
    sandbox.run("up")
    before = sandbox.pids()
    kill_and_wait(sandbox.daemon)
    assert sandbox.run("status", code=3).stdout.splitlines() == [
        "PROGRAM  STATE        PID  AGE  RESTARTS  PORT  LAST EXIT",
        "api-web  left behind  -    -    -         -     -",
        "web-web  left behind  -    -    -         -     -",
        f"review, generation {os.path.basename(os.readlink(sandbox.state / 'current'))}: not converged",
        'the supervisor has died, and what is left behind runs on without it: "bootstrap up" starts it anew',
    ]
    told = [(p["name"], p["state"], p["left_behind"]) for p in sandbox.status()["programs"]]
    assert told == [("api-web", "stopped", True), ("web-web", "stopped", True)]
    assert sandbox.run("stop", code=75).stderr == (
        'error: cannot act on programs by hand: no supervisor runs on this box\n  way out: run "bootstrap up"\n'
    )
    done = sandbox.run("up")
    assert "stopping what an earlier supervisor has left behind: api-web, web-web" in done.stdout
    assert copies(sandbox) == ["api-web", "web-web"]
    assert not {*before.values()} & {*sandbox.pids().values()}


def test_a_child_that_left_its_session_is_gone_after_a_stop(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -s child'}\n"
        "    command: 'setsid sh -c \"trap : TERM; echo \\$\\$ > child; while :; do sleep 0.1; done\" & exec sleep 1000'\n"
        "    stop: {grace: 300ms}\n",
    )
    sandbox.run("up")
    child = int((folder / "child").read_text())
    sandbox.run("stop", "api")
    assert child not in sandbox.marked()
    assert sandbox.marked().keys() == {sandbox.daemon}


def test_the_stop_script_runs_first_with_the_programs_environment(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {log: armed}\n"
        "    command: 'trap \"echo term >> order; exit 0\" TERM; echo armed; while :; do sleep 0.01; done'\n"
        "    stop: {script: 'echo \"script $WORD\" >> order'}\n",
    )
    sandbox.config("services/api/common/WORD", "it's me")
    sandbox.run("up")
    sandbox.run("down")
    assert (folder / "order").read_text() == "script it's me\nterm\n"


def test_a_crashed_program_is_back_at_once_and_its_exit_is_told(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    pid = sandbox.pids()["api-web"]
    os.kill(pid, signal.SIGSEGV)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, pid}, "its return", patience_s=5)
    (program,) = sandbox.status()["programs"]
    assert program["restarts"] == 1
    assert {key: program["last_exit"][key] for key in ("code", "signal", "cause")} == {
        "code": None,
        "signal": "SIGSEGV",
        "cause": "signal",
    }
    assert "killed by SIGSEGV" in sandbox.run("ps").stdout


def test_deaths_that_a_program_has_recovered_from_are_no_failure_of_the_next_up(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    for _ in range(2):
        pid = sandbox.pids()["api-web"]
        kill_and_wait(pid)
        wait_until(lambda pid=pid: sandbox.pids().get("api-web") not in {None, pid}, "its return")
    pid = sandbox.pids()["api-web"]
    sandbox.run("up")
    assert sandbox.pids()["api-web"] == pid
    assert sandbox.status()["converged"]


def test_what_an_earlier_process_wrote_says_nothing_about_its_successor(sandbox):
    folder = sandbox.sleeper("api", command="[ -e quiet ] || echo armed; exec sleep 1000", ready="{log: armed}")
    sandbox.run("up")
    (folder / "quiet").touch()
    pid = sandbox.pids()["api-web"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, pid}, "its return")
    assert [program["ready"] for program in sandbox.status()["programs"]] == [False]
    with open(sandbox.box.program_log("api-web"), "ab") as log:
        log.write(b"armed\n")
    assert sandbox.status()["converged"]


def test_a_crash_loop_is_slowed_down(sandbox):
    folder = sandbox.sleeper("api", command="cat /proc/uptime >> starts; exit 1")
    (folder / "starts").touch()
    sandbox.run("up", code=None)
    wait_until(lambda: len((folder / "starts").read_text().splitlines()) == 4, "four starts")
    first, second, third, fourth = (float(line.split()[0]) for line in (folder / "starts").read_text().splitlines())
    assert third - second > 0.2
    assert fourth - third > 0.4
    assert second - first < 0.2


def test_more_starts_than_the_window_allows_is_failed_and_up_starts_it_again(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web: {command: '[ -e ok ] || exit 7; echo up; exec sleep 1000',"
        " restart: {window: 60s, starts: 3}, ready: {log: up}}\n",
    )
    (folder / "ok").touch()
    sandbox.run("up")
    (folder / "ok").unlink()
    os.kill(sandbox.pids()["api-web"], signal.SIGKILL)
    failed = wait_until(
        lambda: next((p for p in sandbox.status()["programs"] if p["state"] == "failed"), None), "it to fail"
    )
    assert failed["last_exit"]["code"] == 7
    (folder / "ok").touch()
    done = sandbox.run("up", "--json")
    assert [(a["action"], a["reasons"]) for a in done.json["actions"]] == [
        ("start", ["it has failed (exited with code 7)"])
    ]
    assert sandbox.status()["converged"]


def test_a_bare_sigterm_to_supervisord_stops_each_wave_in_parallel(sandbox):
    folder = sandbox.root / "order"
    folder.mkdir()
    trap = f'trap "sleep 0.2; echo $BOOTSTRAP_SERVICE >> {folder}/order; exit 0" TERM'
    program = {"command": f"{trap}; echo armed; while :; do sleep 0.01; done", "ready": "{log: armed}"}
    for name in ("a", "b", "c"):
        sandbox.sleeper(name, **program)
    sandbox.sleeper("front", extra="needs: [a, b, c]", **program)
    sandbox.run("up")
    begun = time.monotonic()
    kill_and_wait(sandbox.daemon, signal.SIGTERM)
    assert time.monotonic() - begun < 1.0, "two waves of 0.2 s, not four programs one after another"
    first, *rest = (folder / "order").read_text().split()
    assert first == "front"
    assert sorted(rest) == ["a", "b", "c"]
    assert sandbox.marked() == {}


@pytest.mark.parametrize("when", range(1, 40, 3))
def test_an_up_that_is_killed_anywhere_is_finished_by_the_next(sandbox, when):
    """Killed at its nth rename, open or send: between any two steps that somebody else could see."""
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed, which CI must have")
        pytest.skip("strace is not installed: nothing can be killed at a chosen system call")
    for name in ("api", "web"):
        sandbox.sleeper(name)
    sandbox.run("up")
    sandbox.config("common/A", "1")
    sandbox.sleeper("new")
    words = ["strace", "-qqq", "-o", "/dev/null", "-e", f"inject=rename,openat,sendto:signal=KILL:when={when}+50"]
    killed = subprocess.run(
        [*words, *sandbox.words("up")], env=sandbox.environ, capture_output=True, cwd=sandbox.root, check=False
    )
    assert killed.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL, 0}
    sandbox.run("up")
    assert copies(sandbox) == ["api-web", "new-web", "web-web"]
    status = sandbox.status()
    assert status["converged"]
    assert all(sandbox.environ_of(program["pid"])[b"A"] == b"1" for program in status["programs"])


FILES = ["run/remembered", "run/ready.json", "run/setups.json", "run/secrets.json", "run/programs.conf"]


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"inputs": 1, "api-web": 2}', b"\xff\x00"])
def test_damaged_files_of_ours_are_made_again_and_restart_nothing(sandbox, damage):
    sandbox.sleeper("api")
    sandbox.run("up")
    before = sandbox.pids()
    for name in FILES:
        (sandbox.state / name).write_bytes(damage)
    for path in sandbox.state.glob("generations/*/generation.json"):
        path.write_bytes(damage)
    sandbox.run("up")
    assert sandbox.pids() == before
    assert sandbox.status()["converged"]


def test_a_store_entry_that_lost_a_file_is_written_again_before_it_is_started_from(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    sandbox.run("stop")
    for path in sandbox.state.glob("run/store/*/env"):
        path.unlink()
    (sandbox.state / "run/remembered").unlink(missing_ok=True)
    sandbox.run("up")
    assert sandbox.status()["converged"]


def test_a_store_entry_that_is_damaged_is_told_and_mended_by_the_next_up(sandbox):
    sandbox.sleeper("api")
    remembered = sandbox.state / "run/remembered"
    wait_until(lambda: sandbox.run("up") and remembered.exists(), "an `up` that will not be rendered again")
    sandbox.run("stop")
    (path,) = sandbox.state.glob("run/store/*/program.json")
    path.write_bytes(b"{}")
    done = sandbox.run("up", code=75)
    assert done.stderr == (
        "error: cannot start api-web: what was rendered for it is damaged\n"
        f"  where: {path.parent}\n"
        "  way out: run bootstrap up again, which renders it anew\n"
    )
    sandbox.run("up")
    assert sandbox.status()["converged"]


def test_a_supervisor_that_has_lost_its_socket_starts_nothing_while_it_is_replaced(sandbox):
    starts, stops = sandbox.root / "starts", sandbox.root / "stops"
    sandbox.service(
        "api",
        f"processes:\n  web: {{command: 'echo up >> {starts}; exec sleep 1000', ready: {{alive: 50ms}},"
        f" stop: {{script: 'echo down >> {stops}'}}}}\n",
    )
    sandbox.run("up")
    old = sandbox.daemon
    (sandbox.state / "run/supervisord.sock").unlink()
    sandbox.run("up")
    assert sandbox.daemon != old
    assert (starts.read_text(), stops.read_text()) == ("up\n" * 2, "down\n")
    assert old not in sandbox.marked()


@pytest.mark.parametrize("is_file", [False, True])
def test_a_store_that_is_lost_is_made_again(sandbox, is_file):
    sandbox.sleeper("api")
    sandbox.run("up")
    before = sandbox.pids()
    store = sandbox.state / "run/store"
    shutil.rmtree(store)
    if is_file:
        store.touch()
        done = sandbox.run("up", code=75)
        assert f'cannot make the directory "{store}": File exists\n' in done.stderr
        store.unlink()
    sandbox.run("up")
    assert sandbox.pids() == before
    kill_and_wait(sandbox.daemon)
    sandbox.run("up")
    assert sandbox.pids().keys() == before.keys()


def test_a_pipe_in_the_place_of_a_log_is_not_waited_for(sandbox):
    stops = sandbox.root / "stops"
    sandbox.service(
        "api",
        "processes:\n  web: {command: 'echo up; exec sleep 1000', ready: {alive: 0s},"
        f" stop: {{script: 'echo down >> {stops}'}}}}\n",
    )
    sandbox.run("up")
    log = sandbox.state / "log/api-web.log"
    log.unlink()
    os.mkfifo(log)
    before = sandbox.pids()["api-web"]
    kill_and_wait(before)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, before}, "its return")
    said = (sandbox.state / "log/supervisord.log").read_text()
    assert "the log of api-web can't be opened: [Errno 17] a pipe stands in its place: " in said
    sandbox.run("restart", "api")
    os.kill(sandbox.daemon, signal.SIGTERM)
    wait_until(lambda: sandbox.marked() == {}, "the end of everything")
    assert stops.read_text() == "down\n" * 2


def test_where_no_stop_script_can_be_started_the_signal_stops_all_the_same(sandbox, monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    sandbox.service(
        "api", "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s}, stop: {script: 'exit 0'}}\n"
    )
    sandbox.run("up")
    said = []
    monkeypatch.setattr(scripts, "start_script", refuse)
    control.halt(sandbox.box, lambda name, text: said.append((name, text)))
    assert ("api-web", "its stop script can't be started: Resource temporarily unavailable") in said
    assert sandbox.marked() == {}


def test_a_timeout_that_is_no_number_is_refused(sandbox):
    sandbox.sleeper("api")
    done = sandbox.run("status", code=2, environ={"BOOTSTRAP_RPC_TIMEOUT": "soon"})
    assert done.stderr == (
        'error: cannot use BOOTSTRAP_RPC_TIMEOUT "soon": should be a number of seconds above 0\n'
        "  way out: correct or unset the variable\n"
    )


def test_a_supervisor_that_does_not_answer_is_75_and_not_for_ever(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    os.kill(sandbox.daemon, signal.SIGSTOP)
    try:
        done = sandbox.run("status", code=75, environ={"BOOTSTRAP_RPC_TIMEOUT": "0.2"})
    finally:
        os.kill(sandbox.daemon, signal.SIGCONT)
    socket = sandbox.state / "run/supervisord.sock"
    assert done.stderr == (
        f"error: cannot talk to supervisord at {socket}: timed out\n"
        "  way out: run the command again; if it stays so, look into log/supervisord.log\n"
    )
