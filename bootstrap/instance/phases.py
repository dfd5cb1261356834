"""What a boot went through → the lines that tell of it, and its report.

A boot has seven phases: identity, sources, environment, generation, apply (start in waves), ready (health says ok) and
registered (load balancer and DNS). A box that finds its inputs unchanged goes from identity to apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bootstrap.frozen import dataclass
from bootstrap.spelling import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PHASES = ("identity", "sources", "environment", "generation", "apply", "ready", "registered")
TAIL_LINES = 20  # of a failure, on the console
LONGEST_REASON = 256  # characters: what the value of a tag may hold

Word: TypeAlias = Literal["booting", "ready", "failed", "draining", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase that has ended."""

    name: str
    took_s: float
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """Everything that is known of one boot; ``tags`` are ours alone."""

    word: Word
    instance: str | None
    boot: str  # the kernel's boot id
    started_at: str  # RFC 3339
    ended_at: str
    tags: Mapping[str, str]
    generation: str | None
    phases: tuple[Phase, ...]
    failures: tuple[str, ...]  # whole, with the last lines of logs, secrets masked


def describe_phase(phase: Phase) -> str:
    """One line; of a failure its first line."""
    if phase.failure is None:
        return f"{phase.name} {phase.took_s:.1f} s"
    return f"{phase.name} failed after {phase.took_s:.1f} s: {_first_line(phase.failure)}"


def describe_failure(failures: Iterable[str]) -> tuple[str, ...]:
    """The last lines of all that went wrong, for a console that keeps little."""
    lines = [line for failure in failures for line in failure.splitlines()]
    return tuple(harmless(line) for line in lines[-TAIL_LINES:])


def describe_reason(failures: Iterable[str]) -> str:
    """All failures in the value of a tag: the first line of each, cut short."""
    text = "; ".join(_first_line(failure) for failure in failures)
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


def render_report(report: BootReport) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "status": report.word,
        "reason": describe_reason(report.failures),
        "instance": report.instance,
        "boot": report.boot,
        "started_at": report.started_at,
        "ended_at": report.ended_at,
        "tags": dict(report.tags),
        "generation": report.generation,
        "phases": [
            {"phase": phase.name, "took_s": round(phase.took_s, 3), "failure": phase.failure} for phase in report.phases
        ],
        "failures": list(report.failures),
    }


def _first_line(text: str) -> str:
    return harmless((text.splitlines() or [""])[0])
