"""The one long-running loop: converge, then wait for something to happen, and act on it.

What can happen: the supervisor dies (its programs are restored, exactly once each), a program fails for good (it is
said, once), SIGHUP (``up`` again), SIGTERM or SIGINT (everything stops in reverse waves). A box that somebody has taken
down by hand stays down until somebody types ``up``.

Whatever else a box does while its programs run is a *duty* (``duty.py``), with a turn in every round and a word before
the end.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bootstrap import boot, control
from bootstrap.errors import BootstrapError, NothingYet, Refused, Unavailable
from bootstrap.world import children, clock, lock, processes, signals, store, supervisord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.box import Box
    from bootstrap.duty import Duty
    from bootstrap.observed import Observed
    from bootstrap.reconcile import Action
    from bootstrap.rendering import Generation
    from bootstrap.request import Outcome, Request, Say
    from bootstrap.world.signals import Signals

TICK_S = 2.0
IDLE_S = 60.0  # between two looks for something to run
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
_TAGS_AGAIN_S = 5.0
CALM_S = 60.0  # without trouble for this long, the next trouble is the first again


def watch(
    box: Box,
    request: Request,
    say: Say,
    announce: Callable[[tuple[Action, ...]], None],
    duties: tuple[Duty, ...] = (),
) -> None:
    """Converge and keep it so until SIGTERM or SIGINT; then stop everything in order.

    Raises Locked where another one watches this box, and what the first ``up`` raises, unless a duty wants this process
    to stay: an init system starts us again, and tells. Later trouble is told and tried again, after a pause that grows.
    """
    processes.adopt_orphans()
    with _watching(box, say, duties), signals.heeded() as heeded:
        loop = _Loop(box=box, request=request, say=say, announce=announce, signals=heeded, duties=duties)
        try:
            is_stopped = heeded.until_stopped(loop.run)
        except BootstrapError:
            for duty in reversed(duties):
                _tell_errors(duty.end, say)
            raise
        if is_stopped:
            loop.end()


@contextmanager
def _watching(box: Box, say: Say, duties: tuple[Duty, ...]) -> Iterator[None]:
    """The lock of whoever watches; where the disk refuses it, the duties tell those who wait for this box."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.watching(box))
        except Unavailable as error:
            _fail_at_once(duties, str(error), say)
            raise
        yield


def _fail_at_once(duties: tuple[Duty, ...], failure: str, say: Say) -> None:
    for duty in duties:
        _tell_errors(duty.begin, say)
    for duty in duties:
        _tell_errors(partial(duty.fail, (failure,)), say)
    for duty in reversed(duties):
        _tell_errors(duty.end, say)


def _tell_errors(act: Callable[[], None], say: Say) -> None:
    """Nothing that goes wrong with a duty holds up the others, the watching or the end."""
    try:
        act()
    except (BootstrapError, OSError) as error:  # the latter of a machine in trouble
        say("", f"error: {error}")


@dataclass(slots=True, kw_only=True)
class _Loop:
    box: Box
    request: Request
    say: Say
    announce: Callable[[tuple[Action, ...]], None]
    signals: Signals
    duties: tuple[Duty, ...]
    generation: Generation | None = None  # that the duties had their turns with last
    failed: frozenset[str] = frozenset()
    is_down: bool = False
    is_booted: bool = False  # everything was well, once
    has_failed: bool = False  # the attempt that is under way, and it has been told
    again_at: float = float("inf")
    up_pause_s: float = FIRST_PAUSE_S  # before the next `up`, if this one fails
    pause_s: float = FIRST_PAUSE_S  # before anything else that has gone wrong is tried again
    has_paused: bool = False  # for the trouble that is being tried again
    troubled_at: float = field(default_factory=clock.now)

    def run(self) -> None:
        """Boot, and watch for ever."""
        self._boot()
        while True:
            try:
                children.reap()
                self._step()
            except BootstrapError as error:
                self._be_troubled(error)
            except OSError as error:  # a machine in trouble; who watches is the last to leave
                why = f"cannot watch this box: {error}\n  what runs goes on; way out: give the machine what it lacks"
                self._be_troubled(Unavailable(why))

    def _boot(self) -> None:
        """The first ``up``; raises what it raises, unless a duty wants us to stay."""
        for duty in self.duties:
            _tell_errors(duty.begin, self.say)
        try:
            self._up()
        except BootstrapError as error:
            if not any(duty.keeps() for duty in self.duties):
                raise
            self.say("", f"error: {error}")
            self.is_down = True

    def end(self) -> None:
        """The one path of every ending."""
        self.say("", "stopping everything")
        for duty in self.duties:
            _tell_errors(duty.drain, self.say)
        try:
            control.halt(self.box, self.say)
        finally:  # what could not be stopped is no reason to leave a hook unanswered
            for duty in reversed(self.duties):
                _tell_errors(duty.end, self.say)
        self.say("", "stopped")

    def _step(self) -> None:
        if self.signals.take_up_asked() or clock.now() >= self.again_at:
            self._up_again()
        supervisor = supervisord.connect(self.box)
        if supervisor is not None:
            self.is_down = False
            observed = supervisor.observe()
            wait_s = self._take_turns(observed)
            self.is_booted = self.is_booted or all(duty.settled() for duty in self.duties)
            self._tell_failures(observed)
            self.signals.wait(supervisor.pid, min(wait_s, max(0.0, self.again_at - clock.now())))
        elif self._is_down_by_hand():
            self._stay_down()
        else:
            self._restore()

    def _up_again(self) -> None:
        """What goes wrong with it is no reason to watch less: what runs goes on, and so does everything else."""
        try:
            self._up()
        except BootstrapError as error:
            self.say("", f"error: {error}")
            if any(duty.keeps() for duty in self.duties):
                return  # it stays as it is, for somebody to look at
            if self.is_down:
                self.again_at = clock.now() + IDLE_S
                self.say("", f"looking again in {IDLE_S:g} s")
            elif isinstance(error, Refused):
                self.say("", "what runs goes on as it is; SIGHUP tries again")
            else:
                self.again_at = clock.now() + self.up_pause_s
                self.say("", f"trying again in {self.up_pause_s:g} s")
                self.up_pause_s = min(LONGEST_PAUSE_S, self.up_pause_s * 2)
        else:
            self.up_pause_s = FIRST_PAUSE_S

    def _up(self) -> None:
        """Converge, or do as much of it as may be done."""
        self.again_at, self.has_failed = float("inf"), False
        held = next((why for duty in self.duties if (why := duty.holds()) is not None), None)
        try:
            if held is not None:
                boot.prepare(self.box, self.request, self.say)
                self._idle(held)
                return
            # Tags that were there and are gone are not waited for: meanwhile somebody must watch.
            request = replace(self.request, tag_wait_s=_TAGS_AGAIN_S) if self.is_booted else self.request
            outcome = boot.up(self.box, request, self.say, self.announce)
        except NothingYet as error:
            self._idle(str(error).splitlines()[0])
            return
        except BootstrapError as error:
            self._fail((str(error),))
            raise
        self.tell(outcome)
        if outcome.failures:
            self._fail(tuple(outcome.failures.values()))
        self.say("", f"watching (generation {outcome.generation.id})")
        if not outcome.generation.units:
            self._idle("its tags give it nothing to run")

    def _idle(self, why: str) -> None:
        self.say("", f"nothing is started: {why}; looking again in {IDLE_S:g} s")
        self.is_down = True
        self.again_at = clock.now() + IDLE_S
        for duty in self.duties:
            duty.idle(why)

    def _fail(self, failures: tuple[str, ...]) -> None:
        if self.is_booted or self.has_failed:
            return  # what was booted still runs; that it could not be changed is told, and no reason to leave
        self.has_failed = True
        for duty in self.duties:
            _tell_errors(partial(duty.fail, failures), self.say)

    def _restore(self) -> None:
        self._pause()
        if lock.read_changing(self.box) is None:  # else it may well be a `down`, for whose end we wait
            self.say("", "the supervisor has ended: restoring what it ran")
        outcome = boot.restore(self.box, None, self.request, self.say, self.announce)
        if outcome is None and not self._is_down_by_hand():  # the store is gone, or all of the state
            outcome = boot.up(self.box, self.request, self.say, self.announce)
        if outcome is not None:
            self.tell(outcome)

    def _is_down_by_hand(self) -> bool:
        """Whether nothing is in force, and nothing of it runs on: what runs can lose its state directory."""
        if store.read_current(self.box) is not None:
            return False
        return self.is_down or lock.read_changing(self.box) is not None or not processes.read_abandoned(self.box, None)

    def _stay_down(self) -> None:
        if not self.is_down:
            self.is_down = True
            self.say("", 'this box was taken down by hand; "bootstrap up" brings it back')
        self._rest()
        self.signals.wait(None, TICK_S)

    def _take_turns(self, observed: Observed) -> float:
        """Give every duty its turn; the answer is how long all of them can wait."""
        generation = store.read_current(self.box) or self.generation
        wait_s = TICK_S
        if generation is None:
            self._rest()
            return wait_s
        self.generation = generation
        for duty in self.duties:
            try:
                wait_s = min(wait_s, duty.turn(generation, observed))
            except (BootstrapError, OSError) as error:
                self.say("", f"error: {error}")
        return wait_s

    def _rest(self) -> None:
        for duty in self.duties:
            _tell_errors(partial(duty.rest, self.generation), self.say)

    def _tell_failures(self, observed: Observed) -> None:
        failed = {program.name: program for program in observed.programs if program.state == "failed"}
        for name in sorted(failed.keys() - self.failed):
            last = failed[name].last_exit
            why = "" if last is None else f": the last time it {last.words}"
            self.say(name, f'has failed for good{why}; see "bootstrap logs {name}"')
        if failed.keys() - self.failed:
            self._fail(tuple(f"{name} has failed for good" for name in sorted(failed)))
        self.failed = frozenset(failed)

    def tell(self, outcome: Outcome) -> None:
        """Say what could not be done; what could be has been said."""
        for failure in outcome.failures.values():
            self.say("", f"error: {failure}")

    def _be_troubled(self, error: BootstrapError) -> None:
        self._calm_down()
        self.say("", f"error: {error}")
        self.say("", f"trying again in {self.pause_s:g} s")
        self._bide()
        self.has_paused = True
        self._grow_pause()

    def _pause(self) -> None:
        """A supervisor that dies again and again is not started at full speed."""
        self._calm_down()
        has_paused, self.has_paused = self.has_paused, False
        if has_paused:
            return  # for this very trouble
        if self.pause_s > FIRST_PAUSE_S:
            self._bide()
        self._grow_pause()

    def _bide(self) -> None:
        """Let a pause go by. Where it is not the first, the duties see a box on which nothing is known to run.

        So it gets no requests, and hears of its own end.
        """
        is_first, until = self.pause_s <= FIRST_PAUSE_S, clock.now() + self.pause_s
        while not self.signals.up_asked and (left_s := until - clock.now()) > 0:
            wait_s = left_s if is_first else self._take_turns(supervisord.NOTHING)
            self.signals.wait(None, min(left_s, wait_s))

    def _calm_down(self) -> None:
        if clock.now() > self.troubled_at + CALM_S:
            self.pause_s, self.has_paused = FIRST_PAUSE_S, False

    def _grow_pause(self) -> None:
        self.pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2)
        self.troubled_at = clock.now()
