"""The README's transcripts, typed one after the other into a fresh checkout, in a network of their own."""

from __future__ import annotations

import re

import pytest

from support.checkout import ROOT, make_checkout, run_all

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
SAME = [
    (re.compile(r"generation [0-9a-f]{16}"), "generation G"),
    (re.compile(r"ready( after [0-9.]+ s)?$"), "ready"),
    (re.compile(r"[0-9]+(\.[0-9])? s"), "T"),
    (re.compile(r"  [0-9]+ +T +"), "  PID  T  "),
    (re.compile(r" +PID +AGE +"), "  PID  AGE  "),
]


def transcript():
    """Pairs of a command and what it prints."""
    text = "".join(BLOCK.findall((ROOT / "README.md").read_text()))
    for part in text.split("$ ")[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def alike(output):
    """Without what differs from run to run; what happens at the same time has no order."""
    lines = output.splitlines()
    for pattern, word in SAME:
        lines = [pattern.sub(word, line) for line in lines]
    return sorted(line.rstrip() for line in lines)


@pytest.fixture
def checkout(tmp_path):
    return make_checkout(tmp_path)


def test_every_transcript_is_what_really_happens(checkout):
    wanted = list(transcript())
    assert len(wanted) >= 9
    outputs = run_all(checkout, [command for command, _ in wanted])
    for (command, expected), output in zip(wanted, outputs, strict=True):
        assert alike(output) == alike(expected), f"$ {command}\n{output}"


def test_the_page_shows_what_postgresql_holds_and_a_second_up_keeps_every_pid(checkout):
    fetch = "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').read().decode())\""
    add = (
        "python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8080/todos', "
        "b'title=Water+the+plants&added_by=Ada').read()\""
    )
    pids = "bootstrap status --json | grep '\"pid\"'"
    up, _, page, before, again, after = run_all(checkout, ["bootstrap up", add, fetch, pids, "bootstrap up", pids])
    assert "done: 5 started" in up
    assert "Water the plants" in page
    assert "Ada" in page
    assert "PostgreSQL 1" in page
    assert again.startswith("nothing to do: 5 programs as they should be")
    assert before == after
    assert before.count("pid") == 5
