"""The duty that tells how the boot goes: to the log, the console, systemd, and in a report that outlives the box."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.duty import SELDOM_S, Duty
from bootstrap.errors import BootstrapError
from bootstrap.identity import parse_identity
from bootstrap.instance.notices import pick_ours
from bootstrap.instance.phases import (
    BootReport,
    Phase,
    describe_failure,
    describe_phase,
    describe_reason,
    render_report,
)
from bootstrap.request import Witness
from bootstrap.traffic import parse_traffic
from bootstrap.world import clock, console, disk, kept_out
from bootstrap.world.ec2 import traffic
from bootstrap.world.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.ec2.situation import Situation
    from bootstrap.observed import Observed
    from bootstrap.page.duty import HealthPage
    from bootstrap.rendering import Generation
    from bootstrap.tag import Tag

_AT_THE_END_S = 20.0  # for what was begun and has not come back
_EXTENSION_S = 900.0  # how long systemd shall wait for one phase


class Course(Witness, Duty):
    """Follows the first `up` as its witness; later ones are no part of the boot."""

    def __init__(self, situation: Situation, page: HealthPage) -> None:
        self._situation = situation
        self._page = page
        self._notify = Notify(os.environ)
        self._console = console.find_console(os.environ)
        self._started_at = clock.wall_text()
        self._phases: list[Phase] = []
        self._reported = ""

    def begin(self) -> None:
        self._tell("booting")
        self._situation.find_out()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if self._situation.word == "ready":  # the boot is over
            yield
            return
        self._notify.extend(_EXTENSION_S)
        self._notify.status(f"booting: {name}")
        began = clock.now()
        try:
            yield
        except BootstrapError as error:
            self._end(Phase(name=name, took_s=clock.now() - began, failure=str(error)))
            raise
        self._end(Phase(name=name, took_s=clock.now() - began))

    def see_tags(self, tags: tuple[Tag, ...]) -> None:
        self._situation.tags = tags
        if self._situation.instance is None:
            self._situation.find_out()  # tags that came from metadata say that it is in reach by now

    def fail(self, failures: tuple[str, ...]) -> None:
        self._situation.word, self._situation.failures = "failed", failures
        console.write_console(self._console, ["failed", *describe_failure(failures)])
        self._notify.ready(f"failed: {describe_reason(failures)}")
        self._report()

    def settled(self) -> bool:
        return self._situation.word in {"ready", "waiting"}

    def turn(self, generation: Generation, _observed: Observed) -> float:
        situation = self._situation
        situation.generation = generation.id
        is_well = self._page.health.takes_traffic and self._is_registered(generation)
        if situation.word in {"booting", "failed", "waiting"} and is_well:
            situation.word, situation.failures = "ready", ()
            took = sum(phase.took_s for phase in self._phases)
            self._tell(f"ready after {took:.1f} s")
            self._notify.ready(f"ready: generation {generation.id}")
        if situation.word not in {"booting", self._reported}:
            self._report()
        self._notify.alive()
        return SELDOM_S if self._notify.watchdog_s is None else self._notify.watchdog_s

    def rest(self, _last: Generation | None) -> None:
        self._notify.alive()  # a box that was taken down, or waits, is not to be started anew by a watchdog

    def _is_registered(self, generation: Generation) -> bool:
        """Whether it gets the requests that it is meant to get; a box that is kept out is meant to get none."""
        wanted, box = parse_traffic(generation.traffic), self._situation.box
        if wanted is None or self._situation.instance is None or kept_out.read_reason(box) is not None:
            return True
        joined = traffic.read_joined(box)
        return joined is not None and joined.is_whole and joined.traffic == wanted

    def idle(self, why: str) -> None:
        self._situation.word, self._situation.failures = "waiting", (why,)
        self._tell(f"waiting: {why}")
        self._notify.ready(f"waiting: {why}")
        self._report()

    def drain(self) -> None:
        ending = self._situation.ending
        why = "asked to" if ending is None else ending.reason
        self._situation.word, self._situation.failures = "draining", (why,)
        self._notify.stopping(f"draining: {why}")
        console.write_console(self._console, [f"draining: {why}"])

    def end(self) -> None:
        if self._situation.word == "draining":
            console.write_console(self._console, ["stopped"])
        self._situation.wait(_AT_THE_END_S)
        self._situation.errands.end()

    def _end(self, phase: Phase) -> None:
        self._phases.append(phase)
        console.write_console(self._console, [describe_phase(phase)])
        if phase.failure is None:  # what fails is told in full by whoever hears of it
            self._situation.say("", f"phase {describe_phase(phase)}")

    def _tell(self, text: str) -> None:
        console.write_console(self._console, [text])
        self._situation.say("", text)

    def _report(self) -> None:
        """To the state directory now, to the bucket as soon as it gets there."""
        situation = self._situation
        self._reported = situation.word
        instance = situation.instance
        report = BootReport(
            word=situation.word,
            instance=None if instance is None else instance.id,
            boot=situation.boot_id,
            started_at=self._started_at,
            ended_at=clock.wall_text(),
            tags=pick_ours({tag.key: tag.value for tag in situation.tags}),
            generation=situation.generation,
            phases=tuple(self._phases),
            failures=situation.failures,
        )
        body = json.dumps(render_report(report), indent=2) + "\n"
        try:
            disk.write_durably(f"{situation.box.state}/boot-report.json", body.encode())
        except BootstrapError as error:
            situation.tell(error)
        if situation.bucket is not None and instance is not None:
            key = f"reports/{self._folder()}/{self._started_at}-{instance.id}.json"
            situation.attempt("write-object", bucket=situation.bucket, key=key, body=body, etag=None, only_if="any")

    def _folder(self) -> str:
        """Who looks for a report knows the group, or else mode and service."""
        if self._situation.group is not None:
            return self._situation.group.replace("/", "_")
        try:
            identity = parse_identity(self._situation.tags)
        except BootstrapError:
            return "unknown"
        return f"{identity.mode}-{identity.service or 'all'}"
