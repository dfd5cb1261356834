"""Everything below ``config/`` and all that boxes could make of it → findings.

What only one layer is needed for is judged setting by setting (``lint_values.py``), what lies over what environment by
environment (``lint_environments.py``). This module knows the repository as a whole.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from bootstrap.finding import Finding
from bootstrap.frozen import dataclass
from bootstrap.lint_environments import judge_environments, readers_of
from bootstrap.lint_guard import judge_guards
from bootstrap.lint_values import judge_values
from bootstrap.misplaced import judge_folder, judge_procfiles, judge_top
from bootstrap.spelling import did_you_mean, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from bootstrap.definition import Catalog
    from bootstrap.guard import Guard
    from bootstrap.misplaced import Misplaced
    from bootstrap.survey import Surveyed
    from bootstrap.variable import Layer, Layering


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """All that lint looks at; ``layering`` holds every directory that is there or is read by somebody."""

    catalog: Catalog
    layering: Layering
    surveyed: Sequence[Surveyed]
    folders: Collection[str]  # below config/, that hold something
    cut: Collection[str]  # files with more than the one line that counts
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
    }
    return sorted(findings, key=lambda finding: (finding.file, finding.line, finding.rule, finding.text))


def _unread_layers(repository: Repository, readers: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    for name in repository.folders:
        layer: Layer = repository.layering.layers[name]
        if layer.name in readers:
            continue
        known = {reader.removeprefix("config/") for reader in readers if reader.startswith("config/")}
        yield _finding("unread-layer", judge_folder(name, known))


def _misplaced(repository: Repository) -> Iterator[Finding]:
    for one in (*judge_top(repository.top), *judge_procfiles(repository.procfiles)):
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
