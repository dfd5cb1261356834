"""What the store knows about each rendered program, beside the files that run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.errors import Unavailable
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.box import Box


def read_facts(box: Box, store_names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What is known about rendered programs, by store name; names that are gone are left out."""
    known = {name: _read(f"{box.store}/{name}/program.json") for name in store_names}
    return {name: facts for name, facts in known.items() if _are_whole(facts)}


def _read(path: str) -> dict[str, Any]:
    try:
        return disk.read_mapping(path)
    except Unavailable:  # something else stands in its place
        return {}


def _are_whole(facts: Mapping[str, Any]) -> bool:
    """Whether what others rely on is there; a damaged file is as good as none."""
    stop = facts.get("stop")
    return isinstance(facts.get("directory"), str) and isinstance(facts.get("env"), dict) and isinstance(stop, dict)
