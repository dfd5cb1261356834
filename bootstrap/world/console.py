"""The machine's console: what is written there can be read when the machine is gone (`get-console-output`).

Only a box on EC2 has readers there; BOOTSTRAP_CONSOLE names another file, or `off`. Nothing that goes wrong with it
holds up anything: it is opened and written without waiting, and errors are not told.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from bootstrap.spelling import harmless
from bootstrap.world.imds import metadata_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_VARIABLE = "BOOTSTRAP_CONSOLE"
_DEVICE = "/dev/console"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC


def find_console(environ: Mapping[str, str]) -> str | None:
    """Where to write, ``None`` where nobody would read it."""
    named = environ.get(_VARIABLE)
    if named is not None:
        return None if named in {"", "off"} else named
    return None if metadata_endpoint(environ) is None else _DEVICE


def write_console(path: str | None, lines: Iterable[str]) -> None:
    """Write lines, each with our name in front."""
    if path is None:
        return
    text = "".join(f"bootstrap: {harmless(line)}\r\n" for line in lines)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, _FLAGS)
        try:
            os.write(descriptor, text.encode(errors="replace"))
        finally:
            os.close(descriptor)
