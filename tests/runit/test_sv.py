"""What sv's words mean, and what they do to services of several programs, without a box, and across an `up`."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace

import pytest

from runit_compat.sv_box import Programs
from runit_compat.sv_command import Command, UsageError, parse_command
from runit_compat.sv_words import Seen, asks_for_check, describe, has_taken_effect, needs_no_letter
from support.sandbox import kill_and_wait, wait_until
from support.sv_worlds import normalised

DOWN = Seen(state="down", pid=0, seconds=3, want="d")
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
        (Seen(state="down", pid=0, seconds=0, normally_up=False), "down: api: 0s, want up"),
        (UP, "run: api: (pid 7) 2s"),
        (
            Seen(state="run", pid=7, seconds=0, normally_up=False, paused=True, want="d", got_term=True),
            "run: api: (pid 7) 0s, normally down, paused, want down, got TERM",
        ),
    ],
)
def test_lines(seen, line):
    assert describe(seen, "api") == line


AGAIN = Seen(state="run", pid=8, seconds=0, is_new=True)
FINISHING = Seen(state="finish", pid=9, seconds=2)


@pytest.mark.parametrize(
    ("letters", "seen", "is_available", "expected"),
    [
        ("u", UP, True, True),
        ("u", UP, False, False),
        ("u", DOWN, True, False),
        ("u", FINISHING, True, False),
        ("d", UP, True, False),
        ("d", FINISHING, True, False),
        ("d", DOWN, True, True),
        ("t", UP, True, False),
        ("t", AGAIN, True, True),
        ("t", AGAIN, False, False),
        ("t", Seen(state="run", pid=8, seconds=0, is_new=True, got_term=True), True, False),
        ("t", Seen(state="down", pid=0, seconds=0), True, False),
        ("t", DOWN, True, True),
        ("tcu", AGAIN, True, True),
        ("tcu", DOWN, True, False),
        ("o", UP, True, False),
        ("o", Seen(state="run", pid=7, seconds=2, want="d"), True, True),
        ("o", DOWN, True, False),
        ("o", Seen(state="down", pid=0, seconds=0, want="d", is_new=True), True, True),
        ("C", UP, False, False),
        ("C", DOWN, False, True),
        ("x", DOWN, True, False),
        ("p", UP, True, False),
        ("p", Seen(state="run", pid=7, seconds=2, paused=True), True, True),
        ("c", Seen(state="run", pid=7, seconds=2, paused=True), True, False),
        ("h", UP, True, True),
    ],
)
def test_effects(letters, seen, is_available, expected):
    assert has_taken_effect(letters, seen, is_available=is_available) is expected


@pytest.mark.parametrize(
    ("letters", "seen", "expected"),
    [("u", UP, True), ("u", DOWN, False), ("C", UP, True), ("t", UP, False), ("t", AGAIN, True), ("d", UP, False)],
)
def test_a_check_runs_only_where_it_decides(letters, seen, expected):
    assert asks_for_check(letters, seen) is expected


@pytest.mark.parametrize(
    ("letters", "seen", "expected"),
    [
        ("u", UP, True),
        ("u", DOWN, False),
        ("d", DOWN, False),
        ("d", Seen(state="run", pid=7, seconds=2, want="d", got_term=True), True),
        ("tcu", UP, False),
    ],
)
def test_what_is_wanted_already_is_not_sent(letters, seen, expected):
    assert needs_no_letter(letters, seen) is expected


def test_a_service_of_several_programs_and_a_box_that_is_down(sandbox):
    sandbox.service(
        "api",
        "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s}}\n"
        "  worker: {command: exec sleep 1000, ready: {alive: 0s}}\n",
    )
    sandbox.run("up")
    assert sorted(normalised(sandbox.run("sv", "stop", "api").stdout).splitlines()) == [
        "ok: down: api-web: Ns, normally up",
        "ok: down: api-worker: Ns, normally up",
    ]
    assert sandbox.run("sv", "-v", "once", "/etc/service/api-web").stdout.endswith("s, want down\n")
    assert normalised(sandbox.run("sv", "stop", "api-web").stdout) == "ok: down: api-web: Ns, normally up\n"
    assert sandbox.run("sv", "start", "api-web").stdout.startswith("ok: run: api-web: (pid ")
    sandbox.run("up")
    sandbox.run("down")
    assert sandbox.run("sv", "status", "api-web", code=1).stdout == (
        "fail: api-web: unable to change to service directory: file does not exist\n"
    )


def test_without_our_plug_in_it_is_the_verbs_that_act(sandbox):
    sandbox.environ["BOOTSTRAP_PLUGIN"] = "off"
    sandbox.sleeper("api")
    sandbox.run("up")
    assert normalised(sandbox.run("sv", "stop", "api").stdout) == "ok: down: api: Ns, normally up\n"
    assert sandbox.run("sv", "once", "api", code=1).stdout == (
        "fail: api: unable to run once: bootstrap's plug-in for supervisord is off\n"
    )
    assert sandbox.run("sv", "start", "api").stdout.startswith("ok: run: api: (pid ")
    before = sandbox.pids()["api-web"]
    assert sandbox.run("sv", "-w", "20", "restart", "api").stdout.startswith("ok: run: api: (pid ")
    assert sandbox.pids()["api-web"] != before


def test_what_sv_has_paused_the_verbs_can_stop(sandbox):
    sandbox.sleeper("api", command="exec sleep 1000")
    sandbox.run("up")
    for verb in ("restart", "stop"):
        assert "paused" in sandbox.run("sv", "-v", "pause", "api").stdout
        sandbox.run(verb, timeout=8)  # the grace is 10 s


def test_once_lasts_until_somebody_wants_it_up(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    sandbox.run("sv", "stop", "api")
    sandbox.run("sv", "-v", "once", "api")
    os.kill(sandbox.pids()["api-web"], signal.SIGKILL)
    wait_until(lambda: sandbox.status()["programs"][0]["state"] == "stopped", "its end")
    sandbox.run("sv", "-v", "once", "api")
    pid = sandbox.pids()["api-web"]
    sandbox.run("up")
    assert sandbox.pids() == {"api-web": pid}, "it runs as it should"
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, pid}, "its return")


def test_what_a_dead_supervisor_ran_once_is_not_started_again(sandbox):
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    sandbox.run("up")
    sandbox.run("sv", "stop", "api")
    sandbox.run("sv", "-v", "once", "api")
    boot = sandbox.start("boot")
    wait_until(lambda: sandbox.status()["converged"] is not None, "boot")
    old = sandbox.daemon
    kill_and_wait(old)
    wait_until(lambda: sandbox.daemon != old and "web-web" in sandbox.pids(), "the other to be back")
    assert list(sandbox.pids()) == ["web-web"]
    boot.send_signal(signal.SIGTERM)
    boot.wait(30)


def test_what_requests_reach_is_stopped_and_started_by_the_verbs(sandbox):
    """They lead requests away first, and back when it is ready; tests/end_to_end has that."""
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    sandbox.run("up")
    programs = Programs(sandbox.box, 0.0)
    traffic = {"groups": ["front"], "dns": None, "ports": {"web-web": 8001}}
    programs.generation = replace(programs.generation, traffic=traffic)
    ((_, reached),) = programs.find("web")
    ((_, other),) = programs.find("api")
    assert [letters for letters in ("d", "x", "t", "tcu", "u", "o", "h", "k") if reached._is_reached(letters)] == [
        *("d", "x", "t", "tcu", "u")
    ]
    assert not other._is_reached("d")
    before = sandbox.pids()["web-web"]
    reached.send("t")
    wait_until(lambda: sandbox.pids().get("web-web") not in {None, before}, "its restart, in the background")
    programs.close()


@pytest.fixture
def chain(sandbox):
    """`web` needs `db`; each takes its time to get ready and to stop, and writes down when."""
    diary = sandbox.root / "diary"
    for name, needs in (("db", ""), ("web", "needs: [db]\n")):
        script = (
            f"trap 'sleep 0.1; echo {name} stopped >>{diary}; exit' TERM; echo {name} starts >>{diary}; sleep 0.1; "
        )
        script += f"echo {name} is up | tee -a {diary}; while :; do sleep 0.02; done"
        sandbox.service(name, f'{needs}processes:\n  main:\n    command: "{script}"\n    ready: {{log: is up}}\n')
    sandbox.run("up")
    diary.write_text("")
    return diary


@pytest.mark.parametrize("names", [("db", "web"), ("web", "db")], ids="-".join)
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["-v", "down"], ["web stopped", "db stopped"]),
        (["stop"], ["web stopped", "db stopped"]),
        (["restart"], ["web stopped", "db stopped", "db starts", "db is up", "web starts", "web is up"]),
    ],
    ids=" ".join,
)
def test_several_that_need_one_another_go_in_waves(sandbox, chain, names, words, wanted):
    said = sandbox.run("sv", *words, *names).stdout
    assert sorted(re.findall(r"^ok: \w+: (\w+):", said, re.MULTILINE)) == ["db", "web"]
    assert chain.read_text().splitlines() == wanted


def test_several_that_need_one_another_start_in_waves_and_stop_in_waves_without_being_waited_for(sandbox, chain):
    sandbox.run("sv", "stop", "web", "db")
    chain.write_text("")
    sandbox.run("sv", "up", "web", "db")
    wait_until(lambda: chain.read_text().endswith("web is up\n"), "both")
    assert chain.read_text().splitlines() == ["db starts", "db is up", "web starts", "web is up"]
    chain.write_text("")
    sandbox.run("sv", "down", "db", "web")
    seen = sandbox.run("sv", "status", "db", "web").stdout
    assert len(re.findall(r"^down:|, want down\b", seen, re.MULTILINE)) == 2, seen
    wait_until(lambda: chain.read_text().count("stopped") == 2, "both to stop")
    assert chain.read_text().splitlines() == ["web stopped", "db stopped"]


def test_term_in_waves_brings_back_only_what_is_wanted_up(sandbox, chain):
    sandbox.run("sv", "stop", "web")
    chain.write_text("")
    sandbox.run("sv", "-v", "term", "web", "db")
    assert chain.read_text().splitlines() == ["db stopped", "db starts", "db is up"]
