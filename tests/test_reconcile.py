"""Wanted and observed → actions, as tables."""

from __future__ import annotations

import pytest

from bootstrap.definition import Alive, render_probe
from bootstrap.observed import LastExit, Observed, ObservedProgram
from bootstrap.reconcile import (
    Keep,
    Replace,
    Start,
    Stop,
    changes_something,
    diff_generation,
    differing,
    explain_change,
    verb_of,
)
from bootstrap.rendering import Generation, Unit


def unit(name="api-web", fingerprint="new", wave=0):
    return Unit(
        name=name,
        service=name.split("-")[0],
        process="web",
        fingerprint=fingerprint,
        wave=wave,
        needs=(),
        port=None,
        ready=render_probe(Alive()),
        stop_signal="TERM",
        stop_grace_s=10.0,
        stop_script=None,
        stop_group=False,
        reload=None,
        restart_window_s=60.0,
        restart_starts=5,
        setup=(),
    )


def running(name="api-web", fingerprint="new", state="running", last_exit=None):
    return ObservedProgram(
        name=name,
        fingerprint=fingerprint,
        state=state,
        pid=77 if state in {"running", "starting", "stopping"} else None,
        age_s=1.0,
        started_at=1.0,
        restarts=0,
        deaths=0,
        last_exit=last_exit,
    )


def wanted(*units):
    return Generation(id="g", mode="review", service=None, units=units)


DIED = LastExit(code=3, signal=None, cause="exited", at=1.0)

CASES = {
    "nothing runs": (None, Start, ("it is not running",)),
    "it runs": (running(), Keep, ("nothing that it uses has changed",)),
    "it was just started": (running(state="starting"), Keep, ("nothing that it uses has changed",)),
    "it runs as something else": (running(fingerprint="old"), Replace, ("LOG has changed (config/common/LOG)",)),
    "it was stopped by hand": (running(state="stopped"), Start, ("it is stopped",)),
    "an interrupted run was stopping it": (running(state="stopping"), Start, ("it is being stopped",)),
    "it failed": (running(state="failed", last_exit=DIED), Start, ("it has failed (exited with code 3)",)),
    "it keeps dying": (running(state="backoff", last_exit=DIED), Start, ("it keeps dying (exited with code 3)",)),
    "what failed was something else": (running(state="failed", fingerprint="old"), Start, ("it has failed",)),
}
FACTS = {
    "api-web-old": {"env": {"LOG": ["1", "config/common/LOG"]}, "file": "f"},
    "api-web-new": {"env": {"LOG": ["2", "config/common/LOG"]}, "file": "f"},
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_done_about_one_program(case):
    program, kind, reasons = CASES[case]
    observed = Observed(daemon=1, programs=(program,) if program else ())
    (action,) = diff_generation(wanted(unit()), observed, FACTS)
    assert (type(action), action.reasons) == (kind, reasons)


def test_what_is_not_wanted_is_stopped_before_anything_else():
    observed = Observed(daemon=1, programs=(running("old-web"), running()))
    actions = diff_generation(wanted(unit()), observed, {})
    assert [(verb_of(action), action.program) for action in actions] == [("stop", "old-web"), ("keep", "api-web")]
    assert actions[0] == Stop(
        program="old-web",
        running=running("old-web"),
        reasons=("it is not part of what this box runs any more",),
    )
    assert changes_something(actions)


def test_what_runs_as_wanted_changes_nothing():
    observed = Observed(daemon=1, programs=(running(),))
    assert not changes_something(diff_generation(wanted(unit()), observed, {}))


def test_both_sides_of_a_replacement_are_asked_for_and_nothing_else():
    observed = Observed(daemon=1, programs=(running(fingerprint="old"), running("b-web")))
    assert differing(wanted(unit(), unit("b-web")), observed) == ("api-web-old", "api-web-new")


def facts(**env):
    return {
        "file": "services/api/service.yaml",
        "command": "exec a",
        "directory": "/a",
        "user": None,
        "limits": {},
        "stop": {},
        "restart": {},
        "env": env,
    }


EXPLANATIONS = {
    "a changed value": (
        facts(A=["1", "config/common/A"]),
        facts(A=["2", "config/common/A"]),
        ("A has changed (config/common/A)",),
    ),
    "a value that a stronger layer now sets": (
        facts(A=["1", "config/common/A"]),
        facts(A=["2", "config/modes/review/A"]),
        ("A has changed (config/modes/review/A, before in config/common/A)",),
    ),
    "the same value from another layer": (
        facts(A=["1", "config/common/A"]),
        facts(A=["1", "config/modes/review/A"]),
        ("bootstrap itself starts it in another way now",),
    ),
    "a new key and one that is gone": (
        facts(A=["1", "config/common/A"]),
        facts(B=["1", "config/common/B"]),
        ("A is gone (it was set in config/common/A)", "B is set (config/common/B)"),
    ),
    "another command and user": (
        facts(),
        facts() | {"command": "exec b", "user": [1, 1]},
        ("its command has changed (services/api/service.yaml)", "its user has changed (services/api/service.yaml)"),
    ),
    "a rendering that is gone": (None, facts(), ("it runs as something else than it should",)),
}


@pytest.mark.parametrize("case", EXPLANATIONS)
def test_a_replacement_is_explained(case):
    old, new, reasons = EXPLANATIONS[case]
    assert explain_change(old, new) == reasons


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (DIED, "exited with code 3"),
        (LastExit(code=None, signal="SIGSEGV", cause="signal", at=1.0), "killed by SIGSEGV"),
        (LastExit(code=None, signal="SIGTERM", cause="stopped", at=1.0), "stopped"),
        (LastExit(code=None, signal="SIGKILL", cause="killed", at=1.0), "killed because it did not stop in time"),
        (LastExit(code=None, signal=None, cause="not spawned", at=1.0), "could not be spawned"),
    ],
)
def test_an_exit_in_words(last, words):
    assert last.words == words
