"""Whose process is it: what must never be taken for a leftover."""

from __future__ import annotations

import subprocess

import pytest

from bootstrap.box import Box
from bootstrap.launcher import MARK
from bootstrap.world import processes, store
from support.sandbox import wait_until


@pytest.fixture
def box(tmp_path):
    made = Box(root=str(tmp_path), state=str(tmp_path / "state"))
    store.open_state(made)
    return made


@pytest.fixture
def left_unmarked(box):
    """Something of an earlier supervisor, whose session it is in, that has written over its environment."""
    with subprocess.Popen(["sleep", "1000"], env={}, start_new_session=True) as child:
        processes.record_session(box, child.pid)
        yield child.pid
        child.kill()


@pytest.fixture
def daemon(box):
    with subprocess.Popen(["sleep", "1000"], env={MARK: processes.new_mark(box)}, start_new_session=True) as child:
        yield child.pid
        child.kill()


def test_a_supervisor_whose_environment_can_not_be_read_yet_is_no_leftover(box, daemon, monkeypatch):
    """While it is being executed the kernel shows an empty one: the parent goes on a moment before that ends."""
    wait_until(lambda: daemon in {found.pid for found in processes.read_marked(box)}, "its mark")
    read = processes._read
    looks = []

    def read_too_early(pid, name):
        looks.append((pid, name))
        return b"" if looks.count((daemon, "environ")) == 1 and (pid, name) == (daemon, "environ") else read(pid, name)

    monkeypatch.setattr(processes, "_read", read_too_early)
    assert processes.read_abandoned(box, daemon) == []
    assert [found.pid for found in processes.read_abandoned(box, None)] == [daemon]


def test_what_has_no_mark_is_a_leftover_also_while_the_new_supervisor_shows_none(
    box, left_unmarked, daemon, monkeypatch
):
    wait_until(lambda: daemon in {found.pid for found in processes.read_marked(box)}, "its mark")
    assert [found.pid for found in processes.read_abandoned(box, daemon)] == [left_unmarked]
    read = processes._read
    monkeypatch.setattr(
        processes, "_read", lambda pid, name: b"" if (pid, name) == (daemon, "environ") else read(pid, name)
    )
    assert [found.pid for found in processes.read_abandoned(box, daemon)] == [left_unmarked]
