"""Ledger lines → the lives of a program: every start with how it ended.

A line is one JSON object, an event: ``start``, ``exit`` or ``verdict`` (a judgement about a life that goes on). Lines
are appended by whoever saw the event; one that was cut off by a full disk or a power cut is passed over.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bootstrap.frozen import dataclass
from bootstrap.observed import LastExit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LENGTH = 20  # lives that are kept
LOST = "lost"  # nobody saw the end: the supervisor had died
NEVER_READY = "never ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One run of a program, from its start to its end; times are seconds since 1970."""

    pid: int
    fingerprint: str
    generation: str | None
    started_at: float
    ended_at: float | None = None
    lived_s: float | None = None
    code: int | None = None
    signal: str | None = None
    cause: str | None = None  # as LastExit.cause, or "never ready"; None while all is well

    @property
    def words(self) -> str:
        """How it went, for people."""
        if self.ended_at is None:
            return f"lives, {self.cause}" if self.cause else "lives"
        return LastExit(code=self.code, signal=self.signal, cause=self.cause or "exited", at=self.ended_at).words


def parse_ledger(lines: Iterable[bytes]) -> tuple[Life, ...]:
    """The last lives, oldest first."""
    lives: list[Life] = []
    for line in lines:
        event = _parse_event(line)
        if event is None:
            continue
        if event["event"] == "start":
            if lives and lives[-1].ended_at is None:
                lives[-1] = replace(lives[-1], ended_at=event["at"], cause=LOST)
            lives.append(_begin(event))
        elif lives and lives[-1].ended_at is None:
            lives[-1] = _end(lives[-1], event) if event["event"] == "exit" else replace(lives[-1], cause=event["cause"])
    return tuple(lives[-LENGTH:])


def render_event(event: str, at: float, **facts: Any) -> bytes:
    """One line of a ledger."""
    return json.dumps({"event": event, "at": round(at, 3), **facts}).encode() + b"\n"


def _parse_event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
        fits = event["event"] in {"start", "exit", "verdict"} and isinstance(event["at"], int | float)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return event if fits else None


def _begin(event: Mapping[str, Any]) -> Life:
    return Life(
        pid=int(event.get("pid") or 0),
        fingerprint=str(event.get("fingerprint", "")),
        generation=event.get("generation"),
        started_at=float(event["at"]),
    )


def _end(life: Life, event: Mapping[str, Any]) -> Life:
    return replace(
        life,
        ended_at=float(event["at"]),
        lived_s=event.get("lived_s"),
        code=event.get("code"),
        signal=event.get("signal"),
        cause=str(event.get("cause", "exited")),
    )
