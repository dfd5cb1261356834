"""Which programs requests reach."""

from __future__ import annotations

import pytest

from bootstrap.catalog import Sources, parse_catalog
from bootstrap.errors import DefinitionError
from bootstrap.identity import parse_identity
from bootstrap.plan import resolve_plan
from bootstrap.tag import Tag
from bootstrap.traffic import Traffic, parse_traffic, render_traffic, resolve_traffic

API = "needs: [db]\ntarget-groups: [api-public]\nprocesses:\n  web: {command: w, port: 8001, instances: 2}\n  worker: {command: x}\n"
DB = "backing: true\nprocesses: {postgres: {command: p, port: 5432}}\n"
TWO = "processes: {http: {command: h, port: 80}, admin: {command: a, port: 81}}\n"


def traffic(services, **tags):
    files = {f"services/{name}/service.yaml": text.encode() for name, text in services.items()}
    identity = parse_identity(
        Tag(key=f"bootstrap:{name.replace('_', '-')}", value=value, source="test") for name, value in tags.items()
    )
    return resolve_traffic(resolve_plan(identity, parse_catalog(Sources(root="/r", files=files))))


def test_without_groups_and_name_there_is_none():
    assert traffic({"db": DB}, mode="production", service="db") is None
    assert traffic({"api": API, "db": DB}, mode="review") is None


def test_every_instance_of_the_front_process_serves():
    found = traffic({"api": API, "db": DB}, mode="production", service="api")
    assert found == Traffic(groups=("api-public",), ports={"api-web-1": 8001, "api-web-2": 8002})
    assert found.serves(["api-worker", "api-web-2"])
    assert not found.serves(["api-worker"])


def test_the_tag_is_stronger_than_the_definition():
    found = traffic({"api": API, "db": DB}, mode="production", service="api", target_groups="a,b", scale="web=1")
    assert found == Traffic(groups=("a", "b"), ports={"api-web": 8001})


def test_a_box_that_runs_everything_has_the_service_in_front_that_nothing_needs():
    found = traffic({"api": API, "db": DB}, mode="review", target_groups="a", dns="r.example.com")
    assert found == Traffic(groups=("a",), dns="r.example.com", ports={"api-web-1": 8001, "api-web-2": 8002})


def test_a_name_alone_needs_no_port():
    assert traffic({"w": "processes: {x: {command: c}}\n"}, mode="review", dns="r.example.com") == Traffic(
        dns="r.example.com", ports={}
    )


@pytest.mark.parametrize(
    ("services", "tags", "cause"),
    [
        ({"two": TWO}, {"service": "two"}, "several processes have a port (two admin, two http)"),
        ({"api": API, "two": TWO, "db": DB}, {"service": "two"}, "several processes have a port (two admin, two http)"),
        ({"w": "processes: {x: {command: c}}\n"}, {}, "no process of its front service has a port"),
    ],
)
def test_where_no_single_process_is_meant_nothing_is_guessed(services, tags, cause):
    with pytest.raises(DefinitionError) as refused:
        traffic(services, mode="review", target_groups="a", **tags)
    assert str(refused.value) == (
        f'cannot register with target group "a": {cause}\n'
        '  way out: give the one that serves a port and the name "web", or name one with tags bootstrap:service and '
        "bootstrap:process"
    )


def test_a_process_named_by_tags_is_the_one():
    found = traffic({"two": TWO}, mode="review", service="two", process="http", target_groups="a")
    assert found == Traffic(groups=("a",), ports={"two-http": 80})


def test_it_survives_json():
    found = traffic({"api": API, "db": DB}, mode="production", service="api")
    assert parse_traffic(render_traffic(found)) == found
    assert parse_traffic(render_traffic(None)) is None
