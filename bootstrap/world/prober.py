"""Probing one program again and again: what may block does so in a thread, what can't is done on the spot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.definition import Alive, Log, Probe, parse_probe
from bootstrap.world.logs import Position
from bootstrap.world.probes import Target, probe_once

if TYPE_CHECKING:
    from threading import Event, Thread

    from bootstrap.box import Box
    from bootstrap.health import ProbeResult
    from bootstrap.observed import ObservedProgram
    from bootstrap.rendering import Unit

TIMEOUT_S = 2.0  # of one probe
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.1


class Prober:
    """Looks at the processes of one program, one after the other if they die."""

    def __init__(self, box: Box, unit: Unit, mark: str) -> None:
        self.probe: Probe = parse_probe(unit.ready)
        self._target = Target(
            program=unit.name,
            port=unit.port,
            run=f"{box.store}/{unit.store_name}/run",
            log=box.program_log(unit.name),
            log_start=Position(),
            age_s=0.0,
            mark=mark,
        )
        self._pid: int | None = None
        self._result: ProbeResult | None = None
        self._thread: Thread | None = None
        self._over: Event | None = None

    def look(self, program: ObservedProgram) -> ProbeResult | None:
        """The newest result for the process that lives now; ``None`` while there is none."""
        if isinstance(self.probe, Alive | Log):
            inode, offset = program.log_start  # what an earlier process has written says nothing about this one
            now = replace(self._target, age_s=program.age_s, log_start=Position(inode=inode, offset=offset))
            return probe_once(self.probe, now, TIMEOUT_S)
        if program.pid != self._pid:
            self._pid, self._result = program.pid, None
        if self._thread is None:
            self._begin()
        return self._result

    def stop(self) -> None:
        """Probe no more; a probe under way may still end."""
        if self._over is not None:
            self._over.set()

    def join(self) -> None:
        """Wait for a probe under way, so that it leaves nothing behind."""
        self.stop()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S)

    def _begin(self) -> None:
        import threading  # noqa: PLC0415 - most waits need no thread

        self._over = threading.Event()
        thread = threading.Thread(target=self._probe_on, args=(self._over,), daemon=True)
        thread.start()
        self._thread = thread  # not before: an interruption in between leaves nothing that could be joined

    def _probe_on(self, over: Event) -> None:
        pause_s = _FIRST_PAUSE_S
        while not over.is_set():
            pid = self._pid
            result = probe_once(self.probe, self._target, TIMEOUT_S)
            if pid == self._pid:
                self._result = result
            over.wait(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
