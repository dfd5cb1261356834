"""The whole line on a real supervisord: what `up` starts, keeps, replaces and stops, and what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from support.ports import free_port
from support.sandbox import wait_until


def actions(done):
    return {action["program"]: action["action"] for action in done.json["actions"]}


def reasons(done, program):
    return next(action["reasons"] for action in done.json["actions"] if action["program"] == program)


def test_up_starts_everything_and_a_second_up_changes_nothing(sandbox):
    for name in ("api", "db", "web"):
        sandbox.sleeper(name)
    first = sandbox.run("up", "--json")
    assert first.json["changed"] is True
    assert actions(first) == {"api-web": "start", "db-web": "start", "web-web": "start"}
    assert {action["result"] for action in first.json["actions"]} == {"ready"}
    before = sandbox.pids()
    assert len(before) == 3
    second = sandbox.run("up", "--json")
    assert second.json["changed"] is False
    assert actions(second) == {"api-web": "keep", "db-web": "keep", "web-web": "keep"}
    assert second.json["generation"] == first.json["generation"]
    assert sandbox.pids() == before


def test_a_second_up_writes_no_file(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    sandbox.run("up")  # the first may have found its inputs too young to remember
    wait_until(lambda: (sandbox.state / "run/remembered").exists() or sandbox.run("up"), "a settled stamp")

    def stamps():
        found = [sandbox.state, *sandbox.state.rglob("*")]
        return {path: path.lstat().st_ctime_ns for path in found if "log" not in path.parts and path.name != "lock"}

    before = stamps()
    sandbox.run("up")
    assert stamps() == before


def test_a_changed_variable_restarts_exactly_the_programs_that_use_it_and_says_why(sandbox):
    for name in ("api", "web"):
        sandbox.sleeper(name)
    sandbox.config("services/api/common/LOG_LEVEL", "info")
    sandbox.run("up")
    before = sandbox.pids()
    sandbox.config("services/api/review/LOG_LEVEL", "debug")
    planned = sandbox.run("plan", "--json")
    assert sandbox.pids() == before, "a plan changes nothing"
    done = sandbox.run("up", "--json")
    why = [
        "LOG_LEVEL has changed (config/services/api/review/LOG_LEVEL, before in config/services/api/common/LOG_LEVEL)"
    ]
    assert actions(planned) == actions(done) == {"api-web": "replace", "web-web": "keep"}
    assert reasons(planned, "api-web") == reasons(done, "api-web") == why
    after = sandbox.pids()
    assert after["web-web"] == before["web-web"]
    assert after["api-web"] != before["api-web"]
    assert sandbox.environ_of(after["api-web"])[b"LOG_LEVEL"] == b"debug"


def test_people_are_told_the_same_in_words(sandbox):
    for name in ("api", "web"):
        sandbox.sleeper(name)
    sandbox.run("up")
    sandbox.config("services/api/common/LOG_LEVEL", "debug")
    done = sandbox.run("up")
    text = re.sub(r"generation [0-9a-f]{16}, [0-9.]+ s", "generation G, T", done.stdout)
    assert text.splitlines() == [
        "replace api-web  LOG_LEVEL is set (config/services/api/common/LOG_LEVEL)",
        "keep    1 more as they are",
        "api-web  stopping",
        "api-web  ready",
        "done: 1 replaced, 1 kept (review, generation G, T)",
    ]
    done = sandbox.run("up")
    text = re.sub(r"generation [0-9a-f]{16}, [0-9.]+ s", "generation G, T", done.stdout)
    assert text == "nothing to do: 2 programs as they should be (review, generation G, T)\n"


def test_json_is_the_only_thing_on_standard_output(sandbox):
    sandbox.sleeper("api")
    done = sandbox.run("up", "--json")
    assert isinstance(json.loads(done.stdout), dict)
    assert "start   api-web" in done.stderr


def test_a_service_that_is_gone_is_stopped(sandbox):
    sandbox.sleeper("api")
    old = sandbox.sleeper("old")
    sandbox.run("up")
    pid = sandbox.pids()["old-web"]
    (old / "service.yaml").unlink()
    old.rmdir()
    done = sandbox.run("up", "--json")
    assert actions(done) == {"old-web": "stop", "api-web": "keep"}
    assert not os.path.exists(f"/proc/{pid}")
    assert list(sandbox.pids()) == ["api-web"]


def test_a_box_in_production_runs_one_process_of_one_service(sandbox):
    sandbox.service(
        "api",
        "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s}}\n"
        "  worker: {command: exec sleep 1000, ready: {alive: 0s}}\n",
    )
    sandbox.sleeper("web")
    tags = ("bootstrap:mode=production", "bootstrap:service=api", "bootstrap:process=worker")
    sandbox.run("up", tags=tags)
    assert list(sandbox.pids()) == ["api-worker"]
    status = sandbox.status()
    assert (status["mode"], status["service"], status["converged"]) == ("production", "api", True)


def test_instances_and_scale(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up", tags=("mode=review", "scale=web=3"))
    assert sorted(sandbox.pids()) == ["api-web-1", "api-web-2", "api-web-3"]
    before = sandbox.pids()
    sandbox.run("up", tags=("mode=review", "scale=web=2"))
    assert sandbox.pids() == {name: pid for name, pid in before.items() if name != "api-web-3"}


def test_what_is_needed_is_ready_before_what_needs_it_starts(sandbox):
    folder = sandbox.service(
        "db",
        "processes:\n  main:\n    command: 'until [ -e go ]; do sleep 0.01; done; touch ready; exec sleep 1000'\n"
        "    ready: {exec: 'test -e ready'}\n",
    )
    sandbox.sleeper("api", extra="needs: [db]", command="test -e ../db/ready && exec sleep 1000")
    running = sandbox.start("up", "--json")
    wait_until(lambda: sandbox.pids().get("db-main"), "db to be started")
    assert "api-web" not in sandbox.pids()
    (folder / "go").touch()
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert {action["result"] for action in json.loads(out)["actions"]} == {"ready"}


@pytest.mark.parametrize(
    ("command", "ready", "cause"),
    [
        ("echo last words; exit 3", "{alive: 1s}", "exited with code 3 before it was ready"),
        ("echo last words; kill -SEGV $$", "{alive: 1s}", "killed by SIGSEGV before it was ready"),
        ("echo last words; exec no-such-command", "{alive: 1s}", "command not found (exited with code 127)"),
        (
            "echo last words; exec sleep 1000",
            "{exec: 'exit 4', timeout: 300ms}",
            'not ready after 0.3 s: "exit 4" exited with code 4',
        ),
        (
            "echo last words; exec sleep 1000",
            "{log: 'never said', timeout: 300ms}",
            'not ready after 0.3 s: no line of STATE/log/bad-main.log matches "never said"',
        ),
    ],
)
def test_a_program_that_does_not_get_ready_is_explained_and_the_others_run(sandbox, command, ready, cause):
    sandbox.service("bad", f'processes:\n  main:\n    command: "{command}"\n    ready: {ready}\n')
    sandbox.sleeper("good")
    sandbox.sleeper("idle", extra="needs: [bad]")
    done = sandbox.run("up", "--json", code=1)
    results = {action["program"]: action["result"] for action in done.json["actions"]}
    assert results == {"bad-main": "failed", "good-web": "ready", "idle-web": "failed"}
    first, where, *tail = done.json["failures"]["bad-main"].splitlines()
    assert first.replace(str(sandbox.state), "STATE") == f'cannot get "bad-main" ready: {cause}'
    assert where == f"  where: {sandbox.state}/log/bad-main.log"
    assert "  | last words" in tail
    assert tail[-1] == "  way out: see `bootstrap logs bad-main`, correct what it says, and run the command again"
    assert done.json["failures"]["idle-web"] == 'cannot start "idle-web": it needs bad, not ready'
    assert sandbox.pids()["good-web"]
    assert sandbox.run("status", code=3)


def test_a_box_without_any_program_is_told_so(sandbox):
    for words, where in ((["plan"], r""), (["up"], r" \(review, generation [0-9a-f]{16}, [0-9.]+ s\)")):
        done = sandbox.run(*words)
        assert re.fullmatch(f"nothing to do: no program is defined for this box{where}\n", done.stdout)


def test_only_what_this_start_has_written_is_shown(sandbox):
    for words in ("old", "new"):
        sandbox.service("bad", f"processes: {{main: {{command: 'echo {words} words; exec no-such-command'}}}}\n")
        done = sandbox.run("up", "--json", code=1)
    assert "  | new words" in done.json["failures"]["bad-main"].splitlines()
    assert "old words" not in done.json["failures"]["bad-main"]


def test_a_port_that_somebody_else_has_is_told_before_anything_happens(sandbox):
    port = free_port()
    sandbox.sleeper("good")
    sandbox.service("api", f"processes:\n  web: {{command: exec sleep 9, port: {port}, ready: {{alive: 0s}}}}\n")
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        planned = sandbox.run("plan", code=1)
        document = sandbox.run("plan", "--json", code=1).json
        done = sandbox.run("up", code=1)
    name = Path("/proc/self/comm").read_text().strip()
    problem = (
        f'cannot start "api-web": port {port} is in use by "{name}" (pid {os.getpid()})\n'
        "  nothing has been changed; way out: end that process, or give one of the two another port\n"
    )
    assert planned.stdout.startswith(f"up would fail: {problem}")
    assert document["failures"] == {"": problem.rstrip()}
    assert done.stderr == f"error: {problem}"
    assert sandbox.marked() == {}


def test_bad_input_is_refused_and_what_ran_before_still_runs(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    before = sandbox.pids()
    sandbox.service("api", "processes:\n  web: {comand: exec sleep 1}\n")
    done = sandbox.run("up", code=2)
    assert 'unknown key; did you mean "command"?' in done.stderr
    sandbox.sleeper("api", extra="requires: [DATABASE_URL]")
    done = sandbox.run("up", code=2)
    assert done.stderr.startswith('error: cannot start "api-web": missing variable DATABASE_URL')
    done = sandbox.run("up", code=2, tags=("mode=prodution",))
    assert 'did you mean "production"?' in done.stderr
    done = sandbox.run("up", code=2, tags=())
    assert done.stderr.startswith("error: cannot ")
    assert sandbox.pids() == before


def test_a_ref_that_nothing_can_follow_is_mentioned(sandbox):
    sandbox.sleeper("api")
    done = sandbox.run("plan", tags=("mode=review", "ref.api=main", "ref=main"))
    assert done.stdout.startswith(
        "not used: tag bootstrap:ref: no service of this box has a source\n"
        "not used: tag bootstrap:ref.api: service api has no source\n"
    )


def test_a_missing_directory_is_refused_before_anything_happens(sandbox):
    sandbox.service("api", "directory: app\nprocesses:\n  web: {command: exec sleep 1}\n")
    problem = (
        f'cannot start "api-web": its directory "{sandbox.root}/services/api/app" does not exist\n'
        "  where: services/api/service.yaml: directory\n"
        "  way out: make it, or name another one\n"
    )
    assert sandbox.run("plan", code=1).stdout.startswith(f"up would fail: {problem}")
    done = sandbox.run("up", code=2)
    assert done.stderr == f"error: {problem}"
    assert sandbox.marked() == {}


def test_set_up_runs_once_for_a_rendering_and_a_failing_one_leaves_the_old_program_running(sandbox):
    folder = sandbox.sleeper("api", extra='setup: ["echo $LEVEL >> ran", "test $LEVEL != bad"]')
    sandbox.config("common/LEVEL", "one")
    sandbox.run("up")
    sandbox.run("up")
    assert (folder / "ran").read_text() == "one\n"
    before = sandbox.pids()
    sandbox.config("common/LEVEL", "bad")
    done = sandbox.run("up", "--json", code=1)
    assert done.json["failures"]["api-web"].splitlines()[0] == (
        'cannot set up "api": exit code 1 (echo $LEVEL >> ran; test $LEVEL != bad)'
    )
    assert sandbox.pids() == before
    sandbox.config("common/LEVEL", "two")
    sandbox.run("up")
    assert (folder / "ran").read_text() == "one\nbad\ntwo\n"
    assert sandbox.pids() != before


def test_ctrl_c_ends_a_set_up_in_order(sandbox):
    script = "trap 'echo ended >> told; exit 1' TERM; touch begun; while :; do sleep 0.01; done"
    folder = sandbox.sleeper("api", extra=f"setup: [{json.dumps(script)}]")
    child = sandbox.start("up")
    wait_until((folder / "begun").exists, "it to begin")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 130
    assert (folder / "told").read_text() == "ended\n"
    assert sandbox.marked().keys() == {sandbox.daemon}
    assert sandbox.pids() == {}


def test_a_set_up_that_has_failed_is_told_until_it_works(sandbox):
    folder = sandbox.sleeper("api", extra="setup: ['echo migrating; test -e fine']")
    sandbox.run("up", code=1)
    shown = sandbox.run("status", code=3).stdout.splitlines()
    assert shown[1].split()[:4] == ["api-web", "stopped", "(set-up", "failed)"]
    assert shown[3] == 'api: its set-up has failed: "bootstrap logs api.setup" shows why'
    assert sandbox.run("logs", "api.setup").stdout == "api.setup  | migrating\n"
    assert sandbox.status()["programs"][0]["setup_failed"] is True
    (folder / "fine").touch()
    sandbox.run("up")
    assert "set-up" not in sandbox.run("status").stdout
    assert sandbox.status()["programs"][0]["setup_failed"] is False


def test_what_is_told_of_a_program_that_does_not_get_ready_is_of_this_life(sandbox):
    sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -e ready', timeout: 200ms}\n"
        "    command: 'echo $WORD; exec sleep 1000'\n",
    )
    sandbox.config("common/WORD", "old")
    sandbox.run("up", code=1)
    sandbox.config("common/WORD", "new")
    sandbox.run("up", code=1)
    done = sandbox.run("up", "--json", code=1)
    assert done.json["failures"]["api-web"].splitlines()[2:4] == [
        "  | new",
        "  way out: see `bootstrap logs api-web`, correct what it says, and run the command again",
    ]


def test_down_leaves_nothing_but_logs_and_data(sandbox):
    sandbox.sleeper("api")
    sandbox.sleeper("db")
    sandbox.run("up")
    done = sandbox.run("down")
    assert done.stdout.splitlines()[-1].startswith("down: 2 stopped in ")
    assert sandbox.marked() == {}
    assert sorted(path.name for path in sandbox.state.iterdir()) == ["data", "log"]
    assert sandbox.run("down").stdout == "nothing was running\n"
    assert sandbox.run("status", code=3).stdout == 'nothing runs here; "bootstrap up" starts what the tags say\n'


def test_a_state_directory_longer_than_a_socket_path_may_be_works(sandbox, tmp_path):
    sandbox.sleeper("api")
    state = tmp_path / ("s" * 100) / ("t" * 60)
    state.parent.mkdir()
    assert sandbox.run("--state", str(state), "up").stdout
    assert sandbox.run("--state", str(state), "status")
    sandbox.run("--state", str(state), "down")


def test_a_second_up_waits_and_says_for_whom_or_exits_with_75(sandbox):
    folder = sandbox.sleeper("api", ready="{exec: 'test -e ready'}")
    first = sandbox.start("up")
    wait_until(lambda: sandbox.pids().get("api-web"), "the first to start it")
    refused = sandbox.run("up", "--no-wait", code=75)
    assert refused.stderr.startswith(f'error: cannot change this box: "bootstrap up" (pid {first.pid}, since ')
    second = sandbox.start("up")
    assert second.stdout.readline().startswith(f'waiting for "bootstrap up" (pid {first.pid}, since '.encode())
    (folder / "ready").touch()
    assert first.wait(30) == 0
    assert second.wait(30) == 0
    assert b"nothing to do: 1 program as it should be" in second.stdout.read()


def test_ctrl_c_leaves_what_the_next_up_finishes(sandbox):
    folder = sandbox.sleeper("api", ready="{exec: 'test -e ready'}")
    sandbox.sleeper("web", extra="needs: [api]")
    first = sandbox.start("up")
    pid = wait_until(lambda: sandbox.pids().get("api-web"), "it to be started")
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=30)
    assert first.returncode == 130
    assert err == b'\nerror: interrupted; run "bootstrap up" to finish what was begun\n'
    (folder / "ready").touch()
    done = sandbox.run("up", "--json")
    assert actions(done) == {"api-web": "keep", "web-web": "start"}
    assert sandbox.pids()["api-web"] == pid


def test_the_deadline_of_a_run_is_124(sandbox):
    sandbox.sleeper("api", ready="{exec: 'false', timeout: 60s}")
    done = sandbox.run("up", "--timeout", "1s", code=124)
    assert 'cannot get "api-web" ready: not ready when the time of this run was over' in done.stdout


def test_without_the_plug_in_everything_still_works(sandbox, monkeypatch):
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    environ = {"BOOTSTRAP_PLUGIN": "off"}
    sandbox.run("up", environ=environ)
    before = sandbox.pids()
    assert "rpcinterface:bootstrap" not in (sandbox.state / "run/supervisord.conf").read_text()
    assert actions(sandbox.run("up", "--json")) == {"api-web": "keep", "web-web": "keep"}
    sandbox.config("services/api/common/A", "1")
    assert actions(sandbox.run("up", "--json")) == {"api-web": "replace", "web-web": "keep"}
    assert sandbox.pids()["web-web"] == before["web-web"]
    sandbox.run("down")
    assert sandbox.marked() == {}
