"""Generation + Observed + readiness → the state of the box, as ``status`` tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from bootstrap.observed import Observed, ObservedProgram
    from bootstrap.rendering import Generation, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStatus:
    """One program, wanted or merely running."""

    name: str
    unit: Unit | None
    program: ObservedProgram | None
    ready: bool

    @property
    def state(self) -> str:
        return "stopped" if self.program is None else self.program.state

    @property
    def is_converged(self) -> bool:
        """Whether it runs, ready, as exactly what is wanted."""
        if self.unit is None or self.program is None:
            return False
        return (
            self.ready and self.program.fingerprint == self.unit.fingerprint and self.state in {"running", "starting"}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole box; ``generation`` is ``None`` when nothing has been put in force."""

    generation: Generation | None
    programs: tuple[ProgramStatus, ...]

    @property
    def is_converged(self) -> bool:
        return self.generation is not None and all(program.is_converged for program in self.programs)


def judge_status(generation: Generation | None, observed: Observed, ready: Collection[str]) -> Status:
    """Put together what is wanted and what is; ``ready`` names the programs known to be ready."""
    units = {unit.name: unit for unit in generation.units} if generation else {}
    running = {program.name: program for program in observed.programs}
    names = [*units, *sorted(running.keys() - units.keys())]
    programs = tuple(
        ProgramStatus(name=name, unit=units.get(name), program=running.get(name), ready=name in ready) for name in names
    )
    return Status(generation=generation, programs=programs)


def render_status(status: Status) -> dict[str, Any]:
    """The contract's JSON."""
    generation = status.generation
    return {
        "mode": generation.mode if generation else None,
        "service": generation.service if generation else None,
        "generation": generation.id if generation else None,
        "converged": status.is_converged,
        "programs": [_render_program(program) for program in status.programs],
    }


def _render_program(status: ProgramStatus) -> dict[str, Any]:
    unit, program = status.unit, status.program
    last = program.last_exit if program else None
    return {
        "name": status.name,
        "service": unit.service if unit else None,
        "process": unit.process if unit else None,
        "state": status.state,
        "pid": program.pid if program else None,
        "started_at": _moment(program.started_at) if program and program.started_at else None,
        "restarts": program.restarts if program else 0,
        "last_exit": last and {"code": last.code, "signal": last.signal, "cause": last.cause, "at": _moment(last.at)},
        "ready": status.ready,
        "health": "ok" if status.ready else "down" if status.state not in {"running", "starting"} else "starting",
        "port": unit.port if unit else None,
        "fingerprint": program.fingerprint if program else unit.fingerprint if unit else None,
    }


def _moment(seconds: float) -> str:
    """RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
