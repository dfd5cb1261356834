"""Everything below ``config/`` and all that boxes could make of it → findings.

What only one layer is needed for is judged setting by setting (``lint_values.py``), what lies over what environment by
environment (``lint_environments.py``). This module knows the repository as a whole.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from bootstrap.config.finding import Finding
from bootstrap.config.lint_environments import judge_environments, readers_of
from bootstrap.config.lint_guard import judge_guards
from bootstrap.config.lint_values import judge_values
from bootstrap.config.misplaced import judge_dotenvs, judge_folder, judge_procfiles, judge_top, possible_layers
from bootstrap.frozen import dataclass
from bootstrap.spelling import did_you_mean, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from bootstrap.config.guard import Guard
    from bootstrap.config.misplaced import Misplaced
    from bootstrap.config.survey import Surveyed, Unplannable
    from bootstrap.definition import Catalog
    from bootstrap.environ import Layering
    from bootstrap.variable import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """All that lint looks at; ``layering`` holds every directory that is there or is read by somebody."""

    catalog: Catalog
    layering: Layering
    surveyed: Sequence[Surveyed]
    unplannable: Sequence[Unplannable] = ()
    folders: Collection[str]  # below config/, that hold something
    cut: Collection[str]  # files with more than the one line that counts
    dotenvs: Collection[str] = ()  # files of layers such as .env.local
    top: Collection[str] = ()  # files directly in config/
    procfiles: Collection[str] = ()  # services that have a Procfile beside their service.yaml
    guards: Mapping[str, Guard] = field(default_factory=dict)


def lint_repository(repository: Repository) -> list[Finding]:
    """Every finding, in the order of files and lines."""
    readers = readers_of(repository.surveyed)
    findings = {
        *judge_environments(repository.catalog, repository.layering, repository.surveyed, readers),
        *judge_values(repository.catalog, repository.layering, repository.surveyed, repository.cut),
        *judge_guards(repository.guards, repository.catalog, repository.layering, repository.surveyed),
        *_unread_layers(repository, readers),
        *_misplaced(repository),
        *_unknown_services(repository),
        *_unplannable(repository),
    }
    return sorted(findings, key=lambda finding: (finding.file, finding.line, finding.rule, finding.text))


def _unplannable(repository: Repository) -> Iterator[Finding]:
    """A warning where only modes that run everything are meant: nobody has to use those."""
    modes: dict[str, list[Unplannable]] = {}
    for one in repository.unplannable:
        for problem in one.problems:
            modes.setdefault(problem, []).append(one)
    for problem, meant in modes.items():
        text, where, way_out = (line.strip() for line in problem.split("\n"))
        *others, file = where.removeprefix("where: ").split(", ")
        beside = f" ({', '.join(others)})" if others else ""
        yield Finding(
            rule="unplannable",
            severity="warning" if all(one.service is None for one in meant) else "error",
            file=file,
            line=0,
            text=f"in {', '.join(dict.fromkeys(one.mode for one in meant))}: {text}{beside}",
            way_out=way_out.removeprefix("way out: "),
        )


def _unread_layers(repository: Repository, readers: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    """What would be read if it could be planned is not what is wrong."""
    order, catalog = repository.layering.order, repository.catalog
    meant = {name for one in repository.unplannable for name in possible_layers(order, catalog, one.mode, one.service)}
    for name in repository.folders:
        layer: Layer = repository.layering.layers[name]
        if layer.name in readers or name in meant:
            continue
        known = {reader.removeprefix("config/") for reader in readers if reader.startswith("config/")}
        yield _finding("unread-layer", judge_folder(name, known))


def _misplaced(repository: Repository) -> Iterator[Finding]:
    found = (*judge_top(repository.top), *judge_dotenvs(repository.dotenvs), *judge_procfiles(repository.procfiles))
    for one in found:
        yield _finding("misplaced", one)


def _finding(rule: str, one: Misplaced) -> Finding:
    return Finding(rule=rule, severity=one.severity, file=one.place, line=0, text=one.text, way_out=one.way_out)


def _unknown_services(repository: Repository) -> Iterator[Finding]:
    services = repository.catalog.services
    for rule in repository.layering.rules.values():
        for name in rule.required if isinstance(rule.required, tuple) else ():
            if name not in services:
                yield Finding(
                    rule="schema",
                    severity="error",
                    file="config/schema.yaml",
                    line=rule.line,
                    key=rule.key,
                    text=f"{rule.key} is required by {quoted(name)}, and there is no such service"
                    f"{did_you_mean(name, services)} (services: {listed(services)})",
                    way_out="correct the name",
                )
