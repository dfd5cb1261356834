"""What stands below ``config/``, and beside definitions, whoever reads it; no link is followed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.config.misplaced import judge_folder, judge_procfiles, judge_top, possible_layers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from bootstrap.box import Box
    from bootstrap.config.misplaced import Misplaced
    from bootstrap.definition import Catalog

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_folders(box: Box, known: Collection[str] = ()) -> list[str]:
    """The directories that hold something: their paths below config/, in order.

    What cannot be opened is left to whoever reads it as a layer; what is ``known`` is not looked into.
    """
    try:
        config = os.open(box.config, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return sorted(_walk(config, "", known))
    finally:
        os.close(config)


def read_top(box: Box) -> list[str]:
    """The files directly in config/."""
    try:
        with os.scandir(box.config) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def read_procfiles(box: Box, catalog: Catalog) -> list[str]:
    """The services that have a Procfile beside the service.yaml that defines them."""
    defined = [name for name, service in catalog.services.items() if service.file.endswith("/service.yaml")]
    return [name for name in defined if os.path.lexists(f"{box.services}/{name}/Procfile")]


def read_misplaced(box: Box, catalog: Catalog, order: Iterable[str]) -> Iterator[Misplaced]:
    """All that nobody reads, though somebody may believe so."""
    known = possible_layers(order, catalog)
    yield from judge_top(read_top(box))
    for folder in read_folders(box, known):  # most directories are known layers, and large ones
        yield judge_folder(folder, known)
    yield from judge_procfiles(read_procfiles(box, catalog))


def _walk(folder: int, path: str, known: Collection[str]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    if path and any(_may_be_variable(entry) for entry in found):
        yield path
    for entry in found:
        below_path = f"{path}/{entry.name}" if path else entry.name
        if entry.name.startswith(".") or below_path in known or not entry.is_dir(follow_symlinks=False):
            continue
        try:
            below = os.open(entry.name, _FLAGS, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _walk(below, below_path, known)
        finally:
            os.close(below)


def _may_be_variable(entry: os.DirEntry[str]) -> bool:
    return not entry.is_dir(follow_symlinks=False) and (entry.name == ".env" or not entry.name.startswith("."))
