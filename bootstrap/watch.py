"""The one long-running loop: converge, then wait for something to happen, and act on it.

What can happen: the supervisor dies (its programs are restored, exactly once each), a program fails for good (it is
said, once), SIGHUP (``up`` again), SIGTERM or SIGINT (everything stops in reverse waves). A box that somebody has taken
down by hand stays down until somebody types ``up``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap import boot, control
from bootstrap.errors import BootstrapError
from bootstrap.world import clock, processes, signals, store, supervisord

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.boot import Outcome, Request, Say
    from bootstrap.box import Box
    from bootstrap.reconcile import Action
    from bootstrap.world.signals import Signals

TICK_S = 2.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
CALM_S = 60.0  # without trouble for this long, the next trouble is the first again


def watch(box: Box, request: Request, say: Say, announce: Callable[[tuple[Action, ...]], None]) -> None:
    """Converge and keep it so until SIGTERM or SIGINT; then stop everything in order.

    Raises what the first ``up`` raises: an init system starts us again, and tells. Later trouble is told and tried
    again, after a pause that grows.
    """
    processes.adopt_orphans()
    with signals.heeded() as heeded:
        try:
            loop = _Loop(box=box, request=request, say=say, announce=announce, signals=heeded)
            loop.tell(boot.up(box, request, say, announce))
            loop.run()
        except signals.StopAsked:
            signals.ignore_stopping()
            say("", "stopping everything")
            control.halt(box, say)
            say("", "stopped")


@dataclass(slots=True, kw_only=True)
class _Loop:
    box: Box
    request: Request
    say: Say
    announce: Callable[[tuple[Action, ...]], None]
    signals: Signals
    failed: frozenset[str] = frozenset()
    is_down: bool = False
    pause_s: float = FIRST_PAUSE_S
    troubled_at: float = field(default_factory=clock.now)

    def run(self) -> None:
        """Until StopAsked."""
        while True:
            signals.reap()
            try:
                self._step()
            except BootstrapError as error:
                self._be_troubled(str(error))

    def _step(self) -> None:
        if self.signals.take_up_asked():
            self.tell(boot.up(self.box, self.request, self.say, self.announce))
        supervisor = supervisord.connect(self.box)
        if supervisor is not None:
            self.is_down = False
            self._tell_failures(supervisor)
            self.signals.wait(supervisor.pid, TICK_S)
        elif store.read_current(self.box) is None:
            self._stay_down()
        else:
            self._restore()

    def _restore(self) -> None:
        self._pause()
        self.say("", "the supervisor has ended: restoring what it ran")
        outcome = boot.restore(self.box, None, self.request, self.say, self.announce)
        if outcome is None and store.read_current(self.box) is not None:  # the store is gone
            outcome = boot.up(self.box, self.request, self.say, self.announce)
        if outcome is not None:
            self.tell(outcome)

    def _stay_down(self) -> None:
        if not self.is_down:
            self.is_down = True
            self.say("", 'this box was taken down by hand; "bootstrap up" brings it back')
        self.signals.wait(None, TICK_S)

    def _tell_failures(self, supervisor: supervisord.Supervisor) -> None:
        failed = {program.name: program for program in supervisor.observe().programs if program.state == "failed"}
        for name in sorted(failed.keys() - self.failed):
            last = failed[name].last_exit
            why = "" if last is None else f": the last time it {last.words}"
            self.say(name, f'has failed for good{why}; see "bootstrap logs {name}"')
        self.failed = frozenset(failed)

    def tell(self, outcome: Outcome) -> None:
        """Say what could not be done; what could be has been said."""
        for failure in outcome.failures.values():
            self.say("", f"error: {failure}")

    def _be_troubled(self, why: str) -> None:
        self.say("", f"error: {why}")
        self.say("", f"trying again in {self.pause_s:g} s")
        self.signals.wait(None, self.pause_s)
        self.pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2)
        self.troubled_at = clock.now()

    def _pause(self) -> None:
        """A supervisor that dies again and again is not started at full speed."""
        if clock.now() > self.troubled_at + CALM_S:
            self.pause_s = FIRST_PAUSE_S
        elif self.pause_s > FIRST_PAUSE_S:
            self.signals.wait(None, self.pause_s)
        self.pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2)
        self.troubled_at = clock.now()
