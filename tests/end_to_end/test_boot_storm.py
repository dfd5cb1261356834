"""Many boxes at once against AWS that throttles: all boot, and then they leave it alone."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import psutil

from support.chance import LONG
from support.instance import GROUP, Ec2Box
from support.sandbox import Sandbox, wait_until

BOXES = 200 if LONG else 8
# So many boot at once: each imports boto3 in children of its own, and the AWS that they ask shares their processors.
AT_ONCE = min(8 * (os.cpu_count() or 1), psutil.virtual_memory().available // (256 * 1024**2))
SHARE = BOXES / 200  # of the quotas of an account: the storm is as heavy for few as for many
TOO_LARGE_MB = 30.0  # with all that it shares with others
QUIET_S = 10.0 if LONG else 4.0


def test_all_boot_and_nobody_asks_for_more(aws, tmp_path):
    aws.metadata_tags = False  # so that everybody needs DescribeTags
    aws.client("ssm").put_parameter(Name="/app/key", Value="canary", Type="SecureString")
    ids = aws.make_group(GROUP, size=BOXES, template_tags={"bootstrap:mode": "production", "bootstrap:service": "api"})
    for action, per_s in (("ec2:DescribeTags", 20), ("ec2:CreateTags", 10), ("ssm:GetParameters", 40)):
        aws.gate.throttle(action, per_s=per_s * SHARE, size=max(1.0, per_s * SHARE))
    with ExitStack() as stack:
        boxes = []
        for number, instance_id in enumerate(ids):
            (tmp_path / str(number)).mkdir()
            sandbox = Sandbox(tmp_path / str(number))
            stack.callback(sandbox.clean_up)
            sandbox.sleeper("api")
            sandbox.config("services/api/common/KEY.ssm", "/app/key")
            box = stack.enter_context(Ec2Box(sandbox, aws, instance_id))
            box.environ |= {"BOOTSTRAP_TAG_TIMEOUT": "120", "BOOTSTRAP_METADATA_EVERY": "5"}
            boxes.append(box)
        booting = []
        for box in boxes:
            wait_until(lambda at=tuple(booting): len(still_booting(at)) < AT_ONCE, "some to be ready", 400)
            booting = [*still_booting(booting), box.boot()]
        for box in boxes:
            wait_until(lambda box=box: "ready after" in box.said(), f"{box.id} to be ready\n{box.said()}", 400)
        for box in boxes:
            wait_until(lambda box=box: box.status_tag() == "ready", f"{box.id} to be tagged\n{box.said()}", 400)
        for box in boxes:
            wait_until(lambda box=box: not errands_of(box), f"{box.id} to have run its errands\n{box.said()}", 200)
        before = len(aws.calls)
        time.sleep(QUIET_S)  # nothing may happen in it
        assert len(aws.calls) == before
        sizes = [psutil.Process(box.child.pid).memory_info().rss / 1024**2 for box in boxes]
        assert max(sizes) < TOO_LARGE_MB, "boto3 alone would make it larger"
        # All in one moment, the processors that they share would leave none of them the time to end.
        for begin in range(0, BOXES, AT_ONCE):
            ending = boxes[begin : begin + AT_ONCE]
            for box in ending:
                os.kill(box.child.pid, signal.SIGTERM)
            for box in ending:
                box.finish(0)


def still_booting(boxes):
    return [box for box in boxes if "ready after" not in box.said()]


def errands_of(box):
    """Its children that call AWS."""
    return [one for one in psutil.Process(box.child.pid).children() if "bootstrap.world.ec2.errand" in words_of(one)]


def words_of(process):
    """The command line of a process; one that has just ended has none any more."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
