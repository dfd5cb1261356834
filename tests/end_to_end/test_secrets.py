"""References on a running box: real supervisord, moto for AWS."""

import boto3
import pytest

from support.aws_server import VARIABLES, moto_server


@pytest.fixture(scope="module")
def endpoint():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def put(endpoint, monkeypatch, sandbox):
    """Sets a parameter; the box reaches AWS at the same place."""
    for name, value in (VARIABLES | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
        sandbox.environ[name] = value
    client = boto3.client("ssm")
    return lambda name, value: client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


@pytest.fixture
def root(sandbox, put):
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    sandbox.config("services/api/common/TOKEN.ssm", "/token")
    put("/token", "one")
    return sandbox


def test_a_refresh_restarts_what_has_a_new_value_and_says_why(root, put):
    root.run("up")
    before = root.pids()
    assert root.environ_of(before["api-web"])[b"TOKEN"] == b"one"
    put("/token", "two")
    assert not root.run("up", "--json").json["changed"]
    version = root.run("plan", "--refresh-secrets", "--json").json["actions"][0]["reasons"][0]
    assert version.startswith("TOKEN has changed (config/services/api/common/TOKEN.ssm, version ")
    assert root.environ_of(root.pids()["api-web"])[b"TOKEN"] == b"one"
    done = root.run("up", "--refresh-secrets", "--json")
    actions = {one["program"]: (one["action"], one["reasons"]) for one in done.json["actions"]}
    assert actions == {
        "api-web": ("replace", [version]),
        "web-web": ("keep", ["nothing that it uses has changed"]),
    }
    assert "ssm:/token has a new version: " in done.stderr
    after = root.pids()
    assert after["web-web"] == before["web-web"]
    assert root.environ_of(after["api-web"])[b"TOKEN"] == b"two"
    assert "looked up 1 secret: no new versions" in root.run("up", "--refresh-secrets").stdout


def test_a_new_version_of_the_same_value_restarts_nothing(root, put):
    root.run("up")
    put("/token", "one")
    done = root.run("up", "--refresh-secrets", "--json")
    assert (done.json["changed"], "has a new version" in done.stderr) == (False, True)


def test_without_aws_everything_runs_on_and_an_up_of_nothing_needs_none(root):
    root.run("up")
    before = root.pids()
    root.environ["AWS_ACCESS_KEY_ID"] = ""
    root.environ["AWS_SECRET_ACCESS_KEY"] = ""
    assert not root.run("up", "--json").json["changed"]
    refused = root.run("up", "--refresh-secrets", code=75)
    assert refused.stderr.startswith('error: cannot resolve reference "ssm:/token": no AWS credentials')
    root.config("common/OTHER", "changed")  # other keys change without AWS too
    root.run("up")
    after = root.pids()
    assert before != after
    root.config("services/web/common/NEW.ssm", "/new")
    root.run("up", code=75)
    assert root.pids() == after


def test_a_reference_to_nothing_is_told_before_anything_is_touched(root):
    root.run("up")
    before = root.pids()
    root.config("services/api/common/GONE.ssm", "/gone")
    assert root.run("up", code=2).stderr == (
        'error: cannot resolve reference "ssm:/gone": no such parameter in eu-west-1\n'
        "  where: config/services/api/common/GONE.ssm:1\n  needed by: api-web\n"
        "  way out: create it there, or correct the reference\n"
    )
    assert root.pids() == before


def test_a_box_comes_back_from_a_reboot_with_the_secrets_that_it_had(root, put):
    root.run("up")
    put("/token", "two")
    root.clean_up()  # everything has ended,
    (root.state / "run/boot-id").write_text("that of another boot")  # and the run directory is void
    root.run("up")
    assert root.environ_of(root.pids()["api-web"])[b"TOKEN"] == b"one"


def test_down_forgets_versions_so_that_the_next_up_is_as_on_a_new_box(root, put):
    root.run("up")
    put("/token", "newest")
    root.run("down")
    root.run("up")
    assert root.environ_of(root.pids()["api-web"])[b"TOKEN"] == b"newest"


def test_the_schema_stops_an_up_before_anything_is_applied(root):
    root.run("up")
    before = root.pids()
    root.config(
        "schema.yaml", "POOL: {required: [api], type: integer}\nTOKEN: {type: integer}\nLEVEL: {allowed: [low]}\n"
    )
    root.config("common/LEVEL", "high")
    refused = root.run("up", code=2).stderr
    assert refused == (
        'error: cannot start "api-web": missing variable POOL (config/schema.yaml:1 requires it; looked in env of '
        "services/api/service.yaml, config/common, config/modes/review, config/services/api/common, "
        "config/services/api/review)\n"
        "  way out: write its value to config/services/api/review/POOL\n"
        'cannot start "api-web": variable TOKEN should be an integer and is not (a secret is not shown)\n'
        "  where: config/services/api/common/TOKEN.ssm (config/schema.yaml:2)\n"
        "  way out: correct the value, or what the schema says about it\n"
        'cannot start "api-web", "web-web": variable LEVEL should be one of low, not "high"\n'
        "  where: config/common/LEVEL (config/schema.yaml:3)\n"
        "  way out: correct the value, or what the schema says about it\n"
    )
    assert root.pids() == before


def test_what_the_schema_calls_secret_is_masked(root):
    root.config("schema.yaml", "PIN: {secret: true}\n")
    root.config("services/web/common/PIN", "hunter2")
    for words in (("config", "list"), ("config", "get", "PIN"), ("config", "explain", "PIN")):
        assert "hunter2" not in root.run(*words).stdout
    assert root.run("config", "get", "PIN", "--reveal").stdout == "hunter2\n"
