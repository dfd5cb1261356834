"""The tags that a box writes on itself."""

from __future__ import annotations

import pytest

from bootstrap.errors import Unavailable
from bootstrap.world.aws import DeniedError
from bootstrap.world.ec2.status_tags import tag


def test_all_tags_are_set_in_one_call(aws):
    box = aws.make_box({"Name": "box"})
    tag(instance_id=box, region="eu-west-1", tags={"bootstrap:status": "failed", "bootstrap:status.reason": "a b/c"})
    assert aws.tags_of(box) == {"Name": "box", "bootstrap:status": "failed", "bootstrap:status.reason": "a b/c"}
    assert aws.gate.actions() == ["ec2:CreateTags"]


@pytest.mark.parametrize(
    ("value", "kept"), [("☃" * 256, "☃" * 256), ("☃" * 257, "☃" * 255 + "…"), ("x" * 9999, "x" * 255 + "…")]
)
def test_a_value_is_cut_by_characters(aws, value, kept):
    box = aws.make_box()
    tag(instance_id=box, region="eu-west-1", tags={"bootstrap:status.reason": value})
    assert aws.tags_of(box) == {"bootstrap:status.reason": kept}


def test_a_throttled_call_is_tried_again(aws):
    box = aws.make_box()
    aws.gate.fail("ec2:CreateTags", "RequestLimitExceeded", status=503, times=2)
    tag(instance_id=box, region="eu-west-1", tags={"bootstrap:status": "ready"})
    assert aws.tags_of(box) == {"bootstrap:status": "ready"}


def test_a_denied_call_names_action_and_instance(aws):
    aws.gate.deny("ec2:CreateTags")
    with pytest.raises(DeniedError) as caught:
        tag(instance_id="i-12345678", region="eu-west-1", tags={"bootstrap:status": "ready"})
    assert str(caught.value) == (
        'cannot tag instance "i-12345678": access denied (UnauthorizedOperation)\n'
        "  way out: grant ec2:CreateTags on instance/i-12345678 to the role of this machine, as statement TagItself of "
        "image/iam/policy.json does"
    )


def test_an_instance_that_is_gone_is_an_error(aws):
    with pytest.raises(Unavailable) as caught:
        tag(instance_id="i-12345678", region="eu-west-1", tags={"bootstrap:status": "ready"})
    assert str(caught.value) == (
        'cannot tag instance "i-12345678": AWS answered InvalidInstanceID.NotFound to ec2:CreateTags '
        "(The instance ID 'i-12345678' does not exist)\n  way out: correct what AWS speaks of, and run the command again"
    )
