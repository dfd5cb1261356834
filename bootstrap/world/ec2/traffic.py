"""Load balancer and name: joining them when what they reach is ready, leaving them before it stops.

A record in the run directory says what was joined. It is written before joining and removed after leaving, and while
either is under way it says that it is not whole: so whoever is killed in between leaves, and joins, rather once too
often. What keeps a box out altogether is in ``kept_out.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bootstrap.errors import ApplyFailed, BootstrapError, Unavailable
from bootstrap.frozen import dataclass
from bootstrap.spelling import listed
from bootstrap.traffic import Traffic, parse_traffic, render_traffic
from bootstrap.world import clock, disk, kept_out
from bootstrap.world.ec2.instance import Instance, read_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bootstrap.box import Box

PATIENCE_S = 3600.0  # for leaving; the target groups' own delay is what ends it
_INSTANCE_S = 20.0
_LOOK_S = 0.2
_ERRAND_S = 120.0  # for the calls themselves, beside the waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What sends requests to this box, or is about to."""

    traffic: Traffic
    instance: Instance
    is_whole: bool  # joining has succeeded, and leaving has not begun


def join(box: Box, traffic: Traffic, say: Callable[[str], None], *, give_up: Callable[[], float] | None = None) -> None:
    """Have requests sent here; does nothing where they are, on a box that is kept out, or outside of EC2.

    ``give_up`` tells the moment (of ``clock.now()``) when trying must end; it may move. The caller holds the lock.
    Raises TagError for a target group or zone that does not exist, Unavailable, and what else AWS refuses.
    """
    joined = read_joined(box)
    if kept_out.read_reason(box) is not None or (joined is not None and joined.is_whole and joined.traffic == traffic):
        return
    instance = joined.instance if joined is not None else read_instance(_INSTANCE_S)
    if instance is None:
        say(f"not registered with {_named(traffic)}: this machine is no EC2 instance")
        return
    _write(box, Joined(traffic=_both(joined, traffic), instance=instance, is_whole=False))
    _run("join", instance, traffic, give_up)
    if joined is not None and (stale := _without(joined.traffic, traffic)) is not None:
        _run("leave", instance, stale, limit_s=0.0, force=True)
    _write(box, Joined(traffic=traffic, instance=instance, is_whole=True))
    say(f"registered with {_named(traffic)}")


def leave(
    box: Box,
    say: Callable[[str], None],
    *,
    force: bool,
    give_up: Callable[[], float] | None = None,
) -> None:
    """Have no more requests sent here, and wait until those under way are done.

    ``give_up`` tells the moment (of ``clock.now()``) when waiting must end; it may move. With ``force`` whatever goes
    wrong is told and passed over; without, it is raised: ApplyFailed where this is the last healthy target, or
    Unavailable. Where nothing was joined, it does nothing.
    """
    joined = read_joined(box)
    if joined is None:
        return
    began = clock.now()
    limit_s = PATIENCE_S if give_up is None else max(0.0, give_up() - began)
    say(f"leaving {_named(joined.traffic)}")
    with contextlib.suppress(Unavailable):  # a full disk must not keep requests coming
        _write(box, replace(joined, is_whole=False))
    try:
        left = _run("leave", joined.instance, joined.traffic, give_up, limit_s=limit_s, force=force)
    except BootstrapError as error:
        if isinstance(error, ApplyFailed):  # it has looked, and done nothing
            with contextlib.suppress(Unavailable):
                _write(box, joined)
        if not force:
            raise
        say(f"error: {error}")  # the record stays: requests may still be sent here
        return
    busy = listed(left["still_draining"]) if left["still_draining"] else None
    rest = "" if busy is None else f"; {busy} still has requests under way"
    say(f"left after {clock.now() - began:.1f} s{rest}")
    disk.remove_if_there(box.traffic)


def leave_before(box: Box, programs: Iterable[str], say: Callable[[str], None], *, force: bool) -> None:
    """The same, if requests reach one of these programs."""
    joined = read_joined(box) if is_joined(box) else None
    if joined is not None and joined.traffic.serves(programs):
        leave(box, say, force=force)


def is_joined(box: Box) -> bool:
    """Whether something sends requests here, or was about to."""
    return os.path.exists(box.traffic)


def read_joined(box: Box) -> Joined | None:
    """``None`` when nothing sends requests here."""
    raw = disk.read_mapping(box.traffic)
    try:
        traffic = parse_traffic(raw["traffic"])
        instance = Instance(**raw["instance"])
    except (KeyError, TypeError):
        return None
    return None if traffic is None else Joined(traffic=traffic, instance=instance, is_whole=raw.get("whole") is True)


def _run(
    name: str,
    instance: Instance,
    traffic: Traffic,
    give_up: Callable[[], float] | None = None,
    **more: Any,
) -> Any:
    from bootstrap.world.ec2.errands import errands  # noqa: PLC0415 - only boxes with a load balancer or a name

    future = errands().begin(
        name,
        timeout_s=_ERRAND_S + more.get("limit_s", 0.0),
        groups=list(traffic.groups),
        ports=sorted(traffic.ports.values()),
        dns=traffic.dns,
        instance_id=instance.id,
        address=instance.address,
        region=instance.region,
        **more,
    )
    try:
        while True:
            try:
                return future.result(_LOOK_S)
            except TimeoutError:
                if give_up is not None and clock.now() > give_up() + 1.0:
                    raise Unavailable(
                        f"cannot wait for {_named(traffic)}: there is no time left\n"
                        "  way out: none; what was under way may have been cut off"
                    ) from None
    finally:
        errands().abandon(future)


def _both(joined: Joined | None, traffic: Traffic) -> Traffic:
    """What may have to be left, should joining be cut off."""
    if joined is None:
        return traffic
    groups = dict.fromkeys([*joined.traffic.groups, *traffic.groups])
    ports = {**joined.traffic.ports, **traffic.ports}
    return Traffic(groups=tuple(groups), dns=traffic.dns or joined.traffic.dns, ports=ports)


def _without(old: Traffic, new: Traffic) -> Traffic | None:
    """What was joined and is not wanted any more."""
    if set(old.ports.values()) != set(new.ports.values()):
        groups = old.groups
        ports = {name: port for name, port in old.ports.items() if port not in new.ports.values()}
    else:
        groups = tuple(group for group in old.groups if group not in new.groups)
        ports = dict(old.ports)
    dns = old.dns if old.dns != new.dns else None
    if (not groups or not ports) and dns is None:
        return None
    return Traffic(groups=groups if ports else (), dns=dns, ports=ports)


def _named(traffic: Traffic) -> str:
    return listed([*traffic.groups, *([traffic.dns] if traffic.dns else [])])


def _write(box: Box, joined: Joined) -> None:
    document = {
        "traffic": render_traffic(joined.traffic),
        "instance": asdict(joined.instance),
        "whole": joined.is_whole,
    }
    disk.write_for_this_boot(box.traffic, json.dumps(document).encode())
