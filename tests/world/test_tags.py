from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bootstrap.box import Box
from bootstrap.definition import Mode
from bootstrap.errors import TagError, Unavailable
from bootstrap.tag import Tag
from bootstrap.world import aws
from bootstrap.world.tags import Machine, read_last_identity, read_tags, write_last_identity
from support.clock import FakeClock
from support.metadata_server import MetadataServer

MODES = {
    "review": Mode(name="review", runs="everything"),
    "production": Mode(name="production", runs="one"),
}


@pytest.fixture
def box(tmp_path):
    (tmp_path / "state").mkdir()
    return Box(root=str(tmp_path), state=str(tmp_path / "state"))


@pytest.fixture
def server():
    with MetadataServer(tags={}) as server:
        yield server


@pytest.fixture
def api(monkeypatch):
    """AWS, as far as tags go: answers that the test sets, and what was asked."""
    fake = FakeAws()
    monkeypatch.setattr(aws, "read_instance_tags", fake.read_instance_tags)
    monkeypatch.setattr(aws, "read_group_name", fake.read_group_name)
    monkeypatch.setattr(aws, "read_group_tags", fake.read_group_tags)
    return fake


class FakeAws:
    def __init__(self):
        self.instance = {}
        self.group_name = None
        self.group = {}
        self.asked = []

    def read_instance_tags(self, instance_id, region, *, patience_s):
        return self._answer(("instance", instance_id, region), self.instance)

    def read_group_name(self, instance_id, region, *, patience_s):
        return self._answer(("group name", instance_id, region), self.group_name)

    def read_group_tags(self, group, region, *, patience_s):
        return self._answer(("group", group, region), self.group)

    def _answer(self, question, answer):
        self.asked.append(question)
        if isinstance(answer, Exception):
            raise answer
        return answer


def no_modes():
    raise AssertionError("modes are not needed")


def modes():
    return MODES


def laptop(tmp_path, **environ):
    return Machine(environ=environ, dmi=str(tmp_path / "no-dmi"), clock=FakeClock())


def instance(server, tmp_path, **environ):
    return Machine(
        environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint, **environ},
        dmi=str(tmp_path / "no-dmi"),
        clock=FakeClock(),
    )


def shown(tags):
    return [(tag.key.removeprefix("bootstrap:"), tag.value, tag.source) for tag in tags]


def write(path, text):
    path.write_text(text)
    return str(path)


# typed


def test_typed_tags_alone_are_enough(box, tmp_path):
    typed = ("mode=review", "bootstrap:ref=a=b", "mode=review")
    assert shown(read_tags(box, typed, None, modes, laptop(tmp_path))) == [
        ("mode", "review", "--tag"),
        ("ref", "a=b", "--tag"),
    ]


def test_typed_tags_that_are_no_pairs_or_contradict_are_refused_together(box, tmp_path):
    with pytest.raises(TagError) as error:
        read_tags(box, ("mode", "=x", "mode=review", "bootstrap:mode=staging"), None, no_modes, laptop(tmp_path))
    assert error.value.problems == (
        'cannot use --tag "mode": should be KEY=VALUE, like mode=review',
        'cannot use --tag "=x": should be KEY=VALUE, like mode=review',
        (
            'cannot use tag "bootstrap:mode": it is set twice, to "review" (from --tag) and to "staging" (from --tag); '
            "keep one of them"
        ),
    )


def test_typed_tags_that_suffice_ask_nobody(box, tmp_path, server):
    typed = ("mode=production", "service=api")
    assert shown(read_tags(box, typed, None, no_modes, instance(server, tmp_path))) == [
        ("mode", "production", "--tag"),
        ("service", "api", "--tag"),
    ]
    assert server.requests == []


def test_modes_are_read_only_on_an_instance_whose_tags_name_no_service(box, tmp_path, server):
    read_tags(box, ("mode=review", "service=api"), None, no_modes, instance(server, tmp_path))
    read_tags(box, ("mode=review",), None, no_modes, laptop(tmp_path))
    with pytest.raises(AssertionError, match="modes are not needed"):
        read_tags(box, ("mode=review",), None, no_modes, instance(server, tmp_path))


# files


def test_typed_tags_lie_over_a_tags_file_and_bootstrap_env_is_not_read(box, tmp_path):
    write(tmp_path / "bootstrap.env", "nonsense")
    path = write(
        tmp_path / "tags.env",
        "# the box\n\n\nBOOTSTRAP_MODE=review\nexport BOOTSTRAP_REF_MY_API='fix $HOME'\n"
        'BOOTSTRAP_ROOT=/x\nBOOTSTRAP_STATE=/x\nBOOTSTRAP_TAG_TIMEOUT=5\nBOOTSTRAP_DNS="a.example" # mine\n',
    )
    assert shown(read_tags(box, ("mode=staging",), path, modes, laptop(tmp_path))) == [
        ("dns", "a.example", f"{path}:9"),
        ("mode", "staging", "--tag"),
        ("ref.my-api", "fix $HOME", f"{path}:5"),
    ]


def test_a_tags_file_is_stronger_than_instance_metadata(box, tmp_path, server):
    path = write(tmp_path / "tags.env", "BOOTSTRAP_MODE=review\n")
    assert shown(read_tags(box, (), path, modes, instance(server, tmp_path))) == [("mode", "review", f"{path}:1")]
    assert server.requests == []


def test_off_ec2_bootstrap_env_is_read_below_what_was_typed(box, tmp_path):
    path = write(tmp_path / "bootstrap.env", "BOOTSTRAP_MODE=review\nBOOTSTRAP_REF=main\n")
    assert shown(read_tags(box, ("ref=fix",), None, modes, laptop(tmp_path))) == [
        ("mode", "review", f"{path}:1"),
        ("ref", "fix", "--tag"),
    ]


def test_disabled_metadata_is_not_asked_on_ec2_either(box, tmp_path, server):
    write(tmp_path / "bootstrap.env", "BOOTSTRAP_MODE=review\n")
    machine = instance(server, tmp_path, AWS_EC2_METADATA_DISABLED="true")
    assert read_tags(box, (), None, modes, machine)[0].value == "review"
    assert server.requests == []


def test_every_bad_line_of_a_tags_file_is_named(box, tmp_path):
    path = write(
        tmp_path / "tags.env",
        "\nPATH=/bin\nBOOTSTRAP_HOLD\nBOOTSTRAP_DNS='open\n\nBOOTSTRAP_MODE=review\nBOOTSTRAP_MODE=staging\n",
    )
    with pytest.raises(TagError) as error:
        read_tags(box, (), path, no_modes, laptop(tmp_path))
    assert error.value.problems == (
        f'cannot read tags file line {path}:2: "PATH" should begin with BOOTSTRAP_',
        f'cannot read tags file line {path}:3: should be like BOOTSTRAP_MODE=review, not "BOOTSTRAP_HOLD"',
        f'cannot read tags file line {path}:4: should be like BOOTSTRAP_MODE=review, not "BOOTSTRAP_DNS=\'open"',
        (
            f'cannot use tag "bootstrap:mode": it is set twice, to "review" (from {path}:6) and to "staging" '
            f"(from {path}:7); keep one of them"
        ),
    )


def test_a_tags_file_that_was_named_must_be_there(box, tmp_path):
    with pytest.raises(TagError) as error:
        read_tags(box, ("mode=review",), "/nowhere/tags.env", no_modes, laptop(tmp_path))
    assert str(error.value) == (
        'cannot read tags file "/nowhere/tags.env": no such file\n  way out: correct --tags-file, or create it'
    )


def make_fifo(path):
    os.mkfifo(path)


def make_long(path):
    path.write_bytes(b"#" * (1 << 20) + b"\n")


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (make_fifo, "it is not a regular file"),
        (os.mkdir, "it is not a regular file"),
        (make_long, "it is larger than 1 MiB"),
        (lambda path: path.write_bytes(b"BOOTSTRAP_MODE=\xff\n"), "it is not UTF-8 text"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_a_bootstrap_env_that_is_no_dotenv_file_is_an_error(box, tmp_path, make, cause):
    make(tmp_path / "bootstrap.env")
    with pytest.raises(TagError) as error:
        read_tags(box, ("mode=review",), None, modes, laptop(tmp_path))
    assert str(error.value) == (
        f'cannot read tags file "{tmp_path}/bootstrap.env": {cause}\n'
        "  way out: make it lines like BOOTSTRAP_MODE=review"
    )


def test_a_missing_mode_off_ec2_is_an_error_at_once_that_tells_three_ways(box, tmp_path):
    machine = laptop(tmp_path)
    with pytest.raises(TagError) as error:
        read_tags(box, ("service=api",), None, no_modes, machine)
    assert str(error.value) == (
        'cannot read tag "bootstrap:mode": it is not set\n'
        f"  looked in --tag and {tmp_path}/bootstrap.env (no such file)\n"
        "  way out: --tag mode=review, or --tags-file FILE with BOOTSTRAP_MODE=review, "
        f"or that line in {tmp_path}/bootstrap.env"
    )
    assert machine.clock.slept == []


def test_a_missing_service_off_ec2_is_left_to_the_plan_since_nothing_could_be_waited_for(box, tmp_path):
    write(tmp_path / "bootstrap.env", "BOOTSTRAP_MODE=production\n")
    machine = laptop(tmp_path)
    assert [tag.key for tag in read_tags(box, (), None, no_modes, machine)] == ["bootstrap:mode"]
    assert machine.clock.slept == []


# instances


def test_on_an_instance_metadata_is_enough(box, tmp_path, server, api):
    write(tmp_path / "bootstrap.env", "BOOTSTRAP_MODE=staging\nBOOTSTRAP_REF=main\n")
    server.tags = {"bootstrap:mode": "review", "Name": "box", "bootstrap:ref": "a"}
    assert shown(read_tags(box, ("ref=b",), None, modes, instance(server, tmp_path))) == [
        ("Name", "box", "instance metadata"),
        ("mode", "review", "instance metadata"),
        ("ref", "b", "--tag"),
    ]
    assert api.asked == []


def test_what_metadata_does_not_know_describe_tags_may(box, tmp_path, server, api):
    server.tags = {"bootstrap:mode": "production"}
    api.instance = {"bootstrap:mode": "review", "bootstrap:service": "api"}
    assert shown(read_tags(box, (), None, modes, instance(server, tmp_path))) == [
        ("mode", "production", "instance metadata"),
        ("service", "api", "DescribeTags"),
    ]
    assert api.asked == [("instance", "i-0123456789abcdef0", "eu-west-1")]


def test_the_tags_of_the_group_are_the_last_resort(box, tmp_path, server, api):
    server.tags = None
    api.instance = {"bootstrap:mode": "production", "aws:autoscaling:groupName": "web"}
    api.group = {"bootstrap:mode": "review", "bootstrap:service": "api"}
    assert shown(read_tags(box, (), None, modes, instance(server, tmp_path))) == [
        ("aws:autoscaling:groupName", "web", "DescribeTags"),
        ("mode", "production", "DescribeTags"),
        ("service", "api", 'Auto Scaling group "web"'),
    ]
    assert api.asked[1:] == [("group", "web", "eu-west-1")]


def test_a_group_that_no_tag_names_is_asked_for(box, tmp_path, server, api):
    api.group_name = "web"
    api.group = {"bootstrap:mode": "review"}
    assert shown(read_tags(box, (), None, modes, instance(server, tmp_path))) == [
        ("mode", "review", 'Auto Scaling group "web"')
    ]
    assert [asked[0] for asked in api.asked] == ["instance", "group name", "group"]


def test_a_source_that_may_not_be_asked_is_passed_over(box, tmp_path, server, api):
    api.instance = aws.DeniedError('cannot read the tags of instance "i": access denied (X)\n  way out: grant it')
    api.group_name = "web"
    api.group = {"bootstrap:mode": "review"}
    assert read_tags(box, (), None, modes, instance(server, tmp_path))[0].value == "review"


def test_tags_that_come_late_are_waited_for(box, tmp_path, server, api):
    server.tags = {"bootstrap:mode": "production", "bootstrap:service": "api"}
    server.delay_tags(lists=3)
    said = []
    machine = Machine(
        environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint}, clock=FakeClock(), say=said.append
    )
    tags = read_tags(box, (), None, modes, machine)
    assert [tag.value for tag in tags] == ["production", "api"]
    assert len(machine.clock.slept) == 3
    assert said == ['waiting up to 120 s for tag "bootstrap:mode"']


def test_tags_that_never_come_are_an_error_that_lists_what_was_seen_and_where(box, tmp_path, server, api):
    server.tags = {"Name": "box", "aws:autoscaling:groupName": "web"}
    api.instance = aws.DeniedError('cannot read the tags of instance "i": access denied (X)\n  way out: grant it')
    api.group = {"bootstrap:mode": "production"}
    machine = instance(server, tmp_path)
    with pytest.raises(TagError) as error:
        read_tags(box, (), None, modes, machine)
    assert str(error.value) == (
        'cannot read tag "bootstrap:service": still not set after 120 s\n'
        "  looked in --tag, instance metadata (2 tags), DescribeTags (access denied (X)), "
        'Auto Scaling group "web" (1 tags)\n'
        '  tags seen: "Name", "aws:autoscaling:groupName", "bootstrap:mode"\n'
        "  way out: set it on instance i-0123456789abcdef0, in its launch template or on its Auto Scaling group"
    )
    assert machine.clock.now() == pytest.approx(1120)


def test_an_instance_without_any_tags_is_told_so(box, tmp_path, server, api):
    with pytest.raises(TagError) as error:
        read_tags(box, (), None, modes, instance(server, tmp_path, BOOTSTRAP_TAG_TIMEOUT="0.5"))
    assert str(error.value) == (
        'cannot read tag "bootstrap:mode": still not set after 0.5 s\n'
        "  looked in --tag, instance metadata (0 tags), DescribeTags (0 tags), "
        "Auto Scaling group (the instance is in none)\n"
        "  tags seen: none\n"
        "  way out: set it on instance i-0123456789abcdef0, in its launch template or on its Auto Scaling group"
    )


def test_no_source_of_tags_at_all_is_worth_another_try_later(box, tmp_path, server, api):
    server.tags = None
    api.instance = api.group_name = Unavailable("cannot read it: no AWS credentials\n  way out: give it a role")
    with pytest.raises(Unavailable) as error:
        read_tags(box, (), None, modes, instance(server, tmp_path, BOOTSTRAP_TAG_TIMEOUT="0"))
    assert str(error.value) == (
        'cannot read the tags of instance "i-0123456789abcdef0": no source answered in 0 s\n'
        "  looked in --tag, instance metadata (tags are not enabled in it), DescribeTags (no AWS credentials), "
        "Auto Scaling group (no AWS credentials)\n"
        "  way out: enable tags in the instance's metadata options, or grant ec2:DescribeTags to its role"
    )


def test_metadata_out_of_reach_is_unavailable_and_bootstrap_env_is_not_believed_instead(box, tmp_path, server):
    write(tmp_path / "bootstrap.env", "BOOTSTRAP_MODE=review\n")
    machine = Machine(environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}, clock=FakeClock())
    with pytest.raises(Unavailable) as error:
        read_tags(box, (), None, no_modes, machine)
    assert str(error.value) == (
        'cannot read instance metadata "meta-data/tags/instance": the connection was refused\n'
        "  at http://127.0.0.1:1\n"
        "  way out: give the tags with --tag or --tags-file; AWS_EC2_METADATA_DISABLED=true skips instance metadata"
    )
    assert machine.clock.now() == pytest.approx(1120)


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf", "1e3", "86401", "٣", "5 "])
def test_a_tag_timeout_that_is_no_number_of_seconds_is_refused(box, tmp_path, server, text):
    with pytest.raises(TagError) as error:
        read_tags(box, (), None, no_modes, instance(server, tmp_path, BOOTSTRAP_TAG_TIMEOUT=text))
    assert str(error.value) == (
        f'cannot use BOOTSTRAP_TAG_TIMEOUT "{text}": should be seconds from 0 to 86400\n'
        "  way out: unset it (120 s), or correct it"
    )


# the last identity


TAGS = (
    Tag(key="Name", value="b\u00fcx\udc80", source="instance metadata"),
    Tag(key="bootstrap:mode", value="review", source="DescribeTags"),
)


def test_the_last_identity_comes_back_below_what_was_typed(box):
    write_last_identity(box, TAGS)
    assert shown(read_last_identity(box, ("mode=staging",))) == [
        ("Name", "b\u00fcx\udc80", "last identity, instance metadata"),
        ("mode", "staging", "--tag"),
    ]


def test_the_last_identity_is_for_its_owner_only_and_written_only_when_it_changes(box, tmp_path):
    path = tmp_path / "state" / "last-identity.json"
    write_last_identity(box, TAGS)
    first = path.stat()
    write_last_identity(box, TAGS)
    assert path.stat().st_ino == first.st_ino
    write_last_identity(box, TAGS[1:])
    assert path.stat().st_ino != first.st_ino
    assert path.stat().st_mode & 0o777 == 0o600
    assert [tag["key"] for tag in json.loads(path.read_text())["tags"]] == ["bootstrap:mode"]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "nothing was kept yet"),
        (b"", "the file is damaged"),
        (b"[]", "the file is damaged"),
        (b'{"tags": [{"key": "a"}]}', "the file is damaged"),
        (b'{"tags": [{"key": "a", "value": 1, "source": "x"}]}', "the file is damaged"),
        (b'{"tags": ' + b"[" * 100_000, "the file is damaged"),
        (b"\xff\xfe", "the file is damaged"),
    ],
)
def test_a_last_identity_that_is_not_there_or_damaged_is_an_error(box, tmp_path, content, cause):
    path = tmp_path / "state" / "last-identity.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TagError) as error:
        read_last_identity(box)
    assert str(error.value) == (
        f'cannot read last identity "{path}": {cause}\n  way out: run once without --last-identity'
    )


# what it costs


def test_typed_tags_and_files_cost_no_import_of_http_or_aws(box, tmp_path):
    path = write(tmp_path / "bootstrap.env", "BOOTSTRAP_MODE=review\n")
    program = f"""
import sys
from bootstrap.box import Box
from bootstrap.world.tags import Machine, read_tags
box = Box(root={str(tmp_path)!r}, state="/nowhere")
machine = Machine(environ={{}}, dmi="/nowhere")
read_tags(box, ("mode=review", "service=api"), None, dict, machine)
print(sorted(sys.modules.keys() & {{"http.client", "urllib.request", "boto3", "botocore", "yaml", "difflib"}}))
print("dotenv" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True) == "[]\nTrue\n"
    os.unlink(path)
    assert subprocess.check_output(command, text=True) == "[]\nFalse\n"
