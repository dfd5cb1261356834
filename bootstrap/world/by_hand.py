"""Which programs a person has stopped: they stay so, across crashes and reboots, until ``start`` or ``up``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bootstrap.world import disk, lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.box import Box


def read_stopped(box: Box) -> frozenset[str]:
    """Programs that were stopped by hand."""
    return frozenset(disk.read_mapping(_path(box)))


def change_stopped(box: Box, *, stopped: Iterable[str] = (), wanted: Iterable[str] = ()) -> None:
    """Add and take away, whoever else does the same at this moment."""
    adding, taking = frozenset(stopped), frozenset(wanted)
    before = read_stopped(box)
    if adding <= before and not taking & before:
        return  # most often: and then a disk that has become read-only is no matter
    with lock.alone(f"{box.run}/stopped.lock"):
        write_stopped(box, (read_stopped(box) | adding) - taking)


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
