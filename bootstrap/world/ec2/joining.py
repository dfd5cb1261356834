"""Joining what sends requests to this box, target groups and a DNS name, and leaving it: the errands.

``groups`` are names or ARNs, ``ports`` those of this box that they reach; ``dns`` is a name or nothing. Everything can
be done again; whatever can be done is done, and all that went wrong is told together.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bootstrap.errors import ApplyFailed, TagError, Unavailable
from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted
from bootstrap.world import clock as house_clock
from bootstrap.world.ec2.dns import Resolver
from bootstrap.world.ec2.target_groups import DEFAULT_DELAY_S, Balancer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bootstrap.world.clock import Clock
    from bootstrap.world.ec2.dns import Name
    from bootstrap.world.ec2.target_groups import Health, TargetGroup

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 5.0
_HEALTHY = "healthy"


def join(
    *, groups: Sequence[str], ports: Sequence[int], dns: str | None, instance_id: str, address: str, region: str
) -> None:
    """Register with every group, and have the name lead here.

    Raises TagError for groups and names that can't be used, before anything is done; then what AWS refuses.
    """
    balancer, resolver = Balancer(region), Resolver(region)
    found, problems = balancer.find(groups if ports else ())
    name, more = _find_name(resolver, dns)
    if problems or more:
        raise TagError(*problems, *more)
    errors: list[Unavailable | TagError] = []
    for group in found:
        target = _target(group, instance_id, address)
        _attempt(errors, partial(balancer.register, group, target, ports))
    if name is not None:
        _attempt(errors, lambda: resolver.give(name, instance_id, address))
    _raise_all(errors)


def leave(  # noqa: PLR0913 - an errand takes all that it needs, by keyword
    *,
    groups: Sequence[str],
    ports: Sequence[int],
    dns: str | None,
    instance_id: str,
    address: str,
    region: str,
    limit_s: float,
    force: bool,
    clock: Clock = house_clock,
) -> dict[str, Any]:
    """Take the address away, deregister, and wait until no request is under way: ``{"waited_s", "still_draining"}``.

    It waits for ``limit_s`` at most, and never longer than the groups' own delay. Raises ApplyFailed where this box is
    the last healthy target of a group, unless ``force``. What is gone or was never joined is no error.
    """
    balancer, resolver = Balancer(region), Resolver(region)
    errors: list[Unavailable | TagError] = []
    found: list[TargetGroup] = []
    try:
        found, _ = balancer.find(groups if ports else ())
    except Unavailable as error:
        if not force:
            raise
        errors.append(error)  # the name can be left all the same
    targets = [
        _Own(balancer=balancer, group=group, target=_target(group, instance_id, address), ports=tuple(ports))
        for group in found
    ]
    if not force:
        _refuse_last(targets)
    if dns is not None:
        _attempt(errors, lambda: _take(resolver, dns, instance_id))
    for own in targets:
        _attempt(errors, own.deregister)
    waited_s, draining = _wait_until_left(targets, limit_s, clock)
    _raise_all(errors)
    return {"waited_s": round(waited_s, 1), "still_draining": [own.group.text for own in draining]}


def read_targets(
    *, groups: Sequence[str], ports: Sequence[int], instance_id: str, address: str, region: str
) -> dict[str, dict[str, Any]]:
    """By group: each port as ``{"state", "reason"}``, and how many ``others`` and ``others_healthy`` boxes there are.

    Others that are leaving do not count. Raises TagError for groups that do not exist.
    """
    balancer = Balancer(region)
    answer: dict[str, dict[str, Any]] = {}
    for group in balancer.find_all(groups):
        target = _target(group, instance_id, address)
        own, others = _divide(balancer.read_health(group), target, ports)
        answer[group.text] = {
            **{str(port): _describe(own.get(port)) for port in ports},
            "others": len({one.target for one in others}),
            "others_healthy": len({one.target for one in others if one.state == _HEALTHY}),
        }
    return answer


def read_health_checks(*, groups: Sequence[str], region: str | None) -> dict[str, dict[str, str | None]]:
    """By group, what it asks of its targets: ``{"port", "path"}``. Raises TagError for groups that do not exist."""
    found = Balancer(region).find_all(groups)
    return {group.text: {"port": group.check_port, "path": group.check_path} for group in found}


def read_name(*, dns: str, address: str | None, region: str | None) -> dict[str, Any]:
    """The ``zone`` that a name lies in, and to how many ``boxes`` it leads.

    Raises TagError where there is no zone, or where something else has the name that this address is to be added to.
    """
    resolver = Resolver(region)
    name = resolver.find(dns)
    return {"zone": name.zone, "boxes": resolver.count_boxes(name, address)}


def _find_name(resolver: Resolver, dns: str | None) -> tuple[Name | None, tuple[str, ...]]:
    try:
        return None if dns is None else resolver.find(dns), ()
    except TagError as error:
        return None, error.problems


def _take(resolver: Resolver, dns: str, instance_id: str) -> None:
    name, problems = _find_name(resolver, dns)
    if name is not None and not problems:  # where there is no zone any more there is no record
        resolver.take(name, instance_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """This box in one group."""

    balancer: Balancer
    group: TargetGroup
    target: str
    ports: tuple[int, ...]

    def deregister(self) -> None:
        self.balancer.deregister(self.group, self.target, self.ports)

    def is_last_healthy(self) -> bool:
        own, others = _divide(self.balancer.read_health(self.group), self.target, self.ports)
        return any(one.state == _HEALTHY for one in own.values()) and all(one.state != _HEALTHY for one in others)

    def is_draining(self) -> bool:
        """Whether requests may be under way; while AWS does not say, they may."""
        try:
            return not all(one.is_gone for one in self.balancer.read_health(self.group, self.target, self.ports))
        except Unavailable:
            return True

    def read_delay_s(self) -> float:
        try:
            return self.balancer.read_delay_s(self.group)
        except Unavailable:
            return DEFAULT_DELAY_S  # it has been left already: what remains is to wait


def _refuse_last(targets: Iterable[_Own]) -> None:
    problems = [
        f"cannot leave target group {quoted(own.group.name)}: this box is its last healthy target"
        for own in targets
        if own.is_last_healthy()
    ]
    if problems:
        raise ApplyFailed("\n".join([*problems, "  way out: bring up another box first, or leave with --force"]))


def _wait_until_left(targets: Iterable[_Own], limit_s: float, clock: Clock) -> tuple[float, list[_Own]]:
    """How long it was waited for, and for which it should have been longer: after its delay a group waits no more."""
    began = clock.now()
    draining = {own: own.read_delay_s() for own in targets if own.is_draining()}
    pause_s = _FIRST_PAUSE_S
    while draining:
        left_s = began + min(limit_s, max(draining.values())) - clock.now()
        if left_s <= 0:
            break
        clock.sleep(min(left_s, _with_jitter(pause_s)))
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
        draining = {own: delay_s for own, delay_s in draining.items() if own.is_draining()}
    waited_s = clock.now() - began
    return waited_s, [own for own, delay_s in draining.items() if delay_s > waited_s]


def _divide(found: Iterable[Health], target: str, ports: Sequence[int]) -> tuple[dict[int, Health], list[Health]]:
    """This box's targets by port, and those of others that stay."""
    targets = list(found)
    own = {one.port: one for one in targets if one.target == target and one.port in ports}
    return own, [one for one in targets if one.target != target and "draining" not in one.state]


def _describe(health: Health | None) -> dict[str, str | None]:
    if health is None:
        return {"state": "unused", "reason": "Target.NotRegistered"}
    return {"state": health.state, "reason": health.reason}


def _target(group: TargetGroup, instance_id: str, address: str) -> str:
    return address if group.by_address else instance_id


def _attempt(errors: list[Unavailable | TagError], act: Callable[[], None]) -> None:
    try:
        act()
    except (Unavailable, TagError) as error:
        errors.append(error)


def _raise_all(errors: list[Unavailable | TagError]) -> None:
    """One error alone as it is; several as one, of the kind that all of them are."""
    if len(errors) < 2:
        for error in errors:
            raise error
        return
    kind = type(errors[0]) if len({type(error) for error in errors}) == 1 else Unavailable
    raise kind("\n".join(str(error) for error in errors))


def _with_jitter(seconds: float) -> float:
    """A thousand boxes that leave together do not ask together."""
    from random import uniform  # noqa: PLC0415 - only boxes that wait

    return uniform(seconds / 2, seconds)  # noqa: S311 - spreads load, protects nothing
