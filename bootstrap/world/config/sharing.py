"""A repository on disk → keys that its services could share, and the files moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.catalog import parse_catalog
from bootstrap.config.importing import own_layer
from bootstrap.config.shared_keys import Share, moved_file, propose_shares
from bootstrap.config.survey import all_layer_names, plan_modes
from bootstrap.environ import Layering
from bootstrap.world import disk
from bootstrap.world.config.layer_writer import refuse_foreign, replace_files
from bootstrap.world.config.layers import read_layers, read_order, read_rules
from bootstrap.world.sources import read_sources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.box import Box


def find_shares(box: Box, mode: str) -> tuple[str, list[Share]]:
    """The layer of the mode, and what it could hold for all services; raises DefinitionError."""
    catalog, order = parse_catalog(read_sources(box)), read_order(box)
    plans, _ = plan_modes(catalog)
    target = own_layer(order, None, mode)
    sources = [own_layer(order, service, mode) for service in catalog.services]
    names = [*all_layer_names(plans, order), target, *sources]
    layering = Layering(order=order, layers=read_layers(box, names), rules=read_rules(box))
    return target, propose_shares(layering, plans, box, target=target, sources=sources)


def write_shares(box: Box, target: str, shares: Iterable[Share]) -> None:
    """Move the files: one stays, in the layer of all; all or none. Raises Unavailable."""
    contents: dict[str, bytes | None] = {}
    for share in shares:
        contents[f"{box.root}/{moved_file(target, share)}"] = disk.read_if_there(f"{box.root}/{share.files[0]}")
        contents |= {f"{box.root}/{file}": None for file in share.files}
    refuse_foreign(box, (path.removeprefix(f"{box.config}/") for path in contents))
    replace_files(contents)
