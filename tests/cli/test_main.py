"""What stands around the verbs: help, colours, typing errors, interruptions."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from bootstrap.cli import main
from support.repository import begin
from support.sandbox import COMMAND, wait_until


def on_a_terminal(sandbox, *arguments, **environ):
    """What a terminal of 80 columns shows of a command."""
    ours, theirs = os.openpty()
    environ = {**sandbox.environ, "TERM": "xterm", **environ}
    subprocess.run(sandbox.words(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environ, check=False)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        return b"".join(iter(lambda: read_or_end(terminal), b"")).decode()


def read_or_end(terminal):
    try:
        return terminal.read(65536)
    except OSError:  # EIO: nothing is left of what a side that has gone wrote
        return b""


def test_a_terminal_gets_colours(sandbox):
    sandbox.sleeper("api")
    assert on_a_terminal(sandbox, "plan") == "\x1b[32mstart   \x1b[0mapi-web  it is not running\r\n"
    assert on_a_terminal(sandbox, "stop").startswith("\x1b[31m\x1b[1merror: \x1b[0mcannot act on programs by hand: ")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_whoever_wants_no_colour_gets_none(sandbox, environ):
    sandbox.sleeper("api")
    assert on_a_terminal(sandbox, "plan", **environ) == "start   api-web  it is not running\r\n"
    assert on_a_terminal(sandbox, "stop", **environ).startswith("error: cannot act on programs by hand: ")


@pytest.mark.parametrize("group", [(), ("config",), ("config", "import"), ("config", "verify")])
def test_the_lists_of_verbs_are_shown_whole_on_80_columns(sandbox, group):
    text = sandbox.run(*group, "--help", environ={"COLUMNS": "80"}).stdout
    assert "..." not in text.partition("Commands:")[2]


def test_every_verb_says_in_a_narrow_terminal_what_it_does(sandbox):
    """`config` had no sentence of its own for the list, and was cut in the middle of another."""
    text = sandbox.run("--help", environ={"COLUMNS": "60"}).stdout
    assert "..." not in text.partition("Commands:")[2]
    assert "  config       Show, check and edit variables.\n" in text


@pytest.mark.parametrize("verb", [("list",), ("lint",), ("import", "shared", "--plan")])
@pytest.mark.parametrize("option", ["-q", "-v", "--quiet", "--verbose"])
def test_verbosity_may_be_typed_after_a_verb_of_config_too(sandbox, verb, option):
    sandbox.sleeper("api")
    words = ("config", *verb, *(() if verb == ("lint",) else ("--mode", "review")))
    assert sandbox.run(*words, option, tags=()).stdout == sandbox.run(*words, tags=()).stdout


def test_help_tells_exit_codes_and_variables(sandbox):
    assert sandbox.run("--help").stdout.partition("  Exit codes:\n")[2] == (
        "    0 done                    2 the input is wrong        75 try again\n"
        "    1 something failed        3 not converged (status)   124 deadline\n"
        "    70 a bug                  130 interrupted            run: the command's own\n"
        "\n"
        "  Variables:\n"
        "    BOOTSTRAP_ROOT, BOOTSTRAP_STATE   what --root and --state say\n"
        "    BOOTSTRAP_TAG_TIMEOUT             seconds to wait for tags on EC2 (120)\n"
        "    BOOTSTRAP_RPC_TIMEOUT             seconds a supervisor may be silent (15)\n"
        "    BOOTSTRAP_SOURCE_TIMEOUT          seconds that fetching code may take (60)\n"
        "    BOOTSTRAP_CREDENTIALS             deploy keys and tokens for it (/etc/bootstrap/credentials)\n"
        "    NO_COLOR                          no colours\n"
    )


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("statsu", '; did you mean "status"?'),
        ("explain", '; did you mean "config explain"?'),
        ("lint", '; did you mean "config lint"?'),
        ("frobnicate", ""),
    ],
)
def test_a_verb_that_is_none_is_told_the_nearest(sandbox, typed, hint):
    done = sandbox.run(typed, code=2)
    assert done.stderr == f'error: no such verb "{typed}"{hint}\n  see "bootstrap --help"\n'


def test_an_option_that_stands_before_the_verb_says_so_after_it(sandbox):
    done = sandbox.run("status", "--root", ".", code=2)
    assert (
        done.stderr == "error: No such option '--root'. It stands before the verb.\n  see \"bootstrap status --help\"\n"
    )
    done = sandbox.run("config", "sett", "A=1", code=2)
    assert done.stderr == 'error: no such verb "config sett"; did you mean "set"?\n  see "bootstrap config --help"\n'


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("--mode", " It is a tag, and stands before the verb: --tag mode=…"),
        ("--state", " It stands before the verb."),
        ("--tga", " Did you mean --tag?"),
        ("--forec", ""),
    ],
)
def test_what_is_said_of_an_option_that_is_none(sandbox, typed, hint):
    done = sandbox.run("up", f"{typed}=x", code=2)
    assert done.stderr == f"error: No such option '{typed}'.{hint}\n  see \"bootstrap up --help\"\n"


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["generations"], ["--help"]])
def test_an_output_that_takes_no_more_is_no_bug(sandbox, words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            sandbox.words(*words),
            env=sandbox.environ,
            cwd=sandbox.root,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: cannot write to standard output: No space left on device\n")


def test_a_json_option_that_names_a_file_asks_for_no_json(sandbox):
    sandbox.sleeper("api")
    words = ("heroku", "--app", "a", "--service", "api", "--mode", "review", "--json", "missing.json")
    for verb in ("import", "verify"):
        assert sandbox.run("config", verb, *words, code=2).stdout == ""


@pytest.mark.parametrize("verb", ["sv", "chpst", "config", "doctor"])
def test_the_tables_of_a_help_are_tables(sandbox, verb):
    text = sandbox.run(verb, "--help", environ={"COLUMNS": "100"}).stdout
    assert "\\b" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_json_option_of_a_command_that_run_runs_is_not_ours(sandbox):
    sandbox.sleeper("api")
    assert sandbox.run("run", "nobody", "--", "true", "--json", code=2).stdout == ""


def test_an_interrupted_verb_says_what_finishes_it_and_one_that_begins_nothing_does_not(sandbox, tmp_path):
    begin(sandbox)
    sandbox.service("api", "processes: {web: {command: exec sleep 1000, ready: {exec: 'false'}}}\n")
    first = sandbox.start("up")
    wait_until(lambda: sandbox.pids().get("api-web"), "it to be started")
    waiting = sandbox.start("restart")
    assert waiting.stdout.readline().startswith(b'waiting for "bootstrap up"')
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate(timeout=30)[1] == b"\nerror: interrupted; run it again to finish what was begun\n"
    first.send_signal(signal.SIGINT)
    assert first.communicate(timeout=30)[1] == b'\nerror: interrupted; run "bootstrap up" to finish what was begun\n'
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho NEW=1 >> "$1"\n')
    editor.chmod(0o755)
    done = sandbox.run(
        "config", "edit", "--common", code=130, environ={"EDITOR": str(editor)}
    )  # no answer: end of file
    kept, interrupted = done.stderr.splitlines()
    assert (kept.startswith("what you typed is in /"), interrupted) == (True, "error: interrupted")
    shutil.rmtree(os.path.dirname(kept.split()[-1]))


@pytest.mark.parametrize(
    ("words", "environ", "root", "why"),
    [
        (["--root", "/etc"], {}, "/etc", "--root names it"),
        ([], {"BOOTSTRAP_ROOT": "/usr"}, "/usr", "BOOTSTRAP_ROOT names it"),
        (
            [],
            {},
            "/opt/bootstrap",
            "the default, because neither this directory nor one above it has services/ and config/",
        ),
    ],
)
def test_a_root_that_is_none_is_told_with_who_named_it(tmp_path, words, environ, root, why):
    done = subprocess.run(
        [COMMAND, *words, "status"], cwd=tmp_path, env={"PATH": "/usr/bin"} | environ, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f'error: cannot use "{root}" as root: it has no directory "services"\n'
        f"  where: {why}\n"
        "  way out: go to a checkout that has services/ and config/, or name one with --root DIR\n"
    )


def told_of_a_bug():
    try:
        {}["thing"]
    except KeyError as error:
        return main._describe_bug(error)


def test_a_bug_is_told_in_short_and_its_traceback_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told = told_of_a_bug()
    (log,) = tmp_path.iterdir()
    assert told == (
        "this is a bug in bootstrap: KeyError: 'thing'\n"
        f"  where: the traceback is in {log}\n"
        "  way out: please report it; what ran before still runs"
    )
    assert log.read_text().endswith("\nKeyError: 'thing'\n")


def test_a_bug_on_a_disk_that_takes_no_more_is_told_at_length(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    first, where, *traceback, way_out = told_of_a_bug().splitlines()
    assert (first, where) == ("this is a bug in bootstrap: KeyError: 'thing'", "  where: ")
    assert (traceback[-1], way_out) == ("KeyError: 'thing'", "  way out: please report it; what ran before still runs")
