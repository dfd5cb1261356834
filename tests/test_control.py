"""What is done by hand, and at the end, to a box that is not as it should be."""

from __future__ import annotations

import pytest

from bootstrap import control
from bootstrap.box import Box
from bootstrap.world import lock


@pytest.fixture
def box(tmp_path):
    return Box(root=str(tmp_path), state=str(tmp_path / "state"))


def test_the_end_comes_although_somebody_holds_the_lock_for_ever(box, monkeypatch):
    monkeypatch.setattr(control, "_END_PATIENCE_S", 0.0)
    said = []
    with lock.held(box, "up", wait_s=0.0, say=said.append):
        control.halt(box, lambda _, text: said.append(text))
    (word,) = said
    assert word.startswith('stopping without the lock: cannot change this box: "bootstrap up" (pid ')
