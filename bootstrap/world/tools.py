"""The languages that a service's `.tool-versions` asks for, where mise or asdf has installed them.

Neither is run: what they have installed stands in one directory for each version, and that goes in front of PATH. Where
neither is installed the file is nobody's; where one is, a version that is missing is an error, for the program would
otherwise run with whatever else is called `python` here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError, render_problems
from bootstrap.reading.tool_versions import FILE, PATH, SYSTEM, Tool, parse_tool_versions, place_tools
from bootstrap.spelling import quoted
from bootstrap.world.sources import read_definition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.box import Box
    from bootstrap.definition import Service
    from bootstrap.plan import Plan
    from bootstrap.variable import Account

_VARIABLES = {"mise": "MISE_DATA_DIR", "asdf": "ASDF_DATA_DIR"}
_PLACES = (
    ("mise", "{home}/.local/share/mise"),
    ("asdf", "{home}/.asdf"),
    ("mise", "/usr/local/share/mise"),
    ("mise", "/opt/mise"),
    ("asdf", "/opt/asdf"),
)
_BINARIES = ("bin", "go/bin")  # the second is where asdf's golang has it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Installer:
    """mise or asdf, as far as we use it: a directory."""

    name: str
    data: str

    def find(self, tool: Tool) -> str | None:
        return next((path for place in tool.places if os.path.isdir(path := f"{self.data}/installs/{place}")), None)

    def install_line(self, tool: Tool) -> str:
        between = "@" if self.name == "mise" else " "
        return f"{_VARIABLES[self.name]}={self.data} {self.name} install {tool.name}{between}{tool.version}"


def bring_tools(
    box: Box,
    plan: Plan,
    accounts: Mapping[str, Account],
    environ: Mapping[str, str] = os.environ,
    *,
    strict: bool = True,
) -> Plan:
    """The plan with the directories of the tools; raises DefinitionError with all problems, if ``strict``.

    ``accounts`` are by program name: who has installed something at home has it there.
    """
    by_home = {account.home: tuple(_installers(account.home, environ)) for account in accounts.values()}
    if not any(by_home.values()):
        return plan
    directories: dict[str, tuple[str, ...]] = {}
    problems: dict[str, None] = {}  # once for all programs of a service
    for program in plan.programs:
        try:
            directories[program.name] = _look_up(box, program.service, by_home[accounts[program.name].home])
        except DefinitionError as error:
            problems |= dict.fromkeys(error.problems)
    if problems and strict:
        raise DefinitionError(*problems)
    return place_tools(plan, directories)


def asks_for_tools(plan: Plan) -> bool:
    """Whether what is installed matters: it may change, and nothing below the root would tell."""
    return any(os.path.lexists(f"{program.service.folder}/{FILE}") for program in plan.programs)


def _installers(home: str, environ: Mapping[str, str]) -> Iterator[_Installer]:
    """What is named first, then what the user has, then what everybody has."""
    named = [(name, environ.get(variable, "")) for name, variable in _VARIABLES.items()]
    usual = [(name, place.format(home=home)) for name, place in _PLACES]
    for name, data in dict.fromkeys([*named, *usual]):
        if os.path.isabs(data) and ":" not in data and os.path.isdir(f"{data}/installs"):
            yield _Installer(name=name, data=data)


def _look_up(box: Box, service: Service, installers: tuple[_Installer, ...]) -> tuple[str, ...]:
    tools, file = _read(box, service) if installers else ((), "")
    found: list[str] = []
    problems: list[str] = []
    for tool in tools:
        if tool.version == SYSTEM:
            continue
        home = tool.version.removeprefix(PATH) if tool.version.startswith(PATH) else _find(tool, installers)
        if home is None or not os.path.isdir(home):
            problems.append(_describe_missing(service, tool, file, installers))
        else:
            found += _binaries(home)
    if problems:
        raise DefinitionError(*problems)
    return tuple(found)


def _read(box: Box, service: Service) -> tuple[tuple[Tool, ...], str]:
    """The tools, and what to call the file; there may be no folder yet, or no file."""
    path = f"{service.folder}/{FILE}"
    shown = os.path.relpath(path, box.root) if path.startswith(f"{box.root}/") else path
    try:
        folder = os.open(service.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return (), shown
    try:
        return parse_tool_versions(read_definition(folder, FILE, shown)), shown
    except FileNotFoundError:
        return (), shown
    except FlawedError as flaw:
        raise DefinitionError(*render_problems(shown, flaw.problems)) from None
    finally:
        os.close(folder)


def _find(tool: Tool, installers: tuple[_Installer, ...]) -> str | None:
    return next((home for installer in installers if (home := installer.find(tool)) is not None), None)


def _binaries(home: str) -> list[str]:
    return [path for name in _BINARIES if os.path.isdir(path := f"{home}/{name}")] or [home]


def _describe_missing(service: Service, tool: Tool, file: str, installers: tuple[_Installer, ...]) -> str:
    said = f"cannot run service {quoted(service.name)}: {tool.name} {tool.version} is not installed\n"
    said += f"  where: {file}:{tool.line}\n"
    if tool.version.startswith(PATH):
        return f"{said}  way out: put it into that directory, or name another one"
    return (
        f"{said}"
        f"  looked in {', '.join(f'{installer.data}/installs' for installer in installers)}\n"
        f"  way out: {installers[0].install_line(tool)}"
    )
