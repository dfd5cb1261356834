"""Files of ``services/`` → definitions.

YAML is read strictly: unknown, duplicate or wrongly typed keys, aliases and cycles are errors with file, path and the
nearest valid spelling; all of them are reported at once. Scalars are read by the type that their key expects, never by
YAML's own guesses (``no`` is text where text is expected, ``0123`` is no number).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.definition import Catalog, Mode, Service, program_names
from bootstrap.errors import DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.reading.problem import FlawedError, Problem, decode_text, render_problems
from bootstrap.reading.procfile import parse_procfile, procfile_port, procfile_problems
from bootstrap.reading.scalars import NAME_TEXT, TEXT, choice
from bootstrap.reading.schema import Keys, read_entries, read_fields
from bootstrap.reading.service_directory import parse_service_directory
from bootstrap.reading.service_file import read_service
from bootstrap.reading.strict_yaml import NOTHING, Node, Scalar, line_of, parse_yaml
from bootstrap.spelling import or_list, quoted
from bootstrap.waves import find_cycles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODES_FILE = "services/modes.yaml"
MODES = (
    Mode(name="development", runs="everything", description="Every service, on a developer's machine"),
    Mode(name="review", runs="everything", description="Every service and what backs it, on one box"),
    Mode(name="staging", runs="one", description="One service, as in production"),
    Mode(name="production", runs="one", description="One service"),
)
_MODE: Keys = {"runs": ("runs", choice("everything", "one")), "description": ("description", TEXT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The definition files of a root: path relative to the root (``services/api/service.yaml``) → content."""

    root: str  # absolute
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """One service, with problems or not; the nodes know the lines."""

    service: Service
    node: Node
    problems: list[Problem]


def parse_catalog(sources: Sources) -> Catalog:
    """Read every file; raises DefinitionError with all problems of all of them."""
    drafts = _read_drafts(sources)
    for draft in drafts.values():
        draft.problems.extend(_unknown_needs(draft, drafts))
    for name, problem in (*_cycles(drafts), *_equal_programs(drafts)):
        drafts[name].problems.append(problem)
    modes, mode_problems = _read_modes(sources)
    problems = render_problems(MODES_FILE, mode_problems)
    for draft in drafts.values():
        problems += render_problems(draft.service.file, draft.problems)
    if problems:
        raise DefinitionError(*problems)
    return Catalog(services={name: draft.service for name, draft in drafts.items()}, modes=modes)


def parse_modes(sources: Sources) -> dict[str, Mode]:
    """The modes alone, whatever is wrong with the services; raises DefinitionError."""
    modes, problems = _read_modes(sources)
    if problems:
        raise DefinitionError(*render_problems(MODES_FILE, problems))
    return modes


def _read_drafts(sources: Sources) -> dict[str, _Draft]:
    files = sorted((file for file in sources.files if file != MODES_FILE), key=lambda file: file.split("/"))
    procfiles = [file for file in files if file.endswith("/Procfile")]
    ports = {file: procfile_port(index) for index, file in enumerate(procfiles)}
    drafts = (_read_draft(sources, file, ports.get(file)) for file in files)
    return {draft.service.name: draft for draft in drafts}


def _read_draft(sources: Sources, file: str, port: int | None) -> _Draft:
    """``port`` is given for a Procfile."""
    path, _, _ = file.rpartition("/")
    name, folder = path.removeprefix("services/"), f"{sources.root}/{path}"
    try:
        text = decode_text(sources.files[file])
        node, problems = _parse(file, text, port)
    except FlawedError as flaw:
        nothing = Service(name=name, file=file, folder=folder, processes={})
        return _Draft(service=nothing, node=NOTHING, problems=list(flaw.problems))
    service, wrong = read_service(name, file, folder, node)
    problems = procfile_problems(problems, wrong) if port is not None else wrong
    return _Draft(service=service, node=node, problems=problems)


def _parse(file: str, text: str, port: int | None) -> tuple[Node, list[Problem]]:
    if port is not None:
        return parse_procfile(text, port)
    return (parse_yaml(text) if file.endswith(".yaml") else parse_service_directory(text)), []


def _unknown_needs(draft: _Draft, known: Mapping[str, _Draft]) -> Iterator[Problem]:
    for index, need in enumerate(draft.service.needs):
        if need not in known:
            path = ("needs", str(index))
            text = f"no service is called {quoted(need)}{or_list(need, known, 'services')}"
            yield Problem(line=line_of(draft.node, *path), path=path, text=text)


def _cycles(drafts: Mapping[str, _Draft]) -> Iterator[tuple[str, Problem]]:
    for cycle in find_cycles({name: draft.service.needs for name, draft in drafts.items()}):
        line = line_of(drafts[cycle[0]].node, "needs")
        text = f"cycle {' → '.join(cycle)}; none of them could start first"
        yield cycle[0], Problem(line=line, path=("needs",), text=text)


def _equal_programs(drafts: Mapping[str, _Draft]) -> Iterator[tuple[str, Problem]]:
    taken: dict[str, tuple[str, str]] = {}
    for name, draft in drafts.items():
        for process in draft.service.processes.values():
            for program in program_names(name, process.name, process.instances):
                service, other = taken.setdefault(program, (name, process.name))
                if (service, other) == (name, process.name):
                    continue
                path = ("processes", process.name)
                text = (
                    f'program "{program}" is also process "{other}" of service "{service}" '
                    f"({drafts[service].service.file}); rename one of them"
                )
                yield name, Problem(line=line_of(draft.node, *path), path=path, text=text)


def _read_modes(sources: Sources) -> tuple[dict[str, Mode], tuple[Problem, ...]]:
    """The built-in modes, and over them those of the file."""
    modes = {mode.name: mode for mode in MODES}
    content = sources.files.get(MODES_FILE)
    if content is None:
        return modes, ()
    try:
        node = parse_yaml(decode_text(content))
        return modes | ({} if node is NOTHING else read_entries(node, _read_mode)), ()
    except FlawedError as flaw:
        return modes, flaw.problems


def _read_mode(key: Scalar, node: Node) -> Mode:
    NAME_TEXT(key)
    values, problems = read_fields(node, _MODE, "runs")
    if problems:
        raise FlawedError(*problems)
    return Mode(name=key.text, **values)
