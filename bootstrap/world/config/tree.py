"""The directories below ``config/`` that hold something, whoever reads them; no link is followed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.box import Box

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_folders(box: Box) -> list[str]:
    """Their paths below config/, in order; what cannot be opened is left to whoever reads it as a layer."""
    try:
        config = os.open(box.config, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return sorted(_walk(config, ""))
    finally:
        os.close(config)


def _walk(folder: int, path: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    if path and any(_may_be_variable(entry) for entry in found):
        yield path
    for entry in found:
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        try:
            below = os.open(entry.name, _FLAGS, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _walk(below, f"{path}/{entry.name}" if path else entry.name)
        finally:
            os.close(below)


def _may_be_variable(entry: os.DirEntry[str]) -> bool:
    return not entry.is_dir(follow_symlinks=False) and (entry.name == ".env" or not entry.name.startswith("."))
