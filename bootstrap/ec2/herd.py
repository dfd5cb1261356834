"""The duty that asks, before this box calls itself ill, whether most of its group are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.duty import SELDOM_S, Duty
from bootstrap.ec2.situation import SOON_S
from bootstrap.world import clock

if TYPE_CHECKING:
    from bootstrap.ec2.situation import Situation
    from bootstrap.observed import Observed
    from bootstrap.page.duty import HealthPage
    from bootstrap.rendering import Generation

_RENEW_S = 10.0  # a load balancer looks about as often


class HerdGuard(Duty):
    """Works through the bucket; without one, or without a group, every box judges alone."""

    def __init__(self, situation: Situation, page: HealthPage) -> None:
        self._situation = situation
        self._page = page
        self._noted: tuple[str, ...] = ()
        self._due = 0.0

    def turn(self, _generation: Generation, _observed: Observed) -> float:
        failing = self._page.hard_failures
        if not failing and not self._noted:
            return SELDOM_S
        now = clock.now()
        if failing != self._noted or now >= self._due:
            self._noted, self._due = failing, now + _RENEW_S
            self._note(failing)
        return SOON_S

    def _note(self, failing: tuple[str, ...]) -> None:
        situation = self._situation
        if situation.instance is None or situation.bucket is None or situation.group is None:
            return
        situation.attempt(
            "note-failing",
            self._learn,
            bucket=situation.bucket,
            key=f"checks/{situation.group.replace('/', '_')}.json",
            group=situation.group,
            instance=situation.instance.id,
            region=situation.instance.region,
            failing=list(failing),
            at=clock.wall_seconds(),
        )

    def _learn(self, found: Any) -> None:
        if found["most"] and not self._page.most_fail_alike:
            self._situation.say(
                "", f"most of the {found['members']} boxes of the group fail alike: not asking for a new one"
            )
        self._page.most_fail_alike = bool(found["most"])
