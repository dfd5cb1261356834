"""A writing → the files of a layer: all of them, or the directory as it was.

The files are not flushed one by one: they belong to a working tree, which git does not flush either.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bootstrap.errors import BootstrapError, DefinitionError, Unavailable
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.box import Box
    from bootstrap.config.importing import Writing

_MODE = 0o600  # what was imported may be secret; git does not keep this, and nobody else has to read it here


def write_layer(box: Box, name: str, writing: Writing) -> None:
    """Write what the layer lacks; raises Unavailable when the disk refuses, with everything put back."""
    refuse_foreign(box, (f"{name}/{file}" for file in (*writing.files, *writing.removed, ".env")))
    directory = f"{box.config}/{name}"
    contents: dict[str, bytes | None] = {f"{directory}/{file}": content for file, content in writing.files.items()}
    if writing.lines:
        contents[f"{directory}/.env"] = _extended(disk.read_if_there(f"{directory}/.env"), writing.lines)
    contents |= {f"{directory}/{file}": None for file in writing.removed}
    replace_files(contents)


def refuse_foreign(box: Box, files: Iterable[str]) -> None:
    """Raises DefinitionError for links on the way to files below config/, and as root for directories of others.

    Whoever owns a directory could put a link there between our look and our writing.
    """
    for file in files:
        parts = file.split("/")
        for depth in range(len(parts) + 1):
            _refuse_step("/".join([box.config, *parts[:depth]]), file, is_top=depth == 0)


def _refuse_step(path: str, file: str, *, is_top: bool) -> None:
    try:
        status = os.stat(path, follow_symlinks=is_top)  # where config/ itself is, is for whoever typed the command
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(status.st_mode):
        raise DefinitionError(f"cannot write config/{file}: {path} is a link\n  way out: make it what it links to")
    if os.geteuid() == 0 != status.st_uid:
        raise DefinitionError(
            f"cannot write to {path}: it belongs to user {status.st_uid}\n  way out: run as that user"
        )


def replace_files(contents: dict[str, bytes | None]) -> None:
    """Give each of these files this content, or remove it (``None``); all or none."""
    before: dict[str, bytes | None] = {}
    try:
        for path, content in contents.items():
            before[path] = disk.read_if_there(path)
            _put(path, content)
    except BootstrapError:
        put_back(before)
        raise


def put_back(before: Mapping[str, bytes | None]) -> None:
    """Undo a writing as far as the disk lets us: removing first makes room on a full one. Raises Unavailable."""
    refused: list[Unavailable] = []
    for path, content in sorted(before.items(), key=lambda item: item[1] is not None):
        try:
            _put(path, content)
        except Unavailable as error:
            refused.append(error)
    if refused:
        raise Unavailable("\n".join(map(str, refused)))


def _put(path: str, content: bytes | None) -> None:
    if content is None:
        disk.remove_if_there(path)
    else:
        disk.make_directory(os.path.dirname(path), 0o755)
        disk.write_for_this_boot(path, content, _MODE)


def _extended(content: bytes | None, lines: str) -> bytes:
    """The last line with a key wins, so what stands there need not be touched."""
    before = content or b""
    separator = b"" if not before or before.endswith(b"\n") else b"\n"
    return before + separator + lines.encode()
