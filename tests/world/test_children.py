"""A process that reaps whatever has ended, beside threads that wait for children of their own."""

from __future__ import annotations

import os
import threading

import psutil

from bootstrap.definition import Exec
from bootstrap.world import children, probes
from bootstrap.world.logs import Position
from support.sandbox import wait_until


def test_a_reaper_takes_no_exit_code_from_a_probe_under_way(tmp_path):
    run = tmp_path / "run"
    run.write_text('#!/bin/sh\nexec "$@"\n')
    target = probes.Target(
        program="api-web", port=None, run=str(run), log=str(tmp_path / "log"), log_start=Position(), age_s=0.0
    )
    seen = []

    def look():
        seen.extend(probes.probe_once(Exec(command="exit 3"), target, 10.0).detail for _ in range(40))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        children.reap()
    assert seen == ['"exit 3" exited with code 3'] * 120


def test_what_nobody_waits_for_is_taken_leave_of():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "its end")
    children.reap()
    assert not psutil.pid_exists(pid)
    children.reap()
