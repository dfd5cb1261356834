"""Notices are heard, each once, whatever state the metadata service is in."""

from __future__ import annotations

import queue

import pytest

from bootstrap.instance.notices import Advice, End, TagsChanged
from bootstrap.world.ec2.metadata_watch import MetadataWatch
from support.metadata_server import Answer, MetadataServer

SPOT = "/latest/meta-data/spot/instance-action"
STATE = "/latest/meta-data/autoscaling/target-lifecycle-state"
END = End(reason="spot interruption: terminate at 2036-09-18T08:22:00Z", at=2105338920.0)


@pytest.fixture
def server():
    with MetadataServer() as server:
        yield server


@pytest.fixture
def watch(server):
    heard = queue.Queue()
    watch = MetadataWatch(server.endpoint, heard.put, every_s=0.02)
    watch.heard = heard
    yield watch
    watch.stop()


def test_what_stands_there_at_the_start_is_heard_before_start_returns(server, watch):
    server.items[SPOT] = '{"action": "terminate", "time": "2036-09-18T08:22:00Z"}'
    server.items[STATE] = "InService"
    watch.start()
    assert watch.heard.get_nowait() == END
    assert watch.target_state == "InService"
    assert watch.heard.empty()


def test_notices_come_while_it_watches_and_once_each(server, watch):
    server.tags = {"bootstrap:mode": "review", "Name": "a", "bootstrap:status": "booting"}
    watch.start()
    assert watch.heard.empty()
    server.tags |= {"bootstrap:ref": "fix-1", "Name": "b", "bootstrap:status": "ready"}
    assert watch.heard.get(timeout=10) == TagsChanged(keys=("bootstrap:ref",))
    assert watch.tags == {"bootstrap:mode": "review", "bootstrap:ref": "fix-1"}
    server.items[SPOT] = '{"action": "terminate", "time": "2036-09-18T08:22:00Z"}'
    assert watch.heard.get(timeout=10) == END
    server.items[STATE] = "Detached"
    assert watch.heard.get(timeout=10) == Advice(text="its Auto Scaling group has let it go")


def test_a_service_that_fails_for_a_while_is_no_news(server, watch):
    server.tags = {"bootstrap:mode": "review"}
    server.items[STATE] = "InService"
    watch.start()
    server.script(STATE, *[Answer(status=403)] * 3, Answer(status=500), Answer(body=b"<html>"))
    server.expire_tokens()
    asked = len(server.requests)
    server.items[SPOT] = '{"action": "terminate", "time": "2036-09-18T08:22:00Z"}'
    assert watch.heard.get(timeout=10) == END
    assert len(server.requests) > asked + 4
