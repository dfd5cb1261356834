"""How the boots of a group ended, one after the other → whether to stop its launches.

A group whose boxes fail at boot replaces them for ever, and each costs money. The third failure in a row of the same
thing within a quarter of an hour trips the breaker, once: the box whose failure that is raises the alarm, stops the
launches and stays as the specimen. One good boot forgives all. A box that starts `boot` again (its init system does)
has still booted once.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bootstrap.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILURES = 3
WINDOW_S = 15 * 60.0
_KEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one boot of one box ended."""

    instance: str
    boot: str  # the kernel's boot id
    at: float  # seconds since 1970
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The newest boots of one thing, oldest first; ``tripped`` names the specimen while the breaker is open."""

    ends: tuple[Ended, ...] = ()
    tripped: str | None = None


def next_history(history: History, ended: Ended) -> History:
    """The history with one more boot; it is this boot that trips the breaker if ``tripped`` has become its instance."""
    others = [end for end in history.ends if (end.instance, end.boot) != (ended.instance, ended.boot)]
    ends = (*others, ended)[-_KEPT:]
    if ended.ok:
        return History(ends=ends)
    goes_on = history.tripped is not None and others and others[-1].at >= ended.at - WINDOW_S
    if goes_on or history.tripped == ended.instance:  # the specimen stays one, however often and late it is tried
        return History(ends=ends, tripped=history.tripped)  # the same trouble, and it has been told
    return History(ends=ends, tripped=ended.instance if _failures_in_a_row(ends, ended.at) >= FAILURES else None)


def render_history(history: History) -> dict[str, Any]:
    """As JSON has it."""
    return {"tripped": history.tripped, "boots": [asdict(end) for end in history.ends]}


def parse_history(raw: Mapping[str, Any]) -> History:
    """The inverse; raises ValueError for anything else."""
    try:
        ends = tuple(
            Ended(
                instance=str(end["instance"]),
                boot=str(end["boot"]),
                at=float(end["at"]),
                ok=bool(end["ok"]),
                reason=str(end["reason"]),
            )
            for end in raw["boots"]
        )
        tripped = raw["tripped"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a history: {error}") from error
    return History(ends=ends, tripped=None if tripped is None else str(tripped))


def _failures_in_a_row(ends: tuple[Ended, ...], now: float) -> int:
    count = 0
    for end in reversed(ends):
        if end.ok or end.at < now - WINDOW_S:
            break
        count += 1
    return count
