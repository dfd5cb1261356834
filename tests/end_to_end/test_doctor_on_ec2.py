"""`bootstrap doctor` on an instance: metadata, and the calls of AWS that its tags make necessary."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import pytest

from support.instance import BUCKET, GROUP, Ec2Box, make_bucket
from support.metadata_server import Answer

READS = ("Describe", "Get", "List")
ROLE = "iam/security-credentials/"
IDENTITY = "/latest/meta-data/instance-id"
FIRST_AWS = "metadata"


@pytest.fixture
def make_box(aws, sandbox):
    """A box of the group that has a role; nothing on it was ever started."""
    made = []

    def make(**tags):
        process = {"command": "exec sleep 1000", "port": 8001, "ready": {"alive": "0s"}}
        sandbox.service("api", json.dumps({"processes": {"web": process}}))
        ours = {"mode": "production", "service": "api"} | tags
        keys = {f"bootstrap:{key.replace('_', '-')}": value for key, value in ours.items()}
        box = Ec2Box(sandbox, aws, aws.make_group(GROUP, template_tags=keys)[0]).__enter__()
        made.append(box)
        box.metadata.put(ROLE, "box-role")
        return box

    yield make
    for box in made:
        box.__exit__()


def look(box, *words, code=0):
    """What it says of AWS, by check."""
    done = box.run("doctor", "--json", *words, code=code)
    assert "this check is broken" not in done.stdout
    found = {}
    for finding in done.json["findings"]:
        rest = {name: value for name, value in finding.items() if name != "check"}
        found.setdefault(finding["check"], []).append(rest)
    names = list(found)
    return {name: found[name] for name in names[names.index(FIRST_AWS) :]}


def ok(text):
    return {"level": "ok", "text": text}


def fail(text, way_out, **more):
    return {"level": "fail", "text": text, "way_out": way_out, **more}


def skipped(*names):
    return {"level": "skip", "text": f"not looked at: it needs {' and '.join(names)}"}


def grant(action, statement, resource=None):
    place = f" on {resource}" if resource else ""
    return f"grant {action}{place} to the role of this machine, as statement {statement} of image/iam/policy.json does"


def test_a_box_that_lacks_nothing_is_told_so_and_nothing_is_written(aws, sandbox, make_box):
    aws.make_target_group("public")
    aws.make_zone("example.com")
    make_bucket(aws)
    box = make_box(target_groups="public", dns="api.example.com", bucket=BUCKET)
    for path in (IDENTITY, IDENTITY):
        box.metadata.script(path, Answer(body=box.id.encode(), headers=(("Date", formatdate(usegmt=True)),)))
    assert look(box) == {
        "metadata": [ok(f'instance "{box.id}" in "eu-west-1", by IMDSv2'), ok('its role is "box-role"')],
        "clock": [ok("the clock agrees with the one of instance metadata")],
        "group": [ok('the instance is in Auto Scaling group "boxes", InService')],
        "target-groups": [
            ok('target group "public" checks the port that it sends requests to'),
            ok('target group "public" sends this box nothing yet'),
        ],
        "dns": [ok('DNS name "api.example.com" lies in zone example.com and leads to 0 boxes')],
        "bucket": [ok(f'bucket "{BUCKET}" can be read')],
    }
    assert all(action.partition(":")[2].startswith(READS) for action in aws.gate.actions()), aws.gate.actions()
    assert not sandbox.state.exists()


def test_what_the_tags_do_not_name_is_not_asked_for(aws, make_box):
    assert list(look(make_box())) == ["metadata", "group"]
    assert aws.gate.actions() == ["autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLifecycleHooks"]


def test_every_call_that_is_denied_is_told_with_what_grants_it(aws, make_box):
    aws.make_target_group("public")
    aws.make_zone("example.com")
    make_bucket(aws)
    box = make_box(target_groups="public", dns="api.example.com", bucket=BUCKET)
    aws.gate.deny(
        "autoscaling:DescribeAutoScalingInstances",
        "elasticloadbalancing:DescribeTargetGroups",
        "route53:ListHostedZones",
        "s3:GetObject",
    )
    found = look(box, code=1)
    assert found["group"] == [
        fail(
            f'cannot read the Auto Scaling group of instance "{box.id}": access denied (AccessDenied)',
            grant("autoscaling:DescribeAutoScalingInstances", "Read"),
        )
    ]
    assert found["target-groups"] == [
        fail(
            'cannot read target group "public": access denied (AccessDenied)',
            grant("elasticloadbalancing:DescribeTargetGroups", "Read"),
        )
    ]
    assert found["dns"] == [
        fail(
            'cannot find the hosted zone of DNS name "api.example.com": access denied (AccessDenied)',
            grant("route53:ListHostedZones", "Read"),
        )
    ]
    assert found["bucket"] == [
        fail(
            f'cannot read "s3://{BUCKET}/boots/doctor.json": access denied (AccessDenied)',
            grant("s3:GetObject", "ReadObjects", f"arn:aws:s3:::{BUCKET}/boots/doctor.json"),
        )
    ]


def test_metadata_without_tags_and_role(aws, make_box):
    box = make_box()
    aws.metadata_tags = False
    box.metadata.put(ROLE, None)
    found = look(box)
    assert found["metadata"] == [
        ok(f'instance "{box.id}" in "eu-west-1", by IMDSv2'),
        {
            "level": "warn",
            "text": "tags are not enabled in instance metadata: each reading is a DescribeTags, of which an account has few",
            "way_out": "InstanceMetadataTags=enabled in the metadata options of the launch template",
        },
        {
            "level": "warn",
            "text": "the instance has no role: it can't call AWS",
            "way_out": "attach an instance profile whose role has the policy of image/iam",
        },
    ]
    described, of_group = found["described-tags"]
    assert described == ok(f"DescribeTags shows {len(aws.tags_of(box.id))} tags of the instance")
    assert of_group == ok('the tags of Auto Scaling group "boxes" can be read')
    aws.gate.deny("ec2:DescribeTags")
    assert look(box, "--tag", "mode=production", "--tag", "service=api", code=1)["described-tags"] == [
        fail(
            f'cannot read the tags of instance "{box.id}": access denied (UnauthorizedOperation)',
            grant("ec2:DescribeTags", "Read"),
        )
    ]


def test_metadata_that_is_switched_off(make_box):
    box = make_box()
    box.metadata.script("/latest/api/token", *[Answer(status=403)] * 20)
    found = look(box, "--tag", "mode=production", "--tag", "service=api", code=1)
    assert found == {
        "metadata": [
            fail(
                'cannot read instance metadata "api/token": instance metadata is switched off (403)\n'
                f"  at {box.metadata.endpoint}",
                "give the tags with --tag or --tags-file; AWS_EC2_METADATA_DISABLED=true skips instance metadata",
            )
        ],
        **{name: [skipped("metadata")] for name in ("clock", "described-tags", "group")},
        **{name: [skipped("metadata")] for name in ("target-groups", "dns", "bucket")},
    }


def test_a_required_tag_that_does_not_come_is_waited_for_as_long_as_it_may_take(aws, make_box):
    box = make_box()
    aws.client("ec2").delete_tags(Resources=[box.id], Tags=[{"Key": "bootstrap:mode"}])
    box.environ["BOOTSTRAP_TAG_TIMEOUT"] = "0"
    done = box.run("doctor", "--json", code=1)
    first, second, *_ = done.json["findings"]
    assert first["text"].startswith(
        'cannot read tag "bootstrap:mode": still not set after 0 s\n  looked in --tag, instance'
    )
    assert first["way_out"] == f"set it on instance {box.id}, in its launch template or on its Auto Scaling group"
    assert second == {"check": "identity"} | skipped("tags")


def test_a_clock_that_is_off(make_box):
    box = make_box()
    late = (("Date", formatdate(time.time() + 3600, usegmt=True)),)
    box.metadata.script(IDENTITY, *[Answer(body=box.id.encode(), headers=late)] * 2)
    (found,) = look(box, code=1)["clock"]
    assert found["level"] == "fail"
    assert found["text"].endswith(" s behind the one of instance metadata, and AWS refuses what is signed with it")


def test_names_that_lead_nowhere(aws, make_box):
    aws.make_target_group("public")
    aws.make_zone("example.com")
    box = make_box(target_groups="publik", dns="api.example.org", bucket="acme-nowhere")
    found = look(box, code=1)
    assert found["target-groups"] == [
        fail(
            'cannot use target group "publik": there is none in eu-west-1; did you mean "public"?',
            "correct the name, or create the target group",
            where="tag bootstrap:target-groups, or target-groups of the service's definition",
        )
    ]
    assert found["dns"] == [
        fail(
            'cannot use DNS name "api.example.org": it lies in no hosted zone of this account (zones: example.com)',
            "correct the name, or create a zone",
            where="tag bootstrap:dns",
        )
    ]
    (bucket,) = found["bucket"]
    assert bucket["level"] == "fail"
    assert bucket["text"].startswith(
        'cannot read "s3://acme-nowhere/boots/doctor.json": AWS answered NoSuchBucket to s3:GetObject ('
    )


def test_a_target_group_that_asks_elsewhere_and_finds_the_box_ill(aws, make_box):
    group = aws.make_target_group("public", HealthCheckPort="9000", HealthCheckPath="/healthz")
    box = make_box(target_groups="public")
    aws.set_target(group, box.id, 8001, "unhealthy", "Target.FailedHealthChecks")
    assert look(box)["target-groups"] == [
        {
            "level": "warn",
            "text": 'target group "public" checks port 9000, path "/healthz", and nothing here listens there (ports: 8001)',
            "way_out": "correct the health check of the target group, or give a program or health: that port",
        },
        {
            "level": "warn",
            "text": 'target group "public" has this box on port 8001 as unhealthy (Target.FailedHealthChecks)',
            "way_out": "see that what it checks answers, and that security groups let the load balancer in",
        },
    ]
    aws.set_target(group, box.id, 8001, "healthy")
    assert look(box)["target-groups"][1] == ok('target group "public" has this box on port 8001 as healthy')


def test_a_laptop_may_ask_aws_too(aws, sandbox, make_box):
    aws.make_target_group("public")
    make_box()  # for its definition
    done = sandbox.run(
        *("doctor", "--aws", "--json", "--tag", "service=api", "--tag", "target-groups=public"),
        tags=("mode=production",),
        environ=aws.environ | {"AWS_EC2_METADATA_DISABLED": "true"},
    )
    texts = {finding["check"]: finding["text"] for finding in done.json["findings"]}
    assert texts["metadata"].startswith("this machine has no instance metadata")
    assert texts["target-groups"] == 'target group "public" checks the port that it sends requests to'
    assert "group" not in texts


def test_box_yaml_names_the_bucket_too(aws, sandbox, make_box):
    make_bucket(aws)
    box = make_box()
    (sandbox.root / "config/box.yaml").write_text(f"bucket: {BUCKET}\n")
    assert look(box)["bucket"] == [ok(f'bucket "{BUCKET}" can be read')]
    (sandbox.root / "config/box.yaml").write_text("buckte: x\n")
    (found,) = look(box, code=1)["bucket"]
    assert (found["level"], found["text"]) == (
        "fail",
        'config/box.yaml:1: buckte: unknown key; did you mean "bucket"?',
    )
