"""What instance metadata says, now and a moment ago → what is new and concerns this box.

Formats: `spot/instance-action`, `events/recommendations/rebalance`, `events/maintenance/scheduled` and
`autoscaling/target-lifecycle-state` of EC2 instance metadata (EC2 and Auto Scaling user guides). Whatever does not read
as its format is no notice: metadata is one hop away, and nothing here may end a box because of a page of HTML.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from bootstrap.frozen import dataclass
from bootstrap.spelling import harmless
from bootstrap.tag import PREFIX, STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SPOT = "meta-data/spot/instance-action"
REBALANCE = "meta-data/events/recommendations/rebalance"
MAINTENANCE = "meta-data/events/maintenance/scheduled"
TARGET_STATE = "meta-data/autoscaling/target-lifecycle-state"
_RETIREMENT = ("instance-retirement", "instance-stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """This box is going to be taken away; ``at``, in seconds since 1970, is when, if that is known."""

    reason: str
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Worth telling; nothing is done."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """The hardware is going: ask the group for a replacement."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Keep running, without traffic."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """In service (again)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsChanged:
    """Tags of ours have changed; keys only, values may be anything."""

    keys: tuple[str, ...]


Notice: TypeAlias = End | Advice | Retire | Withdraw | Serve | TagsChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at the metadata; ``None`` is absent, which is normal. ``tags`` are ours, ``None`` if not read."""

    spot: str | None = None
    rebalance: str | None = None
    maintenance: str | None = None
    target_state: str | None = None
    tags: Mapping[str, str] | None = None


def diff_seen(before: Seen, now: Seen) -> tuple[Notice, ...]:
    """What is new."""
    return tuple(_diff(before, now))


def is_warming(target_state: str | None) -> bool:
    """Whether the box is bound for a warm pool: prepare everything, start nothing."""
    return target_state is not None and target_state.startswith("Warmed:")


def pick_ours(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that say what the box is: without what it writes itself, and without everybody else's."""
    return {
        key: value
        for key, value in tags.items()
        if key.startswith(PREFIX) and key != STATUS and not key.startswith(f"{STATUS}.")
    }


def _diff(before: Seen, now: Seen) -> Iterator[Notice]:
    if now.spot is not None and now.spot != before.spot:
        yield from _parse_spot(now.spot)
    if now.rebalance is not None and now.rebalance != before.rebalance:
        yield Advice(text="this spot instance is at a higher risk of interruption (rebalance recommendation)")
    if now.maintenance is not None and now.maintenance != before.maintenance:
        yield from _parse_maintenance(now.maintenance)
    if now.target_state != before.target_state:
        yield from _judge_target(before.target_state, now.target_state)
    if now.tags is not None and before.tags is not None and now.tags != before.tags:
        changed = {key for key, _ in now.tags.items() ^ before.tags.items()}
        yield TagsChanged(keys=tuple(sorted(changed)))


def _parse_spot(text: str) -> Iterator[Notice]:
    raw = _parse_json(text)
    if not isinstance(raw, dict) or raw.get("action") not in ("terminate", "stop", "hibernate"):  # a list has no hash
        return
    at = _parse_time(raw.get("time"))
    when = "soon" if at is None else f"at {raw['time']}"
    yield End(reason=f"spot interruption: {raw['action']} {when}", at=at)


def _parse_maintenance(text: str) -> Iterator[Notice]:
    raw = _parse_json(text)
    for event in raw if isinstance(raw, list) else ():
        if not isinstance(event, dict) or event.get("State") != "active":
            continue
        code, start = harmless(str(event.get("Code"))), harmless(str(event.get("NotBefore")))
        text = f"maintenance is scheduled: {code}, not before {start}"
        yield Retire(reason=text) if code in _RETIREMENT else Advice(text=text)


def _judge_target(before: str | None, now: str | None) -> Iterator[Notice]:
    match now:
        case "Terminated":
            yield End(reason="its Auto Scaling group takes it out of service")
        case "Standby":
            yield Withdraw(reason="its Auto Scaling group has put it on standby")
        case "InService" if before is not None:
            yield Serve()
        case "Detached":
            yield Advice(text="its Auto Scaling group has let it go")
        case _:
            pass


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parse_time(text: object) -> float | None:
    """`2017-09-18T08:22:00Z` → seconds since 1970."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
