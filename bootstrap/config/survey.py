"""Definitions + layers → every environment that any box of this repository could have.

Modes that run everything are planned once, modes that run one service once for each service that is not backing. Of
several instances the first stands for all. References stay unresolved, and users of other machines are not looked up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.environ import Layering, layer_environments, layer_names, needed_references
from bootstrap.errors import DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.identity import Identity
from bootstrap.plan import resolve_plan
from bootstrap.variable import Account

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.box import Box
    from bootstrap.definition import Catalog
    from bootstrap.plan import Plan, Program
    from bootstrap.variable import Environment, Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """One program in one mode, and what it would find in its environment."""

    mode: str
    program: Program
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything that one state of the configuration means."""

    catalog: Catalog
    plans: tuple[Plan, ...]
    layering: Layering
    surveyed: tuple[Surveyed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplannable:
    """A mode, or a service in one, that no box can be for: two programs on one port, for example."""

    mode: str
    service: str | None  # where the mode runs one
    problems: tuple[str, ...]


def plan_modes(catalog: Catalog) -> tuple[list[Plan], list[Unplannable]]:
    """A plan for every mode, and where a mode runs one service for each; with them those that cannot be planned."""
    plans: list[Plan] = []
    unplannable: list[Unplannable] = []
    for identity in _identities(catalog):
        try:
            plans.append(resolve_plan(identity, catalog))
        except DefinitionError as error:
            unplannable.append(Unplannable(mode=identity.mode, service=identity.service, problems=error.problems))
    return plans, unplannable


def all_layer_names(plans: list[Plan], order: tuple[str, ...]) -> dict[str, None]:
    """Every directory below config/ that one of these plans reads."""
    return {
        name: None
        for plan in plans
        for program in plan.programs
        for name in layer_names(program, plan.identity.mode, order)
    }


def survey_edited(survey: Survey, name: str, layer: Layer, box: Box) -> Survey:
    """The same with another layer in the place of the one of this name (below config/)."""
    layering = replace(survey.layering, layers={**survey.layering.layers, name: layer})
    surveyed = survey_environments(survey.plans, layering, box)
    return replace(survey, layering=layering, surveyed=tuple(surveyed))


def survey_environments(plans: Iterable[Plan], layering: Layering, box: Box) -> list[Surveyed]:
    """Every environment; ``layering`` holds at least what ``all_layer_names`` names. Raises DefinitionError."""
    return [surveyed for plan in plans for surveyed in _survey(plan, layering, box)]


def _identities(catalog: Catalog) -> Iterator[Identity]:
    for mode in catalog.modes.values():
        if mode.runs == "everything":
            yield Identity(mode=mode.name, scale={}, refs={}, tags=())
            continue
        for service in catalog.services.values():
            if not service.backing:
                yield Identity(mode=mode.name, service=service.name, scale={}, refs={}, tags=())


def _survey(plan: Plan, layering: Layering, box: Box) -> Iterator[Surveyed]:
    unresolved = dict.fromkeys(needed_references(plan, layering), "")
    accounts = {
        program.name: Account(name=program.process.user or "root", uid=0, gid=0, home="/") for program in plan.programs
    }
    environments = layer_environments(plan, layering, accounts, unresolved, box, incomplete=True)
    for program in plan.programs:
        if program.instance == 1:
            yield Surveyed(mode=plan.identity.mode, program=program, environment=environments[program.name])
