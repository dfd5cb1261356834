"""`.tool-versions` → which tools in which versions, and where asdf and mise keep them.

Format: a tool and its versions on a line, the one that counts most first; `#` begins a comment (asdf's manual,
"Configuration"; mise reads the same). Both keep a version in `installs/<tool>/<version>` below their data directory.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError, Problem, decode_text
from bootstrap.spelling import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.plan import Plan

FILE = ".tool-versions"
SYSTEM = "system"
PATH = "path:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@:/-]{0,126}", re.ASCII)  # mise's may have a backend: npm:prettier
_VERSION = re.compile(r"(ref:)?[A-Za-z0-9][A-Za-z0-9._+-]{0,126}|path:/[^\0:]*", re.ASCII)
_ALSO = {"nodejs": "node", "golang": "go"}  # what mise calls them


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One version of one tool; ``line`` is where it stands in the file."""

    name: str
    version: str
    line: int

    @property
    def places(self) -> tuple[str, ...]:
        """Where it would stand, below ``installs``."""
        folder = self.version.replace(":", "-", 1)
        name = re.sub("[:/]", "-", self.name)
        return tuple(f"{known}/{folder}" for known in (name, _ALSO.get(name)) if known is not None)


def parse_tool_versions(content: bytes) -> tuple[Tool, ...]:
    """In the order of the file; raises FlawedError with every problem."""
    tools: list[Tool] = []
    problems: list[Problem] = []
    for number, line in enumerate(decode_text(content).splitlines(), start=1):
        name, *versions = line.partition("#")[0].split() or [""]
        if not name:
            continue
        problems += [Problem(line=number, text=text) for text in _judge(name, versions)]
        tools += [Tool(name=name, version=version, line=number) for version in versions]
    if problems:
        raise FlawedError(*problems)
    return tuple(tools)


def place_tools(plan: Plan, directories: Mapping[str, tuple[str, ...]]) -> Plan:
    """The same plan; ``directories`` go in front of PATH, by program name."""
    programs = tuple(
        replace(program, service=replace(program.service, tools=directories[program.name]))
        if directories.get(program.name)
        else program
        for program in plan.programs
    )
    return replace(plan, programs=programs)


def _judge(name: str, versions: list[str]) -> list[str]:
    if not _NAME.fullmatch(name):
        return [f"should begin with the name of a tool, not {quoted(name)}"]
    if not versions:
        return [f"names no version of {name}"]
    return [f"{quoted(version)} is no version of {name}" for version in versions if not _VERSION.fullmatch(version)]
