"""Whoever asks the process that stays to stop is heard, wherever Python is just then."""

from __future__ import annotations

import os
import signal
import sys
import time
import weakref

import pytest

from bootstrap.world.signals import StopAsked, heeded, ignore_stopping


class Thing:
    pass


def be_asked_in_a_finalizer(number):
    thing = Thing()
    finalizer = weakref.ref(thing, lambda _: os.kill(os.getpid(), number))
    del thing
    return finalizer


@pytest.fixture
def ignored(monkeypatch):
    """What Python has ignored, but for what was asked again."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    return seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("times", [1, 3])
def test_a_stop_that_python_has_ignored_is_heard_a_moment_later(ignored, number, times):
    def go_on():
        for _ in range(times):
            be_asked_in_a_finalizer(number)
        time.sleep(10)

    with heeded(), pytest.raises(StopAsked):
        go_on()
    assert ignored == []


def test_what_else_is_ignored_is_told_as_before(ignored):
    def fail(_):
        raise ValueError("odd")

    with heeded():
        thing = Thing()
        reference = weakref.ref(thing, fail)
        del thing
    assert reference() is None
    assert [one.exc_type for one in ignored] == [ValueError]


def test_once_the_stop_is_under_way_nothing_is_raised_again(ignored):
    with heeded():
        be_asked_in_a_finalizer(signal.SIGTERM)
        ignore_stopping()
        time.sleep(0.05)  # more than it takes to be raised again


def test_all_is_as_before_afterwards(ignored):
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    hook = sys.unraisablehook
    with heeded():
        pass
    assert [signal.getsignal(number) for number in numbers] == before
    assert sys.unraisablehook is hook
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
