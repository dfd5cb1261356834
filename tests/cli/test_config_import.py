import json
import os
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner

from bootstrap.cli.main import cli
from support.aws_server import VARIABLES, moto_server
from support.repository import git

HEROKU = ("heroku", "--app", "todo-api", "--service", "api", "--mode", "production")
LAYER = "config/services/api/production"
RENAME = "give it another name where it comes from, or leave it out with --without"


@pytest.fixture
def root(sandbox):
    for port, name in enumerate(("api", "web"), 8001):
        sandbox.service(name, f"processes: {{web: {{command: serve, port: {port}}}, job: {{command: x}}}}\n")
    return sandbox


@pytest.fixture
def config(root):
    def run(*words, **kwargs):
        arguments = ["--root", str(root.root), "config", *words]
        return CliRunner().invoke(cli, arguments, standalone_mode=False, **kwargs)

    return run


@pytest.fixture
def shown(config):
    def run(*words, code=None, **kwargs):
        done = config(*words, **kwargs)
        assert done.exception is None, done.exception
        assert done.return_value == code, done.output
        return done.stdout

    return run


@pytest.fixture
def refusal(config):
    def run(*words, exit_code=2, **kwargs):
        done = config(*words, **kwargs)
        assert getattr(done.exception, "exit_code", None) == exit_code, done.output
        return str(done.exception)

    return run


@pytest.fixture
def variables(root):
    def write(values):
        file = root.root / "vars.json"
        file.write_text(values if isinstance(values, str) else json.dumps(values))
        return str(file)

    return write


def tree(root):
    config = root.root / "config"
    return {str(path.relative_to(config)): path.read_bytes() for path in config.rglob("*") if path.is_file()}


def test_the_variables_of_an_app_become_files_of_one_layer(shown, root, variables):
    file = variables({"LEVEL": "info", "LINES": "a\nb", "EMPTY": "", "BLANK": "x ", "API_TOKEN": "ghp_" + "a1B2" * 9})
    assert shown("import", *HEROKU, "--json", file) == (
        f"wrote 5 keys to {LAYER} (1 of them to its .env, which holds blanks at the end)\n"
        "probably secrets, and in clear text there: API_TOKEN\n"
        "read back: 5 keys, byte by byte the same\n"
    )
    assert tree(root) == {
        "services/api/production/LEVEL": b"info\n",
        "services/api/production/LINES": b"a\0b\n",
        "services/api/production/EMPTY": b"\n",
        "services/api/production/API_TOKEN": b"ghp_" + b"a1B2" * 9 + b"\n",
        "services/api/production/.env": b'BLANK="x "\n',
    }
    assert {path.stat().st_mode & 0o777 for path in (root.root / LAYER).iterdir()} == {0o600}


def test_importing_again_changes_nothing_and_leaves_what_has_become_a_reference(shown, root, variables):
    file = variables({"A": "1", "B": "2 ", "TOKEN": "x"})
    root.config("services/api/production/TOKEN.ssm", "/token")
    root.config("services/api/production/OWN", "1")
    shown("import", *HEROKU, "--json", file)
    before = tree(root)
    assert shown("import", *HEROKU, "--json", file) == (
        f"wrote 0 keys to {LAYER}\n"
        "unchanged: 2 keys\n"
        "left as references, which have to hold the same: TOKEN\n"
        "in this layer and not in what was imported: OWN\n"
        "read back: 2 keys, byte by byte the same\n"
    )
    assert tree(root) == before


def test_a_value_moves_between_a_file_and_the_dotenv_file(shown, root, variables):
    for values in ({"A": "x", "B": "y "}, {"A": "x ", "B": "y"}, {"A": "z", "B": "z\t"}):
        file = variables(values)
        shown("import", *HEROKU, "--json", file)
        shown("verify", *HEROKU, "--json", file, code=0)


def test_a_plan_writes_nothing(shown, root, variables):
    assert shown("import", *HEROKU, "--json", variables({"A": "1"}), "--plan") == f"would write 1 key to {LAYER}\n"
    assert tree(root) == {}


def test_everything_that_would_be_lost_is_refused_at_once_and_nothing_written(refusal, root, variables):
    file = variables(
        {
            "FINE": "x",
            "A-B": "x",
            "PORT": "80",
            "UID": "0",
            "NUL": "a\0b",
            "LONG": "x" * 131_073,
            "BLANKS": "x" + " " * 200,
        }
    )
    refused = [
        ("A-B", "it is no name for a variable (letters, digits and _, no digit first)", RENAME),
        ("PORT", "bootstrap alone sets it", RENAME),
        ("UID", "the shell keeps this name for itself", RENAME),
        ("NUL", "its value holds NUL, which no environment can carry", "store it encoded, as base64 for example"),
        ("LONG", "its value is longer than any program's environment can hold", "keep it in a file or a store"),
        (
            "BLANKS",
            "its value ends in a blank or a tab, and a .env cannot hold it (not UTF-8, or 200 blanks in a row)",
            "remove the blanks where it comes from",
        ),
    ]
    assert refusal("import", *HEROKU, "--json", file) == "\n".join(
        f'cannot import variable "{key}": {cause}\n  way out: {way_out}' for key, cause, way_out in refused
    )
    assert tree(root) == {}


def test_what_cannot_be_imported_can_be_left_out(shown, refusal, variables):
    file = variables({"FINE": "x", "PORT": "80"})
    assert shown("import", *HEROKU, "--json", file, "--without", "PORT").startswith("wrote 1 key")
    assert shown("verify", *HEROKU, "--json", file, "--without", "PORT", code=0)
    assert refusal("import", *HEROKU, "--json", file, "--without", "PROT") == (
        'cannot leave out "PROT": there is no such key; did you mean "PORT"?'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"A": "x",\n "B" "CANARY"}', ":2: is no JSON: Expecting ':' delimiter (column 6)"),
        ("", ":1: is no JSON: Expecting value (column 1)"),
        ('["CANARY"]', ':1: should be an object such as {"KEY": "value"}'),
        ('{"A": 1}', ':1: the value of "A" should be text, not a number'),
        ('{"A": null}', ':1: the value of "A" should be text, not null'),
        ('{"A": {"x": 1}}', ':1: the value of "A" should be text, not an object'),
        ('{"A": "1", "A": "2"}', ':1: key "A" stands twice'),
        ('{"A": "\\udcff"}', ':1: the value of "A" holds half a character (a lone surrogate)'),
        ("[" * 100_000, ":1: is nested too deeply"),
        ('{"A": ' + "1" * 5000 + "}", ":1: holds a number that is too long to be one"),
    ],
)
def test_what_is_no_output_of_heroku_is_refused_without_telling_it_back(refusal, variables, text, message):
    file = variables(text)
    assert refusal("import", *HEROKU, "--json", file) == f"{file}{message}"


def test_unknown_services_and_modes_get_the_nearest_match_before_anybody_is_asked(refusal):
    assert refusal("import", "heroku", "--app", "x", "--service", "apy", "--mode", "prod") == (
        'cannot use service "apy": no such service; did you mean "api"?\n'
        'cannot use mode "prod": no such mode; did you mean "production"?'
    )


def test_a_file_that_is_not_there_is_refused(refusal):
    assert refusal("import", *HEROKU, "--json", "/nowhere") == (
        'cannot read "/nowhere": No such file or directory\n'
        "  way out: name a file that you may read, or - for standard input"
    )


def test_without_the_heroku_cli_the_way_out_is_a_file(refusal, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal("import", *HEROKU, exit_code=75) == (
        'cannot read the config vars of "todo-api": the Heroku CLI is not installed here\n'
        '  way out: where it is, run "heroku config --json --app todo-api" and name its output with --json FILE'
    )
    assert refusal("import", "heroku", "--app", "--help", "--service", "api", "--mode", "review") == (
        'cannot read the config vars of "--help": it is no name of a Heroku app\n'
        "  way out: give the app's name, such as my-app"
    )


@pytest.fixture
def heroku_cli(monkeypatch, tmp_path):
    """A stand-in for the command: it says what it was called with and does what the script says."""

    def install(script):
        command = tmp_path / "bin" / "heroku"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/called\n{script}\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
        return tmp_path / "called"

    return install


def test_the_heroku_cli_is_asked_where_no_file_is_given(shown, root, heroku_cli):
    called = heroku_cli("""echo '{"A": "1"}'""")
    shown("import", *HEROKU)
    assert called.read_text() == "config --json --app todo-api\n"
    assert tree(root) == {"services/api/production/A": b"1\n"}


def test_what_the_heroku_cli_complains_about_is_passed_on(refusal, heroku_cli):
    heroku_cli("printf ' \\033[31m»   Error: not logged in\\nmore' >&2; exit 100")
    assert refusal("import", *HEROKU, exit_code=75) == (
        'cannot read the config vars of "todo-api": the Heroku CLI said: \\x1b[31m»   Error: not logged in\n'
        '  way out: see that "heroku auth:whoami" works, and that the app is yours'
    )


def test_a_dotenv_file_goes_to_the_layer_that_is_named(shown, root):
    file = root.root / "old.env"
    file.write_text("A='x # y'\nexport B=\"1\\n2\"\nC=$HOME\n")
    for words, layer in (
        (("--common",), "common"),
        (("--mode", "review"), "modes/review"),
        (("--service", "api"), "services/api/common"),
        (("--service", "api", "--mode", "review"), "services/api/review"),
    ):
        found = json.loads(shown("import", "dotenv", str(file), *words, "--json"))
        assert (found["layer"], found["written"]) == (f"config/{layer}", ["A", "B", "C"])
        assert [(root.root / "config" / layer / key).read_bytes() for key in "ABC"] == [
            b"x # y\n",
            b"1\0002\n",
            b"$HOME\n",
        ]


def test_what_only_bootstrap_sets_can_be_left_out(shown, refusal, root, tmp_path):
    file, old = tmp_path / "old.env", tmp_path / "old"
    file.write_text("PORT=3\nA=1\nMY-KEY=2\n")
    old.mkdir()
    (old / "PORT").write_text("3\n")
    (old / "A").write_text("1\n")
    way_out = "give it another name where it comes from, or leave it out with --without"
    words = ("--service", "api", "--mode", "review")
    assert refusal("import", "dotenv", str(file), *words) == (
        f'cannot import variable "PORT": bootstrap alone sets it\n  way out: {way_out}\n'
        'cannot import variable "MY-KEY": it is no name for a variable (letters, digits and _, no digit first)\n'
        f"  way out: {way_out}"
    )
    shown("import", "dotenv", str(file), *words, "--without", "PORT", "--without", "MY-KEY")
    assert tree(root) == {"services/api/review/A": b"1\n"}
    shown("import", "envdir", str(old), "--common", "--without", "PORT")
    assert tree(root) == {"services/api/review/A": b"1\n", "common/A": b"1\n"}
    for kind, where in (("dotenv", file), ("envdir", old)):
        without = ("--without", "PORT", *(("--without", "MY-KEY") if kind == "dotenv" else ()))
        shown("verify", kind, str(where), *words, *without, code=0)


@pytest.mark.parametrize("words", [(), ("--common", "--mode", "review")])
def test_exactly_one_layer_has_to_be_named(config, words):
    done = config("import", "dotenv", "x", *words)
    assert str(done.exception) == "name one layer: --common, --mode M, --service S, or --service S --mode M"


def test_standard_input_is_a_file_too(shown, root):
    shown("import", "dotenv", "-", "--common", input="A=1\n")
    assert tree(root) == {"common/A": b"1\n"}


def test_an_envdir_is_brought_in_with_what_it_removes(shown, refusal, root, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "A").write_bytes(b"a \0\xff  \nignored")
    (old / "GONE").write_bytes(b"")
    shown("import", "envdir", str(old), "--service", "api", "--mode", "review")
    assert tree(root) == {"services/api/review/A": b"a \0\xff\n", "services/api/review/GONE": b""}
    shown("verify", "envdir", str(old), "--service", "api", "--mode", "review", code=0)
    (old / "A").unlink()
    (old / "A").symlink_to("/etc/passwd")
    assert refusal("import", "envdir", str(old), "--common") == (
        f'cannot read variable "A": it is a link to "/etc/passwd"\n  where: {old}/A\n  way out: put a regular file there'
    )


def test_parameters_below_a_path_become_references(shown, refusal, root, monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    with moto_server() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        client = boto3.client("ssm")
        for name in ("/todo/api/A", "/todo/api/B", "/todo/web/A", "/odd/a-b"):
            client.put_parameter(Name=name, Value="CANARY", Type="SecureString")
        shown("import", "ssm", "/todo/api", "--service", "api", "--mode", "production")
        assert tree(root) == {
            "services/api/production/A.ssm": b"/todo/api/A\n",
            "services/api/production/B.ssm": b"/todo/api/B\n",
        }
        assert refusal("import", "ssm", "/todo", "--common") == (
            'cannot import variable "A": both /todo/api/A and /todo/web/A come to it\n'
            "  way out: import a path that holds one of them"
        )
        assert refusal("import", "ssm", "/odd", "--common").startswith('cannot import variable "a-b": it is no name')


def test_a_layer_that_the_order_lacks_is_refused(refusal, root, variables):
    root.config("layers.yaml", "layers: [common, 'modes/{mode}']\n")
    assert refusal("import", *HEROKU, "--json", variables({"A": "1"})) == (
        "cannot write to a layer: none has {service} and {mode} alone\n"
        "  where: config/layers.yaml: layers\n  way out: add such a layer"
    )


def test_a_layer_that_leads_elsewhere_is_not_written_to(refusal, root, variables, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root.root / "config/services").symlink_to(elsewhere)
    assert "it is a link to" in refusal("import", *HEROKU, "--json", variables({"A": "1"}))
    assert os.listdir(elsewhere) == []


def test_a_failed_import_leaves_the_layer_as_it_was(refusal, root, variables):
    root.config("services/api/production/A", "old")
    directory = root.root / LAYER
    (directory / "Z").mkdir()  # a directory is nobody's variable, and no file can take its place
    before = tree(root)
    assert refusal("import", *HEROKU, "--json", variables({"A": "new", "B": "x", "Z": "y"}), exit_code=75).startswith(
        f'cannot read "{directory}/Z": '
    )
    assert tree(root) == before


def both(shown, variables, api, web):
    file = variables(api)
    shown("import", *HEROKU, "--json", file)
    return shown(
        "import", "heroku", "--app", "x1", "--service", "web", "--mode", "production", "--json", variables(web)
    )


def test_what_every_service_has_alike_is_proposed_for_a_shared_layer(shown, root, variables):
    text = both(shown, variables, {"A": "1", "B": "2", "C": "3"}, {"A": "1", "B": "other", "D": "4"})
    assert text.splitlines()[-1] == (
        'alike in every service, and could stand once in config/modes/production: A ("bootstrap config import shared --mode '
        'production")'
    )
    before = environments(shown)
    assert shown("import", "shared", "--mode", "production", "--plan").splitlines()[-1] == (
        "1 key could stand once in config/modes/production; no environment of any mode and service differs"
    )
    assert json.loads(shown("import", "shared", "--mode", "production", "--json"))["shared"] == [
        {"key": "A", "from": ["config/services/api/production/A", "config/services/web/production/A"]}
    ]
    assert tree(root)["modes/production/A"] == b"1\n"
    assert "services/api/production/A" not in tree(root)
    assert environments(shown) == before


def environments(shown):
    found = {}
    for service in ("api", "web"):
        for mode in ("production", "review"):
            text = shown("list", "--mode", mode, "--service", service, "--json")
            for program in json.loads(text)["programs"]:
                values = {one["key"]: one["value"] for one in program["variables"]}
                found[mode, program["program"]] = values
    return found


def test_in_a_repository_it_is_said_that_nobody_has_committed_what_was_written(shown, root, variables):
    git(root.root, "init", "-q")
    file = variables({"LEVEL": "info"})
    said = "nobody has committed that yet: see it with git status, and commit it\n"
    assert said not in shown("import", *HEROKU, "--json", file, "--plan")
    assert shown("import", *HEROKU, "--json", file) == (
        f"wrote 1 key to {LAYER}\nread back: 1 key, byte by byte the same\n{said}"
    )
    assert said not in shown("import", *HEROKU, "--json", file), "nothing was written"
    root.config("services/web/production/LEVEL", "info")
    assert said not in shown("import", "shared", "--mode", "production", "--plan")
    assert shown("import", "shared", "--mode", "production").endswith(f"differs\n{said}")


def test_what_a_service_would_newly_get_is_not_shared(shown, root, variables):
    root.service("third", "processes: {web: {command: x}}\n")
    assert "alike" not in both(shown, variables, {"A": "1"}, {"A": "1"})


def test_what_something_stronger_or_weaker_would_change_is_not_shared(shown, root, variables):
    root.config("services/web/common/A", b"")  # lies over the mode's layer, and would hide what moved there
    assert "alike" not in both(shown, variables, {"A": "1"}, {"A": "1"})


def test_references_are_shared_as_such(shown, root):
    for name in ("api", "web"):
        root.config(f"services/{name}/production/TOKEN.ssm", "/token")
    shown("import", "shared", "--mode", "production")
    assert tree(root) == {"modes/production/TOKEN.ssm": b"/token\n"}
    assert Path(root.root, "config/services/api/production").is_dir()


def test_verify_tells_every_difference_both_ways_by_digest_alone(shown, root, variables):
    root.config("services/api/production/SAME", "1")
    root.config("services/api/production/OTHER", "here-CANARY")
    root.config("services/api/production/MORE", "2")
    file = variables({"SAME": "1", "OTHER": "there-CANARY", "GONE": "CANARY"})
    text = shown("verify", *HEROKU, "--json", file, code=1)
    lines = text.splitlines()
    assert lines[0] == "api-job, api-web: 3 differences to the 3 keys of heroku app todo-api"
    assert [line.split()[:2] for line in lines[1:]] == [["missing", "GONE"], ["extra", "MORE"], ["different", "OTHER"]]
    assert lines[3].startswith("  different  OTHER  there 12 bytes ")
    assert lines[3].endswith(" (config/services/api/production/OTHER)")
    assert "CANARY" not in text
    assert shown("verify", *HEROKU, "--json", file, code=1) != text  # a digest is good for one run


def test_what_only_our_layers_set_can_be_allowed(shown, root, variables):
    root.config("common/TZ", "UTC")
    file = variables({})
    shown("verify", *HEROKU, "--json", file, code=1)
    assert shown("verify", *HEROKU, "--json", file, "--allow-extra", code=0) == (
        "api-job, api-web: 0 keys of heroku app todo-api, byte by byte the same\n"
    )


def test_verify_as_json(shown, root):
    file = root.root / "x.env"
    file.write_text("A=1\n")
    root.config("services/api/review/A", "22")
    found = json.loads(shown("verify", "dotenv", str(file), "--service", "api", "--mode", "review", "--json", code=1))
    assert (found["keys"], found["equal"]) == (1, False)
    assert [one["program"] for one in found["programs"]] == ["api-job", "api-web"]
    (difference,) = found["programs"][0]["differences"]
    assert (difference["key"], difference["kind"], difference["theirs"]["bytes"], difference["ours"]["bytes"]) == (
        "A",
        "different",
        1,
        2,
    )


def test_verify_compares_what_references_resolve_to(shown, root, variables, monkeypatch):
    root.config("services/api/review/TOKEN.ssm", "/token")
    local = root.config("secrets.local.env", "ssm:/token=right\n")
    local.chmod(0o600)
    words = ("verify", "heroku", "--app", "x1", "--service", "api", "--mode", "review", "--json")
    shown(*words, variables({"TOKEN": "right"}), code=0)
    shown(*words, variables({"TOKEN": "wrong"}), code=1)
