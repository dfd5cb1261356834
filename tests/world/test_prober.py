"""Probing beside the run: what an interruption may leave."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from bootstrap.box import Box
from bootstrap.definition import Tcp, render_probe
from bootstrap.observed import ObservedProgram
from bootstrap.world.prober import Prober
from test_reconcile import unit


def test_an_interruption_before_the_first_probe_leaves_nothing_to_wait_for(tmp_path, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    box = Box(root=str(tmp_path), state=str(tmp_path))
    prober = Prober(box, replace(unit(), ready=render_probe(Tcp()), port=1), "mark")
    running = ObservedProgram(
        name="api-web",
        fingerprint="f",
        state="running",
        pid=1,
        age_s=0.0,
        started_at=0.0,
        restarts=0,
        deaths=0,
        last_exit=None,
    )
    with pytest.raises(KeyboardInterrupt):
        prober.look(running)
    prober.join()
