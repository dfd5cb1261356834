"""The duty that knows how the box is: it runs the checks, judges, and publishes the answers of the health endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.checking import BoxHealth, judge_box
from bootstrap.duty import Duty
from bootstrap.errors import Unavailable
from bootstrap.page.documents import render_documents
from bootstrap.page.server import Server
from bootstrap.status import Status, judge_status
from bootstrap.world import by_hand, kept_out, processes, readiness
from bootstrap.world.checks import Checks
from bootstrap.world.ready_record import ReadyRecord
from bootstrap.world.supervisord import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.box import Box
    from bootstrap.observed import Observed
    from bootstrap.rendering import Generation


class HealthPage(Duty):
    """Listens where the definition's ``health:`` says; without one it only runs the checks."""

    def __init__(self, box: Box, say: Callable[[str, str], None], restart: Callable[[str], None]) -> None:
        self._box = box
        self._say = say
        self._checks = Checks(box, say, restart)
        self._server: Server | None = None
        self._listens_at: tuple[str, int] | None = None
        self._refusal: str | None = None  # why nobody can listen there; it is told once
        self._status: Status | None = None
        self._is_supervised = True
        self.health = BoxHealth(word="starting")
        self.most_fail_alike = False  # of the group: then this box is not what is wrong
        self._is_draining = False
        self._has_told = False

    def turn(self, generation: Generation, observed: Observed) -> float:
        wait_s = self._checks.turn(generation, observed)
        self._is_supervised = observed.daemon is not None
        self._status = judge_status(generation, observed, self._read_ready(generation, observed))
        self._listen(generation)
        self._publish()
        return wait_s

    def rest(self, last: Generation | None) -> None:
        """Whoever asks is told that nothing runs any more, not how it was."""
        if last is not None:
            self.turn(last, NOTHING)

    @property
    def hard_failures(self) -> tuple[str, ...]:
        """Programs whose hard check fails."""
        checks = self._checks.checks
        return tuple(
            sorted(name for name, known in self._checks.checked.items() if known.is_failing and checks[name].hard)
        )

    def drain(self) -> None:
        """Load balancers hear of it before anything stops."""
        self._is_draining = True
        self._checks.drain()
        self._publish()

    def end(self) -> None:
        self._checks.end()
        if self._server is not None:
            self._server.close()

    def _read_ready(self, generation: Generation, observed: Observed) -> set[str]:
        ready = readiness.read_ready(self._box, generation, observed, processes.own_mark(self._box))
        record = ReadyRecord(self._box)
        record.add([p for p in observed.programs if p.name in ready and not record.knows(p)])
        return ready

    def _listen(self, generation: Generation) -> None:
        wanted = None if generation.health is None else (generation.health["address"], generation.health["port"])
        if wanted == self._listens_at:
            return
        if self._server is not None:
            self._server.close()
        self._server, self._listens_at = None, None
        try:
            if wanted is not None:
                self._server = Server(*wanted)
                self._say("", f"health endpoint: http://{wanted[0]}:{wanted[1]}/healthz")
        except Unavailable as error:
            if self._refusal != str(error):
                self._refusal = str(error)
                self._say("", f"error: {error}")
        else:
            self._refusal, self._listens_at = None, wanted

    def _publish(self) -> None:
        if self._status is None:
            return
        before, self.health = self.health, self._judge(self._status)
        if self.health.word != before.word and not self._is_draining and (self._has_told or self.health.word != "ok"):
            self._say("", "; ".join([f"health: {self.health.word}", *self.health.reasons]))
        self._has_told = True
        if self._server is not None:
            self._server.publish(render_documents(self._status, self.health))

    def _judge(self, status: Status) -> BoxHealth:
        left_stopped = by_hand.read_stopped(self._box)
        return judge_box(
            unready=[p.name for p in status.programs if not p.is_converged and p.name not in left_stopped],
            checked=self._checks.checked,
            checks=self._checks.checks,
            lack=self._find_lack(),
            most_fail_alike=self.most_fail_alike,
            draining="it is about to stop" if self._is_draining else kept_out.read_reason(self._box),
        )

    def _find_lack(self) -> str | None:
        if self._refusal is not None:
            return self._refusal.splitlines()[0]
        return None if self._is_supervised else "its supervisor has ended or does not answer"
