"""Joining target groups and a name, and leaving them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bootstrap.errors import ApplyFailed, TagError, Unavailable
from bootstrap.world.aws import DeniedError
from bootstrap.world.ec2 import joining
from bootstrap.world.ec2.errands import Errands
from support.clock import FakeClock

REGION = "eu-west-1"
NAME = "web.example.com"
ADDRESS = "10.0.0.7"


@pytest.fixture
def box(aws):
    return aws.make_box()


class MovingClock:
    """Its sleep is what lets the time of the double pass."""

    def __init__(self, aws):
        aws.stop_clock()
        self.aws = aws
        self.slept = []

    def now(self):
        return self.aws.now()

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.aws.pass_time(seconds)


def words(box, *groups, ports=(8001,), dns=None, address=ADDRESS):
    return {
        "groups": list(groups),
        "ports": list(ports),
        "dns": dns,
        "instance_id": box,
        "address": address,
        "region": REGION,
    }


def join(*arguments, **options):
    joining.join(**words(*arguments, **options))


def leave(*arguments, limit_s=3600.0, force=False, clock=None, **options):
    return joining.leave(**words(*arguments, **options), limit_s=limit_s, force=force, clock=clock or FakeClock())


def with_another(aws, *arns):
    """Somebody else is there to take the requests."""
    for arn in arns:
        aws.set_target(arn, "i-another", 8001, "healthy")


def text_of(error, call, *arguments, **options):
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    assert type(caught.value) is error
    return str(caught.value)


# --- joining


def test_a_box_joins_every_group_with_every_port_however_it_is_named(aws, box):
    one, two = aws.make_target_group("one"), aws.make_target_group("two")
    join(box, "one", two, ports=(8001, 8002))
    join(box, "one", two, ports=(8001, 8002))
    assert aws.targets(one) == aws.targets(two) == {(box, 8001): "healthy", (box, 8002): "healthy"}


def test_a_group_of_addresses_gets_the_address(aws, box):
    arn = aws.make_target_group("web", target_type="ip")
    join(box, "web")
    assert aws.targets(arn) == {(ADDRESS, 8001): "healthy"}
    with_another(aws, arn)
    assert leave(box, "web", limit_s=0) == {"waited_s": 0.0, "still_draining": ["web"]}


def test_without_groups_and_name_there_is_nothing_to_do(aws, box):
    join(box)
    assert leave(box) == {"waited_s": 0.0, "still_draining": []}
    assert aws.calls == []


def test_more_groups_than_one_call_takes(aws, box, monkeypatch):
    monkeypatch.setattr("bootstrap.world.ec2.target_groups._MOST_NAMES", 2)
    names = [f"group-{number}" for number in range(5)]
    arns = [aws.make_target_group(name) for name in names]
    join(box, *names)
    assert len(aws.gate.calls_of("elasticloadbalancing:DescribeTargetGroups")) == 3
    assert all(aws.targets(arn) for arn in arns)


def test_everything_that_cannot_be_used_is_told_before_anything_is_done(aws, box):
    arn = aws.make_target_group("frontend")
    aws.make_target_group("functions", target_type="lambda")
    assert text_of(TagError, join, box, "frontend", "frontent", "functions", dns=NAME) == (
        'cannot use target group "frontent": there is none in eu-west-1; did you mean "frontend"?\n'
        "  where: tag bootstrap:target-groups, or target-groups of the service's definition\n"
        "  way out: correct the name, or create the target group\n"
        'cannot use target group "functions": its targets are of type "lambda", and this is an instance\n'
        "  where: tag bootstrap:target-groups, or target-groups of the service's definition\n"
        "  way out: name a target group of type instance or ip\n"
        'cannot use DNS name "web.example.com": it lies in no hosted zone of this account (zones: none)\n'
        "  where: tag bootstrap:dns\n"
        "  way out: correct the name, or create a zone"
    )
    assert aws.targets(arn) == {}


def test_an_unknown_arn_is_told_with_the_nearest(aws, box):
    arn = aws.make_target_group("web")
    wrong = arn[:-1] + ("1" if arn[-1] == "0" else "0")
    assert text_of(TagError, join, box, wrong).startswith(f'cannot use target group "{wrong[:59]}…": there is none in')


def test_what_can_be_joined_is_and_every_refusal_is_told(aws, box):
    zone = aws.make_zone("example.com").removeprefix("/hostedzone/")
    arn = aws.make_target_group("web")
    aws.gate.deny("elasticloadbalancing:RegisterTargets", "route53:ChangeResourceRecordSets")
    assert text_of(DeniedError, join, box, "web", dns=NAME) == (
        f'cannot register {box} with target group "web": access denied (AccessDenied)\n'
        f"  way out: grant elasticloadbalancing:RegisterTargets on {arn} to the role of this machine, as statement Targets "
        "of image/iam/policy.json does\n"
        'cannot add an address to DNS name "web.example.com": access denied (AccessDenied)\n'
        f"  way out: grant route53:ChangeResourceRecordSets on hostedzone/{zone} to the role of this machine, as statement "
        "Name of image/iam/policy.json does"
    )
    aws.gate.allow("route53:ChangeResourceRecordSets")
    with pytest.raises(DeniedError):
        join(box, "web", dns=NAME)
    assert aws.records(NAME) == {f"{box}.{REGION}": [ADDRESS]}


# --- leaving


def test_a_box_leaves_and_waits_until_its_group_has_let_go(aws, box):
    arn = aws.make_target_group("web", delay_s=30)
    join(box, "web")
    with_another(aws, arn)
    clock = MovingClock(aws)
    assert leave(box, "web", clock=clock) == {"waited_s": 30.0, "still_draining": []}
    assert aws.targets(arn) == {("i-another", 8001): "healthy"}
    assert 0.5 <= clock.slept[0] <= 1
    assert max(clock.slept) <= 5
    assert len(clock.slept) < 15


def test_a_box_that_leaves_waits_for_the_longest_delay_of_those_that_drain(aws, box):
    for name, delay_s in (("short", 10), ("long", 20), ("foreign", 300)):
        with_another(aws, aws.make_target_group(name, delay_s=delay_s))
    join(box, "short", "long")
    answer = leave(box, "short", "long", "foreign", clock=MovingClock(aws))
    assert answer == {"waited_s": 20.0, "still_draining": []}


def test_a_limit_ends_the_waiting_and_who_still_drains_is_told(aws, box):
    for name, delay_s in (("short", 3), ("long", 20)):
        with_another(aws, aws.make_target_group(name, delay_s=delay_s))
    join(box, "short", "long")
    assert leave(box, "short", "long", limit_s=5, clock=MovingClock(aws)) == {
        "waited_s": 5.0,
        "still_draining": ["long"],
    }


def test_without_time_nothing_is_waited_for(aws, box):
    arn = aws.make_target_group("web")
    join(box, "web")
    with_another(aws, arn)
    clock = MovingClock(aws)
    assert leave(box, "web", limit_s=0, clock=clock) == {"waited_s": 0.0, "still_draining": ["web"]}
    assert clock.slept == []


def test_only_the_named_ports_leave(aws, box):
    arn = aws.make_target_group("web", delay_s=0)
    join(box, "web", ports=(8001, 8002))
    with_another(aws, arn)
    leave(box, "web", ports=(8001,))
    assert aws.targets(arn) == {(box, 8002): "healthy", ("i-another", 8001): "healthy"}


def test_the_last_healthy_target_does_not_leave_unless_it_must(aws, box):
    aws.make_zone("example.com")
    one, two = aws.make_target_group("one", delay_s=0), aws.make_target_group("two", delay_s=0)
    join(box, "one", "two", dns=NAME)
    aws.set_target(one, "i-ill", 8001, "unhealthy")
    aws.set_target(two, "i-new", 8001, "initial")
    assert text_of(ApplyFailed, leave, box, "one", "two", dns=NAME) == (
        'cannot leave target group "one": this box is its last healthy target\n'
        'cannot leave target group "two": this box is its last healthy target\n'
        "  way out: bring up another box first, or leave with --force"
    )
    assert aws.target_state(one, box, 8001) == aws.target_state(two, box, 8001) == "healthy"
    assert aws.records(NAME)
    leave(box, "one", "two", dns=NAME, force=True)
    assert (box, 8001) not in {**aws.targets(one), **aws.targets(two)}
    assert not aws.records(NAME)


def test_a_target_that_is_ill_itself_may_leave_though_nobody_else_is_well(aws, box):
    arn = aws.make_target_group("web", delay_s=0)
    join(box, "web")
    aws.set_target(arn, box, 8001, "unhealthy")
    assert leave(box, "web") == {"waited_s": 0.0, "still_draining": []}


def test_whoever_leaves_at_the_same_time_is_no_help(aws, box):
    arn = aws.make_target_group("web")
    other = aws.make_box()
    join(box, "web")
    join(other, "web")
    leave(other, "web", limit_s=0)
    assert "last healthy target" in text_of(ApplyFailed, leave, box, "web")
    assert aws.targets(arn) == {(box, 8001): "healthy", (other, 8001): "draining"}


def test_what_was_never_joined_or_is_gone_is_left(aws, box):
    aws.make_target_group("web")
    assert leave(box, "web", "gone", dns=NAME) == {"waited_s": 0.0, "still_draining": []}


def test_a_group_without_a_load_balancer_is_left_at_once(aws, box):
    arn = aws.make_target_group("web", attached=False)
    join(box, "web")
    assert leave(box, "web") == {"waited_s": 0.0, "still_draining": []}
    assert aws.targets(arn) == {}


def test_one_that_cannot_be_left_does_not_hold_up_the_others(aws, box):
    arn = aws.make_target_group("web", delay_s=10)
    aws.make_zone("example.com")
    join(box, "web", dns=NAME)
    with_another(aws, arn)
    aws.gate.deny("route53:ChangeResourceRecordSets")
    clock = MovingClock(aws)
    text = text_of(DeniedError, leave, box, "web", dns=NAME, clock=clock)
    assert text.startswith('cannot remove an address from DNS name "web.example.com": access denied')
    assert sum(clock.slept) == pytest.approx(10)
    assert (box, 8001) not in aws.targets(arn)


def test_a_box_that_may_not_look_waits_for_the_whole_delay(aws, box):
    arn = aws.make_target_group("web", delay_s=40)
    join(box, "web")
    with_another(aws, arn)
    aws.gate.deny("elasticloadbalancing:DescribeTargetHealth")
    answer = leave(box, "web", force=True, clock=MovingClock(aws))
    assert answer == {"waited_s": 40.0, "still_draining": []}
    aws.gate.deny("elasticloadbalancing:DescribeTargetGroupAttributes")
    answer = leave(box, "web", force=True, clock=MovingClock(aws))
    assert answer == {"waited_s": 300.0, "still_draining": []}


# --- reading


def test_a_box_reads_how_it_is_seen_and_who_else_is_there(aws, box):
    one, two = aws.make_target_group("one"), aws.make_target_group("two", target_type="ip")
    join(box, "one")
    aws.set_target(one, "i-a", 8001, "healthy")
    aws.set_target(one, "i-a", 8002, "healthy")
    aws.set_target(one, "i-b", 8001, "unhealthy")
    aws.set_target(one, "i-c", 8001, "draining")
    aws.set_target(two, ADDRESS, 8001, "unhealthy", "Target.Timeout")
    assert joining.read_targets(
        **{k: v for k, v in words(box, "one", two, ports=(8001, 8002)).items() if k != "dns"}
    ) == {
        "one": {
            "8001": {"state": "healthy", "reason": None},
            "8002": {"state": "unused", "reason": "Target.NotRegistered"},
            "others": 2,
            "others_healthy": 1,
        },
        two: {
            "8001": {"state": "unhealthy", "reason": "Target.Timeout"},
            "8002": {"state": "unused", "reason": "Target.NotRegistered"},
            "others": 0,
            "others_healthy": 0,
        },
    }


def test_nobody_reads_the_targets_of_a_group_that_does_not_exist(aws, box):
    with pytest.raises(TagError, match='cannot use target group "web": there is none in eu-west-1'):
        joining.read_targets(groups=["web"], ports=[1], instance_id=box, address=ADDRESS, region=REGION)


# --- names


def test_three_boxes_that_race_end_with_three_addresses(aws):
    aws.make_zone("example.com")
    boxes = [aws.make_box() for _ in range(3)]
    begin = threading.Barrier(3)

    def race(number):
        begin.wait()
        join(boxes[number], dns=NAME, address=f"10.0.0.{number}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(race, range(3)))
    assert aws.records(NAME) == {f"{box}.{REGION}": [f"10.0.0.{number}"] for number, box in enumerate(boxes)}


def test_a_name_that_is_right_already_is_not_written_again(aws, box):
    aws.make_zone("example.com")
    join(box, dns=NAME)
    join(box, dns=NAME)
    assert len(aws.gate.calls_of("route53:ChangeResourceRecordSets")) == 1
    join(box, dns=NAME, address="10.0.0.8")
    assert aws.records(NAME) == {f"{box}.{REGION}": ["10.0.0.8"]}


def test_a_name_lies_in_the_longest_zone_that_fits(aws, box):
    for name in ("example.com", "b.example.com", "ab.example.com", "com"):
        aws.make_zone(name)
    join(box, dns="a.b.example.com")
    (zone,) = [
        one for one in aws.client("route53").list_hosted_zones()["HostedZones"] if one["Name"] == "b.example.com."
    ]
    (call,) = aws.gate.calls_of("route53:ChangeResourceRecordSets")
    assert call.path.startswith(f"/2013-04-01{zone['Id']}/")


def test_a_name_in_two_zones_of_the_same_name_is_refused(aws, box):
    public = aws.make_zone("example.com").removeprefix("/hostedzone/")
    private = aws.make_zone("example.com", private=True).removeprefix("/hostedzone/")
    zones = ", ".join(sorted([f"{public} (public)", f"{private} (private)"]))
    assert text_of(TagError, join, box, dns=NAME) == (
        f'cannot use DNS name "web.example.com": it lies in 2 hosted zones of the same name, {zones}\n'
        "  where: tag bootstrap:dns\n"
        "  way out: use a name that lies in one"
    )


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "1.2.3.4"}]}, "an A record (1.2.3.4)"),
        ({"Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "b.com"}]}, "a CNAME record (b.com)"),
        (
            {"Type": "A", "TTL": 60, "SetIdentifier": "x", "Weight": 1, "ResourceRecords": [{"Value": "1.2.3.4"}]},
            "an A record of another routing policy (1.2.3.4)",
        ),
        (
            {
                "Type": "A",
                "AliasTarget": {"HostedZoneId": "Z1", "DNSName": "lb.aws.com.", "EvaluateTargetHealth": False},
            },
            "an A record (alias of lb.aws.com)",
        ),
    ],
)
def test_a_name_that_somebody_else_has_is_refused(aws, box, record, kind):
    zone = aws.make_zone("example.com")
    changes = [{"Action": "CREATE", "ResourceRecordSet": {"Name": NAME, **record}}]
    aws.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    words, _, values = kind.rpartition(" (")
    assert text_of(TagError, join, box, dns=NAME) == (
        f'cannot use DNS name "web.example.com": there is {words} of that name already ({values}\n'
        "  where: tag bootstrap:dns\n"
        f"  way out: remove that record from zone example.com ({zone.removeprefix('/hostedzone/')}), or use another name"
    )


def test_other_records_of_the_name_and_of_its_neighbours_do_no_harm(aws, box):
    zone = aws.make_zone("example.com")
    for name, kind, value in (
        (NAME, "TXT", '"x"'),
        ("aa.web.example.com", "A", "1.1.1.1"),
        ("www.example.com", "A", "1.1.1.1"),
    ):
        record = {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}
        changes = [{"Action": "CREATE", "ResourceRecordSet": record}]
        aws.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    join(box, dns=NAME)
    leave(box, dns=NAME)
    assert aws.records(NAME) == {None: ['"x"']}


def test_a_wildcard_is_a_name(aws, box):
    aws.make_zone("example.com")
    join(box, dns="*.example.com")
    join(box, dns="*.example.com")
    leave(box, dns="*.example.com")
    assert aws.records("*.example.com") == {}


def test_whoever_joins_removes_the_records_of_boxes_that_are_gone(aws, box):
    zone = aws.make_zone("example.com")
    stopped, terminated = aws.make_box(), aws.make_box()
    join(stopped, dns=NAME, address="10.0.0.1")
    join(terminated, dns=NAME, address="10.0.0.2")
    client = aws.client("ec2")
    client.stop_instances(InstanceIds=[stopped])
    client.terminate_instances(InstanceIds=[terminated])
    for identifier in ("i-forgotten.eu-west-1", "i-elsewhere.us-east-1", "somebody"):
        record = {"Name": NAME, "Type": "A", "TTL": 30, "SetIdentifier": identifier, "MultiValueAnswer": True}
        changes = [{"Action": "CREATE", "ResourceRecordSet": record | {"ResourceRecords": [{"Value": "10.0.0.3"}]}}]
        aws.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    join(box, dns=NAME)
    assert aws.records(NAME).keys() == {
        f"{stopped}.{REGION}",
        f"{box}.{REGION}",
        "i-elsewhere.us-east-1",
        "somebody",
    }


def test_a_box_that_may_not_see_the_others_joins_all_the_same(aws, box):
    aws.make_zone("example.com")
    join(aws.make_box(), dns=NAME, address="10.0.0.1")
    aws.gate.deny("ec2:DescribeInstances")
    join(box, dns=NAME)
    assert len(aws.records(NAME)) == 2


def test_a_record_is_removed_as_it_stands_there(aws, box):
    zone = aws.make_zone("example.com")
    join(box, dns=NAME)
    record = {"Name": NAME, "Type": "A", "TTL": 5, "SetIdentifier": f"{box}.{REGION}", "MultiValueAnswer": True}
    changes = [{"Action": "UPSERT", "ResourceRecordSet": record | {"ResourceRecords": [{"Value": "10.9.9.9"}]}}]
    aws.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    leave(box, dns=NAME)
    assert aws.records(NAME) == {}


def test_a_record_that_changes_while_it_is_removed_is_read_again(aws, box):
    aws.make_zone("example.com")
    join(box, dns=NAME)
    aws.gate.fail("route53:ChangeResourceRecordSets", "InvalidChangeBatch")
    leave(box, dns=NAME)
    assert aws.records(NAME) == {}
    join(box, dns=NAME)
    aws.gate.fail("route53:ChangeResourceRecordSets", "InvalidChangeBatch", times=2)
    assert "AWS answered InvalidChangeBatch to route53:ChangeResourceRecordSets" in text_of(
        Unavailable, leave, box, dns=NAME
    )


def test_a_busy_zone_is_tried_again(aws, box):
    aws.make_zone("example.com")
    aws.gate.fail("route53:ChangeResourceRecordSets", "PriorRequestNotComplete", times=2)
    aws.gate.fail("route53:ListResourceRecordSets", "Throttling")
    join(box, dns=NAME)
    assert aws.records(NAME) == {f"{box}.{REGION}": [ADDRESS]}


# --- as errands


def test_forced_the_name_is_left_although_the_groups_cannot_be_read(aws, box):
    aws.make_target_group("web")
    aws.make_zone("example.com")
    join(box, "web", dns=NAME)
    aws.gate.deny("elasticloadbalancing:DescribeTargetGroups")
    text_of(DeniedError, leave, box, "web", dns=NAME)
    assert aws.records(NAME) != {}, "unless forced nothing is done"
    text_of(DeniedError, leave, box, "web", dns=NAME, force=True)
    assert aws.records(NAME) == {}


def test_a_child_joins_and_leaves(aws, box):
    aws.make_zone("example.com")
    arn = aws.make_target_group("web", delay_s=0)
    with_another(aws, arn)
    errands = Errands(aws.environ)
    try:
        errands.run("join", **words(box, "web", dns=NAME))
        assert aws.targets(arn)[box, 8001] == "healthy"
        answer = errands.run("leave", **words(box, "web", dns=NAME), limit_s=10, force=False)
        with pytest.raises(TagError) as caught:
            errands.run("join", **words(box, "wbe", dns="x.example.org"))
    finally:
        errands.end()
    assert answer["still_draining"] == []
    assert len(caught.value.problems) == 2
    assert (aws.records(NAME), (box, 8001) in aws.targets(arn)) == ({}, False)


def test_what_a_group_asks_of_its_targets_is_read(aws, box):
    aws.make_target_group("public", HealthCheckPath="/healthz", HealthCheckPort="9000")
    aws.make_target_group("tcp", Protocol="TCP", HealthCheckProtocol="TCP")
    assert joining.read_health_checks(groups=["public", "tcp"], region=REGION) == {
        "public": {"port": "9000", "path": "/healthz"},
        "tcp": {"port": "traffic-port", "path": None},
    }
    with pytest.raises(TagError, match='there is none in eu-west-1; did you mean "public"'):
        joining.read_health_checks(groups=["publik"], region=REGION)


def test_a_name_is_looked_at_without_being_touched(aws, box):
    aws.make_zone("example.com")
    assert joining.read_name(dns=NAME, address=ADDRESS, region=REGION) == {"zone": "example.com", "boxes": 0}
    join(box, dns=NAME)
    assert joining.read_name(dns=NAME, address=None, region=REGION) == {"zone": "example.com", "boxes": 1}
    assert len(aws.gate.calls_of("route53:ChangeResourceRecordSets")) == 1
