import json
import os
import pwd

import pytest
from click.testing import CliRunner

from bootstrap.cli.config import visible
from bootstrap.cli.main import cli

MASK = "••••••"
API = """
needs: [db]
requires: [DATABASE_URL]
secret: [SESSION_KEY]
env: {LOG_LEVEL: info}
processes:
  web: {command: serve, port: 8002}
  worker: {command: work}
"""
DB = """
backing: true
processes:
  postgres: {command: postgres, port: 5433}
"""


@pytest.fixture
def root(sandbox):
    sandbox.service("api", API)
    sandbox.service("db", DB)
    sandbox.config("common/LOG_LEVEL", "warning")
    sandbox.config("modes/review/LOG_LEVEL", "debug")
    sandbox.config("services/api/common/SESSION_KEY", "hunter2")
    sandbox.config("services/api/review/DATABASE_URL", "postgresql://127.0.0.1:5433/todo")
    sandbox.config("services/api/production/DATABASE_URL.ssm", "/todo/database")
    return sandbox


@pytest.fixture
def config(root):
    def run(*words, before=()):
        return CliRunner().invoke(cli, ["--root", str(root.root), *before, "config", *words], catch_exceptions=True)

    return run


@pytest.fixture
def shown(config):
    """The output of a command that succeeds."""

    def run(*words, before=()):
        done = config(*words, before=before)
        assert done.exception is None, done.exception
        return done.stdout

    return run


@pytest.fixture
def refusal(config):
    def run(*words, before=()):
        done = config(*words, before=before)
        assert getattr(done.exception, "exit_code", None) == 2, done.output
        return str(done.exception)

    return run


def document(text):
    return json.loads(text)


PRODUCTION = ("--mode", "production", "--service", "api")
REVIEW = ("--mode", "review", "--service", "api")


def test_list_shows_every_variable_with_the_file_that_it_comes_from(shown, root):
    me = pwd.getpwuid(os.geteuid())
    rows = [
        ("API_HOST", "127.0.0.1", "services/api/service.yaml"),
        ("API_PORT", "8002", "services/api/service.yaml"),
        ("API_URL", "http://127.0.0.1:8002", "services/api/service.yaml"),
        ("BOOTSTRAP_DATA", f"{root.state}/data/api", "bootstrap"),
        ("BOOTSTRAP_INSTANCE", "1", "bootstrap"),
        ("BOOTSTRAP_MODE", "production", "bootstrap"),
        ("BOOTSTRAP_PROCESS", "web", "bootstrap"),
        ("BOOTSTRAP_PROGRAM", "api-web", "bootstrap"),
        ("BOOTSTRAP_SERVICE", "api", "bootstrap"),
        ("DATABASE_URL", "ssm:/todo/database", "config/services/api/production/DATABASE_URL.ssm"),
        ("HOME", me.pw_dir, "bootstrap"),
        ("LOG_LEVEL", "warning", "config/common/LOG_LEVEL"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "bootstrap"),
        ("PORT", "8002", "bootstrap"),
        ("SESSION_KEY", MASK, "config/services/api/common/SESSION_KEY"),
        ("USER", me.pw_name, "bootstrap"),
    ]
    expected = "".join(f"{key:<18}  {value:<48}  {file}\n" for key, value, file in rows)
    assert shown("list", *PRODUCTION, "--process", "web") == expected


def test_list_shows_once_what_programs_have_in_common(shown):
    text = shown("list", "--mode", "review")
    common, *own = text.split("\n\n")
    assert common.splitlines()[0] == "all 3 programs"
    assert [block.splitlines()[0] for block in own] == ["db-postgres", "api-web", "api-worker"]
    assert [line.split()[:2] for line in own[0].splitlines() if "BOOTSTRAP" not in line] == [
        ["db-postgres"],
        ["PORT", "5433"],
    ]
    assert text.count("LOG_LEVEL") == 2  # its name and its file, once
    assert text.count("SESSION_KEY") == 4  # twice, for api's two programs


def test_list_as_json_is_whole_for_each_program(shown):
    found = document(shown("list", *REVIEW, "--json"))
    assert [one["program"] for one in found["programs"]] == ["api-web", "api-worker"]
    for one in found["programs"]:
        variables = {variable["key"]: variable for variable in one["variables"]}
        assert variables["SESSION_KEY"] == {
            "key": "SESSION_KEY",
            "value": MASK,
            "masked": True,
            "layer": "config/services/api/common",
            "file": "config/services/api/common/SESSION_KEY",
        }
        assert variables["LOG_LEVEL"] == {
            "key": "LOG_LEVEL",
            "value": "debug",
            "masked": False,
            "layer": "config/modes/review",
            "file": "config/modes/review/LOG_LEVEL",
        }


def test_get_shows_the_value_alone(shown):
    assert shown("get", "LOG_LEVEL", "--mode", "review") == "debug\n"
    assert shown("get", "SESSION_KEY", "--mode", "review") == f"{MASK}\n"


def test_get_shows_program_by_program_what_differs(shown):
    assert shown("get", "PORT", "--mode", "review") == "db-postgres  5433\napi-web      8002\n"
    assert document(shown("get", "PORT", "--mode", "review", "--json")) == {
        "key": "PORT",
        "value": None,
        "masked": False,
        "programs": {"db-postgres": "5433", "api-web": "8002"},
    }


@pytest.mark.parametrize("verb", [("list",), ("get", "SESSION_KEY"), ("explain", "SESSION_KEY")])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_secret_is_shown_only_with_reveal(shown, verb, more):
    assert "hunter2" not in shown(*verb, *REVIEW, *more)
    assert "hunter2" in shown(*verb, *REVIEW, *more, "--reveal")


def test_a_reference_is_never_resolved(shown):
    assert shown("get", "DATABASE_URL", *PRODUCTION) == "ssm:/todo/database\n"
    assert shown("get", "DATABASE_URL", *PRODUCTION, "--reveal") == "ssm:/todo/database\n"


def test_explain_shows_every_layer_the_strongest_last(shown):
    assert shown("explain", "LOG_LEVEL", *REVIEW) == (
        "LOG_LEVEL  debug\n"
        "  in api-web, api-worker\n"
        "        services/api/service.yaml      env                  info\n"
        "        config/common/LOG_LEVEL        config/common        warning\n"
        "  wins  config/modes/review/LOG_LEVEL  config/modes/review  debug\n"
    )


def test_explain_as_json_is_what_the_contract_says(shown):
    assert document(shown("explain", "LOG_LEVEL", *REVIEW, "--json")) == {
        "key": "LOG_LEVEL",
        "value": "debug",
        "masked": False,
        "layers": [
            {"layer": "env", "file": "services/api/service.yaml", "value": "info", "wins": False},
            {"layer": "config/common", "file": "config/common/LOG_LEVEL", "value": "warning", "wins": False},
            {"layer": "config/modes/review", "file": "config/modes/review/LOG_LEVEL", "value": "debug", "wins": True},
        ],
    }


def test_explain_masks_every_layer_of_a_secret(shown, root):
    root.config("common/DATABASE_URL", "postgresql://user:pass@db")
    found = document(shown("explain", "DATABASE_URL", *PRODUCTION, "--json"))
    assert (found["value"], found["masked"]) == ("ssm:/todo/database", True)
    assert [layer["value"] for layer in found["layers"]] == [MASK, "ssm:/todo/database"]
    revealed = document(shown("explain", "DATABASE_URL", *PRODUCTION, "--json", "--reveal"))
    assert [layer["value"] for layer in revealed["layers"]] == ["postgresql://user:pass@db", "ssm:/todo/database"]


def test_explain_shows_apart_what_differs(shown):
    assert shown("explain", "LOG_LEVEL", "--mode", "review") == (
        "LOG_LEVEL  debug\n"
        "  in db-postgres\n"
        "        config/common/LOG_LEVEL        config/common        warning\n"
        "  wins  config/modes/review/LOG_LEVEL  config/modes/review  debug\n"
        "LOG_LEVEL  debug\n"
        "  in api-web, api-worker\n"
        "        services/api/service.yaml      env                  info\n"
        "        config/common/LOG_LEVEL        config/common        warning\n"
        "  wins  config/modes/review/LOG_LEVEL  config/modes/review  debug\n"
    )
    found = document(shown("explain", "PORT", "--mode", "review", "--json"))
    assert (found["key"], found["value"], found["layers"]) == ("PORT", None, [])
    assert [(one["program"], one["value"]) for one in found["programs"]] == [
        ("db-postgres", "5433"),
        ("api-web", "8002"),
    ]


def test_a_removed_variable_can_be_explained_but_not_got(shown, refusal, root):
    root.config("modes/review/LOG_LEVEL", b"")
    assert shown("explain", "LOG_LEVEL", *REVIEW).splitlines()[0] == "LOG_LEVEL  (removed)"
    assert document(shown("explain", "LOG_LEVEL", *REVIEW, "--json"))["layers"][-1] == {
        "layer": "config/modes/review",
        "file": "config/modes/review/LOG_LEVEL",
        "value": None,
        "wins": True,
    }
    assert "LOG_LEVEL" not in shown("list", *REVIEW)
    assert refusal("get", "LOG_LEVEL", *REVIEW) == (
        'cannot show variable "LOG_LEVEL": config/modes/review/LOG_LEVEL removes it\n'
        '  way out: "bootstrap config explain LOG_LEVEL" shows what it hides'
    )


@pytest.mark.parametrize("verb", ["get", "explain"])
def test_an_unknown_key_gets_the_nearest_match(refusal, verb):
    assert refusal(verb, "LOG_LEVLE", *REVIEW, "--process", "web") == (
        'cannot show variable "LOG_LEVLE": it is not in the environment of api-web; did you mean "LOG_LEVEL"?\n'
        '  way out: "bootstrap config list" shows what there is'
    )
    assert refusal(verb, "X\x1b[2J", *REVIEW) == (
        'cannot show variable "X\\x1b[2J": it is not in the environment of any of these programs\n'
        '  way out: "bootstrap config list" shows what there is'
    )


def test_a_mode_that_runs_one_service_needs_one(refusal):
    assert refusal("list", "--mode", "production") == (
        'cannot show mode "production": a box in this mode runs one service\n'
        "  way out: name it with --service (services: api, db)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--mode", "prodution"),
            (
                'cannot use mode "prodution": no such mode; did you mean "production"? '
                "(modes: development, production, review, staging)"
            ),
        ),
        (
            ("--mode", "review", "--service", "apy"),
            'cannot show service "apy": no such service; did you mean "api"? (api, db)',
        ),
        (
            ("--mode", "production", "--service", "apy"),
            'cannot use service "apy": no such service; did you mean "api"? (services: api, db)',
        ),
        (
            ("--mode", "review", "--service", "api", "--process", "wrker"),
            'cannot show process "wrker": no such process; did you mean "worker"? (web, worker)',
        ),
        (
            ("--mode", "review", "--tag", "mode=staging"),
            "--mode stands for all tags: leave out the tags, or name the mode with --tag mode=…",
        ),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(refusal, config, options, message):
    if "--tag" in options:
        done = config("list", *options)
        assert done.exit_code == 2
        assert message in done.output
    else:
        assert refusal("list", *options) == message


def test_without_mode_the_tags_decide(shown):
    tags = ("--tag", "mode=production", "--tag", "service=api")
    assert shown("get", "BOOTSTRAP_MODE", before=tags) == "production\n"
    assert shown("get", "BOOTSTRAP_MODE", *tags) == "production\n"


def test_service_over_the_tags_looks_at_another_box_of_the_mode(shown):
    tags = ("--tag", "mode=production", "--tag", "service=db", "--tag", "scale=postgres=2")
    assert shown("get", "BOOTSTRAP_SERVICE", "--service", "api", before=tags) == "api\n"


def test_tags_that_leave_a_service_out_are_told(refusal):
    tags = ("--tag", "mode=review", "--tag", "service=db")
    assert refusal("list", "--service", "api", before=tags) == (
        'cannot show service "api": the tags leave it out (this box runs: db)\n'
        "  way out: name the box's mode with --mode instead of reading its tags"
    )


def test_service_picks_without_hiding_the_addresses_of_the_others(shown):
    assert shown("get", "API_URL", "--mode", "review", "--service", "db") == "http://127.0.0.1:8002\n"


def test_a_missing_required_variable_or_user_is_no_obstacle(shown, root):
    root.service("job", "requires: [NOWHERE]\nprocesses:\n  web: {command: x, user: no-such-user}\n")
    assert shown("get", "BOOTSTRAP_PROGRAM", "--mode", "staging", "--service", "job") == "job-web\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcode ✓", "plain ünïcode ✓"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f"),
        ("\udcff", "\\xff"),
        ("\x9b\u202e", "\\xc2\\x9b\\xe2\\x80\\xae"),
    ],
)
def test_no_value_can_drive_a_terminal(text, expected):
    assert visible(text) == expected


@pytest.mark.parametrize("verb", [("list",), ("get", "ODD"), ("explain", "ODD")])
def test_values_are_shown_harmless_everywhere_and_whole_as_json(shown, root, verb):
    root.config("common/ODD", b"\x1b[2J\0\xff")
    assert "\\x1b[2J\\x0a\\xff" in shown(*verb, *REVIEW)
    assert "\x1b" not in shown(*verb, *REVIEW)
    assert "\\u001b[2J\\n\\udcff" in shown(*verb, *REVIEW, "--json")


def test_the_installed_command_refuses_with_exit_code_2(root):
    done = root.run("config", "get", "NO", "--mode", "review", tags=(), code=2)
    assert done.stdout == ""
    assert done.stderr == (
        'error: cannot show variable "NO": it is not in the environment of any of these programs\n'
        '  way out: "bootstrap config list" shows what there is\n'
    )
