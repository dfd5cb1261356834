from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bootstrap.box import Box
from bootstrap.cli.identity import identity
from bootstrap.cli.settings import Settings
from bootstrap.errors import TagError
from bootstrap.tag import Tag
from bootstrap.world.tags import write_last_identity
from support.metadata_server import MetadataServer


@pytest.fixture
def box(tmp_path):
    (tmp_path / "services").mkdir()
    (tmp_path / "config").mkdir()
    return Box(root=str(tmp_path), state=str(tmp_path))


def run(box, *words, **settings):
    return CliRunner().invoke(identity, words, obj=Settings(box=box, **settings), catch_exceptions=False)


def test_tags_are_shown_with_where_each_came_from(box, tmp_path):
    env = tmp_path / "bootstrap.env"
    env.write_text("BOOTSTRAP_MODE=review\nBOOTSTRAP_REF=main\n")
    assert run(box, "--tag", "ref=fix").output == (
        "mode     review\n"
        "service  -\n"
        "process  -\n"
        "\n"
        "TAG             VALUE   FROM\n"
        f"bootstrap:mode  review  {env}:1\n"
        "bootstrap:ref   fix     --tag\n"
    )


def test_json_is_one_document_and_options_before_and_after_the_verb_add_up(box):
    shown = run(box, "--json", "--tag", "service=api", "--tag", "process=web", tags=("mode=production",))
    assert json.loads(shown.stdout) == {
        "mode": "production",
        "service": "api",
        "process": "web",
        "tags": [
            {"key": "bootstrap:mode", "value": "production", "source": "--tag"},
            {"key": "bootstrap:process", "value": "web", "source": "--tag"},
            {"key": "bootstrap:service", "value": "api", "source": "--tag"},
        ],
    }


def test_a_tags_file_after_the_verb_is_stronger_than_one_before(box, tmp_path):
    (tmp_path / "a").write_text("BOOTSTRAP_MODE=review\n")
    (tmp_path / "b").write_text("BOOTSTRAP_MODE=development\n")
    shown = run(box, "--json", "--tags-file", str(tmp_path / "b"), tags_file=str(tmp_path / "a"))
    assert json.loads(shown.stdout)["mode"] == "development"


def test_a_tag_of_somebody_else_does_not_drive_the_terminal(box, monkeypatch):
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with MetadataServer(tags={"bootstrap:mode": "review", "Name": "\x1b]0;owned\x07\n."}) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint)
        shown = run(box)
    assert r"Name            \x1b]0;owned\x07\n.  instance metadata" in shown.output.splitlines()


def test_waiting_is_told_on_standard_error_only(box, monkeypatch):
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with MetadataServer(tags={"bootstrap:mode": "review"}) as server:
        server.delay_tags(lists=1)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint)
        monkeypatch.setattr("bootstrap.world.aws.read_instance_tags", lambda *_, **__: {})
        monkeypatch.setattr("bootstrap.world.aws.read_group_name", lambda *_, **__: None)
        shown = run(box, "--json")
    assert json.loads(shown.stdout)["mode"] == "review"
    assert shown.stderr == 'waiting up to 120 s for tag "bootstrap:mode"\n'


def test_the_last_identity_is_used_only_when_asked_for(box):
    write_last_identity(box, [Tag(key="bootstrap:mode", value="review", source="instance metadata")])
    with pytest.raises(TagError):
        run(box)
    assert "bootstrap:mode  review  last identity, instance metadata\n" in run(box, last_identity=True).output
