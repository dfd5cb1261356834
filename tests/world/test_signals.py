"""Whoever asks the process that stays to stop is heard, wherever Python is just then."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref

import pytest

from bootstrap.world import signals
from bootstrap.world.signals import STOPPING, StopAsked, heeded


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


@pytest.fixture(autouse=True)
def handlers():
    """After a stop they stay ignored: a process that was asked to stop exits."""
    numbers = (*STOPPING, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.parametrize("times", [1, 3])
def test_a_stop_that_python_has_ignored_is_heard_a_moment_later(ignored, number, times):
    def go_on():
        for _ in range(times):
            be_asked_in_a_finalizer(number)
        time.sleep(10)

    began = time.monotonic()
    with heeded() as heard:
        assert heard.until_stopped(go_on)
    assert time.monotonic() - began < 5
    assert ignored == []


def test_a_stop_that_python_has_dropped_without_a_word_is_heard_later(monkeypatch):
    monkeypatch.setattr(signals, "_LOST_S", 0.05)

    def go_on():
        with pytest.raises(StopAsked):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    began = time.monotonic()
    with heeded() as heard:
        assert heard.until_stopped(go_on)
    assert time.monotonic() - began < 5


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
    with heeded() as heard:
        assert heard.until_stopped(lambda: be_asked_in_a_finalizer(signal.SIGTERM) and time.sleep(10))
        be_asked_in_a_finalizer(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # more than it takes to be raised again
    os.kill(os.getpid(), signal.SIGTERM)
    assert ignored == []


def test_a_stop_before_anybody_listens_is_kept(ignored):
    with heeded() as heard:
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.until_stopped(lambda: pytest.fail("it is to stop"))


def test_two_signals_at_once_are_one_stop(ignored):
    """Both are pending when Python looks: it runs the second handler inside of the first."""

    def be_asked_twice():
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            for number in STOPPING:
                signal.pthread_kill(threading.get_ident(), number)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        time.sleep(10)

    for _ in range(100):
        with heeded() as heard:
            assert heard.until_stopped(be_asked_twice)
        for number in STOPPING:
            signal.signal(number, signal.default_int_handler)


def test_what_ends_by_itself_was_not_stopped():
    done = []
    with heeded() as heard:
        assert not heard.until_stopped(lambda: done.append(1))
    assert done == [1]


def test_all_is_as_before_afterwards(handlers):
    hook = sys.unraisablehook
    with heeded():
        pass
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert sys.unraisablehook is hook
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
