"""Waiting until programs are ready: observe, probe, judge, again; all programs of a wave together.

What became ready is recorded with the pid and the moment of its start, so that the record of a process that has gone
says nothing about the one that took its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bootstrap.definition import Alive, Log, Probe, parse_probe
from bootstrap.health import Failed, ProbeResult, Ready, SinceStart, judge_readiness
from bootstrap.world import clock, logs
from bootstrap.world.logs import Position
from bootstrap.world.probes import Target, probe_once
from bootstrap.world.ready_record import ReadyRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bootstrap.box import Box
    from bootstrap.observed import Observed, ObservedProgram
    from bootstrap.rendering import Generation, Unit
    from bootstrap.world.supervisord import Supervisor

_TAIL_LINES = 20
_SLOWEST_POLL_S = 0.02
_PROBE_TIMEOUT_S = 2.0


class Wait:
    """One wait for one wave."""

    def __init__(self, box: Box, supervisor: Supervisor, mark: str, say: Callable[[str, str], None]) -> None:
        self._box = box
        self._supervisor = supervisor
        self._mark = mark
        self._say = say
        self._record = ReadyRecord(box)

    def log_ends(self, units: Sequence[Unit]) -> dict[str, Position]:
        """Where the logs of units that are about to be started end now."""
        return {unit.name: logs.read_end(self._box.program_log(unit.name)) for unit in units}

    def is_ready(self, program: ObservedProgram) -> bool:
        """Whether this very process has become ready before."""
        return self._record.knows(program)

    def until_ready(self, units: Sequence[Unit], starts: dict[str, Position], deadline: float) -> dict[str, str | None]:
        """Wait for each unit's verdict: ``None`` for ready, or why it is not."""
        begun = clock.now()
        probers = {
            unit.name: Prober(parse_probe(unit.ready), _target(self._box, unit, starts.get(unit.name, Position())))
            for unit in units
        }
        verdicts: dict[str, str | None] = {}
        became_ready = []
        interval = 0.001
        while len(verdicts) < len(units):
            observed = {program.name: program for program in self._supervisor.observe().programs}
            waited_s = clock.now() - begun
            for unit in units:
                if unit.name in verdicts:
                    continue
                program = observed.get(unit.name)
                verdict = self._judge(program, probers[unit.name], waited_s)
                if isinstance(verdict, Ready) and program is not None:
                    verdicts[unit.name] = None
                    became_ready.append(program)
                    self._say(unit.name, f"ready after {waited_s:.1f} s" if waited_s >= 0.05 else "ready")
                elif isinstance(verdict, Failed):
                    verdicts[unit.name] = self._explain(unit, verdict.reason, starts.get(unit.name, Position()))
                elif clock.now() > deadline:
                    reason = f"not ready when the time of this run was over: {verdict.reason}"
                    verdicts[unit.name] = self._explain(unit, reason, starts.get(unit.name, Position()))
            if len(verdicts) < len(units):
                clock.sleep(interval)
                interval = min(_SLOWEST_POLL_S, interval * 1.4)
        for prober in probers.values():
            prober.stop()
        if became_ready:
            self._record.add(became_ready)
        return verdicts

    def _judge(self, program: ObservedProgram | None, prober: Prober, waited_s: float) -> Any:
        if program is None:
            return Failed(reason="the supervisor does not know it any more")
        seen = SinceStart(
            waited_s=waited_s,
            state=program.state,
            deaths=program.deaths,
            last_exit=program.last_exit,
            probed=prober.look(program) if program.pid is not None else None,
        )
        return judge_readiness(prober.probe, seen)

    def _explain(self, unit: Unit, reason: str, log_start: Position) -> str:
        path = self._box.program_log(unit.name)
        lines = logs.tail(path, _TAIL_LINES) if logs.read_end(path) != log_start else []
        tail = "".join(f"\n  | {line}" for line in lines) or "\n  | (it has written nothing)"
        return f'cannot get "{unit.name}" ready: {reason}\n  where: {path}{tail}'


class Prober:
    """Probes one program: what may block does so in a thread of its own, what can't is done on the spot."""

    def __init__(self, probe: Probe, target: Target) -> None:
        self.probe = probe
        self._target = target
        self._pid: int | None = None
        self._result: ProbeResult | None = None
        self._stopped = False
        self._thread: Any = None

    def look(self, program: ObservedProgram) -> ProbeResult | None:
        """The newest result for the process that lives now."""
        if isinstance(self.probe, Alive | Log):
            return probe_once(self.probe, replace(self._target, age_s=program.age_s), _PROBE_TIMEOUT_S)
        if program.pid != self._pid:
            self._pid, self._result = program.pid, None
        if self._thread is None:
            import threading  # noqa: PLC0415 - most waits need no thread

            self._thread = threading.Thread(target=self._probe_on, daemon=True)
            self._thread.start()
        return self._result

    def stop(self) -> None:
        self._stopped = True

    def _probe_on(self) -> None:
        interval = 0.01
        while not self._stopped:
            pid = self._pid
            result = probe_once(self.probe, self._target, _PROBE_TIMEOUT_S)
            if pid == self._pid:
                self._result = result
            clock.sleep(interval)
            interval = min(0.1, interval * 1.5)


def read_ready(box: Box, generation: Generation | None, observed: Observed) -> set[str]:
    """Names of the programs that are ready: known to be, or (restarted since) found so by one look at each."""
    record = ReadyRecord(box)
    living = [program for program in observed.programs if program.pid is not None]
    ready = {program.name for program in living if record.knows(program)}
    units = {unit.name: unit for unit in generation.units} if generation else {}
    unsure = [(units[p.name], p) for p in living if p.name not in ready and p.name in units]
    return ready | _look_once(box, unsure)


def _look_once(box: Box, unsure: list[tuple[Unit, ObservedProgram]]) -> set[str]:
    """One probe of each, side by side, bounded by one timeout for all."""
    probers = [(program, Prober(parse_probe(unit.ready), _target(box, unit, Position()))) for unit, program in unsure]
    ready: set[str] = set()
    deadline = clock.now() + _PROBE_TIMEOUT_S
    while probers:
        seen = [(program, prober, prober.look(program)) for program, prober in probers]
        ready |= {program.name for program, _, result in seen if result is not None and result.ok}
        probers = [(program, prober) for program, prober, result in seen if result is None]
        for _, prober, result in seen:
            if result is not None:
                prober.stop()
        if clock.now() > deadline:
            break
        if probers:
            clock.sleep(_SLOWEST_POLL_S)
    return ready


def _target(box: Box, unit: Unit, log_start: Position) -> Target:
    return Target(
        program=unit.name,
        port=unit.port,
        run=f"{box.store}/{unit.store_name}/run",
        log=box.program_log(unit.name),
        log_start=log_start,
        age_s=0.0,
    )
