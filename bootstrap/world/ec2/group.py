"""This instance in its Auto Scaling group: what the group does with it, and what it tells the group.

A lifecycle action that is not there is an answer, not an error: a hook may be younger than the box, the group may not
have come to it yet, or it has timed out.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from bootstrap.spelling import quoted
from bootstrap.world import aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_autoscaling import AutoScalingClient

T = TypeVar("T")
_TRANSITIONS = {
    "autoscaling:EC2_INSTANCE_LAUNCHING": "launching",
    "autoscaling:EC2_INSTANCE_TERMINATING": "terminating",
}
_STOPPED = ["Launch", "ReplaceUnhealthy"]
_NO_ACTION = "No active Lifecycle Action"


def describe_membership(*, instance_id: str, region: str | None) -> dict[str, Any]:
    """``{"group", "state", "hooks": [{"name", "transition", "heartbeat_s", "default"}]}``; no group is ``None``.

    The state is the present one, such as ``Pending:Wait``; unknown ones are passed on.
    """
    client = _client(region)

    def ask() -> Any:
        members = client().describe_auto_scaling_instances(InstanceIds=[instance_id])["AutoScalingInstances"]
        return members[0] if members else None

    failure = f"cannot read the Auto Scaling group of instance {quoted(instance_id)}"
    member = aws.call("autoscaling:DescribeAutoScalingInstances", failure, ask)
    if member is None:
        return {"group": None, "state": None, "hooks": []}
    group = member["AutoScalingGroupName"]
    return {"group": group, "state": member["LifecycleState"], "hooks": _read_hooks(client, group)}


def heartbeat(*, group: str, hook: str, instance_id: str, region: str | None) -> bool:
    """Have the hook wait for its whole time again; whether it was waiting."""
    client = _client(region)

    def ask() -> None:
        client().record_lifecycle_action_heartbeat(
            AutoScalingGroupName=group, LifecycleHookName=hook, InstanceId=instance_id
        )

    failure = f"cannot record a heartbeat for lifecycle hook {quoted(hook)} of Auto Scaling group {quoted(group)}"
    return _tell_hook("autoscaling:RecordLifecycleActionHeartbeat", failure, group, ask)


def complete(*, group: str, hook: str, instance_id: str, region: str | None, result: str) -> bool:
    """Have the group go on (``CONTINUE``) or give the box up (``ABANDON``); whether the hook was waiting."""
    client = _client(region)

    def ask() -> None:
        client().complete_lifecycle_action(
            AutoScalingGroupName=group, LifecycleHookName=hook, InstanceId=instance_id, LifecycleActionResult=result
        )

    failure = f"cannot complete lifecycle hook {quoted(hook)} of Auto Scaling group {quoted(group)}"
    return _tell_hook("autoscaling:CompleteLifecycleAction", failure, group, ask)


def set_unhealthy(*, instance_id: str, region: str | None) -> None:
    """Have the group replace this box, also while its grace period lasts: whoever asks knows better."""
    client = _client(region)

    def ask() -> None:
        client().set_instance_health(InstanceId=instance_id, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)

    aws.call(
        "autoscaling:SetInstanceHealth",
        f"cannot call instance {quoted(instance_id)} unhealthy",
        ask,
        resource="its Auto Scaling group",
    )


def suspend(*, group: str, region: str | None) -> None:
    """Have the group launch and replace nothing more, until somebody resumes it."""
    client = _client(region)
    aws.call(
        "autoscaling:SuspendProcesses",
        f"cannot suspend launches of Auto Scaling group {quoted(group)}",
        lambda: client().suspend_processes(AutoScalingGroupName=group, ScalingProcesses=_STOPPED),
        resource=_resource(group),
    )


def count_members(*, group: str, region: str | None) -> int:
    """How many boxes of the group are in service."""
    client = _client(region)

    def ask() -> int:
        found = client().describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return sum(one["LifecycleState"] == "InService" for group in found for one in group["Instances"])

    failure = f"cannot read the members of Auto Scaling group {quoted(group)}"
    return aws.call("autoscaling:DescribeAutoScalingGroups", failure, ask)


def _read_hooks(client: Callable[[], AutoScalingClient], group: str) -> list[dict[str, Any]]:
    found = aws.call(
        "autoscaling:DescribeLifecycleHooks",
        f"cannot read the lifecycle hooks of Auto Scaling group {quoted(group)}",
        lambda: client().describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"],
    )
    return [
        {
            "name": hook["LifecycleHookName"],
            "transition": _TRANSITIONS[hook["LifecycleTransition"]],
            "heartbeat_s": hook["HeartbeatTimeout"],
            "default": hook["DefaultResult"],
        }
        for hook in found
    ]


def _tell_hook(action: str, failure: str, group: str, ask: Callable[[], None]) -> bool:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only with AWS

    def tell() -> bool:
        try:
            ask()
        except ClientError as error:
            if error.response["Error"].get("Message", "").startswith(_NO_ACTION):
                return False
            raise
        return True

    return aws.call(action, failure, tell, resource=_resource(group))


def _client(region: str | None) -> Callable[[], AutoScalingClient]:
    return cache(lambda: aws.session().client("autoscaling", region_name=region, config=aws.config()))


def _resource(group: str) -> str:
    return f"autoScalingGroupName/{group}"
