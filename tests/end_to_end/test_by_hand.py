"""Programs by hand, one-offs, logs: the verbs beside `up`."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from support.sandbox import wait_until


@pytest.fixture
def stack(sandbox):
    for name in ("api", "web"):
        sandbox.sleeper(name, extra="needs: [db]")
    sandbox.sleeper("db")
    sandbox.run("up")
    return sandbox


def states(sandbox):
    return {program["name"]: program["state"] for program in sandbox.status()["programs"]}


def test_a_stopped_program_stays_stopped_until_start(stack):
    before = stack.pids()
    assert stack.run("stop", "api").stdout.splitlines() == ["api-web  stopping", "stopped: api-web"]
    assert states(stack)["api-web"] == "stopped"
    assert stack.run("status", code=3)
    assert stack.run("start", "--json").json == {"results": {"api-web": "ready"}, "failures": {}}
    after = stack.pids()
    assert {name for name in after if after[name] != before[name]} == {"api-web"}


def test_up_starts_what_was_stopped_and_says_so(stack):
    stack.run("stop", "web-web")
    done = stack.run("up", "--json")
    assert [(a["program"], a["action"], a["reasons"]) for a in done.json["actions"] if a["action"] != "keep"] == [
        ("web-web", "start", ["it is stopped"])
    ]


def test_restart_takes_globs_and_moves_nobody_else(stack):
    before = stack.pids()
    stack.run("restart", "*-web", "-q")
    assert not {*before.values()} & {*stack.pids().values()}
    before = stack.pids()
    stack.run("restart", "db")
    after = stack.pids()
    assert {name for name in after if after[name] != before[name]} == {"db-web"}


def test_an_unknown_name_is_told_the_nearest(stack):
    done = stack.run("stop", "apj-web", code=2)
    assert done.stderr == 'error: cannot find program "apj-web": nothing of that name here; did you mean "api-web"?\n'
    done = stack.run("stop", "apj-web", "--json", code=2)
    assert done.json == {
        "error": {
            "type": "TagError",
            "message": 'cannot find program "apj-web": nothing of that name here; did you mean "api-web"?',
            "exit": 2,
        }
    }


def test_nothing_can_be_done_by_hand_where_nothing_runs(sandbox):
    sandbox.sleeper("api")
    done = sandbox.run("restart", code=75)
    assert done.stderr == (
        'error: cannot act on programs by hand: nothing runs on this box\n  way out: run "bootstrap up"\n'
    )


def test_reload_sends_the_signal_of_the_definition(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    reload: HUP\n    ready: {log: up}\n"
        "    command: 'trap \"touch reloaded\" HUP; echo up; while :; do sleep 0.01; done'\n",
    )
    sandbox.run("up")
    pid = sandbox.pids()["api-web"]
    sandbox.run("reload")
    wait_until((folder / "reloaded").exists, "the signal")
    assert sandbox.pids()["api-web"] == pid


def test_a_one_off_gets_environment_and_directory_and_gives_its_exit_code_back(stack):
    stack.config("services/api/common/WORD", "it's\tme")
    before = stack.pids()
    script = 'printf "%s|" "$WORD" "$BOOTSTRAP_PROGRAM" "$PWD"; ls /proc/self/fd | tr "\\n" " "; exit 7'
    done = stack.run("run", "api", "--", "sh", "-c", script, code=7)
    assert done.stdout == f"it's\tme|api-run|{stack.root}/services/api|0 1 2 3 "
    assert stack.pids() == before
    assert stack.run("run", "apj", "--", "true", code=2).stderr == (
        'error: cannot run something in service "apj": this box does not run it; did you mean "api"?\n'
        "  way out: name a service of this box (api, db, web), or let the tags choose another one\n"
    )
    assert stack.run("run", "api-web", "--", "true", code=2).stderr == (
        'error: cannot run something in service "api-web": that is a program\n  way out: name its service, api\n'
    )


def test_a_one_off_does_not_mind_what_its_caller_has_left_open(sandbox):
    sandbox.sleeper("api")
    for highest in range(3, 12):
        taken = "".join(f" {number}</dev/null" for number in range(3, highest + 1))
        words = " ".join(map(shlex.quote, sandbox.words("run", "api", "--", "echo", "ok")))
        done = subprocess.run(
            ["bash", "-c", f"exec {words}{taken}"], env=sandbox.environ, capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == ("ok\n", "")


def test_a_one_off_needs_no_supervisor_and_leaves_no_file(sandbox):
    sandbox.sleeper("api")
    assert sandbox.run("run", "api", "echo", "hello").stdout == "hello\n"
    assert not sandbox.state.exists()


def test_logs_show_what_programs_wrote_without_their_control_bytes(sandbox):
    sandbox.sleeper("api", command='printf "one\\ntwo \\033[31mred\\n"; exec sleep 1000', ready='{log: "red"}')
    sandbox.run("up")
    assert sandbox.run("logs").stdout == "api-web  | one\napi-web  | two \\x1b[31mred\n"
    assert sandbox.run("logs", "api", "-n", "1", "--json").json == {
        "programs": [{"name": "api-web", "lines": ["two \x1b[31mred"]}]
    }


def test_generations_say_why_there_are_none(sandbox):
    assert sandbox.run("generations").stdout == (
        "no generation is kept here: nothing has run yet, or `bootstrap down` has removed them\n"
    )


def test_generations_tell_what_the_box_has_been(stack):
    first = stack.status()["generation"]
    stack.config("common/A", "1")
    stack.run("up")
    listed = stack.run("generations", "--json").json
    assert [(entry["id"] == first, entry["current"]) for entry in listed] == [(True, False), (False, True)]


def test_every_verb_has_help_with_an_example(sandbox):
    from bootstrap.cli.main import VERBS

    for verb in VERBS:
        text = sandbox.run(verb, "--help").stdout
        assert f"bootstrap {verb}" in text.replace("bootstrap config list", "bootstrap config") or verb == "ps", verb
        assert "Example" in text, verb


def test_a_closed_output_ends_quietly(stack):
    import subprocess

    words = " ".join(stack.words("status"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} | true"], env=stack.environ, cwd=stack.root, capture_output=True, check=False
    )
    assert done.stderr == b""


def test_a_secret_stands_in_no_file_that_others_can_read_and_in_no_argument_list(sandbox):
    canary = "canary-0815-secret"
    sandbox.sleeper("api", extra="secret: [TOKEN]")
    sandbox.config("services/api/common/TOKEN", canary)
    said = sandbox.run("up", "-v").stdout + sandbox.run("plan", "--json").stdout + sandbox.run("config", "list").stdout
    sandbox.config("services/api/common/TOKEN", canary + "-2")
    said += sandbox.run("up", "--json").stdout + sandbox.run("status", "--json").stdout
    assert canary not in said
    for directory, _, names in os.walk(sandbox.state):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and canary.encode() in Path(path).read_bytes():
                assert os.path.basename(path) in {"env", "secrets"}
                assert os.stat(path).st_mode & 0o077 == 0
                assert os.stat(sandbox.state / "run").st_mode & 0o077 == 0
