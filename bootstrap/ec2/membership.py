"""The duty towards the Auto Scaling group: its life cycle hooks, and asking to be replaced.

While the box boots its launch hook hears a heartbeat; ready it continues, failed it is abandoned. When the group takes
the box out of service, the terminate hook is held until everything has stopped, and then continues. That there is no
hook to answer is normal.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from bootstrap.duty import SELDOM_S, Duty
from bootstrap.errors import BootstrapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.ec2.notices import Notices
    from bootstrap.ec2.situation import Situation
    from bootstrap.observed import Observed
    from bootstrap.rendering import Generation

_LONGEST_PAUSE_S = 300.0
_SHORTEST_PAUSE_S = 1.0
_AT_THE_END_S = 20.0
_FIRST_AGAIN_S = 5.0
_RESULTS = {"ready": "CONTINUE", "waiting": "CONTINUE", "failed": "ABANDON"}


class Membership(Duty):
    """Does nothing for a box of no group; a group is asked about only where metadata says that there is one."""

    def __init__(self, situation: Situation, notices: Notices) -> None:
        self._situation = situation
        self._notices = notices
        self._launching: _Pulse | None = None
        self._terminating: _Pulse | None = None
        self._has_answered = False
        self._has_asked = False  # to be replaced

    @property
    def _is_member(self) -> bool:
        return self._notices.target_state is not None

    def begin(self) -> None:
        self._begin_launch()

    def fail(self, _failures: tuple[str, ...]) -> None:
        self._answer()

    def idle(self, _why: str) -> None:
        self._answer()

    def turn(self, generation: Generation, observed: Observed) -> float:
        for why in self._notices.take_retirements():
            self.ask_for_replacement(why)
        if self._situation.word != "booting":
            self._answer()
        self._judge_budget(generation, observed)
        return SELDOM_S

    def drain(self) -> None:
        if self._is_member and self._situation.instance is not None:
            self._terminating = _Pulse(self._situation, "terminating")

    def end(self) -> None:
        if self._terminating is not None:
            self._terminating.complete("CONTINUE")
        for pulse in (self._launching, self._terminating):
            if pulse is not None:
                pulse.finish()

    def ask_for_replacement(self, why: str) -> None:
        """Once: the group ends this box, by its own rules, and launches another."""
        instance = self._situation.instance
        if self._has_asked or not self._is_member or instance is None or self._situation.is_specimen:
            return
        self._has_asked = True
        self._situation.say("", f"asking the group for a replacement: {why}")
        self._situation.attempt("set-unhealthy", instance_id=instance.id, region=instance.region)

    def _begin_launch(self) -> None:
        if self._launching is None and self._is_member and self._situation.instance is not None:
            self._launching = _Pulse(self._situation, "launching")

    def _answer(self) -> None:
        """The launch hook: what became of the boot. A specimen keeps it waiting: so nobody sends it requests."""
        self._begin_launch()  # metadata may have been out of reach when the boot began
        if self._launching is None or self._has_answered or self._situation.is_specimen:
            return
        self._has_answered = True
        self._launching.complete(_RESULTS.get(self._situation.word, "CONTINUE"))

    def _judge_budget(self, generation: Generation, observed: Observed) -> None:
        if self._situation.word != "ready":
            return
        failed = {program.name for program in observed.programs if program.state == "failed"}
        for unit in generation.units:
            if unit.name in failed and unit.check is not None and unit.check["hard"]:
                self.ask_for_replacement(f"{unit.name} has failed for good")


class _Pulse:
    """Heartbeats for the hooks of one transition, from a thread: an `up` may take long."""

    def __init__(self, situation: Situation, transition: str) -> None:
        self._situation = situation
        self._transition = transition
        self._hooks: list[dict[str, Any]] = []
        self._group = ""
        self._result: str | None = None
        self._over = threading.Event()
        self._is_left = threading.Event()  # whoever wanted the answer sent waits for it only a little longer
        self._thread = threading.Thread(target=self._beat_on, name=f"hook-{transition}", daemon=True)
        self._thread.start()

    def complete(self, result: str) -> None:
        """Answer every hook, as soon as it is known which there are."""
        self._result = result
        self._over.set()

    def finish(self) -> None:
        """Wait for the answer to arrive; without one, only end the heartbeats."""
        self._is_left.set()
        self._over.set()
        self._thread.join(_AT_THE_END_S)

    def _beat_on(self) -> None:
        if not self._insist(self._find):
            return
        pause_s = min((hook["heartbeat_s"] / 3 for hook in self._hooks), default=None)
        while pause_s is not None and not self._over.wait(max(_SHORTEST_PAUSE_S, min(_LONGEST_PAUSE_S, pause_s))):
            for hook in self._hooks:
                self._beat(hook)
        self._over.wait()
        if self._result is not None:
            for hook in self._hooks:
                self._insist(partial(self._complete, hook, self._result))

    def _insist(self, act: Callable[[], None]) -> bool:
        """Until it has succeeded; once nobody has more time for it, one last time."""
        pause_s = _FIRST_AGAIN_S
        while True:
            is_last = self._is_left.is_set()
            try:
                act()
            except BootstrapError as error:
                self._situation.tell(error)
            else:
                return True
            if is_last:
                return False
            self._is_left.wait(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _beat(self, hook: dict[str, Any]) -> None:
        """One that fails is no reason to give up the others: the hook's answer is still to come."""
        try:
            self._run("heartbeat", hook)
        except BootstrapError as error:
            self._situation.tell(error)

    def _complete(self, hook: dict[str, Any], result: str) -> None:
        if self._run("complete", hook, result=result):
            self._situation.say("", f"life cycle hook {hook['name']}: {result}")

    def _find(self) -> None:
        instance = self._situation.instance
        if instance is None:
            return
        found = self._situation.errands.run("describe-membership", instance_id=instance.id, region=instance.region)
        if found["group"] is not None:
            self._group = found["group"]
            self._hooks = [hook for hook in found["hooks"] if hook["transition"] == self._transition]

    def _run(self, errand: str, hook: dict[str, Any], **more: Any) -> bool:
        instance = self._situation.instance
        if instance is None:
            return False
        done = self._situation.errands.run(
            errand, group=self._group, hook=hook["name"], instance_id=instance.id, region=instance.region, **more
        )
        return bool(done)
