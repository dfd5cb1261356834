"""A box in its Auto Scaling group."""

from __future__ import annotations

import pytest

from bootstrap.errors import Unavailable
from bootstrap.world.aws import DeniedError
from bootstrap.world.ec2 import group
from support.fake_aws import Hook

REGION = "eu-west-1"
LAUNCH = Hook(name="up", transition="launching", heartbeat_s=60)
TERMINATE = Hook(name="down", transition="terminating", heartbeat_s=90, default="CONTINUE")


def words(box, hook="up"):
    return {"group": "boxes", "hook": hook, "instance_id": box, "region": REGION}


def text_of(error, call, **arguments):
    with pytest.raises(error) as caught:
        call(**arguments)
    assert type(caught.value) is error
    return str(caught.value)


def test_a_box_knows_its_group_its_state_and_the_hooks(aws):
    (box,) = aws.make_group("boxes", LAUNCH, TERMINATE)
    assert group.describe_membership(instance_id=box, region=REGION) == {
        "group": "boxes",
        "state": "Pending:Wait",
        "hooks": [
            {"name": "up", "transition": "launching", "heartbeat_s": 60, "default": "ABANDON"},
            {"name": "down", "transition": "terminating", "heartbeat_s": 90, "default": "CONTINUE"},
        ],
    }


def test_a_box_of_no_group_has_no_hooks_to_ask_for(aws):
    box = aws.make_box()
    assert group.describe_membership(instance_id=box, region=REGION) == {"group": None, "state": None, "hooks": []}
    assert aws.gate.actions() == ["autoscaling:DescribeAutoScalingInstances"]


@pytest.mark.parametrize(("result", "state"), [("CONTINUE", "InService"), ("ABANDON", None)])
def test_a_launch_hook_is_kept_waiting_and_completed(aws, result, state):
    (box,) = aws.make_group("boxes", LAUNCH)
    aws.pass_time(50)
    assert group.heartbeat(**words(box))
    aws.pass_time(50)
    assert group.complete(**words(box), result=result)
    assert aws.lifecycle_state(box) == state


def test_no_active_lifecycle_action_is_an_answer(aws):
    (box,) = aws.make_group("boxes", TERMINATE)
    assert not group.heartbeat(**words(box, "down"))
    assert not group.complete(**words(box, "down"), result="CONTINUE")
    assert len(aws.calls) == 2  # it is not tried again


def test_another_refusal_is_an_error(aws):
    assert text_of(Unavailable, group.heartbeat, **words("i-1")) == (
        'cannot record a heartbeat for lifecycle hook "up" of Auto Scaling group "boxes": AWS answered ValidationError to '
        "autoscaling:RecordLifecycleActionHeartbeat (AutoScalingGroup name not found - null - AutoScalingGroup 'boxes' "
        "not found)\n  way out: correct what AWS speaks of, and run the command again"
    )


def test_a_box_that_calls_itself_unhealthy_is_replaced_even_in_its_grace_period(aws):
    (box,) = aws.make_group("boxes")
    group.set_unhealthy(instance_id=box, region=REGION)
    (call,) = aws.gate.calls_of("autoscaling:SetInstanceHealth")
    assert call.parameters["ShouldRespectGracePeriod"] == "false"
    assert aws.replace_unhealthy() == [box]


def test_a_suspended_group_launches_and_replaces_nothing_but_still_terminates(aws):
    (box,) = aws.make_group("boxes")
    group.suspend(group="boxes", region=REGION)
    (found,) = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert {one["ProcessName"] for one in found["SuspendedProcesses"]} == {"Launch", "ReplaceUnhealthy"}
    group.set_unhealthy(instance_id=box, region=REGION)
    assert aws.replace_unhealthy() == []
    aws.terminate(box)
    assert aws.boxes("boxes") == []


DENIED = [
    (
        "autoscaling:RecordLifecycleActionHeartbeat",
        group.heartbeat,
        words("i-1"),
        'cannot record a heartbeat for lifecycle hook "up" of Auto Scaling group "boxes"',
        " on autoScalingGroupName/boxes",
    ),
    (
        "autoscaling:CompleteLifecycleAction",
        group.complete,
        words("i-1") | {"result": "CONTINUE"},
        'cannot complete lifecycle hook "up" of Auto Scaling group "boxes"',
        " on autoScalingGroupName/boxes",
    ),
    (
        "autoscaling:SetInstanceHealth",
        group.set_unhealthy,
        {"instance_id": "i-1", "region": REGION},
        'cannot call instance "i-1" unhealthy',
        " on its Auto Scaling group",
    ),
    (
        "autoscaling:SuspendProcesses",
        group.suspend,
        {"group": "boxes", "region": REGION},
        'cannot suspend launches of Auto Scaling group "boxes"',
        " on autoScalingGroupName/boxes",
    ),
]


@pytest.mark.parametrize(("action", "call", "arguments", "failure", "resource"), DENIED, ids=[one[0] for one in DENIED])
def test_a_denied_call_names_action_resource_and_the_statement_that_grants_it(
    aws, action, call, arguments, failure, resource
):
    aws.gate.deny(action)
    assert text_of(DeniedError, call, **arguments) == (
        f"{failure}: access denied (AccessDenied)\n  way out: grant {action}{resource} to the role of this machine, "
        "as statement LifeCycle of image/iam/policy.json does"
    )


def test_the_hooks_may_be_denied_alone(aws):
    (box,) = aws.make_group("boxes")
    aws.gate.deny("autoscaling:DescribeLifecycleHooks")
    assert text_of(DeniedError, group.describe_membership, instance_id=box, region=REGION) == (
        'cannot read the lifecycle hooks of Auto Scaling group "boxes": access denied (AccessDenied)\n  way out: grant '
        "autoscaling:DescribeLifecycleHooks to the role of this machine, as statement Read of image/iam/policy.json does"
    )


def test_a_throttled_call_is_tried_again(aws):
    (box,) = aws.make_group("boxes")
    aws.gate.fail("autoscaling:DescribeAutoScalingInstances", "Throttling", times=3)
    assert group.describe_membership(instance_id=box, region=REGION)["state"] == "InService"
    assert len(aws.gate.calls_of("autoscaling:DescribeAutoScalingInstances")) == 4
