"""`bootstrap:expires`: a review box that ends itself, however it was told and wherever it runs."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest

from bootstrap.ec2.expiry import Expiry
from bootstrap.ec2.situation import Situation
from bootstrap.request import Request
from bootstrap.tag import Tag
from support.fake_aws import Hook
from support.instance import GROUP, Ec2Box
from support.sandbox import wait_until

TERMINATE = Hook(name="terminate", transition="terminating")
LONG_AGO = "2020-01-31T18:00:00+00:00"


def soon(**from_now):
    return (datetime.now(UTC) + timedelta(**from_now)).isoformat(timespec="seconds")


@pytest.fixture
def make_box(aws, sandbox):
    """A review box on EC2, in a group if it has hooks, whose time is over."""
    made = []

    def make(*hooks, **tags):
        template = {"bootstrap:mode": "review", "bootstrap:expires": LONG_AGO} | tags
        (instance,) = aws.make_group(GROUP, *hooks, template_tags=template) if hooks else (aws.make_box(template),)
        made.append(Ec2Box(sandbox, aws, instance).__enter__())
        return made[0]

    yield make
    for box in made:
        box.__exit__()


class Told:
    """A `boot` on no machine of EC2, whose tags stand in a file, and all that it says."""

    def __init__(self, sandbox, mode="review", **tags):
        self._sandbox, self._mode = sandbox, mode
        self._file = sandbox.root.parent / "tags.env"
        self._said = sandbox.root.parent / "said"
        self.expire(**tags)
        with self._said.open("wb") as said:
            words = ["boot", "--tags-file", str(self._file)]
            self.child = sandbox.start(*words, tags=(), stdout=said, stderr=said)

    def expire(self, at, **more):
        tags = {"MODE": self._mode, "EXPIRES": at} | more
        self._file.write_text("".join(f"BOOTSTRAP_{name}={value}\n" for name, value in tags.items()))

    def wait_for(self, text):
        wait_until(lambda: text in self._said.read_text() or self.child.poll() is not None, text)
        assert text in self._said.read_text()

    def finish(self):
        assert self.child.wait(60) == 0, self._said.read_text()
        return self._said.read_text()


def test_a_box_whose_time_is_over_stops_everything_and_exits(sandbox):
    sandbox.sleeper("api")
    said = Told(sandbox, at=LONG_AGO).finish()
    why = f"this box ends itself: its time is over (bootstrap:expires: {LONG_AGO})\n"
    assert why in said
    assert said.index(why) < said.index("stopping everything") < said.index("stopped\n")
    assert sandbox.marked() == {}


def test_it_is_announced_and_another_time_is_heeded(sandbox):
    sandbox.sleeper("api")
    first, second = soon(minutes=30), soon(minutes=40)
    told = Told(sandbox, at=first)
    told.wait_for(f"time is over at {first} (bootstrap:expires): a box that runs everything ends itself then\n")
    told.expire(second)
    told.child.send_signal(signal.SIGHUP)
    told.wait_for(f"time is over at {second} (bootstrap:expires): a box that runs everything ends itself then\n")
    assert sandbox.pids()
    told.expire(LONG_AGO)
    told.child.send_signal(signal.SIGHUP)
    assert f"its time is over (bootstrap:expires: {LONG_AGO})" in told.finish()


def test_a_later_time_that_nobody_has_applied_keeps_the_box(sandbox):
    """The tags are read once more before the end: `bootstrap:hold` may have kept the new one from being applied."""
    said = []
    situation = Situation(box=sandbox.box, say=lambda _, text: said.append(text))
    file = sandbox.root / "tags.env"
    later = soon(hours=5)
    file.write_text(f"BOOTSTRAP_MODE=review\nBOOTSTRAP_EXPIRES={later}\n")
    situation.tags = (
        Tag(key="bootstrap:mode", value="review", source="test"),
        Tag(key="bootstrap:expires", value=LONG_AGO, source="test"),
    )
    Expiry(situation, Request(tags_file=str(file))).fail(())
    assert situation.tag("bootstrap:expires") == later
    assert (situation.ending, said) == (None, [])


def test_a_box_that_runs_one_service_does_not_end_itself(sandbox):
    sandbox.sleeper("api")
    told = Told(sandbox, mode="production", at=LONG_AGO, SERVICE="api")
    told.wait_for("bootstrap:expires is over and not heeded: only a box that runs everything ends itself\n")
    wait_until(sandbox.pids, "it to run")
    told.child.send_signal(signal.SIGTERM)
    told.finish()


def test_a_box_that_cannot_boot_ends_too(sandbox):
    sandbox.service("api", "nonsense: true")
    assert f"its time is over (bootstrap:expires: {LONG_AGO})" in Told(sandbox, at=LONG_AGO).finish()


def test_an_instance_of_no_group_gives_itself_back(sandbox, aws, make_box):
    sandbox.sleeper("api")
    box = make_box().boot()
    box.finish(0)
    (call,) = aws.gate.calls_of("ec2:TerminateInstances")
    assert call.parameters["InstanceId.1"] == box.id
    assert sandbox.marked() == {}
    assert f"bootstrap: draining: its time is over (bootstrap:expires: {LONG_AGO})" in box.console_lines()


def test_a_box_of_a_group_shrinks_it_and_answers_its_hook(sandbox, aws, make_box):
    sandbox.sleeper("api")
    box = make_box(TERMINATE).boot()
    assert "life cycle hook terminate: CONTINUE" in box.finish(0)
    assert aws.lifecycle_state(box.id) is None
    assert aws.boxes(GROUP) == [], "no other is launched in its place"


def test_a_box_that_may_not_end_itself_says_so_and_runs_on(sandbox, aws, make_box):
    sandbox.sleeper("api")
    aws.gate.deny("ec2:TerminateInstances")
    box = make_box().boot()
    box.wait_for(
        f'error: cannot terminate instance "{box.id}": access denied (UnauthorizedOperation)\n'
        f"  way out: grant ec2:TerminateInstances on instance/{box.id} to the role of this machine, as statement "
        "EndItself of image/iam/policy.json does\n"
    )
    box.wait_for_status("ready")
    assert sandbox.pids()
    box.stop()


def test_an_instance_whose_definitions_are_broken_ends_too(sandbox, aws, make_box):
    sandbox.service("api", "nonsense: true")
    (sandbox.root / "services/api/service.yml").write_text("")
    box = make_box().boot()
    box.finish(0)
    assert aws.gate.calls_of("ec2:TerminateInstances")


def test_a_box_that_becomes_one_that_runs_everything_ends_then(sandbox):
    sandbox.sleeper("api")
    told = Told(sandbox, mode="production", at=LONG_AGO, SERVICE="api")
    told.wait_for("bootstrap:expires is over and not heeded")
    told.expire(LONG_AGO, MODE="review")
    told.child.send_signal(signal.SIGHUP)
    assert f"its time is over (bootstrap:expires: {LONG_AGO})" in told.finish()
