"""Status tags are written when there is news, and again when they could not be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bootstrap.ec2 import status_tags
from bootstrap.ec2.status_tags import StatusTags
from bootstrap.errors import Unavailable
from bootstrap.world.aws import DeniedError

BUSY, DENIED = Unavailable("too many"), DeniedError("denied")


@pytest.fixture
def duty(monkeypatch):
    """Its ``attempts`` are (word, what to call with its failure); ``pass_s`` lets time pass."""
    now = [0.0]
    monkeypatch.setattr(status_tags.clock, "now", lambda: now[0])
    attempts = []
    situation = SimpleNamespace(
        instance=SimpleNamespace(id="i-1", region="eu-west-1"),
        word="booting",
        failures=(),
        attempt=lambda _errand, *, otherwise, tags, **_: (
            attempts.append((tags["bootstrap:status"], otherwise)) or len(attempts)
        ),
        abandoned=[],
    )
    situation.abandon = situation.abandoned.append
    made = StatusTags(situation)
    made.situation, made.attempts = situation, attempts

    def pass_s(seconds):
        now[0] += seconds
        return made.turn(None, None)

    made.pass_s = pass_s
    return made


def words(duty):
    return [word for word, _ in duty.attempts]


def test_each_word_is_written_once_and_news_within_the_jitter(duty):
    duty.begin()
    duty.pass_s(1000)
    assert words(duty) == ["booting"]
    duty.situation.word = "ready"
    assert 0.05 <= duty.pass_s(0) <= 5
    duty.pass_s(5)
    duty.pass_s(1000)
    assert words(duty) == ["booting", "ready"]


def test_there_are_no_more_than_three(duty):
    duty.begin()
    for word in ("ready", "failed", "ready"):
        duty.situation.word = word
        duty.pass_s(0)
        duty.pass_s(5)
    assert words(duty) == ["booting", "ready", "failed"]


def test_what_could_not_be_written_is_written_later_and_does_not_count(duty):
    duty.begin()
    for number in range(5):
        duty.attempts[-1][1](BUSY)
        before = len(duty.attempts)
        assert 30 * 2**number <= duty.pass_s(0) <= 60 * 2**number
        assert len(duty.attempts) == before
        duty.pass_s(60 * 2**number)
    assert words(duty) == ["booting"] * 6
    duty.situation.word = "ready"
    duty.pass_s(0)
    duty.pass_s(5)
    assert words(duty)[-1] == "ready"


def test_what_was_missed_and_is_no_news_any_more_is_not_written(duty):
    duty.begin()
    duty.situation.word = "ready"
    duty.pass_s(0)
    duty.pass_s(5)
    duty.attempts[0][1](BUSY)
    duty.pass_s(1000)
    assert words(duty) == ["booting", "ready"]


def test_what_is_denied_is_not_tried_again(duty):
    duty.begin()
    duty.attempts[-1][1](DENIED)
    duty.pass_s(1000)
    assert words(duty) == ["booting"]


def test_old_news_never_comes_after_the_new(duty):
    duty.begin()
    duty.situation.word = "ready"
    duty.pass_s(0)
    assert duty.situation.abandoned == []
    duty.pass_s(5)
    assert duty.situation.abandoned == [1]


def test_the_end_does_not_wait_for_a_second_try(duty):
    duty.begin()
    duty.attempts[-1][1](BUSY)
    duty.situation.word = "draining"
    duty.drain()
    assert words(duty) == ["booting", "draining"]
