"""The answer to a life cycle hook arrives, whatever goes wrong on the way to it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from bootstrap.ec2 import membership
from bootstrap.ec2.membership import Membership
from bootstrap.errors import Unavailable

HOOK = {"name": "launch", "transition": "launching", "heartbeat_s": 0.03, "default": "ABANDON"}


class Group:
    """Answers errands; those in ``failing`` fail as often as it says."""

    def __init__(self, **failing):
        self.failing, self.done = failing, []
        self.completed, self.has_beaten = threading.Event(), threading.Event()

    def run(self, name, **arguments):
        key = name.replace("-", "_")
        self.done.append(name)
        if self.failing.get(key, 0) > 0:
            self.failing[key] -= 1
            raise Unavailable(f"cannot {name}")
        if name == "heartbeat":
            self.has_beaten.set()
        if name == "complete":
            self.result = arguments["result"]
            self.completed.set()
        return {"group": "boxes", "state": "Pending:Wait", "hooks": [HOOK]} if name == "describe-membership" else True


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(membership, "_FIRST_AGAIN_S", 0.001)
    monkeypatch.setattr(membership, "_SHORTEST_PAUSE_S", 0.001)

    def make(group, target_state="InService"):
        told = []
        situation = SimpleNamespace(
            errands=group,
            instance=SimpleNamespace(id="i-1", region="eu-west-1"),
            word="booting",
            is_specimen=False,
            say=lambda _about, text: told.append(text),
            tell=lambda error: told.append(str(error)),
            told=told,
        )
        notices = SimpleNamespace(target_state=target_state, take_retirements=list)
        return Membership(situation, notices), situation, notices

    return make


@pytest.mark.parametrize("errand", ["describe_membership", "heartbeat", "complete"])
def test_what_fails_for_a_while_does_not_lose_the_answer(make, errand):
    group = Group(**{errand: 2})
    duty, situation, _ = make(group)
    duty.begin()
    assert group.has_beaten.wait(10)
    situation.word = "ready"
    duty.idle("it has nothing to do")
    assert group.completed.wait(10)
    duty.end()
    assert group.result == "CONTINUE"
    assert group.done.count(errand.replace("_", "-")) >= 3
    assert situation.told.count(f"cannot {errand.replace('_', '-')}") == 2
    assert situation.told[-1] == "life cycle hook launch: CONTINUE"


def test_metadata_that_comes_late_still_has_the_launch_answered(make):
    group = Group()
    duty, situation, notices = make(group, target_state=None)
    duty.begin()
    assert group.done == []
    notices.target_state, situation.word = "InService", "failed"
    duty.fail(("no",))
    assert group.completed.wait(10)
    duty.end()
    assert group.result == "ABANDON"


def test_an_end_tries_once_more_and_no_longer(make):
    group = Group(describe_membership=1_000_000)
    duty, situation, _ = make(group)
    duty.drain()
    duty.end()
    assert not group.completed.is_set()
    assert set(group.done) == {"describe-membership"}
    assert set(situation.told) == {"cannot describe-membership"}
