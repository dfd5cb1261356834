"""What a program that has died of itself leaves behind is ended before it is started again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

from bootstrap.launcher import PROGRAM
from bootstrap.world import processes
from bootstrap.world.plugin.remains import Remains
from support.sandbox import wait_until


def test_what_one_look_has_missed_of_a_last_life_the_next_one_finds(monkeypatch):
    """The kernel's list of children may leave one out while another ends."""
    read, looks = processes.read_family, []

    def miss_at_first(parent, but):
        looks.append(parent)
        return [] if len(looks) == 1 else read(parent, but)

    monkeypatch.setattr(processes, "read_family", miss_at_first)
    with subprocess.Popen(["true"]) as main:
        main.wait()
    left = subprocess.Popen(["sleep", "1000"], env={PROGRAM: "api-web"}, start_new_session=True)
    other = subprocess.Popen(["sleep", "1000"], env={PROGRAM: "web-web"}, start_new_session=True)
    for process in (left, other):  # our parent's part of an exec is over a moment before its environment can be read
        wait_until(Path(f"/proc/{process.pid}/environ").read_bytes, "it to be executed")
    try:
        dead = SimpleNamespace(pid=main.pid, group=SimpleNamespace(config=SimpleNamespace(name="api-web")))
        Remains(SimpleNamespace(pidhistory={}), None).end(dead)
        assert left.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()
