import json
import os

import pytest

API = "secret: [TOKEN]\nenv: {LEVEL: info}\nruntime: {path: [bin]}\nprocesses: {web: {command: x, port: 8001}, job: {command: y}}\n"
API_REVIEW = ("config", "export", "--service", "api", "--mode", "review")


@pytest.fixture
def root(sandbox):
    sandbox.service("api", API)
    sandbox.config("common/REGION", "eu")
    sandbox.config("services/api/review/LINES", b"a\0b")
    return sandbox


def export(root, *words, code=0):
    return root.run(*API_REVIEW, *words, tags=(), code=code)


def test_what_layers_and_definition_set_is_exported_and_nothing_of_ours(root):
    assert json.loads(export(root, "--format", "json").stdout) == {"LEVEL": "info", "LINES": "a\nb", "REGION": "eu"}


def test_secrets_are_exported_only_when_somebody_says_so(root):
    root.config("common/TOKEN", "hunter2")
    refused = export(root, "--format", "env", code=2)
    assert refused.stderr == (
        "error: cannot export secrets unseen: TOKEN\n"
        "  way out: put them in with --reveal, or leave them out with --without KEY\n"
    )
    assert "hunter2" not in export(root, "--format", "env", "--without", "TOKEN").stdout
    assert "TOKEN=hunter2\n" in export(root, "--format", "env", "--reveal").stdout


def test_references_are_resolved_with_reveal(root):
    root.config("common/TOKEN.ssm", "/token")
    root.config("secrets.local.env", "ssm:/token=mine\n").chmod(0o600)
    export(root, "--format", "json", code=2)
    assert json.loads(export(root, "--format", "json", "--reveal").stdout)["TOKEN"] == "mine"


def test_a_file_is_for_its_owner_alone(root, tmp_path):
    file = tmp_path / "api.env"
    assert export(root, "--format", "env", "--output", str(file)).stdout == ""
    assert file.read_text() == 'LEVEL=info\nLINES="a\\nb"\nREGION=eu\n'
    assert file.stat().st_mode & 0o777 == 0o600


def test_half_an_export_is_none(root, tmp_path):
    refused = export(root, "--format", "docker", "--output", str(tmp_path / "x"), code=2)
    assert refused.stderr == (
        "error: cannot export variable LINES as docker: its value has several lines, and a line is all there is\n"
        "  way out: leave it out with --without, or use another format\n"
    )
    assert not (tmp_path / "x").exists()


def test_processes_that_differ_have_to_be_named(root):
    root.config("layers.yaml", "layers: [common, 'processes/{process}']\n")
    root.config("processes/job/QUEUE", "mail")
    assert export(root, "--format", "json", code=2).stderr == (
        'error: cannot export service "api": its processes do not have the same environment\n'
        "  way out: name one with --process (api-job, api-web)\n"
    )
    assert json.loads(export(root, "--format", "json", "--process", "job").stdout)["QUEUE"] == "mail"
    assert export(root, "--format", "json", "--process", "jab", code=2).stderr == (
        'error: cannot export process "jab": no such process; did you mean "job"? (job, web)\n'
    )


def test_unknown_services_get_the_nearest_match(root):
    done = root.run("config", "export", "--service", "apy", "--mode", "review", "--format", "env", tags=(), code=2)
    assert done.stderr == 'error: cannot use service "apy": no such service; did you mean "api"?\n'


def test_the_file_may_be_named_from_where_one_stands_and_replaces_nothing_else(root):
    """A bare name was written to / first; a FIFO, a device or a link was replaced by a file."""
    export(root, "--format", "env", "--output", "api.env")
    assert (root.root / "api.env").stat().st_mode & 0o777 == 0o600
    os.mkfifo(root.root / "pipe")
    (root.root / "link").symlink_to("api.env")
    for name in ("pipe", "link"):
        refused = export(root, "--format", "env", "--output", name, code=2)
        assert refused.stderr == (
            f'error: cannot write "{name}": it is no regular file, and would be replaced by one\n'
            "  way out: name a new file, or leave out --output and redirect what is printed\n"
        )
    assert (root.root / "pipe").is_fifo()
    assert (root.root / "link").is_symlink()
