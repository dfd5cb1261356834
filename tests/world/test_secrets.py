from __future__ import annotations

import json
from contextlib import ExitStack

import boto3
import pytest

from bootstrap.environ import Need, Reference
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.world import clock
from bootstrap.world.aws import DeniedError
from bootstrap.world.ec2.grants import STATEMENTS
from bootstrap.world.secrets import Secret, read_parameter_names, resolve_references
from support.aws_server import VARIABLES, ScriptedAws, forget_everything, moto_server
from support.clock import FakeClock
from support.metadata_server import MetadataServer

REGION = "eu-west-1"
CREATE = f"in {REGION}\n  way out: create it there, or correct the reference"


@pytest.fixture(scope="module")
def moto_endpoint():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def moto(moto_endpoint, monkeypatch):
    forget_everything(moto_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint)


@pytest.fixture
def scripted(monkeypatch):
    with ExitStack() as stack:

        def start(*answers):
            server = stack.enter_context(ScriptedAws(*answers))
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
            return server

        yield start


def ssm(text):
    return Reference(kind="ssm", text=text)


def secret(text):
    return Reference(kind="secret", text=text)


def put_parameter(name, value):
    client = boto3.client("ssm", REGION)
    return client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


def put_secret(name, **value):
    return boto3.client("secretsmanager", REGION).create_secret(Name=name, **value)


def problems(*references):
    with pytest.raises(DefinitionError) as error:
        resolve_references(references)
    return error.value.problems


def test_parameters_are_decrypted_and_carry_their_version(moto):
    put_parameter("/api/key", "old")
    put_parameter("/api/key", "new\nline ü")
    assert resolve_references([ssm("/api/key")]) == {ssm("/api/key"): Secret(value="new\nline ü", version="2")}


def test_a_parameter_may_be_named_by_version_and_by_arn(moto):
    put_parameter("/api/key", "old")
    put_parameter("/api/key", "new")
    arn = boto3.client("ssm", REGION).get_parameter(Name="/api/key")["Parameter"]["ARN"]
    assert resolve_references([ssm("/api/key:1")])[ssm("/api/key:1")].value == "old"
    assert resolve_references([ssm(arn)])[ssm(arn)].value == "new"


def test_more_parameters_than_one_batch_holds_are_all_read(moto):
    values = {ssm(f"/many/{number}"): str(number) for number in range(23)}
    for reference, value in values.items():
        put_parameter(reference.text, value)
    found = resolve_references([*values, *values])
    assert {reference: found[reference].value for reference in found} == values


def test_a_secret_is_read_whole_or_by_key_and_asked_for_once(moto, scripted):
    document = {"user": "api", "port": 5432, "ratio": 1.10, "tls": True, "#odd": "x"}
    version = put_secret("db", SecretString=json.dumps(document))["VersionId"]
    found = resolve_references([secret("db"), *(secret(f"db#{key}") for key in document)])
    assert {reference.text: kept.value for reference, kept in found.items()} == {
        "db": json.dumps(document),
        "db#user": "api",
        "db#port": "5432",
        "db#ratio": "1.1",
        "db#tls": "true",
        "db##odd": "x",
    }
    assert {kept.version for kept in found.values()} == {version}

    server = scripted((200, json.dumps({"SecretString": '{"a": "1", "b": "2"}', "VersionId": "v"})))
    resolve_references([secret("db#a"), secret("db#b")])
    assert len(server.bodies) == 1


def test_a_number_is_passed_on_as_it_is_written(scripted):
    scripted((200, json.dumps({"SecretString": '{"n": 1.100, "big": 12345678901234567890}', "VersionId": "v"})))
    found = resolve_references([secret("x#n"), secret("x#big")])
    assert [found[secret("x#n")].value, found[secret("x#big")].value] == ["1.100", "12345678901234567890"]


def test_a_binary_secret_keeps_every_byte(moto):
    put_secret("blob", SecretBinary=b"a\xff\n")
    assert resolve_references([secret("blob")])[secret("blob")].value == "a\udcff\n"


def test_every_reference_that_leads_to_nothing_is_named_at_once(moto):
    put_parameter("/there", "1")
    put_secret(
        "json", SecretString='{"user": "SECRET-VALUE", "list": ["SECRET-VALUE"], "nul": "a\\u0000b", "half": "\\ud800"}'
    )
    put_secret("text", SecretString="SECRET-VALUE")
    put_secret("array", SecretString='["SECRET-VALUE"]')
    put_secret("deep", SecretString="[" * 60_000)
    found = problems(
        *(secret(text) for text in ("json#no", "json#list", "json#nul", "json#half", "text#key", "array#0", "deep#k")),
        *(ssm("/there"), ssm("/not/there"), secret("nothing"), secret("nothing#key")),
    )
    carry = "its value holds a character that no environment can carry\n  way out: store it as plain text"
    assert found == (
        'cannot resolve reference "secret:array#0": the secret has no key "0"\n  way out: correct what follows the #',
        'cannot resolve reference "secret:deep#k": the secret is not JSON\n  way out: leave out #k',
        f'cannot resolve reference "secret:json#half": {carry}',
        (
            'cannot resolve reference "secret:json#list": the key "list" is neither text nor a number\n'
            "  way out: refer to another key"
        ),
        'cannot resolve reference "secret:json#no": the secret has no key "no"\n  way out: correct what follows the #',
        f'cannot resolve reference "secret:json#nul": {carry}',
        f'cannot resolve reference "secret:nothing": no such secret {CREATE}',
        f'cannot resolve reference "secret:nothing#key": no such secret {CREATE}',
        'cannot resolve reference "secret:text#key": the secret is not JSON\n  way out: leave out #key',
        f'cannot resolve reference "ssm:/not/there": no such parameter {CREATE}',
    )
    assert "SECRET-VALUE" not in "".join(found)


def test_a_deleted_secret_is_no_secret(moto):
    put_secret("gone", SecretString="x")
    boto3.client("secretsmanager", REGION).delete_secret(SecretId="gone")
    assert problems(secret("gone")) == (f'cannot resolve reference "secret:gone": no such secret {CREATE}',)


def test_one_malformed_name_does_not_hide_the_others(scripted):
    def parameter(name):
        return json.dumps({"Parameters": [{"Name": name, "Value": "1", "Version": 1}], "InvalidParameters": []})

    malformed = (400, json.dumps({"__type": "ValidationException", "message": "bad name"}))
    server = scripted(malformed, (200, parameter("/a")), malformed)
    assert problems(ssm("/a"), ssm("/b d")) == (f'cannot resolve reference "ssm:/b d": no such parameter {CREATE}',)
    assert [json.loads(body)["Names"] for body in server.bodies] == [["/a", "/b d"], ["/a"], ["/b d"]]


def test_a_value_is_never_shown():
    assert repr(Secret(value="hunter2", version="7")) == "Secret(version='7')"
    assert "hunter2" not in str(Secret(value="hunter2", version="7"))


@pytest.mark.parametrize(
    ("reference", "name", "action"),
    [(ssm("/a"), "ssm:/a", "ssm:GetParameters"), (secret("a#b"), "secret:a#b", "secretsmanager:GetSecretValue")],
)
def test_without_access_it_is_unavailable_and_says_what_to_grant(scripted, reference, name, action):
    server = scripted((400, json.dumps({"__type": "AccessDeniedException", "Message": "no"})))
    with pytest.raises(DeniedError) as error:
        resolve_references([reference])
    assert str(error.value) == (
        f'cannot resolve reference "{name}": access denied (AccessDeniedException)\n'
        f"  way out: grant {action} to the role of this machine, as statement {STATEMENTS[action]} of image/iam/policy.json does"
    )
    assert len(server.bodies) == 1


def test_a_throttled_store_is_asked_again(scripted):
    throttled = (400, json.dumps({"__type": "ThrottlingException", "message": "slow down"}))
    server = scripted(throttled, throttled, (200, json.dumps({"SecretString": "x", "VersionId": "v"})))
    assert resolve_references([secret("a")])[secret("a")].value == "x"
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("reference", "action"), [(ssm("/a"), "ssm:GetParameters"), (secret("/a"), "secretsmanager:GetSecretValue")]
)
def test_without_a_region_the_way_out_is_the_variable(monkeypatch, reference, action):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(Unavailable) as error:
        resolve_references([reference])
    assert str(error.value) == (
        f'cannot resolve reference "{reference.kind}:/a": no AWS region (for {action})\n  way out: set AWS_REGION'
    )


def test_an_instance_asks_in_its_own_region(moto, monkeypatch):
    put_parameter("/a", "here")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    with MetadataServer(region=REGION) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint)
        assert resolve_references([ssm("/a")])[ssm("/a")].value == "here"


def test_no_references_ask_nobody(scripted):
    server = scripted((500, ""))
    assert resolve_references([]) == {}
    assert server.bodies == []


def test_a_pinned_parameter_is_asked_for_by_its_version(moto):
    for value in ("one", "two", "three"):
        put_parameter("/api/key", value)
    pins = {ssm("/api/key"): "2"}
    assert resolve_references([ssm("/api/key")], pins=pins)[ssm("/api/key")] == Secret(value="two", version="2")


def test_a_pinned_label_stays_where_it_was(scripted):
    def answer(selector, version):
        parameter = {"Name": "/api/key", "Value": f"value {version}", "Version": version, "Selector": selector}
        return 200, json.dumps({"Parameters": [parameter], "InvalidParameters": []})

    server = scripted(answer(":live", 2), answer(":1", 1))
    live = ssm("/api/key:live")
    assert resolve_references([live])[live] == Secret(value="value 2", version="2")
    assert resolve_references([live], pins={live: "1"})[live] == Secret(value="value 1", version="1")
    assert [json.loads(body)["Names"] for body in server.bodies] == [["/api/key:live"], ["/api/key:1"]]


def test_a_pin_that_the_store_has_no_more_gives_way_to_what_is_there(moto):
    put_parameter("/api/key", "one")
    version = put_secret("db", SecretString="x")["VersionId"]
    wanted = [ssm("/api/key"), secret("db")]
    found = resolve_references(wanted, pins={wanted[0]: "77", wanted[1]: "0" * 32})
    assert [found[one] for one in wanted] == [Secret(value="one", version="1"), Secret(value="x", version=version)]


def test_a_secret_may_be_named_by_stage_and_by_version(moto):
    old = put_secret("db", SecretString='{"user": "old"}')["VersionId"]
    client = boto3.client("secretsmanager", REGION)
    client.put_secret_value(SecretId="db", SecretString='{"user": "new"}')
    texts = ["db#user", "db?stage=AWSPREVIOUS#user", f"db?version={old}#user", f"db?version={old}"]
    found = resolve_references(secret(text) for text in texts)
    assert [found[secret(text)].value for text in texts] == ["new", "old", "old", '{"user": "old"}']
    assert resolve_references([secret("db#user")], pins={secret("db#user"): old})[secret("db#user")].value == "old"


@pytest.mark.parametrize("text", ["db?", "db?stag=x", "?stage=x", "db?stage=", "db?stage=a&version=b"])
def test_what_names_no_secret_is_told_with_the_right_form(moto, text):
    assert problems(secret(text)) == (
        (
            f'cannot resolve reference "secret:{text}": it is no secret\'s id\n'
            "  way out: write id, id#json-key or id?stage=AWSPREVIOUS#json-key"
        ),
    )


def test_ten_names_are_asked_for_in_a_call_and_pins_do_not_add_calls(scripted):
    names = [f"/many/{number:02}" for number in range(25)]

    def answer(batch):
        parameters = [{"Name": name, "Value": name, "Version": 4, "Selector": ":4"} for name in batch]
        return 200, json.dumps({"Parameters": parameters, "InvalidParameters": []})

    server = scripted(answer(names[:10]), answer(names[10:20]), answer(names[20:]))
    found = resolve_references([ssm(name) for name in names], pins={ssm(name): "4" for name in names})
    assert [found[ssm(name)].value for name in names] == names
    assert [len(json.loads(body)["Names"]) for body in server.bodies] == [10, 10, 5]


def test_a_reference_that_leads_to_nothing_is_told_with_its_place_and_who_needs_it(moto):
    needs = {ssm("/no"): Need(("config/common/A.ssm", "config/modes/review/B.ssm"), ("api-web", "api-worker"))}
    with pytest.raises(DefinitionError) as error:
        resolve_references(needs, needs=needs)
    assert str(error.value) == (
        'cannot resolve reference "ssm:/no": no such parameter in eu-west-1\n'
        "  where: config/common/A.ssm:1, config/modes/review/B.ssm:1\n"
        "  needed by: api-web, api-worker\n"
        "  way out: create it there, or correct the reference"
    )


def test_all_parameters_below_a_path_are_listed_over_all_pages_and_never_read(moto):
    for number in range(23):
        put_parameter(f"/todo/api/KEY_{number:02}", "x")
    put_parameter("/other/KEY", "x")
    assert read_parameter_names("/todo") == [f"/todo/api/KEY_{number:02}" for number in range(23)]


@pytest.mark.parametrize("path", ["/nothing", "no path"])
def test_a_path_without_parameters_is_refused(moto, path):
    with pytest.raises(DefinitionError) as error:
        read_parameter_names(path)
    assert str(error.value).endswith("\n  way out: name a path such as /todo/production/api")


def test_all_references_together_have_one_deadline(scripted, monkeypatch):
    fake = FakeClock()
    monkeypatch.setattr(clock, "now", fake.now)
    monkeypatch.setattr(clock, "sleep", fake.sleep)
    server = scripted((400, json.dumps({"__type": "ThrottlingException", "message": "slow down"})))
    with pytest.raises(Unavailable) as error:
        resolve_references([ssm(f"/{number}") for number in range(30)])
    assert "ThrottlingException" in str(error.value)
    names = {name for body in server.bodies for name in json.loads(body)["Names"]}
    assert len(server.bodies) > 1
    assert len(names) == 10
    assert sum(fake.slept) == pytest.approx(60)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("bootstrap.world.secrets.PATIENCE_S", 0.0)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        '{"Parameters": null}',
        '{"Parameters": [{"Name": "/a"}]}',
        '{"Parameters": [{"Name": "/a", "Value": 1, "Ver',
    ],
)
def test_half_an_answer_about_parameters_is_unavailable(scripted, impatient, body):
    scripted((200, body))
    with pytest.raises(Unavailable, match="the answer to ssm:GetParameters makes no sense"):
        resolve_references([ssm("/a")])


@pytest.mark.parametrize(
    "body", ["{}", '{"VersionId": "v"}', '{"SecretString": "x"}', '{"SecretString": 1, "VersionId": "v"}']
)
def test_half_an_answer_about_secrets_is_unavailable(scripted, impatient, body):
    scripted((200, body))
    with pytest.raises(Unavailable, match="the answer to secretsmanager:GetSecretValue makes no sense"):
        resolve_references([secret("a")])
