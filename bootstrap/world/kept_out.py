"""The mark that keeps requests away from this box, whatever runs on it and across reboots, until it is taken away.

A person has drained the box, or its group has put it on standby.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bootstrap.world import disk

if TYPE_CHECKING:
    from bootstrap.box import Box

DRAINED = "it was drained by hand"


def read_reason(box: Box) -> str | None:
    """Why this box is to get no requests, ``None`` if it may."""
    raw = disk.read_mapping(_mark(box))
    return str(raw["why"]) if "why" in raw else None


def keep_out(box: Box, why: str) -> None:
    """From now on, and across reboots."""
    disk.write_durably(_mark(box), json.dumps({"why": why}).encode())


def let_in(box: Box) -> None:
    """The opposite."""
    disk.remove_if_there(_mark(box))


def _mark(box: Box) -> str:
    return f"{box.state}/kept-out.json"
