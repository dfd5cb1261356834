"""A service and a mode → what its programs would really get, references resolved; no tags, and nothing kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.catalog import parse_catalog
from bootstrap.config.importing import check_target
from bootstrap.environ import layer_environments, needed_references
from bootstrap.identity import Identity
from bootstrap.plan import resolve_plan
from bootstrap.variable import Account
from bootstrap.world.config.layers import read_layering
from bootstrap.world.references import Asking, read_secrets
from bootstrap.world.sources import read_sources

if TYPE_CHECKING:
    from bootstrap.box import Box
    from bootstrap.variable import Environment


def read_resolved(box: Box, service: str, mode: str, *, resolve: bool = True) -> dict[str, Environment]:
    """The environment of each process of the service (of its first instance), by program name.

    With ``resolve`` off, references have no value. Raises Refused and Unavailable.
    """
    catalog = parse_catalog(read_sources(box))
    check_target(catalog, service, mode)
    whole = resolve_plan(Identity(mode=mode, service=service, scale={}, refs={}, tags=()), catalog)
    programs = [one for one in whole.programs if one.service.name == service and one.instance == 1]
    layering = read_layering(box, whole)
    needed = needed_references(replace(whole, programs=tuple(programs)), layering)
    values = dict.fromkeys(needed_references(whole, layering), "")
    if resolve:
        found = read_secrets(box, needed, Asking(mode=mode, keep=False))
        values |= {reference: secret.value for reference, secret in found.items()}
    accounts = {one.name: Account(name=one.process.user or "root", uid=0, gid=0, home="/") for one in whole.programs}
    environments = layer_environments(whole, layering, accounts, values, box, incomplete=True)
    return {one.name: environments[one.name] for one in programs}
