"""References → values, each resolved once and pinned until somebody asks for new ones.

The pins stand in the run directory, which is memory on a real box: an ``up`` with nothing changed asks nobody, restarts
nothing, and does not need AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from bootstrap.box import Box
from bootstrap.environ import Reference
from bootstrap.world import disk


def read_values(box: Box, references: Iterable[Reference], *, refresh: bool) -> Mapping[Reference, str]:
    """The value of every reference; raises Unavailable or DefinitionError as ``resolve_references`` does."""
    wanted = set(references)
    if not wanted:
        return {}
    pins = {} if refresh else _read_pins(box)
    missing = [reference for reference in wanted if _name(reference) not in pins]
    if missing:
        from bootstrap.world.secrets import resolve_references  # noqa: PLC0415 - only with references

        for reference, secret in resolve_references(missing).items():
            pins[_name(reference)] = [secret.value, secret.version]
        _write_pins(box, pins)
    return {reference: pins[_name(reference)][0] for reference in wanted}


def _name(reference: Reference) -> str:
    return f"{reference.kind}:{reference.text}"


def _read_pins(box: Box) -> dict[str, list[str]]:
    try:
        pins: dict[str, list[str]] = json.loads(disk.read_if_there(f"{box.run}/secrets.json") or b"{}")
    except ValueError:
        return {}
    return pins


def _write_pins(box: Box, pins: Mapping[str, list[str]]) -> None:
    disk.write_durably(f"{box.run}/secrets.json", json.dumps(pins).encode())
