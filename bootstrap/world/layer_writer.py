"""A writing → the files of a layer: all of them, or the directory as it was.

The files are not flushed one by one: they belong to a working tree, which git does not flush either.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.errors import BootstrapError
from bootstrap.world import disk

if TYPE_CHECKING:
    from bootstrap.box import Box
    from bootstrap.importing import Writing

_MODE = 0o600  # what was imported may be secret; git does not keep this, and nobody else has to read it here


def write_layer(box: Box, name: str, writing: Writing) -> None:
    """Write what the layer lacks; raises Unavailable when the disk refuses, with everything put back."""
    directory = f"{box.config}/{name}"
    contents: dict[str, bytes | None] = {f"{directory}/{file}": content for file, content in writing.files.items()}
    if writing.lines:
        contents[f"{directory}/.env"] = _extended(disk.read_if_there(f"{directory}/.env"), writing.lines)
    contents |= {f"{directory}/{file}": None for file in writing.removed}
    replace_files(contents)


def replace_files(contents: dict[str, bytes | None]) -> None:
    """Give each of these files this content, or remove it (``None``); all or none."""
    before: dict[str, bytes | None] = {}
    try:
        for path, content in contents.items():
            before[path] = disk.read_if_there(path)
            _put(path, content)
    except BootstrapError:
        for path, content in before.items():
            _put(path, content)
        raise


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
