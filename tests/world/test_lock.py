from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap.box import Box
from bootstrap.errors import Locked
from bootstrap.world import lock
from support.sandbox import wait_until

HOLDER = """
import sys, time
from bootstrap.box import Box
from bootstrap.world import lock
with lock.held(Box(root="/r", state=sys.argv[1]), "up", wait_s=10, say=lambda text: print(text, flush=True)):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def box(tmp_path):
    return Box(root="/r", state=str(tmp_path))


@pytest.fixture
def holder(box):
    child = subprocess.Popen([sys.executable, "-c", HOLDER, box.state], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.communicate()


def test_who_holds_it_since_when_and_doing_what_is_told(box, holder):
    with pytest.raises(Locked) as caught, lock.held(box, "down", wait_s=0.0, say=print):
        pass
    since = json.loads(Path(box.lock).read_text())["since"]
    assert str(caught.value) == (
        f'cannot change this box: "bootstrap up" (pid {holder.pid}, since {since}) is at it\n'
        "  way out: let it finish and run the command again (without --no-wait it waits)"
    )


def test_whoever_has_waited_is_not_told_to_wait(box, holder):
    with pytest.raises(Locked) as caught, lock.held(box, "down", wait_s=0.2, say=lambda _: None):
        pass
    assert str(caught.value).partition("\n")[2] == (
        "  way out: let it finish and run the command again; this one has waited for as long as it may"
    )


def test_it_dies_with_its_holder_and_the_waiting_is_said_once(box, holder):
    said = []

    def say(text):
        said.append(text)
        holder.kill()

    with lock.held(box, "down", wait_s=30.0, say=say):
        assert json.loads(Path(box.lock).read_text())["pid"] == os.getpid()
    assert len(said) == 1
    assert said[0].startswith(f'waiting for "bootstrap up" (pid {holder.pid}, since ')


def test_a_lock_file_that_a_down_has_removed_is_not_the_lock(box):
    """Whoever waited for the old file must not believe to hold the new one."""
    with lock.held(box, "down", wait_s=1.0, say=print):
        other = subprocess.Popen([sys.executable, "-c", HOLDER, box.state], stdout=subprocess.PIPE)
        try:
            assert other.stdout.readline().startswith(b'waiting for "bootstrap down"')
            os.unlink(box.lock)
        except BaseException:
            other.kill()
            raise
    try:
        wait_until(lambda: os.path.exists(box.lock), "the other to make a new file")
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Locked), lock.held(box, "up", wait_s=0.0, say=print):
            pass
    finally:
        other.kill()
        other.communicate()


def test_looking_who_holds_it_makes_nothing_and_takes_nothing(box):
    assert lock.read_changing(box) is None
    assert not os.path.exists(box.run)
    with lock.held(box, "up", wait_s=0, say=print):
        who = lock.read_changing(box)
        assert who is not None
        assert who.startswith(f'"bootstrap up" (pid {os.getpid()}, since ')
        assert lock.read_watching(box) is None
    assert lock.read_changing(box) is None
    with lock.watching(box):
        assert "bootstrap boot" in (lock.read_watching(box) or "")
