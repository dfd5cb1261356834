"""Somebody puts the clock forward or back: nothing comes sooner or later for it."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from itertools import pairwise

import pytest

from bootstrap.world import clock
from support.kept_stack import KeptStack
from support.private_world import in_private_world
from support.sandbox import wait_until

HOUR = timedelta(hours=1).total_seconds()
DECADE = timedelta(days=3652).total_seconds()
STEPS = [HOUR, -HOUR, DECADE, -DECADE]
# an interpreter whose time of day is put forward by what stands in a file; it is started in place of supervisord's
STEPPED = """\
import runpy, sys, time
real, real_ns = time.time, time.time_ns
def offset():
    with open({offset!r}) as file:
        return float(file.read() or 0)
time.time = lambda: real() + offset()
time.time_ns = lambda: real_ns() + int(offset() * 1e9)
sys.argv = sys.argv[2:]
runpy.run_module("bootstrap.world.daemon", run_name="__main__", alter_sys=True)
"""


class SteppedBox:
    """A box whose supervisor, and we in this process, have a clock that can be put forward and back."""

    def __init__(self, sandbox, monkeypatch):
        self.stack = KeptStack(sandbox, {})
        self.sandbox = sandbox
        self.offset = sandbox.root.parent / "offset"
        self.offset.write_text("0")
        script, wrapper = sandbox.root.parent / "stepped.py", sandbox.root.parent / "python"
        script.write_text(STEPPED.format(offset=str(self.offset)))
        wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -I {script} "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(wrapper))
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + float(self.offset.read_text()))

    def step(self, seconds):
        self.offset.with_suffix(".new").write_text(str(seconds))
        self.offset.with_suffix(".new").rename(self.offset)

    def program(self):
        (found,) = self.sandbox.status()["programs"]
        return found


@pytest.mark.parametrize("seconds", STEPS)
def test_a_program_that_is_being_stopped_keeps_its_grace(sandbox, monkeypatch, seconds):
    stepped_stop(sandbox, monkeypatch, seconds)


@in_private_world
def stepped_stop(sandbox, monkeypatch, seconds):
    box = SteppedBox(sandbox, monkeypatch)
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -e up'}\n    stop: {grace: 5s}\n"
        "    command: 'trap \"touch asked; sleep 0.4; touch graceful; exit 0\" TERM; touch up; while :; do sleep 0.01; done'\n",
    )
    box.stack.up()
    stop = sandbox.start("stop")
    wait_until((folder / "asked").exists, "its stop signal")
    box.step(seconds)
    begun = time.monotonic()
    stop.communicate(timeout=20)
    assert (folder / "graceful").exists(), "it was killed before its grace was over"
    assert time.monotonic() - begun < 2
    assert stop.returncode == 0


@pytest.mark.parametrize("seconds", STEPS)
def test_a_restart_comes_when_it_is_due(sandbox, monkeypatch, seconds):
    stepped_restart(sandbox, monkeypatch, seconds)


@in_private_world
def stepped_restart(sandbox, monkeypatch, seconds):
    box = SteppedBox(sandbox, monkeypatch)
    folder = sandbox.sleeper(
        "api", command="cat /proc/uptime >> starts; [ $(wc -l <starts) -lt 4 ] || exec sleep 1000; exit 1"
    )
    (folder / "starts").touch()
    box.stack.up()
    wait_until(lambda: len((folder / "starts").read_text().splitlines()) == 3, "the first delays")
    box.step(seconds)
    wait_until(lambda: len((folder / "starts").read_text().splitlines()) == 4, "the next start", patience_s=5)
    moments = [float(line.split()[0]) for line in (folder / "starts").read_text().splitlines()]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert 0.2 < gaps[1] < 2, "a quarter of a second, and what a busy machine adds"
    assert 0.4 < gaps[2] < 2


@pytest.mark.parametrize("seconds", STEPS)
def test_a_wait_for_readiness_and_all_after_it_go_on_as_before(sandbox, monkeypatch, seconds):
    stepped_wait(sandbox, monkeypatch, seconds)


@in_private_world
def stepped_wait(sandbox, monkeypatch, seconds):
    box = SteppedBox(sandbox, monkeypatch)
    folder = sandbox.service(
        "api",
        "processes:\n  web: {command: 'sleep 0.4; touch up; exec sleep 1000',"
        " ready: {exec: 'touch asked; test -e up', timeout: 5s}}\n",
    )
    real = clock.sleep

    def step_and_sleep(pause_s):
        if (folder / "asked").exists():
            box.step(seconds)
        real(pause_s)

    monkeypatch.setattr(clock, "sleep", step_and_sleep)
    outcome = box.stack.up()
    assert not outcome.failures
    before = box.program()
    assert before["ready"]
    assert box.stack.up().failures == {}
    box.step(-seconds)
    assert box.stack.up().failures == {}
    after = box.program()
    assert (after["pid"], after["restarts"], after["ready"]) == (before["pid"], 0, True)
