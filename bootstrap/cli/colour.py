"""Whether anything that we print may have a colour; see https://no-color.org."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def refuses_colour(environ: Mapping[str, str]) -> bool:
    """Whether the user or the terminal wants none, whatever the output is."""
    return bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
