"""A box of the unified image: it reads its metadata and becomes what its tags say."""

from __future__ import annotations

import pytest

from support.metadata_server import MetadataServer


@pytest.fixture
def instance():
    with MetadataServer() as server:
        yield server


def environ(server):
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint, "AWS_EC2_METADATA_DISABLED": "false"}


def two_services(sandbox):
    sandbox.service(
        "api",
        "needs: [db]\nprocesses:\n  web: {command: exec sleep 1000, ready: {alive: 0s}}\n"
        "  worker: {command: exec sleep 1000, ready: {alive: 0s}}\n",
    )
    sandbox.sleeper("db", extra="backing: true")


def test_the_tags_in_the_metadata_decide_that_one_process_of_one_service_runs(sandbox, instance):
    two_services(sandbox)
    instance.tags = {
        "bootstrap:mode": "production",
        "bootstrap:service": "api",
        "bootstrap:process": "worker",
        "Name": "box 1",
    }
    sandbox.run("up", tags=(), environ=environ(instance))
    assert list(sandbox.pids()) == ["api-worker"]
    pid = sandbox.pids()["api-worker"]
    assert sandbox.environ_of(pid)[b"BOOTSTRAP_MODE"] == b"production"
    done = sandbox.run("identity", "--json", tags=(), environ=environ(instance))
    assert {tag["source"] for tag in done.json["tags"]} == {"instance metadata"}


def test_a_changed_tag_is_a_change_like_any_other(sandbox, instance):
    two_services(sandbox)
    instance.tags = {"bootstrap:mode": "production", "bootstrap:service": "api", "bootstrap:process": "worker"}
    sandbox.run("up", tags=(), environ=environ(instance))
    instance.tags["bootstrap:process"] = "web"
    done = sandbox.run("up", "--json", tags=(), environ=environ(instance))
    assert [(a["program"], a["action"]) for a in done.json["actions"]] == [("api-worker", "stop"), ("api-web", "start")]


def test_the_last_identity_is_used_only_when_asked_for(sandbox, instance):
    two_services(sandbox)
    instance.tags = {"bootstrap:mode": "production", "bootstrap:service": "db"}
    sandbox.run("up", tags=(), environ=environ(instance))
    refused = sandbox.run("up", tags=(), code=2)
    assert refused.stderr.startswith('error: cannot read tag "bootstrap:mode": it is not set\n')
    done = sandbox.run("--last-identity", "up", "--json", tags=())
    assert [(a["program"], a["action"]) for a in done.json["actions"]] == [("db-web", "keep")]
