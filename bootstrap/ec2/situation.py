"""What the duties of one boot know together, and the errands that they have under way."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bootstrap.config.box_settings import BoxSettings
from bootstrap.errors import BootstrapError
from bootstrap.tag import PREFIX
from bootstrap.world import clock
from bootstrap.world.config import layers
from bootstrap.world.ec2.errands import Errands, errands
from bootstrap.world.ec2.instance import read_instance

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from bootstrap.box import Box
    from bootstrap.instance.notices import End
    from bootstrap.instance.phases import Word
    from bootstrap.request import Say
    from bootstrap.tag import Tag
    from bootstrap.world.ec2.instance import Instance

_INSTANCE_S = 5.0
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_GROUP_NAME = "aws:autoscaling:groupName"
SOON_S = 0.5  # how often errands under way are looked at


@dataclass(slots=True, kw_only=True)
class Situation:
    """Changed by duties in their turns, all in one thread; ``tags``, as a whole, also by whoever has read them anew."""

    box: Box
    say: Say
    errands: Errands = field(default_factory=errands)
    instance: Instance | None = None  # None: not on EC2, or its metadata is out of reach
    settings: BoxSettings = field(default_factory=BoxSettings)
    word: Word = "booting"
    failures: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()
    generation: str | None = None
    ending: End | None = None  # why everything stops, if it is not a person or the init system
    is_specimen: bool = False  # the loop breaker has chosen this box to stay as it is
    _under_way: list[tuple[Future[Any], Callable[[Any], None], Callable[[BootstrapError], None]]] = field(
        default_factory=list
    )
    _told: set[str] = field(default_factory=set)

    def find_out(self) -> None:
        """Read what can be known before any tag is; what is out of reach is left for later."""
        try:
            self.instance = self.instance or read_instance(_INSTANCE_S)
        except BootstrapError as error:
            self.tell(error)
        try:
            self.settings = layers.read_box_settings(self.box)
        except BootstrapError as error:
            self.tell(error)

    @property
    def boot_id(self) -> str:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()

    @property
    def bucket(self) -> str | None:
        """Where boots are reported and counted."""
        return self.tag(f"{PREFIX}bucket") or self.settings.bucket

    @property
    def group(self) -> str | None:
        """The Auto Scaling group, as far as tags tell."""
        return self.tag(_GROUP_NAME)

    def tag(self, key: str) -> str | None:
        return next((tag.value for tag in self.tags if tag.key == key), None)

    def be_ended(self, end: End) -> None:
        """Stop everything, as the init system would have it; may be called from any thread.

        The earliest end counts: a spot notice may come while a hook is waited out.
        """
        known = self.ending
        if known is None or (end.at is not None and (known.at is None or end.at < known.at)):
            self.ending = end
        os.kill(os.getpid(), signal.SIGTERM)

    def attempt(
        self,
        errand: str,
        then: Callable[[Any], None] = lambda _: None,
        otherwise: Callable[[BootstrapError], None] = lambda _: None,
        **arguments: Any,
    ) -> Future[Any]:
        """Have an errand run; ``then`` gets its result in a later turn, or ``otherwise`` its failure, which is told."""
        future = self.errands.begin(errand, **arguments)
        self._under_way.append((future, then, otherwise))
        return future

    def abandon(self, future: Future[Any]) -> None:
        """Nobody wants to know any more how this errand ends; if it has not, it does so now."""
        self._under_way = [one for one in self._under_way if one[0] is not future]
        self.errands.abandon(future)

    def look(self) -> bool:
        """Take what errands have brought back; whether some are still under way."""
        done = [one for one in self._under_way if one[0].done()]
        self._under_way = [one for one in self._under_way if not one[0].done()]
        for future, then, otherwise in done:
            try:
                result = future.result()
            except BootstrapError as error:
                self.tell(error)
                otherwise(error)
            else:
                then(result)
        return bool(self._under_way)

    def wait(self, patience_s: float) -> None:
        """Wait for all that is under way; what is not back in time is left."""
        deadline = clock.now() + patience_s
        while self.look() and clock.now() < deadline:
            clock.sleep(0.02)

    def tell(self, error: BootstrapError) -> None:
        """Each trouble once: a denied call is denied every time."""
        if str(error) not in self._told:
            self._told.add(str(error))
            self.say("", f"error: {error}")
