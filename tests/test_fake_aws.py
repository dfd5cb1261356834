"""The double that stands for AWS: what ours adds to moto behaves as AWS does (its documentation is the source)."""

from __future__ import annotations

import http.server
import threading
import urllib.request

import moto
import pytest
from botocore.exceptions import ClientError

from support import fake_aws
from support.fake_aws import Hook, _patches

LAUNCH = Hook(name="up", transition="launching", heartbeat_s=60)
TERMINATE = Hook(name="down", transition="terminating", heartbeat_s=60, default="CONTINUE")


def refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def complete(aws, instance_id, hook="up", result="CONTINUE"):
    aws.client("autoscaling").complete_lifecycle_action(
        AutoScalingGroupName="boxes", LifecycleHookName=hook, InstanceId=instance_id, LifecycleActionResult=result
    )


def test_moto_is_the_one_that_the_double_is_made_for(aws):
    """The double works on moto's internals. When this fails: see that each name that is replaced still exists and does
    what it did (the list is ``_patches``), run these tests, look in moto's changelog for what it can do by itself now
    (lifecycle actions, scaling activities, target states, tag limits), drop that here, and only then change PINNED."""
    replaced = {f"{owner.__name__}.{name}" for owner, name, _ in _patches(aws)}
    assert (moto.__version__, len(replaced)) == (fake_aws.PINNED, 16), replaced


def test_moto_has_what_is_replaced(aws_server):
    """Only these are missing in it; everything else that we replace must be there to be replaced."""
    missing = [name for owner, name, _ in _patches(None) if not hasattr(owner, name)]
    assert missing == ["record_lifecycle_action_heartbeat", "complete_lifecycle_action"]


# --- lifecycle hooks


def test_a_launch_hook_holds_a_box_until_it_is_completed(aws):
    arn = aws.make_target_group("web")
    (box,) = aws.make_group("boxes", LAUNCH, target_groups=[arn])
    assert (aws.lifecycle_state(box), aws.targets(arn)) == ("Pending:Wait", {})
    complete(aws, box)
    assert (aws.lifecycle_state(box), aws.targets(arn)) == ("InService", {(box, 80): "healthy"})


def test_a_heartbeat_holds_a_hook_longer_and_silence_ends_it(aws):
    (box,) = aws.make_group("boxes", LAUNCH)
    aws.pass_time(59)
    aws.client("autoscaling").record_lifecycle_action_heartbeat(
        AutoScalingGroupName="boxes", LifecycleHookName="up", InstanceId=box
    )
    aws.pass_time(59)
    assert aws.lifecycle_state(box) == "Pending:Wait"
    aws.pass_time(2)
    assert aws.lifecycle_state(box) is None  # abandoned, and another launched
    (other,) = aws.boxes("boxes")
    assert aws.lifecycle_state(other) == "Pending:Wait"


def test_an_abandoned_launch_is_replaced_unless_launches_are_suspended(aws):
    (box,) = aws.make_group("boxes", LAUNCH)
    complete(aws, box, result="ABANDON")
    (other,) = aws.boxes("boxes")
    assert other != box
    aws.client("autoscaling").suspend_processes(AutoScalingGroupName="boxes", ScalingProcesses=["Launch"])
    complete(aws, other, result="ABANDON")
    assert aws.boxes("boxes") == []


def test_a_terminate_hook_holds_a_box_that_has_left_its_target_groups(aws):
    arn = aws.make_target_group("web", delay_s=10)
    (box,) = aws.make_group("boxes", TERMINATE, target_groups=[arn])
    aws.terminate(box)
    assert (aws.lifecycle_state(box), aws.targets(arn)) == ("Terminating:Wait", {(box, 80): "draining"})
    complete(aws, box, hook="down")
    assert aws.lifecycle_state(box) is None


def test_without_an_action_under_way_there_is_none_to_complete(aws):
    (box,) = aws.make_group("boxes", TERMINATE)
    code = ("ValidationError", f"No active Lifecycle Action found with instance ID {box}")
    names = {"AutoScalingGroupName": "boxes", "LifecycleHookName": "down", "InstanceId": box}
    client = aws.client("autoscaling")
    assert refusal(client.record_lifecycle_action_heartbeat, **names) == code
    assert refusal(client.complete_lifecycle_action, **names, LifecycleActionResult="CONTINUE") == code


def test_activities_tell_who_was_launched_and_who_was_found_ill(aws):
    (box,) = aws.make_group("boxes")
    client = aws.client("autoscaling")
    client.set_instance_health(InstanceId=box, HealthStatus="Unhealthy")
    assert aws.replace_unhealthy() == [box]
    (other,) = aws.boxes("boxes")
    found = client.describe_scaling_activities(AutoScalingGroupName="boxes")["Activities"]
    assert [(one["Description"], one["Cause"].partition("Z ")[2]) for one in found] == [
        (f"Launching a new EC2 instance: {other}", "an instance was started."),
        (
            f"Terminating EC2 instance: {box}",
            "it was taken out of service in response to an EC2 health check.",
        ),
        (f"Launching a new EC2 instance: {box}", "an instance was started."),
    ]


def test_a_group_whose_replacing_is_suspended_keeps_its_ill_box(aws):
    (box,) = aws.make_group("boxes")
    client = aws.client("autoscaling")
    client.suspend_processes(AutoScalingGroupName="boxes", ScalingProcesses=["ReplaceUnhealthy"])
    client.set_instance_health(InstanceId=box, HealthStatus="Unhealthy")
    assert aws.replace_unhealthy() == []
    assert aws.boxes("boxes") == [box]


# --- tags


def test_on_the_same_key_the_tag_of_the_group_wins(aws):
    (box,) = aws.make_group("boxes", tags={"a": "group"}, template_tags={"a": "template", "b": "template"})
    tags = aws.tags_of(box)
    assert (tags["a"], tags["b"], tags["aws:autoscaling:groupName"]) == ("group", "template", "boxes")


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("aws:x", "", "InvalidParameterValue"),
        ("AWS:x", "", "InvalidParameterValue"),
        ("k" * 128, "", "InvalidParameterValue"),
        ("k", "v" * 257, "InvalidParameterValue"),
        ("a/b", "", "InvalidParameterValue"),
    ],
)
def test_tags_are_judged(aws, key, value, code):
    box = aws.make_box()
    assert refusal(aws.client("ec2").create_tags, Resources=[box], Tags=[{"Key": key, "Value": value}])[0] == code


def test_nobody_can_tag_what_does_not_exist(aws):
    assert refusal(aws.client("ec2").create_tags, Resources=["i-12345678"], Tags=[{"Key": "k", "Value": ""}]) == (
        "InvalidInstanceID.NotFound",
        "The instance ID 'i-12345678' does not exist",
    )


# --- target groups


def describe(aws, arn, *targets):
    answer = aws.client("elbv2").describe_target_health(TargetGroupArn=arn, Targets=list(targets))
    return [
        (one["Target"]["Id"], one["Target"]["Port"], one["TargetHealth"]["State"], one["TargetHealth"].get("Reason"))
        for one in answer["TargetHealthDescriptions"]
    ]


def test_targets_are_instance_and_port(aws):
    arn, box = aws.make_target_group("web", delay_s=30), aws.make_box()
    client = aws.client("elbv2")
    client.register_targets(TargetGroupArn=arn, Targets=[{"Id": box, "Port": 1}, {"Id": box, "Port": 2}])
    client.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": box, "Port": 2}])
    assert aws.targets(arn) == {(box, 1): "healthy", (box, 2): "draining"}


def test_a_target_drains_for_its_delay_and_is_unused_then(aws):
    arn, box = aws.make_target_group("web", delay_s=30), aws.make_box()
    target = {"Id": box, "Port": 80}
    client = aws.client("elbv2")
    client.register_targets(TargetGroupArn=arn, Targets=[target])
    client.deregister_targets(TargetGroupArn=arn, Targets=[target])
    aws.pass_time(29)
    assert describe(aws, arn) == [(box, 80, "draining", "Target.DeregistrationInProgress")]
    aws.pass_time(2)
    assert describe(aws, arn) == []
    assert describe(aws, arn, target) == [(box, 80, "unused", "Target.NotRegistered")]
    client.deregister_targets(TargetGroupArn=arn, Targets=[target])  # which is no error


def test_a_target_of_a_group_without_a_load_balancer_is_not_in_use(aws):
    arn, box = aws.make_target_group("web", attached=False), aws.make_box()
    aws.client("elbv2").register_targets(TargetGroupArn=arn, Targets=[{"Id": box, "Port": 80}])
    assert describe(aws, arn) == [(box, 80, "unused", "Target.NotInUse")]


def test_a_target_becomes_healthy_by_word(aws):
    aws.health = "by-word"
    arn, box = aws.make_target_group("web"), aws.make_box()
    aws.client("elbv2").register_targets(TargetGroupArn=arn, Targets=[{"Id": box, "Port": 80}])
    assert aws.target_state(arn, box, 80) == "initial"
    aws.set_target(arn, box, 80, "healthy")
    assert describe(aws, arn) == [(box, 80, "healthy", None)]


def test_a_target_becomes_healthy_and_ill_by_an_actual_check(aws):
    aws.health = "by-check"
    status = [503]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status[0] if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        port = server.server_address[1]
        arn, box = aws.make_target_group("web", HealthCheckPath="/healthz"), aws.make_box()
        aws.client("elbv2").register_targets(TargetGroupArn=arn, Targets=[{"Id": box, "Port": port}])
        seen = [aws.target_state(arn, box, port)]
        for status[0] in (200, 503):
            seen.append(aws.target_state(arn, box, port))
        server.shutdown()
        thread.join()
    assert seen == ["initial", "healthy", "unhealthy"]


@pytest.mark.parametrize(("target_type", "target"), [("ip", "box"), ("instance", "10.0.0.7"), ("instance", "i-1234")])
def test_a_target_of_the_wrong_kind_is_refused(aws, target_type, target):
    arn = aws.make_target_group("web", target_type=target_type)
    target = aws.make_box() if target == "box" else target
    code, _ = refusal(aws.client("elbv2").register_targets, TargetGroupArn=arn, Targets=[{"Id": target, "Port": 80}])
    assert code == "InvalidTarget"


# --- Route 53


def change(aws, zone, action, name, identifier, *addresses, ttl=30):
    record = {"Name": name, "Type": "A", "TTL": ttl, "ResourceRecords": [{"Value": one} for one in addresses]}
    if identifier is not None:
        record |= {"SetIdentifier": identifier, "MultiValueAnswer": True}
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    aws.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def test_records_with_an_identifier_stand_side_by_side_and_go_one_by_one(aws):
    zone = aws.make_zone("example.com")
    for name in ("a.example.com", "b.example.com"):
        for identifier in ("i-1", "i-2"):
            change(aws, zone, "UPSERT", name, identifier, f"10.0.0.{identifier[2:]}")
    change(aws, zone, "DELETE", "a.example.com", "i-1", "10.0.0.1")
    assert aws.records("a.example.com") == {"i-2": ["10.0.0.2"]}
    assert aws.records("b.example.com") == {"i-1": ["10.0.0.1"], "i-2": ["10.0.0.2"]}


@pytest.mark.parametrize(
    ("action", "name", "identifier", "address", "ttl"),
    [
        ("DELETE", "a.example.com", "i-1", "10.0.0.9", 30),
        ("DELETE", "a.example.com", "i-1", "10.0.0.1", 31),
        ("DELETE", "a.example.com", "i-2", "10.0.0.1", 30),
        ("CREATE", "a.example.com", "i-1", "10.0.0.9", 30),
        ("UPSERT", "a.example.com", None, "10.0.0.9", 30),
        ("UPSERT", "a.example.org", "i-1", "10.0.0.9", 30),
    ],
)
def test_a_change_that_does_not_fit_is_refused(aws, action, name, identifier, address, ttl):
    zone = aws.make_zone("example.com")
    change(aws, zone, "UPSERT", "a.example.com", "i-1", "10.0.0.1")
    with pytest.raises(ClientError) as caught:
        change(aws, zone, action, name, identifier, address, ttl=ttl)
    assert caught.value.response["Error"]["Code"] == "InvalidChangeBatch"
    assert aws.records("a.example.com") == {"i-1": ["10.0.0.1"]}


# --- the gate


def own_client(aws, service):
    """A client such as the product has."""
    import boto3
    from botocore.config import Config

    options = Config(retries={"total_max_attempts": 1})
    return boto3.client(service, endpoint_url=aws.server.endpoint, region_name="eu-west-1", config=options)


def test_calls_are_written_down_and_those_of_the_test_are_not(aws):
    aws.make_box()
    own_client(aws, "ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": ["i-1"]}])
    assert [(call.action, call.parameters) for call in aws.calls] == [
        ("ec2:DescribeTags", {"Filter.1.Name": "resource-id", "Filter.1.Value.1": "i-1"})
    ]


@pytest.mark.parametrize(
    ("service", "method", "arguments", "action"),
    [
        ("s3", "get_object", {"Bucket": "b", "Key": "a/k"}, "s3:GetObject"),
        ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}, "s3:PutObject"),
        ("route53", "list_hosted_zones", {}, "route53:ListHostedZones"),
        ("route53", "list_hosted_zones_by_name", {}, "route53:ListHostedZonesByName"),
        ("route53", "list_resource_record_sets", {"HostedZoneId": "Z1"}, "route53:ListResourceRecordSets"),
        ("sns", "publish", {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:t", "Message": "m"}, "sns:Publish"),
        ("ssm", "get_parameters", {"Names": ["x"]}, "ssm:GetParameters"),
        ("elbv2", "describe_target_groups", {}, "elasticloadbalancing:DescribeTargetGroups"),
        (
            "autoscaling",
            "describe_lifecycle_hooks",
            {"AutoScalingGroupName": "g"},
            "autoscaling:DescribeLifecycleHooks",
        ),
        ("ec2", "describe_instances", {}, "ec2:DescribeInstances"),
    ],
)
def test_every_action_can_be_denied_and_is_named_as_iam_does(aws, service, method, arguments, action):
    aws.gate.deny(action)
    code, message = refusal(getattr(own_client(aws, service), method), **arguments)
    assert code in {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
    assert (message, aws.gate.actions()) == (f"not authorized to perform: {action}", [action])


def test_an_action_is_throttled_by_itself(aws):
    aws.gate.throttle("ec2:DescribeTags", per_s=0.001, size=2)
    client = own_client(aws, "ec2")
    client.describe_tags()
    client.describe_tags()
    assert refusal(client.describe_tags) == ("RequestLimitExceeded", "Rate exceeded")
    client.describe_instances()
    assert len(aws.gate.throttled) == 1


def test_an_action_fails_as_often_as_it_is_told_to(aws):
    aws.gate.fail("s3:PutObject", "ConditionalRequestConflict", status=409)
    aws.client("s3").create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client = own_client(aws, "s3")
    assert refusal(client.put_object, Bucket="state", Key="k", Body=b"x")[0] == "ConditionalRequestConflict"
    client.put_object(Bucket="state", Key="k", Body=b"x")
    assert client.get_object(Bucket="state", Key="k")["Body"].read() == b"x"


# --- metadata


def read(server, path):
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    ask = urllib.request.Request(f"{server.endpoint}/latest/api/token", headers=headers, method="PUT")
    with urllib.request.urlopen(ask, timeout=5) as response:
        token = response.read().decode()
    ask = urllib.request.Request(
        f"{server.endpoint}/latest/meta-data/{path}", headers={"X-aws-ec2-metadata-token": token}
    )
    with urllib.request.urlopen(ask, timeout=5) as response:
        return response.read().decode()


def test_the_metadata_of_a_box_follows_what_its_group_does_with_it(aws):
    (box,) = aws.make_group("boxes", LAUNCH, TERMINATE, tags={"bootstrap:mode": "review"})
    with aws.metadata_of(box) as server:
        assert read(server, "instance-id") == box
        assert read(server, "tags/instance/bootstrap:mode") == "review"
        assert read(server, "autoscaling/target-lifecycle-state") == "InService"
        complete(aws, box)
        aws.terminate(box)
        assert read(server, "autoscaling/target-lifecycle-state") == "Terminated"
        aws.client("ec2").create_tags(Resources=[box], Tags=[{"Key": "bootstrap:hold", "Value": "true"}])
        assert read(server, "tags/instance/bootstrap:hold") == "true"
        server.put("spot/instance-action", '{"action": "terminate"}')
        assert read(server, "spot/instance-action") == '{"action": "terminate"}'
        server.put("spot/instance-action", None)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read(server, "spot/instance-action")
