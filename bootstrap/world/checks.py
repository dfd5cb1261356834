"""The definitions' checks, while their programs run: looks are taken beside the loop, judged in its turns."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.checking import Checked, next_checked
from bootstrap.definition import Check, parse_check
from bootstrap.world import checks_record, clock, logs, probes, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bootstrap.box import Box
    from bootstrap.health import ProbeResult
    from bootstrap.observed import Observed, ObservedProgram
    from bootstrap.rendering import Generation, Unit

_AT_ONCE = 8  # looks that may be under way together


@dataclass(slots=True, kw_only=True)
class _Course:
    """The checks of one process."""

    unit: Unit
    check: Check
    checked: Checked
    log_start: logs.Position
    due: float  # a moment of clock.now()
    look: Future[ProbeResult] | None = None


class Checks:
    """A duty: looks at every program that has a check, and restarts what its definition wants restarted."""

    def __init__(self, box: Box, say: Callable[[str, str], None], restart: Callable[[str], None]) -> None:
        self._box = box
        self._say = say
        self._restart = restart
        self._mark = processes.own_mark(box)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="check")
        self._courses: dict[str, _Course] = {}

    @property
    def checked(self) -> Mapping[str, Checked]:
        """What is known of each program that has a check and lives."""
        return {name: course.checked for name, course in self._courses.items()}

    @property
    def checks(self) -> Mapping[str, Check]:
        return {name: course.check for name, course in self._courses.items()}

    def turn(self, generation: Generation, observed: Observed) -> float:
        self._follow(generation, observed)
        now = clock.now()
        for course in list(self._courses.values()):
            if course.look is not None and course.look.done():
                self._judge(course, course.look.result())
                course.look = None
                course.due = now + course.check.every_s
            elif course.look is None and now >= course.due:
                course.look = self._pool.submit(self._look, course, now)
        return min((self._wait(course, now) for course in self._courses.values()), default=float("inf"))

    def drain(self) -> None:
        self._courses.clear()  # what is being stopped fails its checks, and that means nothing

    def end(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _follow(self, generation: Generation, observed: Observed) -> None:
        """Begin anew for every new process, forget those that are gone."""
        running = {program.name: program for program in observed.programs if program.pid is not None}
        for name in self._courses.keys() - running.keys():
            del self._courses[name]
        for unit in generation.units:
            program = running.get(unit.name)
            known = self._courses.get(unit.name)
            if unit.check is None or program is None or (known and known.unit == unit and _is_same(known, program)):
                continue
            check = parse_check(unit.check)
            inode, offset = program.log_start
            self._courses[unit.name] = _Course(
                unit=unit,
                check=check,
                checked=Checked(pid=program.pid or 0),
                log_start=logs.Position(inode=inode, offset=offset),
                due=clock.now() + check.every_s,
            )

    def _wait(self, course: _Course, now: float) -> float:
        return 0.05 if course.look is not None else max(0.0, course.due - now)

    def _look(self, course: _Course, began: float) -> ProbeResult:
        target = probes.Target(
            program=course.unit.name,
            port=course.unit.port,
            run=f"{self._box.store}/{course.unit.store_name}/run",
            log=self._box.program_log(course.unit.name),
            log_start=course.log_start,
            age_s=clock.now() - began,
            mark=self._mark,
        )
        return probes.probe_once(course.check.probe, target, course.check.probe.timeout_s)

    def _judge(self, course: _Course, result: ProbeResult) -> None:
        before = course.checked
        course.checked = next_checked(before, course.check, result)
        name = course.unit.name
        if course.checked.is_failing != before.is_failing:
            word = "fails its check" if course.checked.is_failing else "passes its check again"
            self._say(name, f"{word}: {result.detail}")
            self._record()
        if course.checked.to_restart:
            self._say(name, "restarting it, as its check says")
            self._restart(name)

    def _record(self) -> None:
        failing = {name: c.checked.detail for name, c in self._courses.items() if c.checked.is_failing}
        checks_record.write_failing(self._box, failing)


def _is_same(course: _Course, program: ObservedProgram) -> bool:
    return course.checked.pid == program.pid
