"""The duty that obeys instance metadata: spot and maintenance notices, the wishes of the group, and changed tags.

They are heard in a thread, so that a notice comes through while an `up` is under way. An end becomes the SIGTERM that
an init system would send: there is one path for every ending. Changed tags become the SIGHUP that a person would send.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from typing import TYPE_CHECKING, assert_never

from bootstrap.duty import SELDOM_S, Duty
from bootstrap.instance.notices import Advice, End, Retire, Serve, TagsChanged, Withdraw, is_warming
from bootstrap.spelling import listed
from bootstrap.world import clock
from bootstrap.world.ec2.metadata_watch import EVERY_S, MetadataWatch
from bootstrap.world.imds import metadata_endpoint

if TYPE_CHECKING:
    from bootstrap.ec2.situation import Situation
    from bootstrap.instance.notices import Notice
    from bootstrap.observed import Observed
    from bootstrap.rendering import Generation

_HOLD = "bootstrap:hold"
_VARIABLE = "BOOTSTRAP_METADATA_EVERY"  # seconds between two looks at metadata


class Notices(Duty):
    """Silent outside of EC2."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._watch: MetadataWatch | None = None
        self._retirements: deque[str] = deque()
        self._service_changes: deque[Withdraw | Serve] = deque()
        self._apply_at: float | None = None  # a moment of clock.now()
        self._changed: set[str] = set()

    def begin(self) -> None:
        endpoint = metadata_endpoint(os.environ)
        if endpoint is None:
            return
        self._watch = MetadataWatch(endpoint, self._hear, _read_every())
        self._watch.start()

    def turn(self, _generation: Generation, _observed: Observed) -> float:
        if self._apply_at is None:
            return SELDOM_S
        wait_s = self._apply_at - clock.now()
        if wait_s <= 0:
            self._apply()
        return max(0.05, wait_s)

    def end(self) -> None:
        if self._watch is not None:
            self._watch.stop()

    @property
    def target_state(self) -> str | None:
        """Where the Auto Scaling group wants this box; ``None`` for a box of no group."""
        return None if self._watch is None else self._watch.target_state

    def holds(self) -> str | None:
        return "it is bound for the warm pool of its group" if is_warming(self.target_state) else None

    def take_retirements(self) -> list[str]:
        """Why this box should be replaced, as far as it is news."""
        return [self._retirements.popleft() for _ in range(len(self._retirements))]

    def take_service_changes(self) -> list[Withdraw | Serve]:
        """Whether it should get requests, as far as it is news; in order."""
        return [self._service_changes.popleft() for _ in range(len(self._service_changes))]

    def _hear(self, notice: Notice) -> None:
        """Called in the thread of the watch."""
        match notice:
            case End():
                self._situation.say("", notice.reason)
                self._situation.be_ended(notice)
            case Advice(text=text):
                self._situation.say("", text)
            case Retire(reason=reason):
                self._situation.say("", reason)
                self._retirements.append(reason)
            case Withdraw():
                self._service_changes.append(notice)
            case Serve():
                self._service_changes.append(notice)
                os.kill(os.getpid(), signal.SIGHUP)
            case TagsChanged(keys=keys):
                self._changed |= set(keys)
                self._apply_at = clock.now() + self._situation.settings.settle_s
            case _:
                assert_never(notice)

    def _apply(self) -> None:
        self._apply_at = None
        changed, self._changed = listed(self._changed), set()
        tags = {} if self._watch is None else self._watch.tags
        if tags.get(_HOLD) == "true":
            self._situation.say("", f"tags have changed ({changed}); {_HOLD} keeps them from being applied")
            return
        self._situation.say("", f"tags have changed ({changed}): applying them")
        os.kill(os.getpid(), signal.SIGHUP)


def _read_every() -> float:
    try:
        return max(0.01, float(os.environ.get(_VARIABLE, EVERY_S)))
    except ValueError:
        return EVERY_S
