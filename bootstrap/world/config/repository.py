"""A configuration repository on disk → all that lint looks at, with what could not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.catalog import parse_catalog
from bootstrap.config.finding import Finding
from bootstrap.config.lint import Repository
from bootstrap.config.survey import all_layer_names, plan_modes, survey_environments
from bootstrap.environ import Layering
from bootstrap.world.config.layers import ORDER, Inspected, inspect_layers, read_layers_file, read_rules
from bootstrap.world.config.tree import read_folders, read_procfiles, read_top
from bootstrap.world.sources import read_sources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.box import Box


def read_repository(box: Box) -> tuple[Repository, list[Finding]]:
    """The repository as far as it can be read, and a finding for all that cannot.

    Raises DefinitionError for definitions, ``layers.yaml`` and ``schema.yaml``: they are what the rest is judged by.
    """
    catalog = parse_catalog(read_sources(box))
    said, rules = read_layers_file(box), read_rules(box)
    order = ORDER if said is None else said.order
    (plans, unplannable), folders = plan_modes(catalog), read_folders(box)
    inspected = inspect_layers(box, [*all_layer_names(plans, order), *folders])
    layering = Layering(order=order, layers={name: one.layer for name, one in inspected.items()}, rules=rules)
    repository = Repository(
        catalog=catalog,
        layering=layering,
        surveyed=survey_environments(plans, layering, box),
        unplannable=unplannable,
        folders=folders,
        cut={file for one in inspected.values() for file in one.cut},
        dotenvs=[file for one in inspected.values() for file in one.dotenvs],
        top=read_top(box),
        procfiles=read_procfiles(box, catalog),
        guards={} if said is None else said.guards,
    )
    return repository, _unreadable(inspected.values())


def _unreadable(inspected: Iterable[Inspected]) -> list[Finding]:
    """A link on the way to several layers is told once."""
    unfit = dict.fromkeys(unfit for one in inspected for unfit in one.unfit)
    return [
        Finding(
            rule="unreadable",
            severity="error",
            file=one.file,
            line=one.line or 0,
            text=one.cause,
            way_out=one.way_out,
        )
        for one in unfit
    ]
