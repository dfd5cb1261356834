"""Probe results + deaths + policy → verdict: whether a program that was started is ready.

A death weighs more than a probe: what answers on the port of a program that keeps dying is luck, or somebody else. One
death before readiness is forgiven, because many programs lose a race once; two are a pattern. A command that does not
exist does not appear by being started again, so it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from bootstrap.definition import Alive, Probe
from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from bootstrap.observed import LastExit, State

FORGIVEN_DEATHS = 1
NO_COMMAND = {126: "command cannot be executed", 127: "command not found"}  # what every sh means by these codes


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What one probe saw; ``detail`` is a short sentence for people."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SinceStart:
    """What was seen of a program since somebody started it and began to wait for it."""

    waited_s: float
    state: State
    deaths: int = 0  # in this time, not before
    last_exit: LastExit | None = None  # only looked at when there were deaths, or the supervisor gave up
    probed: ProbeResult | None = None  # of the process that lives now: a death makes it None again


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """It may be used."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not yet; look again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It is not going to be ready."""

    reason: str


Readiness: TypeAlias = Ready | Waiting | Failed


def judge_readiness(probe: Probe, seen: SinceStart) -> Readiness:
    """Judge a program by its readiness probe."""
    failure = _judge_deaths(seen)
    if failure is not None:
        return failure
    if seen.probed is not None and seen.probed.ok:
        return Ready(detail=seen.probed.detail)
    patience_s = _patience_s(probe)
    if seen.waited_s >= patience_s:
        return Failed(reason=f"not ready after {patience_s:g} s: {_describe(seen)}")
    return Waiting(reason=_describe(seen))


def _judge_deaths(seen: SinceStart) -> Failed | None:
    if seen.deaths == 0 and seen.state != "failed":
        return None
    code = seen.last_exit.code if seen.last_exit is not None else None
    if code in NO_COMMAND:
        return Failed(reason=f"{NO_COMMAND[code]} (exited with code {code})")
    is_restarted = seen.state not in {"failed", "stopped"}
    if is_restarted and seen.deaths <= FORGIVEN_DEATHS:
        return None
    return Failed(reason=f"{_describe_exit(seen.last_exit)} before it was ready")


def _describe(seen: SinceStart) -> str:
    if seen.probed is not None:
        return seen.probed.detail
    if seen.deaths:
        return f"{_describe_exit(seen.last_exit)} and is being restarted"
    return "it has not been probed yet"


def _describe_exit(last_exit: LastExit | None) -> str:
    return "ended" if last_exit is None else last_exit.words  # a plain supervisord forgets how


def _patience_s(probe: Probe) -> float:
    """``alive: 60s`` with a timeout of 30 s would never be ready: the timeout begins when the 60 s are over."""
    return probe.timeout_s + (probe.after_s if isinstance(probe, Alive) else 0.0)
