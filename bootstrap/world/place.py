"""Where this box's root and state are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.box import Box
from bootstrap.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ROOT = "/opt/bootstrap"
DEFAULT_STATE = "/var/lib/bootstrap"


def find_box(root: str | None, state: str | None, environ: Mapping[str, str]) -> Box:
    """Options first, then variables, then the nearest directory above us with services/ and config/, then /opt."""
    named, why = _find_root(root, environ)
    try:
        found = os.path.abspath(named)
    except FileNotFoundError:
        raise _gone(named) from None
    kept = (
        state or environ.get("BOOTSTRAP_STATE") or (DEFAULT_STATE if found == DEFAULT_ROOT else f"{found}/.bootstrap")
    )
    # What runs can be looked at and taken down without its definitions: another branch may have none.
    if not os.path.isdir(f"{found}/services") and not os.path.isdir(f"{kept}/run"):
        raise DefinitionError(
            f'cannot use "{found}" as root: it has no directory "services"\n'
            f"  where: {why}\n"
            "  way out: go to a checkout that has services/ and config/, or name one with --root DIR"
        )
    # One directory, one name: it is in the mark of every process, and a second name would be a second box.
    try:
        return Box(root=found, state=os.path.realpath(kept))
    except FileNotFoundError:
        raise _gone(kept) from None


def _gone(path: str) -> DefinitionError:
    return DefinitionError(
        f'cannot find "{path}": it is named from here, and the working directory has been removed\n'
        "  way out: name it in full, or go somewhere else"
    )


def _find_root(root: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """The root, and why it is this one."""
    if root:
        return root, "--root names it"
    if environ.get("BOOTSTRAP_ROOT"):
        return environ["BOOTSTRAP_ROOT"], "BOOTSTRAP_ROOT names it"
    nearest = _nearest_root()
    if nearest:
        return nearest, "the nearest directory above this one that has both"
    return DEFAULT_ROOT, "the default, because neither this directory nor one above it has services/ and config/"


def _nearest_root() -> str | None:
    try:
        directory = os.getcwd()
    except FileNotFoundError:
        return None  # the working directory has been removed
    while True:
        if os.path.isdir(f"{directory}/services") and os.path.isdir(f"{directory}/config"):
            return directory
        above = os.path.dirname(directory)
        if above == directory:
            return None
        directory = above
