"""The end of this instance, by its own wish."""

from __future__ import annotations

from functools import cache

from bootstrap.spelling import quoted
from bootstrap.world import aws


def terminate(*, instance_id: str, region: str | None) -> None:
    """Give the machine back; a group that it belongs to launches no other in its place."""
    if aws.read_group_name(instance_id, region) is None:
        _terminate_alone(instance_id, region)
    else:
        _leave_group(instance_id, region)


def _terminate_alone(instance_id: str, region: str | None) -> None:
    client = cache(lambda: aws.session().client("ec2", region_name=region, config=aws.config()))
    aws.call(
        "ec2:TerminateInstances",
        f"cannot terminate instance {quoted(instance_id)}",
        lambda: client().terminate_instances(InstanceIds=[instance_id]),
        resource=f"instance/{instance_id}",
    )


def _leave_group(instance_id: str, region: str | None) -> None:
    client = cache(lambda: aws.session().client("autoscaling", region_name=region, config=aws.config()))
    aws.call(
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        f"cannot terminate instance {quoted(instance_id)} and shrink its Auto Scaling group",
        lambda: client().terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
        ),
        resource="its Auto Scaling group",
    )
