"""Actions → a changed machine, wave by wave.

Stops go first, in reverse waves: whatever goes away, and whatever is replaced while something that it needs is replaced
too. Then the waves in order: set-up, stop of what is replaced in this wave, start, readiness. A service whose set-up
fails keeps running as it was. A program whose needs are not ready is not started. Every action gets a result; nothing
that fails stops the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from bootstrap.ledger import NEVER_READY
from bootstrap.reconcile import Action, Keep, Replace, Start, Stop
from bootstrap.rendering import waves_of
from bootstrap.world import ledger_file, readiness, scripts, stopping

if TYPE_CHECKING:
    from bootstrap.box import Box
    from bootstrap.observed import ObservedProgram
    from bootstrap.rendering import Generation, Unit
    from bootstrap.world.supervisord import Supervisor

Say: TypeAlias = Callable[[str, str], None]  # program, what happens to it


@dataclass(slots=True, kw_only=True)
class Progress:
    """What an apply has achieved so far."""

    results: dict[str, str] = field(default_factory=dict)  # program -> what came of its action
    failures: dict[str, str] = field(default_factory=dict)  # program -> why
    taken_down: set[str] = field(default_factory=set)  # programs
    broken: set[str] = field(default_factory=set)  # services that others can't count on


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of every action, by program."""

    results: Mapping[str, str]
    failures: Mapping[str, str]


class Apply:
    """One run over a list of actions."""

    def __init__(
        self, box: Box, supervisor: Supervisor, generation: Generation, previous: Generation | None, mark: str, say: Say
    ) -> None:
        self._box = box
        self._supervisor = supervisor
        self._generation = generation
        self._stopper = stopping.Stopper(box, stopping.Supervised(supervisor), mark, say)
        self._waves = waves_of(previous) | waves_of(generation)
        self._wait = readiness.Wait(box, supervisor, mark, say)
        self._mark = mark
        self._say = say
        self._progress = Progress()

    def run(self, actions: tuple[Action, ...], deadline: float, blocked: Mapping[str, str]) -> Outcome:
        """Carry the actions out; ``deadline`` is a moment of ``clock.now()`` after which nothing new is waited for.

        ``blocked`` maps programs that must not be started to why: something of an earlier copy could not be ended.
        """
        self._stopper.stuck.update(blocked)
        kept = [action for action in actions if isinstance(action, Keep)]
        self._stop_what_must_go(actions)
        for wave in sorted({unit.wave for unit in self._generation.units}):
            self._run_wave(
                [a for a in actions if isinstance(a, Start | Replace) and a.unit.wave == wave],
                [a for a in kept if a.unit.wave == wave],
                deadline,
            )
        return Outcome(results=self._progress.results, failures=self._progress.failures)

    def _stop_what_must_go(self, actions: tuple[Action, ...]) -> None:
        gone = [action for action in actions if isinstance(action, Stop)]
        early = _replaced_below(self._generation, [a for a in actions if isinstance(a, Replace)])
        self._stop([*(action.running for action in gone), *(action.running for action in early)])
        if gone:
            stopped = [action.program for action in gone if action.program not in self._stopper.stuck]
            self._supervisor.update((), stopped, self._generation.units)
        for action in gone:
            if action.program in self._stopper.stuck:
                self._fail(action.program, self._stopper.stuck[action.program])
            else:
                self._progress.results[action.program] = "stopped"

    def _run_wave(self, starts: list[Start | Replace], kept: list[Keep], deadline: float) -> None:
        starts = self._without_stuck(self._without_needs(starts))
        starts = self._after_setup(starts, deadline)
        self._stop(
            [a.running for a in starts if a.running is not None and a.running.name not in self._progress.taken_down]
        )
        starts = self._without_stuck(starts)
        self._introduce(starts)
        units = [action.unit for action in starts]
        log_starts = self._wait.log_ends(units)
        if units:
            for program, cause in self._supervisor.start(units, self._generation.id).items():
                self._fail(program, f'cannot start "{program}": {cause}')
        started = [unit for unit in units if unit.name not in self._progress.failures]
        unsure = [action.unit for action in kept if not self._wait.is_ready(action.running)]
        for program, failure in self._wait.until_ready([*started, *unsure], log_starts, deadline).items():
            if failure is None:
                self._progress.results[program] = "ready"
            else:
                ledger_file.append(self._box, program, "verdict", cause=NEVER_READY)
                self._fail(program, failure)

    def _stop(self, running: Iterable[ObservedProgram]) -> None:
        programs = tuple(running)
        self._progress.taken_down.update(program.name for program in programs)
        self._stopper.stop_in_waves(programs, self._waves)

    def _without_needs(self, starts: list[Start | Replace]) -> list[Start | Replace]:
        able = []
        for action in starts:
            missing = sorted(self._progress.broken.intersection(action.unit.needs))
            if missing:
                self._fail(action.program, f'cannot start "{action.program}": it needs {", ".join(missing)}, not ready')
            else:
                able.append(action)
        return able

    def _without_stuck(self, starts: list[Start | Replace]) -> list[Start | Replace]:
        """Never a second copy: where something of the first can't be ended, nothing is started."""
        for action in starts:
            if action.program in self._stopper.stuck:
                self._fail(action.program, self._stopper.stuck[action.program])
        return [action for action in starts if action.program not in self._stopper.stuck]

    def _after_setup(self, starts: list[Start | Replace], deadline: float) -> list[Start | Replace]:
        """Run the set-up of services whose programs change; what is started again unchanged needs none."""
        first_units: dict[str, Unit] = {}
        for action in starts:
            first_units.setdefault(action.unit.service, action.unit)
        failed = scripts.run_setups(self._box, list(first_units.values()), self._mark, deadline, self._say)
        for action in starts:
            if action.unit.service in failed:
                self._fail(action.program, failed[action.unit.service])
        return [action for action in starts if action.unit.service not in failed]

    def _introduce(self, starts: list[Start | Replace]) -> None:
        """Make the supervisor know what is new to it."""
        new = [a for a in starts if a.running is None or a.running.fingerprint != a.unit.fingerprint]
        if not new:
            return
        removed = [action.program for action in new if action.running is not None]
        scripts.prepare_directories(self._box, [action.unit for action in new])
        self._supervisor.update(tuple(action.unit for action in new), removed, self._generation.units)

    def _fail(self, program: str, why: str) -> None:
        self._progress.results[program] = "failed"
        self._progress.failures[program] = why
        self._progress.broken.update(unit.service for unit in self._generation.units if unit.name == program)


def _replaced_below(generation: Generation, replaces: list[Replace]) -> list[Replace]:
    """Replacements that need something which is replaced too: they must be down before it goes."""
    moving = {action.unit.service for action in replaces}
    needs = {unit.service: set(unit.needs) for unit in generation.units}

    def reaches(service: str, seen: frozenset[str] = frozenset()) -> bool:
        below = needs.get(service, set()) - seen
        return bool(below & moving) or any(reaches(need, seen | below) for need in below)

    return [action for action in replaces if reaches(action.unit.service)]
