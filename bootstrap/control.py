"""Programs by hand: start, stop, restart, reload, and all of them down; through the same waves as ``up``."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bootstrap.errors import ApplyFailed, BootstrapError, Locked, Unavailable
from bootstrap.patterns import select_programs
from bootstrap.reconcile import Action, Replace, Start, stopped_by
from bootstrap.rendering import waves_of
from bootstrap.spelling import listed
from bootstrap.traffic import parse_traffic
from bootstrap.world import abandoned, by_hand, clock, kept_out, lock, processes, readiness, store, supervisord
from bootstrap.world.apply import Apply, Outcome
from bootstrap.world.ec2 import traffic
from bootstrap.world.stopping import Stopper, Supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bootstrap.box import Box
    from bootstrap.observed import Observed, ObservedProgram
    from bootstrap.rendering import Generation, Unit
    from bootstrap.request import Say
    from bootstrap.world.supervisord import Supervisor

REASON = "by hand"
_END_PATIENCE_S = 600.0  # for whoever changes the box at its end: what nobody stops would be cut off
_LATE_LEAVE_S = 30.0  # for what was joined while everything was about to stop


def start(box: Box, names: tuple[str, ...], say: Say, timeout_s: float) -> Outcome:
    """Start what is not running, as it was last rendered.

    Requests that were withdrawn because a program stopped come back when it is ready.
    """

    def choose(units: list[Unit], running: dict[str, ObservedProgram]) -> list[Action]:
        return [
            Start(program=unit.name, unit=unit, running=running.get(unit.name), reasons=(REASON,))
            for unit in units
            if not _lives(running.get(unit.name))
        ]

    return _act(box, "start", names, choose, say, timeout_s, force=False)


def restart(
    box: Box, names: tuple[str, ...], say: Say, timeout_s: float, *, force: bool = False, quits: bool = True
) -> Outcome:
    """Stop and start, each wave together.

    Whatever sends requests to one of them is left before and joined after, unless not ``quits``; with ``force`` also
    where it can't or must not be left.
    """

    def choose(units: list[Unit], running: dict[str, ObservedProgram]) -> list[Action]:
        return [_restarted(unit, running.get(unit.name)) for unit in units]

    return _act(box, "restart", names, choose, say, timeout_s, force=force, quits=quits)


def stop(box: Box, names: tuple[str, ...], say: Say, *, force: bool = False) -> tuple[str, ...]:
    """Stop programs in reverse waves; they stay stopped until ``start`` or ``up``. The answer is what was stopped."""
    with lock.held(box, "stop", wait_s=60.0, say=lambda text: say("", text)):
        supervisor, generation = _living(box)
        observed = supervisor.observe()
        chosen = set(select_programs(names, _known(generation, observed)))
        programs = [program for program in observed.programs if program.name in chosen and program.state != "stopped"]
        traffic.leave_before(box, chosen, lambda text: say("", text), force=force)
        by_hand.change_stopped(box, stopped=chosen)  # first: killed now, the next one goes on
        supervisor.want(chosen, "d")
        _stop(box, supervisor, programs, waves_of(generation), say, then="d")
        return tuple(sorted(program.name for program in programs))


def reload(box: Box, names: tuple[str, ...], say: Say) -> tuple[str, ...]:
    """Send each program the reload signal of its definition; programs without one are left alone."""
    with lock.held(box, "reload", wait_s=60.0, say=lambda text: say("", text)):
        supervisor, generation = _living(box)
        observed = supervisor.observe()
        chosen = set(select_programs(names, _known(generation, observed)))
        signals = {unit.name: unit.reload for unit in generation.units if unit.reload and unit.name in chosen}
        for program in observed.programs:
            if program.name in signals and _lives(program):
                supervisor.signal([program], str(signals[program.name]))
                say(program.name, f"reloading ({signals[program.name]})")
        return tuple(sorted(signals))


def drain(box: Box, say: Say, *, force: bool) -> None:
    """Keep requests away, until ``undrain``; everything runs on.

    Raises ApplyFailed where this is the last healthy target, and Unavailable, unless ``force``; then all is as before.
    """
    store.open_state(box)
    with lock.held(box, "drain", wait_s=60.0, say=lambda text: say("", text)):
        kept_out.keep_out(box, kept_out.DRAINED)  # first: whoever watches would join again
        try:
            traffic.leave(box, lambda text: say("", text), force=force)
        except BootstrapError:
            kept_out.let_in(box)
            raise


def undrain(box: Box, say: Say) -> None:
    """Let requests in again, as soon as what they reach is ready; raises what joining raises."""
    store.open_state(box)
    with lock.held(box, "undrain", wait_s=60.0, say=lambda text: say("", text)):
        kept_out.let_in(box)
        _join(box, store.read_current(box), say)


def down(box: Box, say: Say, *, force: bool = False) -> tuple[str, ...]:
    """Drain, stop everything in reverse waves, and leave nothing but logs and the services' own data.

    It does not depend on a supervisor that cooperates: one that is shutting down is waited for, one that does not
    answer is ended, and then what it leaves behind is.
    """
    store.open_state(box)
    with lock.held(box, "down", wait_s=60.0, say=lambda text: say("", text)):
        current = store.read_current(box)
        processes.refuse_own_end(box, [unit.name for unit in current.units] if current else ())
        traffic.leave(box, lambda text: say("", text), force=force)
        stopped = _end(box, say)
        store.remove_everything(box)
    return stopped


def halt(box: Box, say: Say) -> tuple[str, ...]:
    """Stop everything in reverse waves, the supervisor too; what was rendered stays, so that it can be restored."""
    with _alone_at_the_end(box, say):
        joined = traffic.read_joined(box)
        if joined is not None and joined.is_whole:  # by the run that we have waited for
            traffic.leave(box, lambda text: say("", text), force=True, give_up=lambda: clock.now() + _LATE_LEAVE_S)
        return _end(box, say)


@contextmanager
def _alone_at_the_end(box: Box, say: Say) -> Iterator[None]:
    """The lock of whoever changes this box; what must end ends without it too, where it can't be had.

    Where the disk has lost it, nobody else can have it either. Where somebody holds it for ever, what he might still
    start is less than what nobody would stop.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.held(box, "halt", wait_s=_END_PATIENCE_S, say=lambda text: say("", text)))
        except (Locked, Unavailable) as error:
            say("", f"stopping without the lock: {str(error).splitlines()[0]}")
        yield


def _end(box: Box, say: Say) -> tuple[str, ...]:
    supervisor = supervisord.connect(box)
    stopped: tuple[str, ...] = ()
    if supervisor is not None:
        try:
            stopped = _stop_all(box, supervisor, say)
        except Unavailable as error:
            say("", f"ending the supervisor by force: {str(error).splitlines()[0]}")
            processes.end_pids([supervisor.pid])
    left = () if stopped else processes.read_abandoned(box, None)
    blocked = abandoned.sweep(box, None, say)
    if blocked:
        raise ApplyFailed("\n".join(blocked.values()))
    return stopped or tuple(sorted({process.program for process in left if process.program is not None}))


def _stop_all(box: Box, supervisor: Supervisor, say: Say) -> tuple[str, ...]:
    if not supervisor.is_up():
        say("", "the supervisor is shutting down already: waiting for it")
        if not processes.wait_until_ended(supervisor.pid, supervisord.STOP_TIMEOUT_S):
            raise Unavailable(f"it has not ended within {supervisord.STOP_TIMEOUT_S:.0f} s")
        return ()
    programs = supervisor.observe().programs
    _stop(box, supervisor, programs, waves_of(store.read_current(box)), say, then="x")
    processes.end_pids(processes.read_children(supervisor.pid))  # what has cleared its environment and fled
    supervisor.shut_down()
    return tuple(sorted(program.name for program in programs if program.pid is not None))


def _act(
    box: Box,
    verb: str,
    names: tuple[str, ...],
    choose: Callable[[list[Unit], dict[str, ObservedProgram]], list[Action]],
    say: Say,
    timeout_s: float,
    *,
    force: bool,
    quits: bool = True,
) -> Outcome:
    with lock.held(box, verb, wait_s=timeout_s, say=lambda text: say("", text)):
        supervisor, generation = _living(box)
        observed = supervisor.observe()
        chosen = set(select_programs(names, _known(generation, observed)))
        running = {program.name: program for program in observed.programs}
        units = [unit for unit in generation.units if unit.name in chosen]
        apply = Apply(box, supervisor, generation, generation, processes.own_mark(box), say)
        actions = tuple(choose(units, running))
        processes.refuse_own_end(box, stopped_by(actions))
        if quits:
            traffic.leave_before(box, stopped_by(actions), lambda text: say("", text), force=force)
        outcome = apply.run(actions, clock.now() + timeout_s, {})
        by_hand.change_stopped(box, wanted=chosen)
        if not outcome.failures:
            _join(box, generation, say)
        return outcome


def _join(box: Box, generation: Generation | None, say: Say) -> None:
    """Where everything that requests reach runs, ready; what is not ready yet will join when it is."""
    wanted = None if generation is None else parse_traffic(generation.traffic)
    supervisor = supervisord.connect(box)
    if wanted is None or supervisor is None:
        return
    ready = readiness.read_ready(box, generation, supervisor.observe(), processes.own_mark(box))
    unready = wanted.ports.keys() - (ready - by_hand.read_stopped(box))
    if unready:
        say("", f"not registered yet: {listed(sorted(unready))} {'is' if len(unready) == 1 else 'are'} not ready")
        return
    traffic.join(box, wanted, lambda text: say("", text))


def _living(box: Box) -> tuple[Supervisor, Generation]:
    supervisor = supervisord.connect(box)
    generation = store.read_current(box)
    if supervisor is None or generation is None:
        cause = "nothing runs on this box" if generation is None else "no supervisor runs on this box"
        raise Unavailable(f'cannot act on programs by hand: {cause}\n  way out: run "bootstrap up"')
    return supervisor, generation


def _restarted(unit: Unit, running: ObservedProgram | None) -> Start | Replace:
    if running is None or not _lives(running):
        return Start(program=unit.name, unit=unit, running=running, reasons=(REASON,))
    return Replace(program=unit.name, unit=unit, running=running, reasons=(REASON,))


def _lives(program: ObservedProgram | None) -> bool:
    return program is not None and program.state in {"running", "starting"}


def _known(generation: Generation, observed: Observed) -> dict[str, str]:
    services = {unit.name: unit.service for unit in generation.units}
    return {program.name: services.get(program.name, program.name) for program in observed.programs} | services


def _stop(
    box: Box,
    supervisor: Supervisor,
    programs: Sequence[ObservedProgram],
    waves: Mapping[str, int],
    say: Say,
    *,
    then: str,
) -> None:
    stopper = Stopper(box, Supervised(supervisor), processes.own_mark(box), say, then=then)
    stopper.stop_in_waves(programs, waves)
    if stopper.stuck:
        raise ApplyFailed("\n".join(stopper.stuck.values()))
