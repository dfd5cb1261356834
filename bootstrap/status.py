"""Generation + Observed + readiness → the state of the box, as ``status`` tells it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bootstrap.ledger import Life
    from bootstrap.observed import Observed, ObservedProgram
    from bootstrap.rendering import Generation, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStatus:
    """One program, wanted or merely running."""

    name: str
    unit: Unit | None
    program: ObservedProgram | None
    ready: bool
    failing: str | None = None  # why its check fails
    left_behind: bool = False  # it runs without a supervisor, because that has died
    setup_failed: bool = False  # its service's set-up has, and so it was not started as what is wanted

    @property
    def health(self) -> str:
        """ok, failing (its check), starting or down."""
        if self.state not in {"running", "starting"}:
            return "down"
        if not self.ready:
            return "starting"
        return "failing" if self.failing else "ok"

    @property
    def is_unhealthy(self) -> bool:
        """Whether a check fails that decides the health of the box."""
        return self.health == "failing" and self.unit is not None and bool((self.unit.check or {}).get("hard"))

    @property
    def state(self) -> str:
        return "stopped" if self.program is None else self.program.state

    @property
    def is_outdated(self) -> bool:
        """Whether it lives as something else than what is wanted: an `up` has not come to it, or could not."""
        if self.program is None or self.program.pid is None:
            return False
        return self.unit is None or self.program.fingerprint != self.unit.fingerprint

    @property
    def is_converged(self) -> bool:
        """Whether it runs, ready, as exactly what is wanted, or waits for a person to start it."""
        if self.unit is not None and self.unit.by_hand and self.state == "stopped":
            return True
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

    @property
    def is_well(self) -> bool:
        """Whether everything is as it should be, and no hard check fails."""
        return self.is_converged and not any(program.is_unhealthy for program in self.programs)

    @property
    def services(self) -> dict[str, str]:
        """Program name → its service, as far as that is known."""
        return {program.name: program.unit.service if program.unit else program.name for program in self.programs}

    def only(self, names: Collection[str]) -> Status:
        """The same for some of the programs."""
        return replace(self, programs=tuple(program for program in self.programs if program.name in names))


def judge_status(
    generation: Generation | None,
    observed: Observed,
    ready: Collection[str],
    failing: Mapping[str, str] | None = None,
    left_behind: Collection[str] = (),
    failed_setups: Collection[str] = (),
) -> Status:
    """Put together what is wanted and what is.

    ``ready`` names the programs known to be ready, ``failing`` those whose check fails, with the reason,
    ``left_behind`` those that run without a supervisor, ``failed_setups`` services.
    """
    why = failing or {}
    units = {unit.name: unit for unit in generation.units} if generation else {}
    running = {program.name: program for program in observed.programs}
    names = [*units, *sorted(running.keys() - units.keys())]

    def is_current(name: str) -> bool:
        program = running.get(name)
        return program is not None and program.pid is not None and program.fingerprint == units[name].fingerprint

    programs = tuple(
        ProgramStatus(
            name=name,
            unit=units.get(name),
            program=running.get(name),
            ready=name in ready,
            failing=why.get(name),
            left_behind=name in left_behind,
            setup_failed=name in units and units[name].service in failed_setups and not is_current(name),
        )
        for name in names
    )
    return Status(generation=generation, programs=programs)


def render_status(status: Status, lives: Mapping[str, Sequence[Life]] | None = None) -> dict[str, Any]:
    """The contract's JSON; programs that ``lives`` names get theirs, oldest first."""
    generation = status.generation
    return {
        "mode": generation.mode if generation else None,
        "service": generation.service if generation else None,
        "generation": generation.id if generation else None,
        "converged": status.is_converged,
        "programs": [
            _render_program(program) | _render_lives(program.name, lives or {}) for program in status.programs
        ],
    }


def _render_lives(name: str, lives: Mapping[str, Sequence[Life]]) -> dict[str, Any]:
    return {"lives": [_render_life(life) for life in lives[name]]} if name in lives else {}


def _render_life(life: Life) -> dict[str, Any]:
    return {
        "pid": life.pid or None,
        "fingerprint": life.fingerprint,
        "generation": life.generation,
        "started_at": _moment(life.started_at),
        "ended_at": None if life.ended_at is None else _moment(life.ended_at),
        "lived_s": life.lived_s,
        "code": life.code,
        "signal": life.signal,
        "cause": life.cause,
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
        "outdated": status.is_outdated,
        "left_behind": status.left_behind,
        "setup_failed": status.setup_failed,
        "health": status.health,
        "port": unit.port if unit else None,
        "fingerprint": program.fingerprint if program else unit.fingerprint if unit else None,
    }


def _moment(seconds: float) -> str:
    """RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
