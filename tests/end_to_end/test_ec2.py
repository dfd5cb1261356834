"""A box of an Auto Scaling group, from its launch to its end, against a metadata service and AWS of our own."""

from __future__ import annotations

import json
import os
import signal

import pytest

from bootstrap.box import Box
from bootstrap.world import lock
from support import repository
from support.fake_aws import Hook
from support.instance import BUCKET, GROUP, Ec2Box, make_bucket
from support.origins import public_sandbox, push
from support.ports import free_port
from support.sandbox import wait_until

LAUNCH, TERMINATE = Hook(name="launch", transition="launching"), Hook(name="terminate", transition="terminating")
SPOT = "spot/instance-action"
NOTICE = '{"action": "terminate", "time": "2036-09-18T08:22:00Z"}'


@pytest.fixture
def make_box(aws, sandbox):
    """A box of the group, in the sandbox, ready to be booted; each report to a bucket costs it a child with boto3."""
    made = []

    def make(*hooks, **tags):
        ours = {"mode": "production", "service": "api"} | tags
        ids = aws.make_group(
            GROUP, *hooks, template_tags={f"bootstrap:{k.replace('_', '-')}": v for k, v in ours.items()}
        )
        if "bucket" in tags:
            make_bucket(aws)
        (sandbox.root / "config/box.yaml").write_text("settle: 50ms\n")
        made.append(Ec2Box(sandbox, aws, ids[0]).__enter__())
        return made[0]

    yield make
    for box in made:
        box.__exit__()


def api(sandbox, command="exec sleep 1000", **more):
    """A service that serves nothing, on a port."""
    port = more.pop("port", None) or free_port()
    process = {"command": command, "port": port, "ready": {"alive": "0s"}} | more
    sandbox.service("api", json.dumps({"processes": {"web": process}}))
    return port


def test_a_box_of_a_group_becomes_useful_and_says_so(sandbox, aws, make_box):
    api(sandbox)
    group = aws.make_target_group("public", delay_s=1)
    aws.make_zone("example.com")
    box = make_box(LAUNCH, bucket=BUCKET, target_groups="public", dns="api.example.com").boot()
    box.wait_for_status("ready")
    wait_until(lambda: aws.lifecycle_state(box.id) == "InService", "the launch hook to continue")
    port = sandbox.status()["programs"][0]["port"]
    assert aws.targets(group) == {(box.id, port): "healthy"}
    assert aws.records("api.example.com") == {f"{box.id}.eu-west-1": ["127.0.0.1"]}
    names = [line.split()[1] for line in box.console_lines()[1:8]]
    assert names == ["identity", "sources", "environment", "generation", "apply", "ready", "registered"]
    wait_until(box.reports, "a report in the bucket")
    (report,) = box.reports()
    assert (report["status"], report["instance"], report["reason"]) == ("ready", box.id, "")
    assert [phase["phase"] for phase in report["phases"]] == names
    assert json.loads((sandbox.state / "boot-report.json").read_text()) == report
    assert len(aws.gate.calls_of("ec2:CreateTags")) <= 2
    box.stop()
    assert aws.records("api.example.com") == {}
    assert aws.target_state(group, box.id, port) in {"draining", "unused"}
    assert box.console_lines()[-2:] == ["bootstrap: draining: asked to", "bootstrap: stopped"]


def test_the_group_takes_it_out_of_service_and_the_hook_waits_for_the_last_program(sandbox, aws, make_box):
    order = sandbox.root / "order"
    api(
        sandbox,
        f"trap 'echo stopped >> {order}; exit 0' TERM; echo armed; while :; do sleep 0.01; done",
        ready={"log": "armed"},
    )
    group = aws.make_target_group("public", delay_s=1)
    box = make_box(LAUNCH, TERMINATE, target_groups="public").boot()
    box.wait_for_status("ready")
    wait_until(lambda: aws.lifecycle_state(box.id) == "InService", "the launch hook to continue")
    aws.terminate(box.id)
    assert aws.lifecycle_state(box.id) == "Terminating:Wait"
    said = box.finish(0)
    assert order.read_text() == "stopped\n"
    assert aws.lifecycle_state(box.id) is None, "the terminate hook was completed"
    assert "its Auto Scaling group takes it out of service" in said
    assert "life cycle hook terminate: CONTINUE" in said
    assert said.index("leaving public") < said.index("api-web  stopping") < said.index("stopped\n")
    actions = aws.gate.actions()
    assert actions.index("elasticloadbalancing:DeregisterTargets") < actions.index(
        "autoscaling:CompleteLifecycleAction", actions.index("elasticloadbalancing:DeregisterTargets")
    )
    assert group


def test_a_spot_notice_ends_it_and_a_second_changes_nothing(sandbox, aws, make_box):
    api(sandbox)
    box = make_box().boot()
    box.wait_for_status("ready")
    box.metadata.put("events/recommendations/rebalance", '{"noticeTime": "2036-09-18T08:20:00Z"}')
    box.wait_for("this spot instance is at a higher risk of interruption (rebalance recommendation)")
    box.metadata.put(SPOT, NOTICE)
    box.wait_for("spot interruption: terminate at 2036-09-18T08:22:00Z")
    box.metadata.put(SPOT, NOTICE.replace("22:00", "21:00"))
    box.finish(0)
    assert sandbox.marked() == {}
    assert box.status_tag() == "draining"
    assert box.reason_tag() == "spot interruption: terminate at 2036-09-18T08:22:00Z"


def test_a_spot_notice_during_the_boot_ends_that(sandbox, aws, make_box):
    api(sandbox, ready={"log": "never", "timeout": "60s"})
    box = make_box().boot()
    wait_until(sandbox.marked, "the program to be started")
    box.metadata.put(SPOT, NOTICE)
    said = box.finish(0)
    assert "spot interruption: terminate at 2036-09-18T08:22:00Z" in said
    assert sandbox.marked() == {}


def test_a_program_that_never_gets_ready_fails_the_boot_and_abandons_the_launch(sandbox, aws, make_box):
    api(sandbox, "echo 'no such database' >&2; exit 3", ready={"tcp": True})
    group = aws.make_target_group("public", delay_s=1)
    box = make_box(LAUNCH, bucket=BUCKET, target_groups="public").boot()
    box.wait_for_status("failed")
    assert box.reason_tag() == 'cannot get "api-web" ready: exited with code 3 before it was ready'
    wait_until(lambda: aws.lifecycle_state(box.id) is None, "the group to end it")
    assert aws.targets(group) == {}
    wait_until(box.reports, "a report in the bucket")
    (report,) = box.reports()
    assert report["status"] == "failed"
    assert "  | no such database" in report["failures"][0]
    lines = box.console_lines()
    assert "bootstrap: failed" in lines
    assert "bootstrap:   | no such database" in lines
    box.stop()


def test_a_program_that_fails_for_good_before_the_box_was_ever_well_fails_the_boot(sandbox, aws, make_box):
    counts = sandbox.root / "counts"
    web = {
        # it does not end before it has been seen alive, which is before anybody asks `late`
        "command": f"echo x >> {counts}; until [ -e {counts}.seen ]; do sleep 0.01; done; exit 3",
        "ready": {"alive": "0s"},
        "restart": {"window": "60s", "starts": 2},
    }
    asks = f"touch {counts}.seen; test $(wc -l < {counts}) = 2 && sleep 0.3"
    late = {"command": "exec sleep 1000", "ready": {"exec": asks}}
    sandbox.service("api", json.dumps({"processes": {"web": web, "late": late}}))
    box = make_box(LAUNCH).boot()
    box.wait_for_status("failed")
    assert box.reason_tag() == "api-web has failed for good"
    wait_until(lambda: aws.lifecycle_state(box.id) is None, "the group to end it")
    box.stop()


def test_a_definition_that_is_wrong_fails_the_boot_with_its_exit_code(sandbox, aws, make_box):
    sandbox.service("api", "porcesses: {}\n")
    box = make_box(LAUNCH, bucket=BUCKET).boot()
    said = box.finish(2)
    assert 'unknown key; did you mean "processes"?' in said
    assert box.status_tag() == "failed"
    assert aws.lifecycle_state(box.id) is None
    (report,) = box.reports()
    assert [(phase["phase"], phase["failure"] is None) for phase in report["phases"]] == [
        ("identity", True),
        ("sources", False),
    ]
    assert any(line.startswith("bootstrap: sources failed after ") for line in box.console_lines())


def test_metadata_that_is_switched_off_is_a_phase_that_failed(sandbox, aws, make_box):
    api(sandbox)
    box = make_box()
    box.metadata.script(
        "/latest/api/token", *[__import__("support.metadata_server").metadata_server.Answer(status=403)] * 20
    )
    box.boot()
    said = box.finish(75)
    assert "instance metadata is switched off (403)" in said
    assert any(line.startswith("bootstrap: identity failed after ") for line in box.console_lines())


def test_a_tag_that_vanishes_keeps_nobody_waiting(sandbox, aws, make_box):
    """A boot waits two minutes for it; later there is something to watch meanwhile."""
    api(sandbox)
    box = make_box()
    del box.environ["BOOTSTRAP_TAG_TIMEOUT"]
    box.boot()
    box.wait_for_status("ready")
    before = sandbox.pids()
    aws.client("ec2").delete_tags(Resources=[box.id], Tags=[{"Key": "bootstrap:service"}])
    box.wait_for("tags have changed (bootstrap:service): applying them")
    box.wait_for('cannot read tag "bootstrap:service"')  # well before the two minutes are over
    assert sandbox.pids() == before
    box.tag(service="api")
    wait_until(lambda: box.said().count("watching (generation ") == 2, "it to be content again")
    box.stop()


def test_what_aws_denies_is_told_and_holds_up_nothing(sandbox, aws, make_box):
    api(sandbox)
    aws.gate.deny("ec2:CreateTags", "s3:PutObject")
    box = make_box(bucket=BUCKET).boot()
    box.wait_for("access denied")
    wait_until(lambda: sandbox.status()["converged"], "it to converge all the same")
    box.wait_for("ec2:CreateTags")
    box.wait_for("s3:PutObject")
    box.stop()


def test_the_third_failure_of_the_same_tags_stops_the_launches_and_stays(sandbox, aws, make_box):
    sandbox.service("api", "porcesses: {}\n")
    box = make_box(LAUNCH, bucket=BUCKET)
    topic = aws.client("sns").create_topic(Name="alarm")["TopicArn"]
    (sandbox.root / "config/box.yaml").write_text(f"alert: {{sns: '{topic}'}}\n")
    aws.client("autoscaling").set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=4)
    boxes = [box, *(Ec2Box(sandbox, aws, one) for one in aws.boxes(GROUP)[1:])]
    for one in boxes[:2]:
        with one:
            one.boot().finish(2)
            assert aws.lifecycle_state(one.id) is None
    with boxes[2] as third:
        third.boot()
        third.wait_for("stopping launches; this box stays as the specimen")
        wait_until(lambda: aws.gate.calls_of("sns:Publish"), "the alarm")
        group = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
        assert {one["ProcessName"] for one in group["SuspendedProcesses"]} == {"Launch", "ReplaceUnhealthy"}
        assert third.child.poll() is None
        assert aws.lifecycle_state(third.id) == "Pending:Wait"
        wait_until(lambda: third.said().count("porcesses") == 1, "it to say why")
        third.finish(-signal.SIGKILL, signal.SIGKILL)
        third.boot()
        wait_until(lambda: third.said().count("porcesses") == 2, "it to fail once more")
        assert third.child.poll() is None, "it is still the specimen"
        assert aws.lifecycle_state(third.id) == "Pending:Wait"
        third.stop()
    assert len(aws.gate.calls_of("sns:Publish")) == 1
    history = json.loads(
        aws.client("s3")
        .get_object(
            Bucket=BUCKET, Key=aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="boots/")["Contents"][0]["Key"]
        )["Body"]
        .read()
    )
    assert history["tripped"] == boxes[2].id


def test_a_changed_tag_is_applied_and_hold_keeps_it_from_that(sandbox, aws, make_box):
    port = free_port()
    sandbox.service(
        "api",
        "processes:\n"
        f"  web: {{command: exec sleep 1000, ready: {{alive: 0s}}, port: {port}}}\n"
        "  worker: {command: exec sleep 1000, ready: {alive: 0s}}\n",
    )
    box = make_box(process="web").boot()
    box.wait_for_status("ready")
    web = sandbox.pids()
    box.tag(process="worker")
    wait_until(lambda: sandbox.pids().keys() == {"api-worker"}, "the change to be applied")
    assert "tags have changed (bootstrap:process): applying them" in box.said()
    worker = sandbox.pids()
    box.tag(hold="true")
    box.wait_for("bootstrap:hold keeps them from being applied")
    box.tag(process="web")
    box.wait_for("tags have changed (bootstrap:process); bootstrap:hold keeps them from being applied")
    assert sandbox.pids() == worker
    box.tag(hold="false")
    wait_until(lambda: sandbox.pids().keys() == {"api-web"}, "the change to be applied after all")
    assert sandbox.pids() != web
    box.stop()


def test_a_live_replacement_leaves_the_load_balancer_first(sandbox, aws, make_box):
    port = api(sandbox)
    sandbox.config("services/api/common/GREETING", "hello")
    group = aws.make_target_group("public", delay_s=1)
    aws.set_target(group, "i-0other", port, "healthy")
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    before = sandbox.pids()
    sandbox.config("services/api/common/GREETING", "hallo")
    said = box.run("up").stdout
    assert sandbox.pids() != before
    assert said.index("leaving public") < said.index("api-web  stopping") < said.index("registered with public")
    assert aws.target_state(group, box.id, port) == "healthy"
    assert "leaving" not in box.run("up").stdout, "nothing changed"
    box.stop()


def test_the_last_healthy_target_stays_unless_forced(sandbox, aws, make_box):
    port = api(sandbox)
    sandbox.config("services/api/common/GREETING", "hello")
    group = aws.make_target_group("public", delay_s=1)
    aws.set_target(group, "i-0other", port, "unhealthy")
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    before = sandbox.pids()
    sandbox.config("services/api/common/GREETING", "hallo")
    refused = box.run("up", code=1).stderr
    assert "last healthy target" in refused
    assert "--force" in refused
    assert sandbox.pids() == before
    for verb in ("restart", "stop", "down", "drain"):
        assert "last healthy target" in box.run(verb, code=1).stderr
        assert sandbox.pids() == before
    assert aws.target_state(group, box.id, port) == "healthy"
    box.run("up", "--force")
    assert sandbox.pids() != before
    assert aws.target_state(group, box.id, port) == "healthy"
    box.stop()


def test_drain_and_undrain(sandbox, aws, make_box):
    port = api(sandbox)
    group = aws.make_target_group("public", delay_s=1)
    aws.set_target(group, "i-0other", port, "healthy")
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    before = sandbox.pids()
    assert box.run("drain", "--json").json == {"drained": True, "registered": False}
    assert (box.id, port) not in aws.targets(group) or aws.target_state(group, box.id, port) == "draining"
    box.wait_for("health: draining; it was drained by hand")
    assert box.run("status").stdout.endswith(
        'no requests are to come here: it was drained by hand; "bootstrap undrain" ends that\n'
    )
    assert "registered" not in box.run("restart").stdout
    assert sandbox.pids() != before
    assert box.run("undrain", "--json").json == {"drained": False, "registered": True}
    assert aws.target_state(group, box.id, port) == "healthy"
    box.stop()


def test_standby_takes_it_out_of_the_load_balancer_and_back(sandbox, aws, make_box):
    port = api(sandbox)
    group = aws.make_target_group("public", delay_s=1)
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    pids = sandbox.pids()
    box.metadata.put("autoscaling/target-lifecycle-state", "Standby")
    wait_until(lambda: aws.targets(group).get((box.id, port)) != "healthy", "it to leave")
    box.metadata.put("autoscaling/target-lifecycle-state", "InService")
    wait_until(lambda: aws.targets(group).get((box.id, port)) == "healthy", "it to come back")
    assert sandbox.pids() == pids
    box.stop()


def test_what_was_stopped_by_hand_gets_no_requests_until_it_is_started(sandbox, aws, make_box):
    port = api(sandbox)
    group = aws.make_target_group("public", delay_s=1)
    aws.set_target(group, "i-0other", port, "healthy")
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    box.run("stop", "api-web")
    for number in (2, 3):  # between two of them every duty has had a turn
        os.kill(box.child.pid, signal.SIGHUP)
        wait_until(lambda number=number: box.said().count("watching") == number, "another up")
    assert len(aws.gate.calls_of("elasticloadbalancing:RegisterTargets")) == 1
    box.run("start", "api-web")
    assert aws.target_state(group, box.id, port) == "healthy"
    box.stop()


def test_a_boot_that_is_killed_while_it_leaves_is_followed_by_one_that_joins(sandbox, aws, make_box):
    port = api(sandbox)
    group = aws.make_target_group("public", delay_s=60)
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    os.kill(box.child.pid, signal.SIGTERM)
    wait_until(lambda: aws.target_state(group, box.id, port) == "draining", "it to leave")
    box.finish(-signal.SIGKILL, signal.SIGKILL)
    box.boot()
    wait_until(lambda: aws.target_state(group, box.id, port) == "healthy", "it to come back")


def test_what_another_run_has_joined_while_the_box_was_leaving_is_left_too(sandbox, aws, make_box):
    port = api(sandbox)
    group = aws.make_target_group("public", delay_s=1)
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    place = Box(root=str(sandbox.root), state=str(sandbox.state))
    record = sandbox.state / "run/traffic.json"
    joined = record.read_text()
    with lock.held(place, "up", wait_s=10, say=print):
        os.kill(box.child.pid, signal.SIGTERM)
        box.wait_for("left after")
        box.wait_for('waiting for "bootstrap up"')
        aws.set_target(group, box.id, port, "healthy")
        record.write_text(joined)
    said = box.finish(0)
    assert said.count("left after") == 2
    assert aws.target_state(group, box.id, port) != "healthy"


def test_undrain_does_not_register_what_is_not_ready(sandbox, aws, make_box):
    flag = sandbox.root / "broken"
    port = api(
        sandbox,
        f"test -e {flag} && exit 1; while ! test -e {flag}; do sleep 0.01; done",
        restart={"window": "60s", "starts": 1},
    )
    group = aws.make_target_group("public", delay_s=1)
    aws.set_target(group, "i-0other", port, "healthy")
    box = make_box(target_groups="public").boot()
    box.wait_for_status("ready")
    box.run("drain")
    flag.touch()
    box.wait_for("api-web  has failed for good")
    done = box.run("undrain", "--json")
    assert done.json == {"drained": False, "registered": False}
    assert "not registered yet: api-web is not ready" in done.stderr
    assert aws.target_state(group, box.id, port) != "healthy"


def test_standby_that_ends_while_nobody_watches_is_over(sandbox, aws, make_box):
    port = api(sandbox)
    group = aws.make_target_group("public", delay_s=1)
    box = make_box(target_groups="public")
    box.metadata.put("autoscaling/target-lifecycle-state", "InService")
    (sandbox.state).mkdir(parents=True, exist_ok=True)
    (sandbox.state / "kept-out.json").write_text('{"why": "its Auto Scaling group has put it on standby"}')
    box.boot()
    wait_until(lambda: aws.targets(group).get((box.id, port)) == "healthy", "it to join")
    box.stop()


def test_bound_for_a_warm_pool_it_prepares_and_starts_nothing(sandbox, aws, make_box):
    api(sandbox)
    box = make_box(LAUNCH)
    box.metadata.put("autoscaling/target-lifecycle-state", "Warmed:Stopped")
    box.boot()
    box.wait_for_status("waiting")
    assert box.reason_tag() == "it is bound for the warm pool of its group"
    assert sandbox.marked() == {}
    assert list((sandbox.state / "generations").iterdir())
    box.metadata.put("autoscaling/target-lifecycle-state", "InService")
    box.wait_for_status("ready")
    assert list(sandbox.pids()) == ["api-web"]
    box.stop()


def test_a_box_whose_repository_is_empty_waits_and_starts_with_the_first_push(aws):
    with public_sandbox() as sandbox:
        origin = sandbox.directory / "api"
        origin.mkdir()
        repository.git(origin, "init", "-q", "-b", "main")
        sandbox.sourced("api", origin)
        tags = {"bootstrap:mode": "production", "bootstrap:service": "api"}
        with Ec2Box(sandbox, aws, aws.make_group(GROUP, LAUNCH, template_tags=tags)[0]) as box:
            box.boot()
            box.wait_for_status("waiting")
            assert box.reason_tag() == 'cannot fetch service "api": it is empty: nothing has been pushed there'
            wait_until(lambda: aws.lifecycle_state(box.id) == "InService", "the launch to continue")
            push(origin, word="one")
            os.kill(box.child.pid, signal.SIGHUP)  # or wait a minute
            box.wait_for_status("ready")
            assert list(sandbox.pids()) == ["api-web"]
            box.stop()


def test_a_hard_checked_program_that_has_failed_for_good_asks_for_a_replacement_once(sandbox, aws, make_box):
    flag = sandbox.root / "broken"
    api(
        sandbox,
        f"test -e {flag} && exit 1; while ! test -e {flag}; do sleep 0.01; done",
        check={"tcp": True, "every": "1h", "hard": True},
        restart={"window": "60s", "starts": 1},
    )
    box = make_box(LAUNCH, TERMINATE).boot()
    box.wait_for_status("ready")
    flag.touch()
    box.wait_for("asking the group for a replacement: api-web has failed for good")
    aws.gate.wait_for("autoscaling:SetInstanceHealth")
    wait_until(lambda: aws.replace_unhealthy() == [box.id], "the group to hear of it")
    box.finish(0)
    assert len(aws.gate.calls_of("autoscaling:SetInstanceHealth")) == 1


def test_maintenance_that_retires_the_hardware_asks_for_a_replacement(sandbox, aws, make_box):
    api(sandbox)
    box = make_box().boot()
    box.wait_for_status("ready")
    event = {"Code": "instance-retirement", "State": "active", "NotBefore": "21 Jan 2036 09:00:43 GMT"}
    box.metadata.put("events/maintenance/scheduled", json.dumps([event]))
    aws.gate.wait_for("autoscaling:SetInstanceHealth")
    assert "maintenance is scheduled: instance-retirement, not before 21 Jan 2036 09:00:43 GMT" in box.said()
    box.stop()


def test_an_unknown_target_group_fails_the_boot_and_names_the_nearest(sandbox, aws, make_box):
    api(sandbox)
    aws.make_target_group("public", delay_s=1)
    box = make_box(target_groups="publik").boot()
    box.wait_for_status("failed")
    assert 'did you mean "public"?' in box.reason_tag()
    assert list(sandbox.pids()) == ["api-web"], "what runs keeps running"
    box.stop()
    assert "ready after" not in box.said()
