"""The stop ladder, whoever runs it: script, signal, grace, KILL of everything, and `stopped` only then."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from pathlib import Path

import pytest

from support.sandbox import kill_and_wait, wait_until

TRAP = 'trap "echo {signal} >> order; exit 0" {signal}; touch trapped; while :; do sleep 0.01; done'


def scripted(sandbox, **stop):
    """A service that notes its stop script and its signal in the file `order`."""
    options = {"script": 'echo "script $WORD" >> order', "signal": "INT", "grace": "5s"} | stop
    sandbox.config("services/api/common/WORD", "it's me")
    return sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -e trapped'}\n"
        f"    command: {json.dumps(TRAP.format(signal=options['signal']))}\n"
        f"    stop: {json.dumps(options)}\n",
    )


def lives(sandbox, program="api-web"):
    return json.loads(sandbox.run("status", program, "--json", code=None).stdout)["programs"][0]["lives"]


def test_an_orphan_is_stopped_as_its_definition_says(sandbox):
    folder = scripted(sandbox)
    sandbox.run("up")
    kill_and_wait(sandbox.daemon)
    sandbox.run("up")
    assert (folder / "order").read_text() == "script it's me\nINT\n"
    (first, second) = lives(sandbox)
    assert first["cause"] == "abandoned"
    assert second["ended_at"] is None


def test_orphans_are_stopped_in_reverse_waves(sandbox):
    order = sandbox.root / "order"
    command = (
        f'trap "sleep 0.05; echo $BOOTSTRAP_SERVICE >> {order}; exit 0" TERM;'
        f" touch {order}.$BOOTSTRAP_SERVICE; while :; do sleep 0.01; done"
    )
    ready = f'{{exec: "test -e {order}.$BOOTSTRAP_SERVICE"}}'
    sandbox.sleeper("db", command=command, ready=ready)
    sandbox.sleeper("api", extra="needs: [db]", command=command, ready=ready)
    sandbox.run("up")
    kill_and_wait(sandbox.daemon)
    sandbox.run("up")
    assert order.read_text() == "api\ndb\n"


def test_an_orphan_keeps_the_ladder_of_the_rendering_that_it_runs(sandbox):
    folder = scripted(sandbox)
    sandbox.run("up")
    kill_and_wait(sandbox.daemon)
    scripted(sandbox, script="echo new >> order", signal="TERM")
    sandbox.run("up")
    assert (folder / "order").read_text() == "script it's me\nINT\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_bare_signal_to_supervisord_runs_the_whole_ladder(sandbox, number):
    folder = scripted(sandbox)
    sandbox.run("up")
    kill_and_wait(sandbox.daemon, number)
    assert (folder / "order").read_text() == "script it's me\nINT\n"
    assert sandbox.marked() == {}
    assert lives(sandbox)[0]["cause"] == "stopped"


def test_a_bare_sigterm_ends_what_was_double_forked_and_what_ignores_it(sandbox):
    loop = "while :; do sleep 0.05; done"
    stubborn = f"trap : TERM; setsid sh -c 'trap : TERM; echo armed; {loop}' & {loop}"
    sandbox.service(
        "api",
        f"processes:\n  web:\n    ready: {{log: armed}}\n    command: {json.dumps(stubborn)}\n    stop: {{grace: 300ms}}\n",
    )
    sandbox.run("up")
    begun = time.monotonic()
    kill_and_wait(sandbox.daemon, signal.SIGTERM)
    assert time.monotonic() - begun < 1.5
    assert sandbox.marked() == {}


def test_a_stop_script_that_hangs_costs_its_grace_and_is_told(sandbox):
    folder = scripted(sandbox, script="sleep 1000", grace="300ms")
    sandbox.run("up")
    done = sandbox.run("stop")
    assert "api-web  its stop script did not end within 0.3 s and was killed" in done.stdout.splitlines()
    assert (folder / "order").read_text() == "INT\n"
    sandbox.run("up")
    kill_and_wait(sandbox.daemon, signal.SIGTERM)
    assert sandbox.marked() == {}


@pytest.mark.parametrize(
    ("script", "how"), [("exit 3", "exit code 3"), ("./not-there", "command not found: exit code 127")]
)
def test_a_stop_script_that_fails_is_told_and_the_ladder_goes_on(sandbox, script, how):
    scripted(sandbox, script=script)
    sandbox.run("up")
    done = sandbox.run("stop")
    assert f"api-web  its stop script failed ({how})" in done.stdout.splitlines()
    assert sandbox.marked().keys() == {sandbox.daemon}


def test_ctrl_c_while_a_stop_script_works_stops_the_program_all_the_same(sandbox):
    folder = scripted(sandbox, script="touch quiesced; exec sleep 1000", grace="20s")
    sandbox.run("up")
    child = sandbox.start("stop")
    wait_until((folder / "quiesced").exists, "its script to work")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 130
    wait_until(lambda: sandbox.pids() == {}, "what was quiesced to be stopped")
    assert (folder / "order").read_text() == "INT\n"


def test_what_holds_up_a_stop_is_named_with_why_and_how_long(sandbox):
    sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {log: armed}\n    stop: {grace: 4s}\n"
        "    command: 'trap \"\" TERM; echo armed; exec sleep 1000'\n",
    )
    sandbox.run("up")
    pid = sandbox.pids()["api-web"]
    done = sandbox.run("stop")
    assert f"api-web  still stopping (pid {pid}, it ignores TERM); KILL follows in 1 s" in done.stdout.splitlines()
    assert lives(sandbox)[-1]["cause"] == "killed"


@pytest.fixture
def freezer():
    """A cgroup (v1) whose processes not even KILL reaches while it is frozen: an uninterruptible sleep on demand."""
    top = Path("/sys/fs/cgroup/freezer")
    try:
        folder = top / f"bootstrap-test-{uuid.uuid4().hex}"
        folder.mkdir()
    except OSError:
        pytest.skip("no freezer cgroup (v1) can be made here: nothing can be put into an uninterruptible sleep")
    yield folder
    (folder / "freezer.state").write_text("THAWED")
    for pid in (folder / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: not (folder / "cgroup.procs").read_text(), "the frozen to end")
    folder.rmdir()


def freeze(freezer, pid):
    (freezer / "cgroup.procs").write_text(str(pid))
    (freezer / "freezer.state").write_text("FROZEN")
    wait_until(lambda: (freezer / "freezer.state").read_text() == "FROZEN\n", "it to freeze")


def test_what_not_even_kill_ends_is_named_and_never_gets_a_second_copy(sandbox, freezer):
    for name in ("api", "web"):
        sandbox.service(
            name, "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s}, stop: {grace: 100ms}}\n"
        )
    sandbox.run("up")
    stuck = sandbox.pids()["api-web"]
    freeze(freezer, stuck)
    sandbox.config("common/WORD", "new")
    done = sandbox.run("up", code=1)
    assert (
        f"error: cannot end api-web (pid {stuck}): not even KILL ends it (uninterruptible sleep, or it forks too fast)\n"
        "  nothing is started beside it; way out: find what it waits for, or reboot the box\n"
    ) in done.stdout
    assert sandbox.environ_of(sandbox.pids()["web-web"])[b"WORD"] == b"new", "the others go on"
    assert [p.pid for p in sandbox.marked().values() if p.program == "api-web"] == [stuck]
    kill_and_wait(sandbox.daemon)
    done = sandbox.run("up", code=1)
    assert f"cannot end api-web (pid {stuck})" in done.stdout
    assert [p.pid for p in sandbox.marked().values() if p.program == "api-web"] == [stuck]
    (freezer / "freezer.state").write_text("THAWED")
    sandbox.run("up")
    assert sandbox.environ_of(sandbox.pids()["api-web"])[b"WORD"] == b"new"


def test_a_hundred_programs_of_300_ms_are_down_within_800_ms_of_a_bare_sigterm(sandbox):
    command = "trap 'sleep 0.3; exit 0' TERM; echo armed; sleep 1000 & wait"
    for number in range(100):
        sandbox.sleeper(f"s{number:02}", command=command.replace("'", "''"), ready="{log: armed}")
    sandbox.run("up")
    daemon = sandbox.daemon
    begun = time.monotonic()
    kill_and_wait(daemon, signal.SIGTERM)
    took = time.monotonic() - begun
    assert sandbox.marked() == {}
    assert took < 1.6, "0.8 s on a machine that does nothing else; one after another it would be 30 s"


def test_the_ledger_survives_supervisord_and_tells_every_life(sandbox):
    sandbox.sleeper("api")
    generation = sandbox.run("up", "--json").json["generation"]
    first = sandbox.pids()["api-web"]
    os.kill(first, signal.SIGSEGV)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, first}, "its return")
    kill_and_wait(sandbox.daemon, signal.SIGTERM)
    sandbox.run("up")
    sandbox.run("restart")
    told = lives(sandbox)
    assert [(life["cause"], life["signal"]) for life in told] == [
        ("signal", "SIGSEGV"),
        ("stopped", "SIGTERM"),
        ("stopped", "SIGTERM"),
        (None, None),
    ]
    assert told[0]["pid"] == first
    assert {life["generation"] for life in told} == {generation}
    shown = sandbox.run("ps", "api").stdout
    assert "HOW IT ENDED" in shown
    assert f"{generation}  killed by SIGSEGV" in shown
    assert shown.splitlines()[-1].endswith(f"{generation}  lives")


def test_a_ledger_keeps_twenty_lives_and_survives_damage(sandbox):
    sandbox.service(
        "api",
        "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s}, restart: {window: 1s, starts: 100}}\n",
    )
    sandbox.run("up")
    path = sandbox.state / "log/ledger/api-web.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event": "exit", \n\xff\x00\n[]\n')
    pid = sandbox.pids()["api-web"]
    for _ in range(22):
        sandbox.run("restart")
        before, pid = pid, sandbox.pids()["api-web"]
        assert pid != before
    assert len(lives(sandbox)) == 20


def test_never_ready_is_a_verdict_on_the_life_that_goes_on(sandbox):
    sandbox.sleeper("api", ready='{exec: "false", timeout: 200ms}')
    sandbox.run("up", code=1)
    (life,) = lives(sandbox)
    assert (life["cause"], life["ended_at"]) == ("never ready", None)
    assert sandbox.run("ps", "api", code=3).stdout.splitlines()[-1].endswith("lives, never ready")
