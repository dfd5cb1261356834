"""Commands of the plan: whether what they start is there, as far as that can be known without a shell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.command import program_of
from bootstrap.definition import Exec
from bootstrap.diagnosis import Finding, describe_problems, fail, ok
from bootstrap.generation import working_directory
from bootstrap.spelling import quoted
from bootstrap.world import preflight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.plan import Plan, Program
    from bootstrap.variable import Environment

_BUILTINS = {"getopts", "hash", "jobs", "kill", "pwd", "times", "type"}  # of sh, where nothing puts an exec before them
_WAY_OUT = "install it, or correct the command"


def examine(plan: Plan, environments: Mapping[str, Environment]) -> Iterator[Finding]:
    """Commands, stop scripts, probes and setup, in the directory and with the PATH of their program."""
    fetched = {program.service.name for program in plan.programs if _is_to_be_fetched(program)}
    for service in sorted(fetched):
        yield ok(f"the code of {service} is not here yet: up brings it, and its commands are not looked at")
    here = [program for program in plan.programs if program.service.name not in fetched]
    known = {p.name: {"directory": working_directory(p), "file": p.service.file} for p in here}
    problems = [*_describe_directories(known), *_describe_commands(here, environments)]
    yield from problems
    if here and not problems:
        yield ok(f"directories and commands of {len(here)} program{'' if len(here) == 1 else 's'} are there")


def _is_to_be_fetched(program: Program) -> bool:
    return program.service.source is not None and not os.path.isdir(program.service.folder)


def _describe_directories(known: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    for problem in preflight.find_missing_directories(known):
        yield from describe_problems(problem)


def _describe_commands(programs: list[Program], environments: Mapping[str, Environment]) -> Iterator[Finding]:
    """What several programs of a service have in common is told once."""
    told = set()
    for program in programs:
        directory = working_directory(program)
        path = environments[program.name].variables.get("PATH")
        for key, line in _lines_of(program):
            word = program_of(line)
            if word is None or not os.path.isdir(directory) or _is_there(word, directory, path and path.value):
                continue
            where = f"{program.service.file}: {key}"
            if (word, where) not in told:
                told.add((word, where))
                cause, way_out = _describe_absence(word, directory)
                yield fail(f'cannot run {quoted(word)} for "{program.name}": {cause}', way_out, where)


def _describe_absence(word: str, directory: str) -> tuple[str, str]:
    """The cause and the way out."""
    if "/" not in word:
        return "there is no such program on its PATH", _WAY_OUT
    file = os.path.normpath(os.path.join(directory, word))
    if os.path.isfile(file):
        return f"{file} can't be executed", f"chmod +x {file}"
    return f"there is no such program in {directory}", _WAY_OUT


def _lines_of(program: Program) -> Iterator[tuple[str, str]]:
    """Lines of sh that are run for it, with the key that they stand at."""
    process = program.process
    at = f"processes/{process.name}"
    yield f"processes/{process.name.removesuffix('-log')}/log" if program.writer else f"{at}/command", process.command
    others = [("setup", line) for line in program.service.setup]
    if process.stop.script is not None:
        others.append((f"{at}/stop", process.stop.script))
    probes = [(f"{at}/ready", process.ready), (f"{at}/check", process.check.probe if process.check else None)]
    others += [(key, probe.command) for key, probe in probes if isinstance(probe, Exec)]
    yield from ((key, line) for key, line in others if program_of(line) not in _BUILTINS)


def _is_there(word: str, directory: str, path: str | None) -> bool:
    """As sh looks for it, relative entries of PATH in the working directory; without any PATH it has one of its own."""
    if path is None and "/" not in word:
        return True
    places = [""] if path is None or "/" in word else path.split(":")
    found = (os.path.join(directory, place, word) for place in places)
    return any(os.path.isfile(file) and os.access(file, os.X_OK) for file in found)
