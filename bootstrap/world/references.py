"""References → values, each resolved once and pinned until somebody asks for new ones.

The pins stand in the run directory, which is memory on a real box: an ``up`` with nothing changed asks nobody, restarts
nothing, and does not need AWS.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.box import Box
    from bootstrap.variable import Reference


def read_values(
    box: Box, wanted: Mapping[Reference, tuple[str, ...]], *, refresh: bool, keep: bool
) -> Mapping[Reference, str]:
    """The value of every reference; ``wanted`` maps them to the files that they stand in, for errors to name.

    A dry run does not ``keep`` what it resolves. Raises Unavailable without access to the stores, DefinitionError for
    references that lead to nothing.
    """
    if not wanted:
        return {}
    pins = {} if refresh else _read_pins(box)
    missing = [reference for reference in wanted if _name(reference) not in pins]
    if missing:
        from bootstrap.world.secrets import resolve_references  # noqa: PLC0415 - only with references

        try:
            found = resolve_references(missing)
        except DefinitionError as error:
            files = sorted({file for reference in missing for file in wanted[reference]})
            raise DefinitionError(*error.problems, f"  where: {', '.join(files)}") from error
        pins |= {_name(reference): [secret.value, secret.version] for reference, secret in found.items()}
        if keep:
            _write_pins(box, pins)
    return {reference: pins[_name(reference)][0] for reference in wanted}


def _name(reference: Reference) -> str:
    return f"{reference.kind}:{reference.text}"


def _read_pins(box: Box) -> dict[str, list[str]]:
    return disk.read_mapping(f"{box.run}/secrets.json")


def _write_pins(box: Box, pins: Mapping[str, list[str]]) -> None:
    disk.write_for_this_boot(f"{box.run}/secrets.json", json.dumps(pins).encode())
