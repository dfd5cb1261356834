"""The duty that stops a group which launches boxes that fail, for ever, before it becomes dear."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bootstrap.digest import digest_of
from bootstrap.duty import SELDOM_S, Duty
from bootstrap.ec2.situation import SOON_S
from bootstrap.errors import BootstrapError
from bootstrap.instance.notices import pick_ours
from bootstrap.instance.phases import describe_reason
from bootstrap.world import clock

if TYPE_CHECKING:
    from bootstrap.ec2.situation import Situation
    from bootstrap.observed import Observed
    from bootstrap.rendering import Generation

_PATIENCE_S = 30.0
_DECISIVE = ("bootstrap:mode", "bootstrap:service", "bootstrap:process")


class LoopBreaker(Duty):
    """Counts in the bucket. Without one nothing can be counted: then every failed boot raises the alarm."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._recorded: str | None = None

    def fail(self, failures: tuple[str, ...]) -> None:
        situation = self._situation
        if situation.instance is None or self._recorded == "failed":
            return
        self._recorded = "failed"
        reason = describe_reason(failures)
        if situation.bucket is None or situation.group is None:
            self._alert("a boot has failed", failures)
            return
        try:
            found = situation.errands.run("record-boot", timeout_s=_PATIENCE_S, **self._record(ok=False, reason=reason))
        except BootstrapError as error:
            situation.tell(error)
            return
        situation.is_specimen = found["specimen"]
        if found["tripped"]:
            self._stop_launches(failures)

    def keeps(self) -> bool:
        return self._situation.is_specimen

    def idle(self, _why: str) -> None:
        self._record_good()

    def turn(self, _generation: Generation, _observed: Observed) -> float:
        self._record_good()
        return SOON_S if self._situation.look() else SELDOM_S

    def _record_good(self) -> None:
        situation = self._situation
        is_good = situation.word in {"ready", "waiting"}
        if is_good and self._recorded != "ok" and situation.instance is not None:
            self._recorded = "ok"
            situation.is_specimen = False
            if situation.bucket is not None and situation.group is not None:
                situation.attempt("record-boot", **self._record(ok=True, reason=""))

    def _record(self, *, ok: bool, reason: str) -> dict[str, Any]:
        """What was booted is what the tags say, refs included: a new launch template is another thing."""
        situation = self._situation
        tags = pick_ours({tag.key: tag.value for tag in situation.tags})
        what = {key: value for key, value in tags.items() if key in _DECISIVE or key.startswith("bootstrap:ref")}
        digest = digest_of(json.dumps(what, sort_keys=True).encode(), 8)
        folder = (situation.group or "").replace("/", "_")
        return {
            "bucket": situation.bucket,
            "key": f"boots/{folder}/{digest}.json",
            "instance": situation.instance.id if situation.instance is not None else "",
            "boot": situation.boot_id,
            "at": clock.wall_seconds(),
            "ok": ok,
            "reason": reason,
        }

    def _stop_launches(self, failures: tuple[str, ...]) -> None:
        situation = self._situation
        if situation.instance is None or situation.group is None:
            return
        situation.say("", "the third boot in a row has failed: stopping launches; this box stays as the specimen")
        try:
            situation.errands.run("suspend", group=situation.group, region=situation.instance.region)
        except BootstrapError as error:
            situation.tell(error)
        self._alert("launches are stopped", failures)

    def _alert(self, subject: str, failures: tuple[str, ...]) -> None:
        situation, alert = self._situation, self._situation.settings.alert
        if situation.instance is None or not (alert.sns or alert.webhook or alert.command):
            return
        named = situation.group or situation.instance.id
        document = {
            "event": subject,
            "group": situation.group,
            "instance": situation.instance.id,
            "region": situation.instance.region,
            "tags": pick_ours({tag.key: tag.value for tag in situation.tags}),
            "failures": list(failures),
        }
        situation.attempt(
            "alert",
            sns=alert.sns,
            webhook=alert.webhook,
            command=list(alert.command) or None,
            subject=f"bootstrap: {named}: {subject}",
            document=document,
        )
