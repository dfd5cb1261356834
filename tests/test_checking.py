"""Looks in a row → failing or not; programs → the one word for load balancers."""

from __future__ import annotations

import pytest

from bootstrap.checking import BoxHealth, Checked, judge_box, next_checked
from bootstrap.definition import Check, Tcp, parse_check, render_check
from bootstrap.health import ProbeResult

GOOD = ProbeResult(ok=True, detail="answers")
BAD = ProbeResult(ok=False, detail="is silent")
HARD = Check(probe=Tcp(), failures=2, hard=True, then="restart")
SOFT = Check(probe=Tcp(), failures=1)
FAILING = Checked(pid=1, failures=2, detail="is silent", is_failing=True)


def course(check, *results):
    checked = Checked(pid=1)
    for result in results:
        checked = next_checked(checked, check, result)
    return checked


def test_it_fails_after_so_many_in_a_row_and_is_well_after_one_good_look():
    assert not course(HARD, BAD).is_failing
    assert not course(HARD, BAD, GOOD, BAD).is_failing
    assert course(HARD, BAD, BAD) == Checked(pid=1, failures=2, detail="is silent", is_failing=True, to_restart=True)
    assert course(HARD, BAD, BAD, GOOD) == Checked(pid=1, detail="answers")


def test_a_restart_is_asked_for_once_and_only_where_the_definition_wants_it():
    assert not course(HARD, BAD, BAD, BAD).to_restart
    assert not course(SOFT, BAD).to_restart


def judge(**changes):
    facts = {"unready": [], "checked": {}, "checks": {"api-web": HARD}, "draining": None} | changes
    return judge_box(**facts)


@pytest.mark.parametrize(
    ("changes", "word", "reasons"),
    [
        ({}, "ok", ()),
        ({"unready": ["web-web"]}, "starting", ("web-web is not ready",)),
        (
            {"unready": ["web-web"], "lack": "its supervisor has ended or does not answer"},
            "starting",
            ("its supervisor has ended or does not answer",),
        ),
        ({"checked": {"api-web": FAILING}}, "failing", ("api-web: is silent",)),
        ({"checked": {"api-web": FAILING}, "checks": {"api-web": SOFT}}, "degraded", ("api-web: is silent",)),
        ({"checked": {"api-web": FAILING}, "most_fail_alike": True}, "degraded", ("api-web: is silent",)),
        ({"checked": {"api-web": FAILING}, "draining": "it is on standby"}, "draining", ("it is on standby",)),
    ],
)
def test_the_word_for_load_balancers(changes, word, reasons):
    health = judge(**changes)
    assert health == BoxHealth(word=word, reasons=reasons)
    assert health.takes_traffic == (word in {"ok", "degraded"})


@pytest.mark.parametrize("check", [HARD, SOFT])
def test_a_check_survives_being_written_down(check):
    assert parse_check(render_check(check)) == check
