"""Which processes of this box are known to have become ready.

A record names the pid and the moment of its start, so that what is known of a process that has gone says nothing about
the one that took its place.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from bootstrap.errors import Unavailable
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.box import Box
    from bootstrap.observed import ObservedProgram


class ReadyRecord:
    """Which processes of this box are known to have become ready."""

    def __init__(self, box: Box) -> None:
        self._path = f"{box.run}/ready.json"
        self._entries = disk.read_mapping(self._path)

    def knows(self, program: ObservedProgram) -> bool:
        return self._entries.get(program.name) == [program.pid, program.started_at]

    def add(self, programs: Sequence[ObservedProgram]) -> None:
        """Record these; where the disk refuses, they are only probed once more than needed."""
        if not programs:
            return
        self._entries |= {program.name: [program.pid, program.started_at] for program in programs}
        with contextlib.suppress(Unavailable):
            disk.write_for_this_boot(self._path, json.dumps(self._entries).encode())
