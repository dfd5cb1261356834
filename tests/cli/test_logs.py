"""``bootstrap logs`` as a user sees it, on a terminal, in a pipe and as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bootstrap.box import Box
from bootstrap.cli.logs import logs
from bootstrap.cli.settings import Settings
from bootstrap.errors import TagError


@pytest.fixture
def box(tmp_path):
    made = Box(root=str(tmp_path), state=str(tmp_path / "state"))
    for path in (made.services, made.config, made.log):
        Path(path).mkdir(parents=True)
    return made


@pytest.fixture
def stack(box):
    """Three programs of two services have run."""
    for service in ("api", "api-v2", "router"):
        (Path(box.services) / service).mkdir()
    write(box, "api-web", b"one\ntwo\n")
    write(box, "api-worker", b"job 1\n")
    write(box, "api-v2-web", b"new\n")
    write(box, "supervisord", b"spawned: everything\n")
    (Path(box.log) / "api.setup.log").write_bytes(b"migrated\n")
    return box


def write(box, program, content):
    with Path(box.program_log(program)).open("ab") as file:
        file.write(content)


def run(box, *words, verbosity=0):
    return CliRunner().invoke(logs, words, obj=Settings(box=box, verbosity=verbosity))


def shown(box, *words):
    result = run(box, *words)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def test_all_programs_are_shown_one_after_the_other(stack):
    assert shown(stack) == ("api-v2-web  | new\napi-web     | one\napi-web     | two\napi-worker  | job 1\n")


def test_so_many_lines_of_each_are_shown(stack):
    assert shown(stack, "-n", "1", "api-web", "api-worker") == "api-web     | two\napi-worker  | job 1\n"


def test_a_program_is_named_fully(stack):
    assert shown(stack, "api-web") == "api-web  | one\napi-web  | two\n"


def test_a_program_is_named_by_its_service_and_not_by_one_that_begins_alike(stack):
    assert shown(stack, "-n1", "api") == "api-web     | two\napi-worker  | job 1\n"
    assert shown(stack, "api-v2") == "api-v2-web  | new\n"


def test_a_service_whose_folder_is_gone_still_has_its_logs(box):
    write(box, "old-web", b"bye\n")
    assert shown(box, "old") == "old-web  | bye\n"


def test_a_program_is_named_by_a_glob(stack):
    assert shown(stack, "*-web") == "api-v2-web  | new\napi-web     | one\napi-web     | two\n"


def test_a_program_that_is_named_twice_is_shown_once(stack):
    assert shown(stack, "api-worker", "api-work*") == "api-worker  | job 1\n"


def test_unknown_names_are_refused_all_at_once_with_the_nearest(stack):
    result = run(stack, "api-wbe", "api-web", "routre")
    assert result.stdout == ""
    assert isinstance(result.exception, TagError)
    assert result.exception.exit_code == 2
    assert str(result.exception) == (
        'cannot find program "api-wbe": nothing of that name here; did you mean "api-web"?\n'
        'cannot find program "routre": nothing of that name here '
        "(programs: api-v2-web, api-web, api-worker)"
    )


def test_a_box_that_has_written_nothing_says_so(box):
    result = run(box)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing has been written yet\n")


def test_a_box_without_a_state_says_so(tmp_path):
    result = run(Box(root=str(tmp_path), state=str(tmp_path / "state")))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing has been written yet\n")


def test_a_quiet_run_does_not_even_say_that(box):
    assert run(box, verbosity=-1).stderr == ""


def test_what_drives_a_terminal_is_shown_instead(box):
    write(box, "api-web", b"\x1b]0;owned\x07\tred\r\nover\rwritten\xff\n")
    assert shown(box) == "api-web  | \\x1b]0;owned\\x07\tred\napi-web  | over\\x0dwritten\\xff\n"


def test_json_is_one_document_with_what_was_written(stack):
    write(stack, "api-worker", b"\x1b[31m \xc3\xbc \xff\n")
    assert json.loads(shown(stack, "--json", "api")) == {
        "programs": [
            {"name": "api-web", "lines": ["one", "two"]},
            {"name": "api-worker", "lines": ["job 1", "\x1b[31m ü \\xff"]},
        ]
    }


def test_json_of_nothing_is_a_document_too(box):
    assert json.loads(shown(box, "--json")) == {"programs": []}


def test_following_as_json_is_refused(stack):
    result = run(stack, "-f", "--json")
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: cannot follow logs as JSON: --json is one document, and -f has no end\n"
        "  way out: leave out one of the two\n"
    )


@pytest.mark.parametrize("lines", ["-1", "many", "99999999999999999999"])
def test_a_number_of_lines_that_is_none_is_refused(stack, lines):
    assert run(stack, "-n", lines).exit_code == 2


def test_a_log_directory_that_cannot_be_listed_is_said(box):
    Path(box.log).rmdir()
    Path(box.log).write_text("not a directory")
    result = run(box)
    assert str(result.exception) == (
        f'cannot read "{box.log}": Not a directory\n'
        "  what runs goes on; way out: mend the disk or its permissions and run the command again"
    )


# as a process


@pytest.fixture
def logged(sandbox):
    Path(sandbox.box.log).mkdir(parents=True)
    write(sandbox.box, "api-web", b"one\n")
    return sandbox


def test_following_shows_what_is_written_and_ends_well_with_ctrl_c(logged):
    child = logged.start("logs", "-f")
    assert child.stdout.readline() == b"api-web  | one\n"
    write(logged.box, "api-web", b"two\n")
    assert child.stdout.readline() == b"api-web  | two\n"
    write(logged.box, "router-web", b"a program that came later\n")
    assert child.stdout.readline() == b"router-web  | a program that came later\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=30) == (b"", b"")
    assert child.returncode == 0


def test_following_can_begin_before_anything_runs(sandbox):
    child = sandbox.start("logs", "-f", stderr=subprocess.DEVNULL)
    Path(sandbox.box.log).mkdir(parents=True)
    write(sandbox.box, "api-web", b"one\n")
    assert child.stdout.readline() == b"api-web  | one\n"


def test_following_ends_when_the_reader_goes_away_although_nothing_is_written(logged):
    child = logged.start("logs", "-f")
    assert child.stdout.readline() == b"api-web  | one\n"
    child.stdout.close()
    assert child.wait(timeout=30) == 0
    assert child.stderr.read() == b""


def test_a_pipe_that_is_closed_ends_it_quietly(logged):
    write(logged.box, "api-web", b"a line of some length\n" * 50_000)
    child = logged.start("logs", "-n", "50000")
    assert child.stdout.readline() == b"api-web  | a line of some length\n"
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(timeout=30) == 0


def on_a_terminal(sandbox, **environ):
    ours, theirs = os.openpty()
    environ = {**sandbox.environ, "TERM": "xterm", **environ}
    subprocess.run(sandbox.words("logs"), stdin=theirs, stdout=theirs, stderr=theirs, env=environ, check=True)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        return b"".join(iter(lambda: read_or_end(terminal), b"")).decode()


def read_or_end(terminal):
    try:
        return terminal.read(65536)
    except OSError:  # EIO: nothing is left of what a side that has gone wrote
        return b""


def test_a_terminal_gets_a_colour_for_each_program(logged):
    write(logged.box, "router-web", b"\x1b[31mred\n")
    assert on_a_terminal(logged) == (
        "\x1b[36mapi-web     | \x1b[0mone\r\n\x1b[33mrouter-web  | \x1b[0m\\x1b[31mred\r\n"
    )


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_gets_no_colour_when_somebody_wants_none(logged, environ):
    assert on_a_terminal(logged, **environ) == "api-web  | one\r\n"


def test_an_encoding_without_the_character_gets_its_escape(logged):
    write(logged.box, "api-web", "漢\n".encode())
    done = logged.run("logs", "-n1", environ={"PYTHONIOENCODING": "ascii"})
    assert done.stdout == "api-web  | \\u6f22\n"


def test_unknown_names_exit_with_2(logged):
    done = logged.run("logs", "api-wbe", code=2)
    assert done.stdout == ""
    assert done.stderr == ('error: cannot find program "api-wbe": nothing of that name here; did you mean "api-web"?\n')


def test_programs_that_run_are_named_by_their_service(sandbox):
    sandbox.sleeper("api", command="echo started; exec sleep 1000", ready="{log: started}")
    sandbox.run("up")
    assert sandbox.run("logs", "api").stdout == "api-web  | started\n"


def test_the_help_has_an_example():
    assert "Example: bootstrap logs -f api 'router-*'" in CliRunner().invoke(logs, ["--help"]).output
