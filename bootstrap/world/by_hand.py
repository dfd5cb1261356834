"""Which programs a person has stopped: they stay so, across crashes and reboots, until ``start`` or ``up``."""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING

from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.box import Box


def read_stopped(box: Box) -> frozenset[str]:
    """Programs that were stopped by hand."""
    return frozenset(disk.read_mapping(_path(box)))


def change_stopped(box: Box, *, stopped: Iterable[str] = (), wanted: Iterable[str] = ()) -> None:
    """Add and take away, whoever else does the same at this moment."""
    descriptor = os.open(f"{box.run}/stopped.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        write_stopped(box, (read_stopped(box) | {*stopped}) - {*wanted})
    finally:
        os.close(descriptor)


def write_stopped(box: Box, names: Iterable[str]) -> None:
    """Remember these, and only these, durably."""
    wanted = frozenset(names)
    if wanted == read_stopped(box):
        return
    if wanted:
        disk.write_durably(_path(box), json.dumps(dict.fromkeys(sorted(wanted), True)).encode())
    else:
        disk.remove_if_there(_path(box))


def _path(box: Box) -> str:
    return f"{box.state}/stopped.json"
