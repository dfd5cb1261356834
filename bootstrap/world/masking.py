"""Output of programs, as errors quote it: without the values of the program's own secrets, and harmless to print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bootstrap.world import disk, logs

if TYPE_CHECKING:
    from bootstrap.box import Box
    from bootstrap.rendering import Unit

MASK = "••••••"
_SHORTEST = 4  # characters: hiding every "1" would hide the message


def mask(box: Box, unit: Unit, text: str) -> str:
    """The text with each of the program's secret values, and each of their lines, replaced."""
    for secret in _read_secrets(box, unit):
        text = text.replace(secret, MASK)
    return text


def quote_lines(box: Box, unit: Unit, lines: list[str]) -> str:
    """Lines of a log as an error shows them, each below the other."""
    return "".join(f"\n  | {logs.visible(mask(box, unit, line))}" for line in lines)


def _read_secrets(box: Box, unit: Unit) -> list[str]:
    text = disk.read_if_there(f"{box.store}/{unit.store_name}/secrets")
    try:
        found = json.loads(text or b"[]")
    except (ValueError, RecursionError):
        return []
    values = [value for value in found if isinstance(value, str)] if isinstance(found, list) else []
    lines = {line for value in values for line in (value, *value.splitlines()) if len(line) >= _SHORTEST}
    return sorted(lines, key=len, reverse=True)
