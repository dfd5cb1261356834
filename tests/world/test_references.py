import json
import os
from pathlib import Path

import boto3
import pytest

from bootstrap.box import Box
from bootstrap.environ import Need, Reference
from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.world.references import Asking, read_secrets
from support.aws_server import VARIABLES, forget_everything, moto_server

KEY = Reference(kind="ssm", text="/api/key")
JSON = Reference(kind="secret", text="todo#user")
FILE = "config/secrets.local.env"


@pytest.fixture(scope="module")
def moto_endpoint():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def aws(moto_endpoint, monkeypatch):
    """AWS is there and empty; the answer sets a parameter."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    forget_everything(moto_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint)
    client = boto3.client("ssm")
    return lambda value: client.put_parameter(Name=KEY.text, Value=value, Type="SecureString", Overwrite=True)


@pytest.fixture
def no_aws(monkeypatch):
    """Nothing of AWS is configured, and nobody listens where it would be."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


@pytest.fixture
def box(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "state/run").mkdir(parents=True)
    return Box(root=str(tmp_path), state=str(tmp_path / "state"))


def read(box, *references, **asking):
    wanted = {one: Need((f"config/common/{one.kind}",), ("api-web",)) for one in references or (KEY,)}
    found = read_secrets(box, wanted, Asking(**{"mode": "production"} | asking))
    return {one: (secret.value, secret.version) for one, secret in found.items()}


def reboot(box):
    for file in Path(box.run).iterdir():
        file.unlink()


def local(box, text, mode=0o600):
    path = Path(box.root, FILE)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_keeps_its_version_until_somebody_asks_for_a_new_one(aws, box):
    aws("one")
    assert read(box) == {KEY: ("one", "1")}
    aws("two")
    assert read(box) == {KEY: ("one", "1")}
    assert read(box, refresh=True) == {KEY: ("two", "2")}
    assert read(box) == {KEY: ("two", "2")}


def test_a_reboot_brings_the_same_version_back(aws, box):
    aws("one")
    read(box)
    aws("two")
    reboot(box)
    assert read(box) == {KEY: ("one", "1")}


def test_what_survives_a_reboot_holds_no_value(aws, box):
    aws("CANARY")
    read(box)
    kept = [path for path in Path(box.state).rglob("*") if path.is_file() and "CANARY" in path.read_text()]
    assert kept == [Path(box.run, "secrets.json")]
    assert kept[0].stat().st_mode & 0o777 == 0o600
    assert json.loads(Path(box.state, "secret-versions.json").read_text()) == {"ssm:/api/key": "1"}


def test_what_is_known_needs_no_aws(aws, box, monkeypatch):
    aws("one")
    read(box)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert read(box) == {KEY: ("one", "1")}


def test_a_refresh_says_what_is_new_or_that_nothing_is(aws, box):
    said = []
    aws("one")
    read(box, say=said.append)
    assert said == []
    read(box, refresh=True, say=said.append)
    aws("two")
    read(box, refresh=True, say=said.append)
    assert said == ["looked up 1 secret: no new versions", "ssm:/api/key has a new version: 1 → 2"]


def test_a_dry_run_keeps_nothing(aws, box):
    aws("one")
    assert read(box, keep=False) == {KEY: ("one", "1")}
    assert os.listdir(box.run) == []
    assert not Path(box.state, "secret-versions.json").exists()


@pytest.mark.parametrize(
    "damaged", ["[", "[]", '{"ssm:/api/key": 3}', '{"ssm:/api/key": ["x"]}', '{"ssm:/api/key": [1, 2]}']
)
def test_a_damaged_record_is_made_again(aws, box, damaged):
    aws("one")
    Path(box.state, "secret-versions.json").write_text(damaged)
    Path(box.run, "secrets.json").write_text(damaged)
    assert read(box) == {KEY: ("one", "1")}
    assert json.loads(Path(box.run, "secrets.json").read_text()) == {"ssm:/api/key": ["one", "1"]}


@pytest.mark.parametrize("mode", ["development", "review"])
def test_a_local_file_answers_on_a_laptop(no_aws, box, mode):
    local(box, 'ssm:/api/key=mine\nsecret:todo={"user": "me"}\n\'secret:todo#other\'="#"\n')
    other = Reference(kind="secret", text="todo#other")
    assert read(box, KEY, JSON, other, mode=mode) == {
        KEY: ("mine", "local"),
        JSON: ("me", "local"),
        other: ("#", "local"),
    }


def test_a_local_file_is_read_anew_each_time(no_aws, box):
    local(box, "ssm:/api/key=one\n")
    read(box, mode="review")
    local(box, "ssm:/api/key=two\n")
    assert read(box, mode="review") == {KEY: ("two", "local")}
    assert os.listdir(box.run) == []


@pytest.mark.parametrize("mode", ["staging", "production", "another"])
def test_a_local_file_is_ignored_elsewhere(aws, box, mode):
    aws("theirs")
    local(box, "ssm:/api/key=mine\n")
    assert read(box, mode=mode) == {KEY: ("theirs", "1")}


def test_what_a_local_file_lacks_comes_from_the_store(aws, box):
    aws("theirs")
    local(box, "'secret:todo#user'=me\n")
    assert read(box, KEY, JSON, mode="review") == {KEY: ("theirs", "1"), JSON: ("me", "local")}


def test_without_aws_the_way_out_on_a_laptop_is_the_local_file(box, monkeypatch):
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    with pytest.raises(Unavailable) as error:
        read(box, mode="review")
    assert str(error.value) == (
        'cannot resolve reference "ssm:/api/key": no AWS region (for ssm:GetParameters)\n'
        "  way out: write the values to config/secrets.local.env, as ssm:/api/key=…"
    )


@pytest.mark.parametrize(("mode", "shown"), [(0o644, "0644"), (0o640, "0640"), (0o602, "0602")])
def test_a_local_file_that_others_can_use_is_refused(box, mode, shown):
    local(box, "ssm:/api/key=CANARY\n", mode)
    with pytest.raises(DefinitionError) as error:
        read(box, mode="review")
    assert str(error.value) == (
        f'cannot read "{FILE}": others can use it (its mode is {shown})\n'
        f"  way out: make it a file of your own that nobody else can read (chmod 600 {FILE})"
    )


def test_a_local_file_that_is_a_link_or_no_file_is_refused(box, tmp_path):
    path = Path(box.root, FILE)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DefinitionError, match=": it is a link\n"):
        read(box, mode="review")
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(DefinitionError, match=": it is no regular file\n"):
        read(box, mode="review")


def test_wrong_lines_of_a_local_file_are_named_and_not_told_back(box):
    local(box, "DATABASE_URL=CANARY\n# fine\nsecret:todo#user=CANARY\nssm:/a=fine\n")
    with pytest.raises(DefinitionError) as error:
        read(box, mode="review")
    form = "should be like ssm:/name=value, with a # in the name like 'secret:id#key'=value"
    assert error.value.problems == (f"{FILE}:1: {form}", f"{FILE}:3: {form}")


def test_a_key_that_the_local_json_lacks_is_refused(box):
    local(box, "secret:todo={}\n")
    with pytest.raises(DefinitionError) as error:
        read(box, JSON, mode="review")
    assert str(error.value) == (
        'cannot resolve reference "secret:todo#user": the secret has no key "user"\n'
        f"  where: {FILE}\n  way out: correct what follows the #"
    )
