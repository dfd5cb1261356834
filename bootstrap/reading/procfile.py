"""A Procfile → the nodes that a service.yaml of the same meaning would have.

Heroku's format: `name: command` a line, comments and blank lines between them. `release` is what Heroku runs to
completion before the new processes: it becomes the service's setup. Only `web` is given a port.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bootstrap.reading.problem import FlawedError, Problem
from bootstrap.reading.schema import MOST
from bootstrap.reading.strict_yaml import List, Map, Node, Scalar
from bootstrap.spelling import quoted

FIRST_PORT = 5000
PORTS_PER_SERVICE = 100
_LINE = re.compile(r"([A-Za-z0-9_-]+)[ \t]*:[ \t]*(.*)", re.DOTALL)


def parse_procfile(text: str, port: int) -> tuple[Map, list[Problem]]:
    """The definition, and what is wrong with it as a Procfile; names and commands are judged by who reads the nodes."""
    lines: dict[str, int] = {}
    processes: list[tuple[Node, Node]] = []
    setup: list[Node] = []
    problems = []
    written = _meaningful_lines(text)
    if len(written) > MOST:
        raise FlawedError(Problem(line=1, text=f"should hold {MOST} entries at most, not {len(written)}"))
    for number, line in written:
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(Problem(line=number, text=f'should be "name: command", not {quoted(line)}'))
            continue
        name, command = match[1], Scalar(match[2], number)
        if name in lines:
            twice = f"stands twice, first in line {lines[name]}"
            problems.append(Problem(line=number, path=(name,), text=twice))
            continue
        lines[name] = number
        if name == "release":
            setup.append(command)
        else:
            processes.append((Scalar(name, number), _process(name, command, port)))
    return Map(
        entries=(
            (Scalar("processes", 1), Map(tuple(processes), 1)),
            (Scalar("setup", 1), List(tuple(setup), 1)),
        ),
        line=1,
    ), problems


def procfile_problems(as_procfile: list[Problem], as_definition: list[Problem]) -> list[Problem]:
    """The problems of both readings, under the names that stand in the Procfile."""
    problems = [*as_procfile]
    for problem in as_definition:
        match problem.path:
            case ("processes", name, *_):
                problems.append(replace(problem, path=(name,)))
            case ("setup", *_):
                problems.append(replace(problem, path=("release",)))
            case _ if not as_procfile:  # no process at all: said already, when there are lines that could not be read
                problems.append(replace(problem, path=()))
    return problems


def procfile_port(index: int) -> int:
    """The port of `web` for the n-th service, by name, that has a Procfile."""
    return FIRST_PORT + PORTS_PER_SERVICE * index


def _meaningful_lines(text: str) -> list[tuple[int, str]]:
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _process(name: str, command: Scalar, port: int) -> Map:
    entries: list[tuple[Node, Node]] = [(Scalar("command", command.line), command)]
    if name == "web":
        entries.append((Scalar("port", command.line), Scalar(str(port), command.line)))
    return Map(tuple(entries), command.line)
