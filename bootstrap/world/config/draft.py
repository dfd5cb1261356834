"""What somebody types in an editor: one file in a private directory, in memory where there is such a place.

It holds values, so it goes when it has served; it stays when what was typed could not be used, for nothing else has it.
"""

from __future__ import annotations

import os
import shutil
import tempfile

from bootstrap.world import disk

_MEMORY = "/dev/shm"  # noqa: S108 - a private directory is made in it
_MODE = 0o600


class Draft:
    """The text that is shown, and what becomes of it."""

    def __init__(self, path: str, shown: bytes) -> None:
        self.path = path
        self._shown = shown

    def read(self) -> bytes:
        """What it holds now; an editor that has removed it has changed nothing."""
        found = disk.read_if_there(self.path)
        return self._shown if found is None else found

    def is_changed(self) -> bool:
        return self.read() != self._shown

    def keep(self) -> None:
        """Leave it to its owner alone, whatever the editor has made of its mode."""
        os.chmod(self.path, _MODE)

    def remove(self) -> None:
        """Remove it, with what the editor has put beside it."""
        shutil.rmtree(os.path.dirname(self.path), ignore_errors=True)


def write_draft(layer: str, shown: bytes) -> Draft:
    """A new draft of a layer; raises Unavailable when the disk refuses."""
    above = _MEMORY if os.path.isdir(_MEMORY) else tempfile.gettempdir()
    try:
        folder = tempfile.mkdtemp(prefix="bootstrap-edit-", dir=above)  # 0700
        path = f"{folder}/{layer.replace('/', '-')}.env"
        disk.write_new(path, shown, _MODE, flush=False)
    except OSError as error:
        raise disk.refused("write below", above, error) from error
    return Draft(path, shown)
