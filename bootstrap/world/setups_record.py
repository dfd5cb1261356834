"""Which services' set-ups have failed: written by the run that saw it, read by ``status`` and ``doctor``."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from bootstrap.errors import Unavailable
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Collection

    from bootstrap.box import Box
    from bootstrap.rendering import Generation


def write_failed(box: Box, tried: Collection[str], failed: Collection[str]) -> None:
    """Of the services whose set-up was tried, those for which it failed; what is known of all others stays known."""
    before = {*disk.read_mapping(_path(box))}
    after = (before - {*tried}) | {*failed}
    if after != before:
        with contextlib.suppress(Unavailable):
            disk.write_for_this_boot(_path(box), json.dumps(dict.fromkeys(sorted(after), True)).encode())


def read_failed(box: Box, generation: Generation | None) -> set[str]:
    """The services of this generation whose set-up failed when it was run last."""
    known = {unit.service for unit in generation.units if unit.setup} if generation else set()
    return known & disk.read_mapping(_path(box)).keys()


def _path(box: Box) -> str:
    return f"{box.run}/failed-setups.json"
