from __future__ import annotations

import socket
from contextlib import ExitStack

import boto3
import pytest

from bootstrap.box import Box
from bootstrap.definition import Mode
from bootstrap.errors import Unavailable
from bootstrap.world import aws
from bootstrap.world.tags import Machine, read_tags
from support.aws_server import (
    VARIABLES,
    ScriptedAws,
    ec2_error,
    forget_everything,
    moto_server,
    tag_page,
)
from support.clock import FakeClock
from support.metadata_server import MetadataServer

REGION = "eu-west-1"
IMAGE = "ami-12345678"
FAILURE = 'cannot read the tags of instance "i-1"'


@pytest.fixture(scope="module")
def moto_endpoint():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def moto(moto_endpoint, monkeypatch):
    forget_everything(moto_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint)
    return moto_endpoint


@pytest.fixture
def scripted(monkeypatch):
    with ExitStack() as stack:

        def start(*answers):
            server = stack.enter_context(ScriptedAws(*answers))
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
            return server

        yield start


def launch(tags):
    ec2 = boto3.client("ec2", REGION)
    specification = {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
    answer = ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, TagSpecifications=[specification])
    return answer["Instances"][0]["InstanceId"]


def make_group(name, tags):
    ec2, autoscaling = boto3.client("ec2", REGION), boto3.client("autoscaling", REGION)
    ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"ImageId": IMAGE})
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=[f"{REGION}a"],
        Tags=[
            {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": k, "Value": v, "PropagateAtLaunch": False}
            for k, v in tags.items()
        ],
    )
    (member,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0][
        "Instances"
    ]
    return member["InstanceId"]


def test_describe_tags_tells_the_tags_of_this_instance_only(moto):
    tags = {"bootstrap:mode": "review", "Name": "a box / ü"}
    launch({"bootstrap:mode": "production"})
    assert aws.read_instance_tags(launch(tags), REGION) == tags
    assert aws.read_instance_tags("i-0000000000000dead", REGION) == {}


def test_a_group_is_found_by_its_member_and_tells_tags_that_do_not_propagate(moto):
    member = make_group("web", {"bootstrap:mode": "review"})
    make_group("other", {"bootstrap:mode": "production"})
    assert aws.read_group_name(member, REGION) == "web"
    assert aws.read_group_tags("web", REGION) == {"bootstrap:mode": "review"}


def test_an_instance_outside_of_every_group_is_in_none(moto):
    assert aws.read_group_name("i-0000000000000dead", REGION) is None


def test_a_box_whose_metadata_holds_no_tags_reads_them_from_its_instance_and_its_group(moto, tmp_path):
    member = make_group("web", {"bootstrap:service": "api", "bootstrap:mode": "review"})
    boto3.client("ec2", REGION).create_tags(Resources=[member], Tags=[{"Key": "bootstrap:mode", "Value": "production"}])
    with MetadataServer(tags=None, instance_id=member, region=REGION) as server:
        machine = Machine(environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint}, patience_s=20)
        box = Box(root=str(tmp_path), state=str(tmp_path))
        modes = {"production": Mode(name="production", runs="one")}
        tags = read_tags(box, (), None, lambda: modes, machine)
    assert [(tag.key, tag.value, tag.source) for tag in tags if tag.key.startswith("bootstrap:")] == [
        ("bootstrap:mode", "production", "DescribeTags"),
        ("bootstrap:service", "api", 'Auto Scaling group "web"'),
    ]


def test_every_page_is_read(scripted):
    server = scripted((200, tag_page("a", "1", next_token="more")), (200, tag_page("b", "2")))
    assert aws.read_instance_tags("i-1", REGION) == {"a": "1", "b": "2"}
    assert "Filter.1.Value.1=i-1" in server.bodies[0]
    assert "NextToken=more" in server.bodies[1]


@pytest.mark.parametrize(
    "answer",
    [(503, ec2_error("RequestLimitExceeded")), (500, ec2_error("InternalError")), (503, "<html>busy</html>")],
)
def test_a_busy_aws_is_asked_again(scripted, answer):
    server = scripted(answer, answer, (200, tag_page("a", "1")))
    assert aws.read_instance_tags("i-1", REGION) == {"a": "1"}
    assert len(server.bodies) == 3


def test_an_aws_that_stays_busy_is_unavailable(scripted):
    server = scripted((503, ec2_error("RequestLimitExceeded", "Request limit\nexceeded.")))
    client, clock = boto3.client("ec2", REGION, config=aws.config()), FakeClock()
    with pytest.raises(Unavailable) as error:
        aws.call("ec2:DescribeTags", FAILURE, client.describe_tags, clock=clock)
    assert str(error.value) == (
        f"{FAILURE}: AWS answered RequestLimitExceeded to ec2:DescribeTags (Request limit exceeded.)\n"
        "  way out: wait a moment and run the command again"
    )
    assert clock.now() == pytest.approx(1020)
    assert len(server.bodies) == len(clock.slept) + 1 > 3


def test_a_denied_call_says_what_to_grant_and_is_not_repeated(scripted):
    server = scripted((403, ec2_error("UnauthorizedOperation")))
    with pytest.raises(aws.DeniedError) as error:
        aws.read_instance_tags("i-1", REGION)
    assert str(error.value) == (
        f"{FAILURE}: access denied (UnauthorizedOperation)\n"
        "  way out: grant ec2:DescribeTags to the role of this machine, as statement Read of image/iam/policy.json does"
    )
    assert len(server.bodies) == 1


def test_each_call_names_its_own_action(scripted):
    scripted((403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"))
    with pytest.raises(Unavailable) as of_group:
        aws.read_group_tags("web", REGION)
    with pytest.raises(Unavailable) as of_member:
        aws.read_group_name("i-1", REGION)
    assert str(of_group.value) == (
        'cannot read the tags of Auto Scaling group "web": access denied (AccessDenied)\n'
        "  way out: grant autoscaling:DescribeTags to the role of this machine, as statement Read of image/iam/policy.json does"
    )
    assert str(of_member.value) == (
        'cannot read the Auto Scaling group of instance "i-1": access denied (AccessDenied)\n'
        "  way out: grant autoscaling:DescribeAutoScalingInstances to the role of this machine, as statement Read of image/iam/policy.json does"
    )


@pytest.fixture
def unreachable():
    """An address that is taken, and where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unused.getsockname()[1]}"


def test_an_aws_out_of_reach_is_unavailable(monkeypatch, unreachable):
    endpoint = f"http://{unreachable}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(Unavailable) as error:
        aws.read_instance_tags("i-1", REGION, patience_s=0.2)
    assert str(error.value) == (
        f'{FAILURE}: Could not connect to the endpoint URL: "{endpoint}/" (for ec2:DescribeTags)\n'
        "  way out: see that this machine reaches AWS and run the command again"
    )


def test_without_credentials_the_way_out_is_a_role(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Unavailable) as error:
        aws.read_instance_tags("i-1", REGION)
    assert str(error.value) == (
        f"{FAILURE}: no AWS credentials (for ec2:DescribeTags)\n"
        "  way out: give the instance a role, or this shell AWS credentials"
    )


def test_without_a_region_the_way_out_is_the_variable(monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(Unavailable) as error:
        aws.read_instance_tags("i-1", None)
    assert str(error.value) == f"{FAILURE}: no AWS region (for ec2:DescribeTags)\n  way out: set AWS_REGION"


@pytest.mark.parametrize("body", ["<html>sorry", "", "{}", "\x00\x01", '{"Tags": null}'])
def test_an_answer_that_is_not_from_aws_is_unavailable_and_not_told(scripted, body):
    scripted((200, body))
    with pytest.raises(Unavailable) as caught:
        aws.read_instance_tags("i-1", REGION, patience_s=0)
    text = str(caught.value)
    assert text.startswith(f"{FAILURE}: the answer to ec2:DescribeTags makes no sense (")
    assert text.endswith(
        ")\n  way out: see that it is AWS that answers here (a proxy? AWS_ENDPOINT_URL?) and run the command again"
    )
    assert "sorry" not in text


def test_what_aws_says_is_cut_short_and_does_nothing_to_a_terminal(scripted):
    message = "pwn \x9b31m\u202e" + "x" * 5_000_000
    scripted((400, ec2_error("InvalidParameter\u2028Value", message)))
    with pytest.raises(Unavailable) as caught:
        aws.read_instance_tags("i-1", REGION)
    assert str(caught.value) == (
        f"{FAILURE}: AWS answered InvalidParameter Value to ec2:DescribeTags (pwn \\x9b31m\\u202e{'x' * 283}…)\n"
        "  way out: correct what AWS speaks of, and run the command again"
    )


@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"])
def test_a_credential_with_a_line_break_is_not_shown(scripted, monkeypatch, name):
    scripted((200, tag_page("a", "1")))
    monkeypatch.setenv(name, "SEKRIT\n")
    with pytest.raises(Unavailable) as caught:
        aws.read_instance_tags("i-1", REGION, patience_s=0)
    assert str(caught.value) == (
        f"{FAILURE}: the request can't be sent; is there a line break in a variable AWS_…? (for ec2:DescribeTags)\n"
        "  way out: see that this machine reaches AWS and run the command again"
    )


def test_a_login_in_an_address_is_not_shown(monkeypatch, unreachable):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:SEKRIT@{unreachable}")
    with pytest.raises(Unavailable) as caught:
        aws.read_instance_tags("i-1", REGION, patience_s=0)
    assert "SEKRIT" not in str(caught.value)
    assert f'"http://{unreachable}/"' in str(caught.value)
