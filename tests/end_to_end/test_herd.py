"""Three boxes of one group that fail alike: what they all need is broken, and replacing them would mend nothing."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from contextlib import ExitStack

from support.instance import BUCKET, GROUP, Ec2Box, make_bucket
from support.ports import free_port
from support.sandbox import Sandbox, wait_until

BOXES = 3
WEB = {
    "command": "exec sleep 1000",
    "ready": {"alive": "0s"},
    "check": {"exec": "test ! -e broken", "every": "50ms", "failures": 2, "timeout": "5s", "hard": True},
}


def test_boxes_that_fail_alike_stay_and_one_that_fails_alone_is_ill(aws, tmp_path):
    make_bucket(aws)
    tags = {"bootstrap:mode": "production", "bootstrap:service": "api", "bootstrap:bucket": BUCKET}
    ids = aws.make_group(GROUP, size=BOXES, template_tags=tags)
    with ExitStack() as stack:
        boxes = [booted(stack, aws, tmp_path / instance_id, instance_id) for instance_id in ids]
        for box in boxes:
            box.wait_for_status("ready")
        first, second, third = boxes
        fail(first)
        wait_until(lambda: health_of(first) == (503, "failing"), "the first to call itself ill")
        fail(second)
        for box in (first, second):
            box.wait_for("most of the 3 boxes of the group fail alike: not asking for a new one")
            wait_until(lambda box=box: health_of(box) == (200, "degraded"), "it to stay all the same")
        assert health_of(third) == (200, "ok"), third.said()
        os.unlink(second.sandbox.root / "services/api/broken")
        wait_until(lambda: health_of(second) == (200, "ok"), "the second to be well")
        assert aws.gate.calls_of("autoscaling:SetInstanceHealth") == []
        for box in boxes:
            os.kill(box.child.pid, signal.SIGTERM)
        for box in boxes:
            box.finish(0)


def booted(stack, aws, directory, instance_id):
    directory.mkdir()
    sandbox = Sandbox(directory)
    stack.callback(sandbox.clean_up)
    port = free_port()
    sandbox.service("api", json.dumps({"health": {"port": port}, "processes": {"web": WEB}}))
    box = stack.enter_context(Ec2Box(sandbox, aws, instance_id))
    box.port = port
    return box.boot()


def fail(box):
    (box.sandbox.root / "services/api/broken").touch()


def health_of(box):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{box.port}/healthz", timeout=10) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()
