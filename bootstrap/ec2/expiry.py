"""The duty that ends a review box when its time is over: one that is forgotten is paid for until somebody finds it.

Only a box that runs everything ends itself. Outside of EC2 that is the end of this process and all that it runs; on EC2
the machine is given back. Before that the tags are read once more, for whoever needs the box longer sets a later time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bootstrap import boot
from bootstrap.duty import Duty
from bootstrap.errors import BootstrapError
from bootstrap.identity import parse_identity
from bootstrap.instance.notices import End
from bootstrap.world import clock
from bootstrap.world.ec2.instance import read_instance

if TYPE_CHECKING:
    from datetime import datetime

    from bootstrap.ec2.situation import Situation
    from bootstrap.request import Request
    from bootstrap.tag import Tag

KEY = "bootstrap:expires"
_EARLY_S = 3600.0  # before the end it is announced
_LOOK_S = 1.0  # the clock of the wall may be set, and tags may change
_PATIENCE_S = 5.0  # with instance metadata
_AGAIN_S = 600.0  # after an end that did not come about


class Expiry(Duty):
    """Looks at the clock in a thread of its own: a box that waits, or whose boot keeps failing, ends as well."""

    def __init__(self, situation: Situation, request: Request) -> None:
        self._situation = situation
        self._request = request
        self._announced: datetime | None = None
        self._one_at_a_time = threading.Lock()
        self._unheeded: tuple[Tag, ...] | None = None  # tags of a box that does not end itself
        self._not_before = 0.0  # a moment of clock.now()
        self._over = threading.Event()

    def begin(self) -> None:
        threading.Thread(target=self._watch, name="expiry", daemon=True).start()

    def fail(self, _failures: tuple[str, ...]) -> None:
        self._look()  # this process is about to end, and the next one will fail likewise

    def end(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._wait_s()):
            self._look()

    def _wait_s(self) -> float:
        expires = _read_expiry(self._situation.tags)
        left_s = 0.0 if expires is None else _seconds_until(expires)
        return left_s if 0 < left_s < _LOOK_S else _LOOK_S

    def _look(self) -> None:
        expires = _read_expiry(self._situation.tags)
        if expires is None or clock.now() < self._not_before or self._situation.tags == self._unheeded:
            return
        left_s = _seconds_until(expires)
        if left_s <= 0:
            self._heed()
        elif left_s <= _EARLY_S and expires != self._announced:
            self._announced = expires
            when = expires.isoformat()
            self._situation.say("", f"time is over at {when} ({KEY}): a box that runs everything ends itself then")

    def _heed(self) -> None:
        with self._one_at_a_time:
            if self._over.is_set():
                return
            try:
                self._end_box()
            except BootstrapError as error:
                self._not_before = clock.now() + _AGAIN_S
                self._situation.tell(error)

    def _end_box(self) -> None:
        """Unless its tags, as they are now, say otherwise."""
        situation = self._situation
        tags = boot.gather_tags(situation.box, self._request, situation.say)
        identity = parse_identity(tags)
        if identity.expires is None or _seconds_until(identity.expires) > 0:
            situation.tags = tags
            return
        if not self._runs_everything(identity.mode):
            situation.say("", f"{KEY} is over and not heeded: only a box that runs everything ends itself")
            self._unheeded = situation.tags
            return
        why = f"its time is over ({KEY}: {identity.expires.isoformat()})"
        situation.say("", f"this box ends itself: {why}")
        instance = situation.instance or read_instance(_PATIENCE_S)
        if instance is not None:
            situation.errands.run("terminate", instance_id=instance.id, region=instance.region)
        self._over.set()
        situation.be_ended(End(reason=why))

    def _runs_everything(self, name: str) -> bool:
        from bootstrap.world.sources import read_modes  # noqa: PLC0415 - YAML is for whoever renders

        mode = read_modes(self._situation.box).get(name)
        return mode is not None and mode.runs == "everything"


def _read_expiry(tags: tuple[Tag, ...]) -> datetime | None:
    """``None`` too for tags that make no sense: `up` tells about those, and nothing ends because of them."""
    if not any(tag.key == KEY for tag in tags):
        return None
    try:
        return parse_identity(tags).expires
    except BootstrapError:
        return None


def _seconds_until(moment: datetime) -> float:
    return moment.timestamp() - clock.wall_seconds()
