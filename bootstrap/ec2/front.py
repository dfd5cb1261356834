"""The duty towards load balancer and name: leave them before the end, heed standby, and join again what was missed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from bootstrap.duty import SELDOM_S, Duty
from bootstrap.errors import BootstrapError
from bootstrap.notices import Serve, Withdraw
from bootstrap.traffic import parse_traffic
from bootstrap.world import clock, store, traffic

if TYPE_CHECKING:
    from bootstrap.ec2.notices import Notices
    from bootstrap.ec2.situation import Situation
    from bootstrap.observed import Observed
    from bootstrap.page.duty import HealthPage
    from bootstrap.rendering import Generation
    from bootstrap.traffic import Traffic

_AGAIN_S = 60.0
_MARGIN_S = 5.0  # between the end of every grace and the moment when the machine goes
_STANDBY = "its Auto Scaling group has put it on standby"


class Front(Duty):
    """`up` joins by itself; here is what comes between two of them."""

    def __init__(self, situation: Situation, notices: Notices, page: HealthPage) -> None:
        self._situation = situation
        self._notices = notices
        self._page = page
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="front")
        self._under_way: Future[None] | None = None
        self._due = 0.0

    def turn(self, generation: Generation, _observed: Observed) -> float:
        for change in self._notices.take_service_changes():
            self._heed(change)
        wanted = parse_traffic(generation.traffic)
        if wanted is None or not self._page.health.takes_traffic or self._situation.word != "ready":
            return SELDOM_S
        joined = traffic.read_joined(self._situation.box)
        is_in = joined is not None and joined.is_whole and joined.traffic == wanted
        if is_in or traffic.read_kept_out(self._situation.box) is not None:
            return SELDOM_S
        if (self._under_way is None or self._under_way.done()) and clock.now() >= self._due:
            self._due = clock.now() + _AGAIN_S
            self._under_way = self._pool.submit(self._join, wanted)
        return _AGAIN_S

    def drain(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()
        traffic.leave(self._situation.box, self._say, force=True, give_up=self._give_up)

    def end(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _heed(self, change: Withdraw | Serve) -> None:
        box = self._situation.box
        if isinstance(change, Withdraw):
            self._say(change.reason)
            traffic.keep_out(box, _STANDBY)
            traffic.leave(box, self._say, force=True, give_up=clock.now)  # it runs on: nothing is cut off
        elif traffic.read_kept_out(box) == _STANDBY:
            traffic.let_in(box)
            self._due = 0.0

    def _join(self, wanted: Traffic) -> None:
        try:
            traffic.join(self._situation.box, wanted, self._say)
        except BootstrapError as error:
            self._situation.tell(error)

    def _give_up(self) -> float:
        """The moment when stopping must begin; an end that comes later may be earlier."""
        ending = self._situation.ending
        if ending is None or ending.at is None:
            return clock.now() + traffic.PATIENCE_S
        current = store.read_current(self._situation.box)
        grace_s = max((unit.stop_grace_s for unit in current.units), default=0.0) if current is not None else 0.0
        return clock.now() + (ending.at - clock.wall_seconds()) - grace_s - _MARGIN_S

    def _say(self, text: str) -> None:
        self._situation.say("", text)
