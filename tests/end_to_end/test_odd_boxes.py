"""Boxes that are not quite as the verbs would like them: another user's, half changed, without definitions."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.repository import commit, git
from support.sandbox import wait_until


def readers_code(sandbox, *words):
    """The exit code of a verb whose reader has gone before it prints."""
    readable, writable = os.pipe()
    os.close(readable)
    with open(writable, "wb") as output:
        child = sandbox.start(*words, tags=(), stdout=output, stderr=subprocess.PIPE)
    _, said = child.communicate(timeout=60)
    return child.returncode, said


@pytest.mark.parametrize("words", [["status"], ["--help"], ["config", "list", "--mode", "review"], ["generations"]])
def test_a_reader_who_has_had_enough_is_no_failure(sandbox, words):
    sandbox.sleeper("api")
    sandbox.run("up")
    assert readers_code(sandbox, *words) == (0, b"")


def test_a_reader_who_has_had_enough_undoes_nothing_that_a_verb_does(sandbox):
    sandbox.sleeper("api")
    git(sandbox.root, "init", "--quiet")
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.com")):
        git(sandbox.root, "config", key, value)
    commit(sandbox.root, "Begin")
    assert readers_code(sandbox, "config", "set", "WORD=new", "--common") == (0, b"")
    assert (sandbox.root / "config/common/WORD").read_text() == "new\n"
    assert readers_code(sandbox, "up", "--tag", "mode=review", "--json")[0] == 0
    assert sandbox.pids()
    assert readers_code(sandbox, "up", "--tag", "mode=none", "--json")[0] == 2


def test_what_runs_can_be_looked_at_and_taken_down_without_its_definitions(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    (sandbox.root / "services").rename(sandbox.root / "elsewhere")
    assert sandbox.status()["converged"]
    assert sandbox.run("up", code=2).stderr == (
        f'error: cannot read the services folder "{sandbox.root}/services": No such file or directory\n'
        "  way out: name the directory that holds services/ and config/ with --root DIR\n"
    )
    sandbox.run("down")
    assert sandbox.marked() == {}
    assert sandbox.run("status", code=2).stderr.startswith(f'error: cannot use "{sandbox.root}" as root')


def test_what_could_not_be_replaced_is_shown_as_outdated(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    sandbox.sleeper("api", extra='setup: ["exit 3"]', command="exec sleep 2000")
    sandbox.run("up", code=1)
    done = sandbox.run("status", code=3)
    assert done.stdout.splitlines()[1].split()[:3] == ["api-web", "running", "(outdated)"]
    (program,) = sandbox.status()["programs"]
    assert program["outdated"] is True
    sandbox.sleeper("api", command="exec sleep 2000")
    sandbox.run("up")
    (program,) = sandbox.status()["programs"]
    assert program["outdated"] is False


def test_each_life_belongs_to_the_generation_that_it_was_started_as_part_of(sandbox):
    """Also the one that supervisord begins by itself while the `up` is still waiting."""
    generations = []
    for code in (3, 4):
        sandbox.service(
            "api",
            f"processes:\n  web:\n    command: 'test -e {sandbox.root}/go{code} || exit {code}; exec sleep 1000'\n"
            "    ready: {alive: 500ms}\n    restart: {window: 60s, starts: 50}\n",
        )
        child = sandbox.start("up")
        wait_until(lambda code=code: len(ended(sandbox, code)) >= 3, "it to have died three times")
        (sandbox.root / f"go{code}").touch()
        child.communicate(timeout=60)
        generation = sandbox.status()["generation"]
        assert {life["generation"] for life in ended(sandbox, code)} == {generation}
        generations.append(generation)
    assert generations[0] != generations[1]


def ended(sandbox, code):
    try:
        (program,) = sandbox.run("status", "api-web", "--json", code=None).json["programs"]
    except ValueError:
        return []
    return [life for life in program["lives"] if life["code"] == code]


def test_down_counts_what_ran(sandbox):
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    sandbox.run("up")
    sandbox.run("stop", "web")
    assert sandbox.run("down").stdout.splitlines()[-1].startswith("down: 1 stopped in ")


def test_git_does_not_take_the_state_of_a_box_that_runs(sandbox):
    sandbox.sleeper("api")
    subprocess.run(["git", "init", "--quiet", sandbox.root], check=True)
    sandbox.run("up")
    shown = subprocess.run(
        ["git", "-C", sandbox.root, "status", "--porcelain", "--untracked-files=all"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == "?? services/api/service.yaml\n"
    sandbox.run("down")
    assert {path.name for path in sandbox.state.iterdir()} == {"data", "log"}


def test_instances_can_be_meant_by_the_name_of_their_process(sandbox):
    sandbox.service(
        "api", "processes:\n  job:\n    command: exec sleep 1000\n    instances: 2\n    ready: {alive: 0s}\n"
    )
    sandbox.run("up")
    assert sandbox.run("stop", "api-job").stdout.splitlines()[-1] == "stopped: api-job-1, api-job-2"
    assert "did you mean" in sandbox.run("stop", "api-jib", code=2).stderr
