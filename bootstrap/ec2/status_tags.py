"""The duty that writes `bootstrap:status` and `bootstrap:status.reason` on the instance: three times a boot, at most.

CreateTags refills at ten a second for a whole account, so it is never a heartbeat, and boxes that change together do
not write together. What goes wrong with it is told, once, and holds up nothing; what was not written because too many
boxes wrote at once is written later.
"""

from __future__ import annotations

import os
from functools import partial
from random import uniform
from typing import TYPE_CHECKING, Any

from bootstrap.duty import SELDOM_S, Duty
from bootstrap.instance.phases import describe_reason
from bootstrap.tag import STATUS
from bootstrap.world import clock
from bootstrap.world.aws import DeniedError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from bootstrap.ec2.situation import Situation
    from bootstrap.errors import BootstrapError
    from bootstrap.observed import Observed
    from bootstrap.rendering import Generation

_MOST = 3
_VARIABLE = "BOOTSTRAP_STATUS_JITTER"  # seconds
_JITTER_S = 5.0
_AGAIN_S = 30.0  # after a first failure at least; up to twice as long, and each time longer
_NEVER = ("", "")


class StatusTags(Duty):
    """Follows the word of the situation."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._written = _NEVER
        self._count = 0
        self._due: float | None = None
        self._pause_s = _AGAIN_S
        self._last: Future[Any] | None = None

    def begin(self) -> None:
        self._write()

    def fail(self, _failures: tuple[str, ...]) -> None:
        self._write()  # now: there may be no later

    def idle(self, _why: str) -> None:
        self._write()

    def turn(self, _generation: Generation, _observed: Observed) -> float:
        if self._wanted() == self._written or self._count >= _MOST:
            self._due = None
            return SELDOM_S
        if self._due is None:
            self._due = clock.now() + uniform(0, _read_jitter())  # noqa: S311 - spreads load, protects nothing
        wait_s = self._due - clock.now()
        if wait_s <= 0:
            self._write()
        return max(0.05, wait_s)

    def drain(self) -> None:
        self._write()

    def _wanted(self) -> tuple[str, str]:
        return self._situation.word, describe_reason(self._situation.failures)

    def _miss(self, missed: tuple[str, str], error: BootstrapError) -> None:
        if isinstance(error, DeniedError) or missed != self._written:
            return  # it is denied again, or no news any more
        self._count -= 1
        self._written, self._due = _NEVER, clock.now() + uniform(self._pause_s, 2 * self._pause_s)  # noqa: S311
        self._pause_s = min(SELDOM_S, 2 * self._pause_s)

    def _write(self) -> None:
        instance, wanted = self._situation.instance, self._wanted()
        if instance is None or self._count >= _MOST or wanted == self._written:
            return
        self._written, self._due = wanted, None
        self._count += 1
        word, reason = wanted
        tags = {STATUS: word, f"{STATUS}.reason": reason}
        if self._last is not None:
            self._situation.abandon(self._last)  # were it still under way, old news could come after the new
        self._last = self._situation.attempt(
            "tag", otherwise=partial(self._miss, wanted), instance_id=instance.id, region=instance.region, tags=tags
        )


def _read_jitter() -> float:
    text = os.environ.get(_VARIABLE, "")
    return float(text) if text.replace(".", "", 1).isdigit() else _JITTER_S
