"""Readiness and health are judged from values alone: every rule is one sentence here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrap.definition import Alive, Http, Tcp
from bootstrap.health import (
    Failed,
    ProbeResult,
    Ready,
    SinceStart,
    Waiting,
    judge_readiness,
)
from bootstrap.observed import LastExit

HTTP = Http(path="/healthz", timeout_s=30.0)
ANSWERED_503 = ProbeResult(ok=False, detail="GET http://127.0.0.1:8001/healthz answered 503")
ANSWERED_200 = ProbeResult(ok=True, detail="GET http://127.0.0.1:8001/healthz answered 200")
EXITED_3 = LastExit(code=3, signal=None, cause="exited", at=0.0)
SEGFAULT = LastExit(code=None, signal="SIGSEGV", cause="signal", at=0.0)


def judge(probe=HTTP, **given):
    return judge_readiness(probe, SinceStart(**{"waited_s": 1.0, "state": "running", **given}))


def test_a_good_probe_is_ready():
    assert judge(probed=ANSWERED_200) == Ready(detail="GET http://127.0.0.1:8001/healthz answered 200")


def test_a_bad_probe_is_waited_for_and_says_what_it_saw():
    assert judge(probed=ANSWERED_503) == Waiting(reason="GET http://127.0.0.1:8001/healthz answered 503")


def test_a_program_that_was_not_probed_yet_is_waited_for():
    assert judge(state="starting", waited_s=0.0) == Waiting(reason="it has not been probed yet")


def test_a_good_probe_at_the_very_last_moment_is_still_ready():
    assert judge(waited_s=30.0, probed=ANSWERED_200) == Ready(detail="GET http://127.0.0.1:8001/healthz answered 200")


def test_just_before_the_timeout_there_is_still_hope():
    assert judge(waited_s=29.9, probed=ANSWERED_503) == Waiting(reason="GET http://127.0.0.1:8001/healthz answered 503")


def test_the_timeout_fails_with_what_the_last_probe_saw():
    assert judge(waited_s=30.0, probed=ANSWERED_503) == Failed(
        reason="not ready after 30 s: GET http://127.0.0.1:8001/healthz answered 503"
    )


def test_the_timeout_names_the_fraction_of_a_second_that_was_asked_for():
    assert judge(probe=Tcp(timeout_s=0.5), waited_s=2.0, probed=ANSWERED_503) == Failed(
        reason="not ready after 0.5 s: GET http://127.0.0.1:8001/healthz answered 503"
    )


def test_the_timeout_without_any_probe_says_so():
    assert judge(waited_s=31.0) == Failed(reason="not ready after 30 s: it has not been probed yet")


def test_the_first_death_is_forgiven():
    assert judge(deaths=1, last_exit=EXITED_3, state="backoff") == Waiting(
        reason="exited with code 3 and is being restarted"
    )


def test_after_a_forgiven_death_a_good_probe_is_ready():
    assert judge(deaths=1, last_exit=EXITED_3, probed=ANSWERED_200) == Ready(
        detail="GET http://127.0.0.1:8001/healthz answered 200"
    )


def test_the_timeout_during_a_restart_tells_about_the_death():
    assert judge(deaths=1, last_exit=SEGFAULT, state="backoff", waited_s=30.0) == Failed(
        reason="not ready after 30 s: killed by SIGSEGV and is being restarted"
    )


def test_the_second_death_fails_with_the_exit_code():
    assert judge(deaths=2, last_exit=EXITED_3) == Failed(reason="exited with code 3 before it was ready")


def test_the_second_death_fails_with_the_signal():
    assert judge(deaths=2, last_exit=SEGFAULT) == Failed(reason="killed by SIGSEGV before it was ready")


def test_two_deaths_weigh_more_than_a_good_probe():
    assert judge(deaths=2, last_exit=EXITED_3, probed=ANSWERED_200) == Failed(
        reason="exited with code 3 before it was ready"
    )


def test_ending_with_success_is_a_death_too():
    assert judge(deaths=2, last_exit=replace(EXITED_3, code=0)) == Failed(
        reason="exited with code 0 before it was ready"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (126, "command cannot be executed (exited with code 126)"),
        (127, "command not found (exited with code 127)"),
    ],
)
def test_a_command_that_cannot_run_fails_on_its_first_death(code, reason):
    assert judge(deaths=1, last_exit=replace(EXITED_3, code=code), state="backoff") == Failed(reason=reason)


def test_a_missing_command_is_named_even_when_the_supervisor_gave_up():
    assert judge(deaths=5, last_exit=replace(EXITED_3, code=127), state="failed") == Failed(
        reason="command not found (exited with code 127)"
    )


def test_exit_127_of_an_earlier_life_says_nothing_about_this_one():
    earlier = replace(EXITED_3, code=127)
    assert judge(deaths=0, last_exit=earlier, probed=ANSWERED_200) == Ready(
        detail="GET http://127.0.0.1:8001/healthz answered 200"
    )


def test_one_death_fails_when_the_supervisor_gave_up():
    assert judge(deaths=1, last_exit=EXITED_3, state="failed") == Failed(
        reason="exited with code 3 before it was ready"
    )


def test_a_program_that_somebody_stopped_is_not_waited_for():
    stopped = LastExit(code=None, signal="SIGTERM", cause="stopped", at=0.0)
    assert judge(deaths=1, last_exit=stopped, state="stopped") == Failed(reason="stopped before it was ready")


def test_a_program_that_is_only_about_to_start_is_waited_for():
    assert judge(state="stopped") == Waiting(reason="it has not been probed yet")


def test_a_program_that_was_never_spawned_fails():
    unspawned = LastExit(code=None, signal=None, cause="not spawned", at=0.0)
    assert judge(deaths=2, last_exit=unspawned, state="failed") == Failed(
        reason="could not be spawned before it was ready"
    )


@pytest.mark.parametrize("forgotten", [None, LastExit(code=None, signal=None, cause="exited", at=0.0)])
def test_a_supervisor_that_forgets_exits_still_gives_a_sentence(forgotten):
    assert judge(deaths=0, last_exit=forgotten, state="failed") == Failed(reason="ended before it was ready")


def test_living_longer_than_the_timeout_can_be_asked_for():
    young = ProbeResult(ok=False, detail="alive for 59 s of 60 s")
    probe = Alive(after_s=60.0, timeout_s=30.0)
    assert judge(probe=probe, waited_s=59.0, probed=young) == Waiting(reason="alive for 59 s of 60 s")
    assert judge(probe=probe, waited_s=90.0, probed=young) == Failed(
        reason="not ready after 90 s: alive for 59 s of 60 s"
    )
