"""Calls of AWS that the tags of this box make necessary: those that only read, to see whether they are allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.checkup import judge_health_check
from bootstrap.diagnosis import Finding, ok, warn
from bootstrap.spelling import quoted
from bootstrap.world.ec2 import errands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.rendering import Generation
    from bootstrap.traffic import Traffic
    from bootstrap.world.ec2.instance import Instance

_CALL_S = 5.0  # for a call with its retries
_SAMPLE = "boots/doctor.json"  # is never written: that it is not there is the answer


def examine_group(instance: Instance | None) -> Iterator[Finding]:
    """The Auto Scaling group, whose hooks `boot` has to know."""
    if instance is None:
        return
    found = errands.run("describe-membership", instance_id=instance.id, region=instance.region)
    if found["group"] is None:
        yield ok("the instance is in no Auto Scaling group")
    else:
        yield ok(f"the instance is in Auto Scaling group {quoted(found['group'])}, {found['state']}")


def examine_tags(instance: Instance | None, *, shows_tags: bool) -> Iterator[Finding]:
    """Tags by the API, where metadata does not show them."""
    if instance is None or shows_tags:
        return
    read = errands.run("read-instance-tags", instance_id=instance.id, region=instance.region, patience_s=_CALL_S)
    yield ok(f"DescribeTags shows {len(read)} tag{'' if len(read) == 1 else 's'} of the instance")
    group = errands.run("read-group-name", instance_id=instance.id, region=instance.region, patience_s=_CALL_S)
    if group is not None:
        errands.run("read-group-tags", group=group, region=instance.region, patience_s=_CALL_S)
        yield ok(f"the tags of Auto Scaling group {quoted(group)} can be read")


def examine_target_groups(
    instance: Instance | None, traffic: Traffic | None, generation: Generation
) -> Iterator[Finding]:
    if traffic is None or not traffic.groups:
        return
    groups, region = list(traffic.groups), instance.region if instance else None
    ports = [unit.port for unit in generation.units if unit.port is not None]
    for group, wanted in errands.run("read-health-checks", groups=groups, region=region).items():
        yield judge_health_check(group, wanted, ports, generation.health)
    if instance is not None:
        yield from _describe_targets(instance, groups, sorted(set(traffic.ports.values())))


def _describe_targets(instance: Instance, groups: list[str], ports: list[int]) -> Iterator[Finding]:
    found = errands.run(
        "read-targets",
        groups=groups,
        ports=ports,
        instance_id=instance.id,
        address=instance.address,
        region=instance.region,
    )
    for group, targets in found.items():
        for port in ports:
            state, reason = targets[str(port)]["state"], targets[str(port)]["reason"]
            text = f"target group {quoted(group)} has this box on port {port} as {state}"
            if state == "unhealthy":
                yield warn(
                    f"{text} ({reason})",
                    "see that what it checks answers, and that security groups let the load balancer in",
                )
            else:
                yield ok(text if state != "unused" else f"target group {quoted(group)} sends this box nothing yet")


def examine_name(instance: Instance | None, traffic: Traffic | None) -> Iterator[Finding]:
    if traffic is None or traffic.dns is None:
        return
    region, address = (instance.region, instance.address) if instance else (None, None)
    found = errands.run("read-name", dns=traffic.dns, address=address, region=region)
    boxes = f"{found['boxes']} box{'' if found['boxes'] == 1 else 'es'}"
    yield ok(f"DNS name {quoted(traffic.dns)} lies in zone {found['zone']} and leads to {boxes}")


def examine_bucket(bucket: str | None) -> Iterator[Finding]:
    if bucket is None:
        return
    errands.run("read-object", bucket=bucket, key=_SAMPLE)
    yield ok(f"bucket {quoted(bucket)} can be read")
