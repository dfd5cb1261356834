import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bootstrap.cli.main import cli
from bootstrap.config.finding import RULES

API = "requires: [DATABASE_URL]\nenv: {LOG_LEVEL: info}\nprocesses: {web: {command: serve, port: 8001}}\n"
WEB = "processes: {web: {command: serve, port: 8002}}\n"


@pytest.fixture
def root(sandbox):
    sandbox.service("api", API)
    sandbox.service("web", WEB)
    sandbox.config("services/api/production/DATABASE_URL.ssm", "/todo/db")
    return sandbox


@pytest.fixture
def lint(root):
    """Runs it and insists on the exit code; the answer is standard output."""

    def run(*words, code=0):
        done = CliRunner().invoke(cli, ["--root", str(root.root), "config", "lint", *words], standalone_mode=False)
        assert done.exception is None, done.exception
        assert done.return_value == code, done.output
        return done.stdout

    return run


@pytest.fixture
def findings(lint):
    """(severity, rule, place, text) of each finding."""

    def run(code=1):
        found = json.loads(lint("--json", code=code))["findings"]
        return [
            (one["severity"], one["rule"], one["file"] + (f":{one['line']}" if one["line"] else ""), one["text"])
            for one in found
        ]

    return run


def test_a_sound_repository_has_nothing_to_mend(lint):
    assert lint() == "nothing to mend\n"
    assert json.loads(lint("--json")) == {"findings": [], "errors": 0, "warnings": 0}


def test_a_finding_says_where_what_and_how_to_mend_it(lint, root):
    root.config("common/LEVEL", b"high\r\n")
    assert lint(code=1) == (
        "error: config/common/LEVEL:1: LEVEL ends in a carriage return [stray]\n"
        "  way out: save the file with Unix line ends\n"
        "1 error, 0 warnings\n"
    )


def test_warnings_alone_fail_only_where_it_is_strict(lint, root):
    root.config("common/LEVEL", '"high"')
    assert lint().splitlines()[-1] == "0 errors, 1 warning"
    lint("--strict", code=1)


def test_annotations_are_escaped_as_github_reads_them(lint, root):
    root.config("services/api/production/A,B:C%", "x")
    assert lint("--format", "github", code=1) == (
        "::error file=config/services/api/production/A%2CB%3AC%25,line=1,title=config lint%3A unreadable::"
        "its name is no name for a variable; "
        "use letters, digits and _, no digit first; .ssm or .secret for a reference\n"
    )


def test_what_cannot_be_a_variable_is_an_error(findings, root):
    (root.root / "config/common").mkdir()
    (root.root / "config/common/LINK").symlink_to("/etc/passwd")
    root.config("common/PORT", "1")
    root.config("common/.env", "FINE=1\nnot a line\n")
    (root.root / "config/modes").symlink_to("/etc")
    assert findings() == [
        ("error", "unreadable", "config/common/LINK", 'it is a link to "/etc/passwd"'),
        ("error", "unreadable", "config/common/PORT", "PORT is set by bootstrap alone"),
        ("error", "unreadable", "config/common/.env:2", "should be like KEY=value"),
        ("error", "unreadable", "config/modes", 'it is a link to "/etc"'),
    ]


def test_a_directory_that_nobody_reads_is_an_error(findings, root):
    root.config("services/apy/production/KEY", "x")
    root.config("notes/deep/KEY", "x")
    assert findings() == [
        ("error", "unread-layer", "config/notes/deep", "no service reads this directory in any mode"),
        (
            "error",
            "unread-layer",
            "config/services/apy/production",
            'no service reads this directory in any mode; did you mean "services/api/production"?',
        ),
    ]


def test_what_stands_where_nobody_looks_is_told(findings, root):
    root.config("KEY", "x")
    root.config("schema.yml", "KEY: {type: integer}")
    root.config("layer.yaml", "")
    root.config("services/api/KEY", "x")
    (root.root / "services/api/Procfile").write_text("web: serve\n")
    assert findings() == [
        ("error", "misplaced", "config/KEY", "it is in no layer, so nobody reads it"),
        ("warning", "misplaced", "config/layer.yaml", 'nobody reads a file of this name; did you mean "layers.yaml"?'),
        ("error", "misplaced", "config/schema.yml", 'nobody reads a file of this name; did you mean "schema.yaml"?'),
        (
            "error",
            "unread-layer",
            "config/services/api",
            (
                "no service reads this directory in any mode, but those below it: common, development, production,"
                " review, staging"
            ),
        ),
        ("warning", "misplaced", "services/api/Procfile", "service.yaml stands beside it, and nobody reads both"),
    ]


def test_a_key_that_is_read_elsewhere_alone_is_told(findings, root):
    root.config("services/web/production/DATABASE_URL", "x")
    root.config("services/web/production/OTHER", "nobody declares it, so anybody may read it")
    assert findings(code=0) == []  # web declares nothing, so it may read anything
    root.service("web", f"env: {{COLOUR: red}}\n{WEB}")
    assert findings(code=0) == [
        (
            "warning",
            "unread-key",
            "config/services/web/production/DATABASE_URL",
            "DATABASE_URL is read by api alone, and this layer is not theirs",
        )
    ]


def test_a_value_that_is_there_already_is_told_unless_it_overrides_somewhere(findings, root):
    root.config("common/LEVEL", "low")
    root.config("services/web/production/LEVEL", "low")
    root.config("common/DEPTH", "1")
    root.config("modes/production/DEPTH", "2")
    root.config("services/web/common/DEPTH", "1")  # in production it brings the 1 back
    root.config("services/api/common/LOG_LEVEL", "info")
    assert findings(code=0) == [
        (
            "warning",
            "repeated",
            "config/services/api/common/LOG_LEVEL",
            "LOG_LEVEL has the very value that services/api/service.yaml gives it already",
        ),
        (
            "warning",
            "repeated",
            "config/services/web/production/LEVEL",
            "LEVEL has the very value that config/common/LEVEL gives it already",
        ),
    ]


def test_case_twins_are_told_but_for_proxies(findings, root):
    for key in ("Level", "LEVEL", "http_proxy", "HTTP_PROXY"):
        root.config(f"common/{key}", "x")
    ((severity, rule, _, text),) = findings(code=0)
    assert (severity, rule) == ("warning", "case-twin")
    assert text == "Level and LEVEL (config/common/LEVEL) differ only in case"


@pytest.mark.parametrize(
    ("content", "severity", "text"),
    [
        (b"x\r\n", "error", "KEY ends in a carriage return"),
        (b"a\r\0b\n", "warning", "KEY has lines that end in a carriage return"),
        (b"'x'\n", "warning", "KEY is in quotes, and they are part of the value"),
        (b"KEY=x\n", "warning", "KEY begins with its own name and ="),
        (b" x\n", "warning", "KEY begins with a blank"),
        (b"x\ny\n", "warning", "KEY is the first line of its file alone: the others are ignored"),
        (
            b"-----BEGIN CERTIFICATE-----\nMII\n",
            "error",
            "KEY is the first line of its file alone: the others are ignored",
        ),
    ],
)
def test_what_was_copied_in_with_a_value_is_told(findings, root, content, severity, text):
    root.config("common/KEY", content)
    assert findings(code=int(severity == "error")) == [(severity, "stray", "config/common/KEY:1", text)]


@pytest.mark.parametrize("content", [b"'a' or 'b'\n", b'"\n', b"x \n", b"\n", b"", b"a\0b\n", b"KEYS=1\n"])
def test_what_only_looks_so_is_left_alone(findings, root, content):
    root.config("common/KEY", content)
    assert findings(code=0) == []


def test_quotes_of_a_dotenv_file_are_its_own(findings, root):
    root.config("common/.env", "KEY='\"x\"'\n")
    assert findings(code=0) == []


def test_a_secret_in_clear_text_is_an_error_where_boxes_of_one_service_read_it(findings, root):
    root.config("common/KEY", "ghp_" + "a1B2" * 9)
    root.config("services/web/review/DB_PASSWORD", "hunter2!")
    root.service("db", "backing: true\nenv: {ADMIN_PASSWORD: hunter3!}\nprocesses: {a: {command: x}}\n")
    text = "is probably a secret in clear text:"
    assert findings() == [
        ("error", "clear-text", "config/common/KEY", f"KEY {text} a GitHub token"),
        ("warning", "clear-text", "config/services/web/review/DB_PASSWORD", f"DB_PASSWORD {text} a password"),
        ("error", "clear-text", "services/db/service.yaml", f"ADMIN_PASSWORD {text} a password"),
    ]


def test_no_output_holds_a_secret(lint, root):
    canary = "ghp_" + "c4N4" * 9
    root.config("common/KEY", f'"{canary}"')
    root.config("schema.yaml", "KEY: {type: integer, secret: true}\n")
    for words in ((), ("--json",), ("--format", "github")):
        assert canary not in lint(*words, code=1)


def test_dotenv_files_of_other_names_are_read_by_nobody(findings, root):
    for file in (
        ".env.production",
        "common/.env",
        "common/.env.local",
        "common/.env.example",
        "services/api/review/.env.x",
    ):
        root.config(file, "A=1")
    text = "nobody reads a file of this name; of a layer, .env alone is read"
    assert findings() == [
        ("error", "misplaced", f"config/{file}", text)
        for file in (".env.production", "common/.env.local", "services/api/review/.env.x")
    ]


def test_the_schema_can_say_that_it_is_no_secret(findings, root):
    root.config("common/DEMO_PASSWORD", "hunter2!")
    root.config("schema.yaml", "DEMO_PASSWORD: {secret: false}\n")
    assert findings(code=0) == []


def test_the_schema_is_enforced(findings, root):
    root.config("schema.yaml", "LOG_LEVEL: {allowed: [debug, info]}\nPOOL: {required: [api, wep], type: integer}\n")
    root.config("common/LOG_LEVEL", "loud")
    root.config("services/api/production/POOL", "many")
    root.config("services/api/staging/DATABASE_URL", "x")
    assert findings() == [
        ("error", "schema", "config/common/LOG_LEVEL", "LOG_LEVEL should be one of debug, info, and is not (config/schema.yaml:1)"),
        ("error", "required", "config/schema.yaml:2", "api requires POOL, and has none in staging"),
        ("error", "schema", "config/schema.yaml:2", 'POOL is required by "wep", and there is no such service; did you mean "web"? (services: api, web)'),
        ("error", "schema", "config/services/api/production/POOL", "POOL should be an integer, and is not (config/schema.yaml:2)"),
    ]  # fmt: skip


def test_what_a_definition_requires_is_looked_for_in_modes_that_are_configured(findings, root):
    root.config("modes/staging/LEVEL", "x")
    assert findings() == [
        ("error", "required", "services/api/service.yaml", "api requires DATABASE_URL, and has none in staging")
    ]


def test_what_definition_and_schema_both_require_is_told_once(findings, root):
    root.config("schema.yaml", "DATABASE_URL: {required: [api], type: url}\n")
    root.config("modes/staging/LEVEL", "x")
    assert findings() == [
        ("error", "required", "config/schema.yaml:1", "api requires DATABASE_URL, and has none in staging")
    ]


GUARD = "layers: [common, 'modes/{mode}', 'services/{service}/{mode}']\nguard: {review: {against: [production]%s}}\n"


def guard(root, more=""):
    root.config("services/api/review/DATABASE_URL", "postgresql://127.0.0.1/todo")
    root.config("layers.yaml", GUARD % more)


def test_a_review_mode_that_stays_among_its_own_passes(findings, root):
    guard(root)
    root.config("services/api/production/MAIL", "https://mail.example.com/")
    root.config("services/web/review/MAIL", "https://mail.review.example.com/")
    assert findings(code=0) == []


def test_a_review_mode_must_not_name_a_host_of_production(findings, root):
    guard(root)
    root.config("services/api/production/MAIL", "https://mail.example.com/")
    root.config("services/web/review/MAIL", "smtp://mail.example.com:25")
    text = "review must not reach this: MAIL names the host mail.example.com, which is in a layer of production"
    assert findings() == [("error", "guard", "config/services/web/review/MAIL", text)]
    guard(root, ", allow: ['mail.*']")
    assert findings(code=0) == []


def test_a_review_mode_must_not_refer_to_a_secret_of_production(findings, root):
    guard(root, ", secrets: ['/prod/*']")
    root.config("services/api/review/DATABASE_URL", b"")
    root.config("services/api/review/OTHER.ssm", "/todo/db")
    root.config("common/TOKEN.secret", "/prod/token")
    found = [one for one in findings() if one[1] == "guard"]
    assert found == [
        (
            "error",
            "guard",
            "config/common/TOKEN.secret",
            "review must not reach this: TOKEN refers to secret:/prod/token",
        ),
        (
            "error",
            "guard",
            "config/services/api/review/OTHER.ssm",
            "review must not reach this: OTHER refers to ssm:/todo/db, as production does",
        ),
    ]


def test_a_review_mode_must_not_read_a_layer_of_production(findings, root):
    root.config("services/api/review/DATABASE_URL", "x")
    root.config(
        "layers.yaml",
        "layers: [common, modes/production, 'modes/{mode}', 'services/{service}/{mode}']\n"
        "guard:\n  review: {against: [production, prodution], hosts: ['*.prod']}\n",
    )
    assert findings() == [
        (
            "error",
            "guard",
            "config/layers.yaml:3",
            "review reads config/modes/production, which is a layer of production alone",
        ),
        (
            "error",
            "guard",
            "config/layers.yaml:3",
            'there is no mode "prodution"; did you mean "production"? (modes: development, production, review, staging)',
        ),
    ]


def test_services_that_never_meet_are_judged_though_they_share_a_port(findings, root):
    root.service("third", "processes: {web: {command: x, port: 8001}}\n")
    root.config("services/third/production/LEVEL", b"x\r\n")
    where = "services/third/service.yaml"
    clash = (
        'cannot plan program "third-web": port 8001 is also the port of program "api-web" (services/api/service.yaml)'
    )
    assert findings() == [
        ("error", "stray", "config/services/third/production/LEVEL:1", "LEVEL ends in a carriage return"),
        ("warning", "unplannable", where, f"in development, review: {clash}"),
    ]


def test_a_layer_is_not_called_unread_because_its_mode_cannot_be_planned(findings, root):
    root.service("third", "processes: {web: {command: x, port: 8001}}\n")
    root.config("modes/review/LEVEL", "x")
    root.config("services/third/review/LEVEL", "y")
    root.config("services/third/reveiw/LEVEL", "y")
    found = [(severity, rule, place) for severity, rule, place, _ in findings()]
    assert found == [
        ("error", "unread-layer", "config/services/third/reveiw"),
        ("warning", "unplannable", "services/third/service.yaml"),
    ]


def test_what_no_box_of_a_mode_with_one_service_could_run_is_an_error(findings, root):
    root.service("third", "health: {port: 8009}\nprocesses: {web: {command: x, port: 8009}}\n")
    root.config("services/third/production/LEVEL", "y")
    assert findings() == [
        (
            "error",
            "unplannable",
            "services/third/service.yaml",
            'in staging, production: cannot plan program "third-web": port 8009 is also the port of the health endpoint',
        )
    ]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("schema.yaml", "A: {typ: url}\n", 'config/schema.yaml:1: A/typ: unknown key; did you mean "type"?'),
        ("layers.yaml", "layers: []\n", "config/layers.yaml:1: layers: should list at least one directory"),
    ],
)
def test_what_the_rest_is_judged_by_has_to_be_right_itself(root, file, content, message):
    root.config(file, content)
    done = root.run("config", "lint", tags=(), code=2)
    assert done.stderr == f"error: {message}\n"


def test_every_rule_is_documented():
    text = (Path(__file__).parents[2] / "docs/lint.md").read_text()
    assert [rule for rule in RULES if f"| `{rule}` |" not in text] == []


def test_the_reference_stack_has_no_errors():
    root = Path(__file__).parents[2]
    done = CliRunner().invoke(cli, ["--root", str(root), "config", "lint", "--json"], standalone_mode=False)
    assert (done.return_value, json.loads(done.stdout)["errors"]) == (0, 0), done.stdout


def test_the_installed_command_exits_with_1_for_errors(root):
    root.config("common/KEY", b"x\r\n")
    assert root.run("config", "lint", tags=(), code=1).stderr == ""
