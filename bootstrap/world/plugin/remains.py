"""What a program that has died of itself leaves behind: it must not stand beside its successor."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from bootstrap.world import cgroups, processes

if TYPE_CHECKING:
    from bootstrap.world.processes import Marked

_ENOUGH = 2  # looks in a row at which nothing is there: one alone may have missed what had just been forked
_WAIT_S = 0.2  # how long the main loop may wait for KILL to do its work


class Remains:
    """Of all programs, by name."""

    def __init__(self, options: Any, cgroup: str | None) -> None:
        self._options = options
        self._cgroup = cgroup
        self._ghosts: dict[str, list[Marked]] = {}  # what not even KILL has ended yet

    def end(self, process: Any) -> None:
        """The main loop waits for this, a moment at most; what is still there then, ``refuse_beside`` knows of."""
        name, pid = process.group.config.name, process.pid
        if not pid:
            return
        if self._cgroup:
            cgroups.kill(self._cgroup, name)
        deadline = time.monotonic() + _WAIT_S
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        empty = 0
        while True:
            left = self._read(name, pid)
            processes.kill(left)
            empty = 0 if left else empty + 1
            if empty == _ENOUGH or time.monotonic() > deadline:
                break
            with processes.held([p.pid for p in left]) as descriptors:
                processes.wait_until_gone(descriptors, deadline - time.monotonic())
        self._ghosts[name] = left

    def _read(self, name: str, pid: int) -> list[Marked]:
        """What lost its parents is ours now (see ``processes.adopt_orphans``); programs are no strays."""
        strays = processes.read_family(os.getpid(), but=self._options.pidhistory)
        return [p for p in strays if p.group == pid or p.program == name]

    def refuse_beside(self, name: str) -> None:
        """Never a second copy beside what is left of the first. Raises OSError."""
        self._ghosts[name] = processes.still(self._ghosts.get(name, []))
        if self._ghosts[name]:
            pids = ", ".join(str(ghost.pid) for ghost in self._ghosts[name])
            raise OSError(errno.EBUSY, f"not even KILL has ended what its last life left behind (pid {pids})")
