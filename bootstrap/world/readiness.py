"""Waiting until programs are ready: observe, probe, judge, again; all programs of a wave together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from bootstrap.frozen import dataclass
from bootstrap.health import Failed, Readiness, Ready, SinceStart, judge_readiness
from bootstrap.world import clock, logs, masking
from bootstrap.world.prober import TIMEOUT_S, Prober
from bootstrap.world.ready_record import ReadyRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bootstrap.box import Box
    from bootstrap.observed import Observed, ObservedProgram
    from bootstrap.rendering import Generation, Unit
    from bootstrap.world.logs import Position
    from bootstrap.world.supervisord import Supervisor

TAIL_LINES = 20
_FIRST_POLL_S = 0.001
_SLOWEST_POLL_S = 0.02
_WORTH_SAYING_S = 0.05

Verdicts: TypeAlias = dict[str, str | None]  # program → why it is not ready, None if it is


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    unit: Unit
    prober: Prober
    log_start: Position | None


class Wait:
    """Waits of one run."""

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

    def until_ready(self, units: Sequence[Unit], log_starts: dict[str, Position], deadline: float) -> Verdicts:
        """Wait for each unit's verdict; ``deadline`` is a moment of ``clock.now()``.

        A unit that is not in ``log_starts`` was not started in this run.
        """
        begun = clock.now()
        waiting = [self._candidate(unit, log_starts.get(unit.name)) for unit in units]
        earlier_deaths: dict[str, int] = {}  # of programs that ran before this run: those say nothing about it
        verdicts: Verdicts = {}
        ready: list[ObservedProgram] = []
        pause_s = _FIRST_POLL_S
        try:
            while waiting:
                observed = {program.name: program for program in self._observe(waiting)}
                for candidate in waiting:
                    program = observed.get(candidate.unit.name)
                    if program is not None and program.name not in log_starts:
                        earlier_deaths.setdefault(program.name, program.deaths)
                    deaths = earlier_deaths.get(candidate.unit.name, 0)
                    verdict = _judge(candidate, program, deaths, clock.now() - begun)
                    if isinstance(verdict, Ready) and program is not None:
                        ready.append(program)
                        self._tell(program.name, clock.now() - begun)
                        verdicts[program.name] = None
                    elif isinstance(verdict, Failed) or clock.now() > deadline:
                        verdicts[candidate.unit.name] = self._explain(candidate, program, verdict)
                    if candidate.unit.name in verdicts:
                        candidate.prober.stop()
                waiting = [candidate for candidate in waiting if candidate.unit.name not in verdicts]
                if waiting:
                    clock.sleep(pause_s)
                    pause_s = min(_SLOWEST_POLL_S, pause_s * 1.4)
        finally:
            for candidate in waiting:
                candidate.prober.join()
            self._record.add(ready)
        return verdicts

    def _observe(self, waiting: Sequence[_Candidate]) -> tuple[ObservedProgram, ...]:
        return self._supervisor.observe(candidate.unit.name for candidate in waiting).programs

    def _candidate(self, unit: Unit, log_start: Position | None) -> _Candidate:
        return _Candidate(unit=unit, prober=Prober(self._box, unit, self._mark), log_start=log_start)

    def _tell(self, name: str, seconds: float) -> None:
        self._say(name, f"ready after {seconds:.1f} s" if seconds >= _WORTH_SAYING_S else "ready")

    def _explain(self, candidate: _Candidate, program: ObservedProgram | None, verdict: Readiness) -> str:
        """Why it is not ready, with what this start, or that of the process that runs, has written to its log."""
        name = candidate.unit.name
        start = candidate.log_start or _log_start(program)
        late = "" if isinstance(verdict, Failed) else "not ready when the time of this run was over: "
        reason = getattr(verdict, "reason", "it became ready too late")
        path = self._box.program_log(name)
        has_written = logs.read_end(path) != start
        lines = logs.tail(path, TAIL_LINES, start) if has_written else ["(it has written nothing)"]
        tail = masking.quote_lines(self._box, candidate.unit, lines)
        reason = masking.mask(self._box, candidate.unit, reason)
        way_out = f"see `bootstrap logs {name}`, correct what it says, and run the command again"
        return f'cannot get "{name}" ready: {late}{reason}\n  where: {path}{tail}\n  way out: {way_out}'


def _log_start(program: ObservedProgram | None) -> Position | None:
    """Where the log ended when this process was started, as far as the supervisor knows."""
    if program is None or program.log_start[0] is None:
        return None
    inode, offset = program.log_start
    return logs.Position(inode=inode, offset=offset)


def _judge(candidate: _Candidate, program: ObservedProgram | None, earlier_deaths: int, waited_s: float) -> Readiness:
    if program is None:
        return Failed(reason="the supervisor does not know it any more")
    seen = SinceStart(
        waited_s=waited_s,
        state=program.state,
        deaths=program.deaths - earlier_deaths,
        last_exit=program.last_exit,
        probed=candidate.prober.look(program) if program.pid is not None else None,
    )
    return judge_readiness(candidate.prober.probe, seen)


def read_ready(box: Box, generation: Generation | None, observed: Observed, mark: str) -> set[str]:
    """Names of the programs that are ready: known to be, or (restarted since) found so by one look at each."""
    record = ReadyRecord(box)
    living = [program for program in observed.programs if program.pid is not None]
    ready = {program.name for program in living if record.knows(program)}
    units = {unit.name: unit for unit in generation.units} if generation else {}
    unsure = [(units[p.name], p) for p in living if p.name not in ready and p.name in units]
    return ready | look_once(box, unsure, mark)


def look_once(box: Box, unsure: list[tuple[Unit, ObservedProgram]], mark: str) -> set[str]:
    """One probe of each, side by side, bounded by one timeout for all."""
    probers = [(program, Prober(box, unit, mark)) for unit, program in unsure]
    ready: set[str] = set()
    deadline = clock.now() + TIMEOUT_S
    waiting = probers
    while waiting:
        seen = [(program, prober, prober.look(program)) for program, prober in waiting]
        ready |= {program.name for program, _, result in seen if result is not None and result.ok}
        waiting = [(program, prober) for program, prober, result in seen if result is None]
        if clock.now() > deadline:
            break
        if waiting:
            clock.sleep(_SLOWEST_POLL_S)
    for _, prober in probers:
        prober.join()
    return ready
