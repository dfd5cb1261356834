"""Instance metadata, looked at again and again beside everything else: notices come while an `up` is under way, too."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bootstrap.errors import BootstrapError
from bootstrap.instance.notices import MAINTENANCE, REBALANCE, SPOT, TARGET_STATE, Seen, diff_seen, pick_ours
from bootstrap.world import clock
from bootstrap.world.imds import MetadataService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bootstrap.instance.notices import Notice

EVERY_S = 5.0  # what AWS advises; spot notices come two minutes ahead
_TAGS_EVERY = 3  # rounds: reading tags is a request for each
_LOOK_S = 2.0  # for one look, with its retries


class MetadataWatch:
    """A thread that tells what is new; ``hear`` is called in it and must not block."""

    def __init__(self, endpoint: str, hear: Callable[[Notice], None], every_s: float = EVERY_S) -> None:
        self._endpoint = endpoint
        self._hear = hear
        self._every_s = every_s
        self._over = threading.Event()
        self._seen = Seen()
        self._thread = threading.Thread(target=self._look_on, name="metadata", daemon=True)

    def start(self) -> None:
        """The first look is taken here, so that its answers are known: what stands there already is told too."""
        self._service = MetadataService(self._endpoint, deadline=0.0)
        self._look(with_tags=True)
        self._thread.start()

    @property
    def target_state(self) -> str | None:
        """Where the group wants this box; ``None`` for a box of no group."""
        return self._seen.target_state

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags that say what the box is, as they were seen last."""
        return self._seen.tags or {}

    def stop(self) -> None:
        self._over.set()

    def _look_on(self) -> None:
        number = 0
        while not self._over.wait(self._every_s):
            number += 1
            self._look(with_tags=number % _TAGS_EVERY == 0)
        self._service.close()

    def _look(self, *, with_tags: bool) -> None:
        self._service.deadline = clock.now() + _LOOK_S
        try:
            now = self._read(with_tags=with_tags)
        except BootstrapError:
            return  # out of reach is no news; the next look may do better
        before, self._seen = self._seen, now
        for notice in diff_seen(before, now):
            self._hear(notice)

    def _read(self, *, with_tags: bool) -> Seen:
        read = self._service.read
        tags = self._service.read_tags() if with_tags else None
        return Seen(
            spot=read(SPOT),
            rebalance=read(REBALANCE),
            maintenance=read(MAINTENANCE),
            target_state=read(TARGET_STATE),
            tags=self._seen.tags if tags is None else pick_ours(tags),
        )
