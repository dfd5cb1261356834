"""The supervisor of this box: the one that lives, or one that is being got ready while there is none."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.errors import Unavailable
from bootstrap.world import disk, supervisord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.box import Box
    from bootstrap.observed import Observed
    from bootstrap.rendering import Unit
    from bootstrap.world.starting import Daemon
    from bootstrap.world.supervisord import Supervisor


class Supervision:
    """Answers what runs, also when nothing can; starts supervisord when it is wanted."""

    def __init__(self, box: Box, supervisor: Supervisor | None, daemon: Daemon | None) -> None:
        self._box = box
        self._supervisor = supervisor
        self._daemon = daemon

    @property
    def lives(self) -> bool:
        """Whether there is a supervisor already."""
        return self._supervisor is not None

    def observe(self) -> Observed:
        return supervisord.NOTHING if self._supervisor is None else self._supervisor.observe()

    def sweep(self, say: Callable[[str, str], None]) -> dict[str, str]:
        """Stop what has lost its supervisor, before anything is started beside it; see ``abandoned.sweep``."""
        from bootstrap.world import abandoned  # noqa: PLC0415 - an `up` that has nothing to do does without

        pid = self._daemon.pid if self._daemon else self._supervisor.pid if self._supervisor else None
        held = {program.name: program.pid for program in self.observe().programs if program.pid is not None}
        return abandoned.sweep(self._box, pid, say, held)

    def ensure(self, units: tuple[Unit, ...]) -> Supervisor:
        """The living supervisor, started if need be with these programs known and none of them running."""
        if self._supervisor is None:
            from bootstrap.world import starting  # noqa: PLC0415 - most runs find a supervisor that lives

            daemon = self._daemon or starting.prepare(self._box)
            self._daemon = None
            # A way out for a supervisor release that our plug-in does not suit: everything works, only slower.
            starting.write_config(self._box, units, plugin=os.environ.get("BOOTSTRAP_PLUGIN") != "off")
            disk.remove_if_there(self._box.socket)
            daemon.go()
            self._supervisor = starting.wait_until_started(self._box, daemon)
            self._supervisor.adopt_policies(units)
        return self._supervisor

    def cancel(self) -> None:
        """Let go of a supervisor that was got ready in vain."""
        if self._daemon is not None:
            self._daemon.cancel()
            self._daemon = None


@contextmanager
def reached(box: Box) -> Iterator[Supervision]:
    """Connect, or begin to start a supervisor in the background: its imports take as long as our reading."""
    supervisor = supervisord.connect(box)
    if supervisor is not None and _is_going_down(supervisor):
        supervisor = None
    if supervisor is not None:
        supervisor.begin_observing()
    supervision = Supervision(box, supervisor, None if supervisor else _prepare(box))
    try:
        yield supervision
    finally:
        supervision.cancel()


def _prepare(box: Box) -> Daemon:
    from bootstrap.world import starting  # noqa: PLC0415 - likewise

    return starting.prepare(box)


def _is_going_down(supervisor: Supervisor) -> bool:
    """A supervisor that somebody has told to stop is waited for: nothing can be started in it any more."""
    if supervisor.is_up():
        return False
    from bootstrap.world import processes  # noqa: PLC0415 - likewise

    if not processes.wait_until_ended(supervisor.pid, supervisord.STOP_TIMEOUT_S):
        raise Unavailable(
            f"cannot start a supervisor: the old one (pid {supervisor.pid}) is shutting down and does not end\n"
            '  way out: look into "bootstrap status", end what holds it up, and run the command again'
        )
    return True
