"""What every program of this machine has to share: installed tools, and ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.diagnosis import Finding, describe_problems, ok
from bootstrap.world import preflight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.box import Box
    from bootstrap.reconcile import Action


def examine_tools() -> Iterator[Finding]:
    """What starts programs; that git is there where code comes from it, the plan has found out."""
    missing = preflight.find_missing_tools()
    for text in missing:
        yield from describe_problems(text)
    if not missing:
        yield ok("what starts programs is installed")


def examine_ports(box: Box, actions: tuple[Action, ...]) -> Iterator[Finding]:
    taken = preflight.find_taken_ports(box, actions)
    for text in taken:
        yield from describe_problems(text)
    if not taken:
        yield ok("no port that is wanted is somebody else's")
