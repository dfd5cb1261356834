"""Ending a runsvdir with everything below it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def end_from_the_top(process):
    """Kill it, every runsv and what those run, in this order: who is gone starts nobody again."""
    waiting = [process.pid]
    while waiting:
        pid = waiting.pop(0)
        below = children_of(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        waiting += below
    process.wait(30)


def end_marked(pair):
    """Kill whatever has this in its environment."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if pair.encode() in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
