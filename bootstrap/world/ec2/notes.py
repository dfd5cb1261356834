"""JSON in the bucket that many boxes change at once: read, changed, written if nobody else has been faster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from bootstrap.errors import Unavailable
from bootstrap.instance.herd import most_fail_alike, next_notes, parse_notes
from bootstrap.instance.loop_breaker import Ended, History, next_history, parse_history, render_history
from bootstrap.spelling import quoted
from bootstrap.world import clock
from bootstrap.world.ec2.bucket import read_object, write_object
from bootstrap.world.ec2.group import count_members
from bootstrap.world.retry import retry_until

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_PATIENCE_S = 20.0


class _LostRaceError(Exception):
    """Somebody else has written in between."""


def record_boot(
    *, bucket: str, key: str, instance: str, boot: str, at: float, ok: bool, reason: str
) -> dict[str, bool]:
    """Add how a boot ended: ``tripped`` if it is this one that trips the loop breaker, ``specimen`` if it has ever."""
    ended = Ended(instance=instance, boot=boot, at=at, ok=ok, reason=reason)

    def change(raw: Any) -> tuple[Any, dict[str, bool]]:
        before = _parsed(parse_history, raw, History())
        after = next_history(before, ended)
        is_specimen = after.tripped == instance
        return render_history(after), {"tripped": is_specimen and before.tripped != instance, "specimen": is_specimen}

    return _change(bucket, key, change)


def note_failing(
    *, bucket: str, key: str, group: str, instance: str, region: str | None, failing: list[str], at: float
) -> dict[str, Any]:
    """Tell which hard checks fail here; ``most`` says that most of the ``members`` of the group fail one of them."""
    members = count_members(group=group, region=region)

    def change(raw: Any) -> tuple[Any, dict[str, Any]]:
        after = next_notes(_parsed(parse_notes, raw, {}), instance, failing, at)
        return after, {"most": most_fail_alike(after, failing, members), "members": members}

    return _change(bucket, key, change)


def _change(bucket: str, key: str, change: Callable[[Any], tuple[Any, T]]) -> T:
    """What does not read as it should is begun anew. Raises Unavailable."""

    def attempt() -> T:
        found = read_object(bucket=bucket, key=key)
        document, result = change(None if found is None else _read_json(found["body"]))
        body = json.dumps(document, indent=2) + "\n"
        etag = None if found is None else found["etag"]
        only_if = "absent" if found is None else "etag"
        if not write_object(bucket=bucket, key=key, body=body, etag=etag, only_if=only_if):
            raise _LostRaceError
        return result

    try:
        return retry_until(clock.now() + _PATIENCE_S, attempt, again_on=_LostRaceError)
    except _LostRaceError:
        raise Unavailable(
            f"cannot write {quoted(f's3://{bucket}/{key}')}: others kept writing it for {_PATIENCE_S:g} s\n"
            "  way out: none is needed; it is tried again"
        ) from None


def _read_json(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _parsed(parse: Callable[[Any], T], raw: Any, otherwise: T) -> T:
    try:
        return parse(raw)
    except ValueError:
        return otherwise
