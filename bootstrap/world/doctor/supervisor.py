"""The supervisor of this box, if there is one: whether it answers, and which of its programs are in trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.diagnosis import Finding, ok, warn
from bootstrap.spelling import listed
from bootstrap.world import kept_out, processes, readiness, setups_record, store, supervisord
from bootstrap.world.checks_record import read_failing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from bootstrap.box import Box
    from bootstrap.observed import Observed, ObservedProgram

_IN_TROUBLE = {"failed": "has failed", "backoff": "keeps dying"}
_ALIVE = {"running", "starting"}


def examine(box: Box) -> tuple[Observed, list[Finding]]:
    """What it observes, and what there is to say about it; raises Unavailable where it does not answer."""
    supervisor = supervisord.connect(box)
    if supervisor is None:
        return supervisord.NOTHING, [*_describe_absence(box)]
    try:
        if not supervisor.is_up():
            ending = warn(f"the supervisor (pid {supervisor.pid}) is shutting down", "wait for its end; up does so")
            return supervisord.NOTHING, [ending]
        observed = supervisor.observe()
    finally:
        supervisor.close()
    generation = store.read_current(box)
    ready = readiness.read_ready(box, generation, observed, processes.own_mark(box))
    return observed, [
        *_describe_draining(box),
        *_describe_setups(box, setups_record.read_failed(box, generation)),
        *_describe_programs(observed, ready, read_failing(box)),
    ]


def _describe_draining(box: Box) -> Iterator[Finding]:
    why = kept_out.read_reason(box)
    if why is not None:
        way_out = "bootstrap undrain" if why == kept_out.DRAINED else "take it off standby in its group"
        yield warn(f"no requests are to come here: {why}", way_out)


def _describe_absence(box: Box) -> Iterator[Finding]:
    left = {process.program for process in processes.read_abandoned(box, None) if process.program}
    if left:
        yield warn(
            f"the supervisor has died, and what is left behind runs on without it: {listed(left)}",
            "bootstrap up starts it anew, once what was left behind is stopped",
        )
    else:
        yield ok("none is running: up starts one")


def _describe_setups(box: Box, failed: Iterable[str]) -> Iterator[Finding]:
    for service in sorted(failed):
        yield warn(
            f'the set-up of "{service}" has failed, and its programs were not started as what is wanted',
            f"correct what {box.log}/{service}.setup.log says; bootstrap up tries again",
        )


def _describe_programs(observed: Observed, ready: Collection[str], failing: dict[str, str]) -> Iterator[Finding]:
    troubled = [program for program in observed.programs if program.state in _IN_TROUBLE]
    for program in troubled:
        yield warn(
            f'"{program.name}" {_IN_TROUBLE[program.state]}{_describe_end(program)}',
            f"bootstrap logs {program.name} shows why; bootstrap restart {program.name} tries again",
        )
    for program in observed.programs:
        if program.state in _ALIVE and program.name not in ready:
            yield warn(
                f'"{program.name}" runs and is not ready',
                f"bootstrap logs {program.name} may show why; bootstrap up waits for it",
            )
        elif program.state in _ALIVE and program.name in failing:
            yield warn(
                f'the check of "{program.name}" fails: {failing[program.name]}', f"bootstrap logs {program.name}"
            )
    running = sum(program.state in _ALIVE for program in observed.programs)
    yield ok(f"it answers (pid {observed.daemon}); {running} of {len(observed.programs)} programs are running")


def _describe_end(program: ObservedProgram) -> str:
    return "" if program.last_exit is None else f" ({program.last_exit.words})"
