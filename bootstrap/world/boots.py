"""The history of a group's boots, kept in the bucket; many boxes may write at once, and none is lost."""

from __future__ import annotations

import json

from bootstrap.errors import Unavailable
from bootstrap.loop_breaker import Ended, History, next_history, parse_history, render_history
from bootstrap.spelling import quoted
from bootstrap.world import clock
from bootstrap.world.bucket import read_object, write_object
from bootstrap.world.retry import retry_until

_PATIENCE_S = 20.0


class _LostRaceError(Exception):
    """Somebody else has written in between."""


def record_boot(
    *, bucket: str, key: str, instance: str, boot: str, at: float, ok: bool, reason: str
) -> dict[str, bool]:
    """Add how a boot ended; ``tripped`` says that it is this one that trips the breaker.

    Raises Unavailable. A history that does not read as one is begun anew.
    """
    ended = Ended(instance=instance, boot=boot, at=at, ok=ok, reason=reason)

    def attempt() -> dict[str, bool]:
        found = read_object(bucket=bucket, key=key)
        before = _parse(found["body"]) if found is not None else History()
        after = next_history(before, ended)
        body = json.dumps(render_history(after), indent=2) + "\n"
        etag = None if found is None else found["etag"]
        only_if = "absent" if found is None else "etag"
        if not write_object(bucket=bucket, key=key, body=body, etag=etag, only_if=only_if):
            raise _LostRaceError
        return {"tripped": after.tripped == instance and before.tripped is None}

    try:
        return retry_until(clock.now() + _PATIENCE_S, attempt, again_on=_LostRaceError)
    except _LostRaceError:
        raise Unavailable(
            f"cannot record this boot in {quoted(f's3://{bucket}/{key}')}: others kept writing it for "
            f"{_PATIENCE_S:g} s\n  way out: none is needed; the next boot is recorded"
        ) from None


def _parse(body: str) -> History:
    try:
        return parse_history(json.loads(body))
    except (ValueError, RecursionError):
        return History()
