"""The duty towards load balancer and name: leave them before the end, heed standby, and join again what was missed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING

from bootstrap.duty import SELDOM_S, Duty
from bootstrap.errors import BootstrapError, Locked
from bootstrap.instance.notices import Withdraw
from bootstrap.traffic import parse_traffic
from bootstrap.world import by_hand, clock, kept_out, lock, store
from bootstrap.world.ec2 import traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.ec2.notices import Notices
    from bootstrap.ec2.situation import Situation
    from bootstrap.instance.notices import Serve
    from bootstrap.observed import Observed
    from bootstrap.page.duty import HealthPage
    from bootstrap.rendering import Generation
    from bootstrap.traffic import Traffic

_AGAIN_S = 60.0
_AT_THE_END_S = 5.0  # for what is under way to be cut off
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
        self._is_ending = False
        self._due = 0.0

    def turn(self, generation: Generation, _observed: Observed) -> float:
        for change in self._notices.take_service_changes():
            self._heed(change)
        box = self._situation.box
        wanted, joined = parse_traffic(generation.traffic), traffic.read_joined(box)
        if self._read_kept_out() is not None:
            return SELDOM_S if joined is None else self._have_done(self._leave)
        if wanted is None or self._situation.word in {"waiting", "draining"} or not self._serves(wanted):
            return SELDOM_S
        if joined is not None and joined.is_whole and joined.traffic == wanted:
            return SELDOM_S
        return self._have_done(partial(self._join, wanted))

    def drain(self) -> None:
        self._is_ending = True
        if self._under_way is not None:
            self._under_way.cancel()
            wait((self._under_way,), _AT_THE_END_S)
        traffic.leave(self._situation.box, self._say, force=True, give_up=self._give_up)

    def end(self) -> None:
        self._is_ending = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _heed(self, change: Withdraw | Serve) -> None:
        if isinstance(change, Withdraw):
            self._say(change.reason)
            kept_out.keep_out(self._situation.box, _STANDBY)
        self._due = 0.0

    def _read_kept_out(self) -> str | None:
        """Why it is to get no requests; that standby is over may have happened while nobody watched."""
        box = self._situation.box
        why = kept_out.read_reason(box)
        if why != _STANDBY or self._notices.target_state != "InService":
            return why
        kept_out.let_in(box)
        return None

    def _serves(self, wanted: Traffic) -> bool:
        """Whether what requests would reach is ready; what a person has stopped is not."""
        return self._page.health.takes_traffic and not wanted.serves(by_hand.read_stopped(self._situation.box))

    def _have_done(self, act: Callable[[], None]) -> float:
        """In a thread, and under the lock: while another run is at it, it knows better what gets requests."""
        if (self._under_way is None or self._under_way.done()) and clock.now() >= self._due:
            self._due = clock.now() + _AGAIN_S
            self._under_way = self._pool.submit(self._do, act)
        return _AGAIN_S

    def _do(self, act: Callable[[], None]) -> None:
        try:
            with lock.held(self._situation.box, "join", wait_s=0.0, say=self._say):
                act()
        except Locked:
            self._due = 0.0
        except BootstrapError as error:
            if not self._is_ending:
                self._situation.tell(error)

    def _join(self, wanted: Traffic) -> None:
        if self._serves(wanted):
            give_up = partial(self._unless_ending, float("inf"))
            traffic.join(self._situation.box, wanted, self._say, give_up=give_up)

    def _leave(self) -> None:
        """It runs on, so nothing is cut off, and there is nothing to wait for."""
        if kept_out.read_reason(self._situation.box) is not None:
            give_up = partial(self._unless_ending, None)
            traffic.leave(self._situation.box, self._say, force=True, give_up=give_up)

    def _unless_ending(self, moment: float | None) -> float:
        if self._is_ending:
            return float("-inf")
        return clock.now() if moment is None else moment

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
