"""A control group for each program, where a cgroup v2 has been given to us: then nothing that it forks can hide.

Which is ours to use: what ``BOOTSTRAP_CGROUP`` names, or the group that we are in if systemd marks it as delegated
(``Delegate=yes`` sets the extended attribute ``trusted.delegate`` or ``user.delegate``). A program's ``run`` enters
``<group>/<program>`` itself, before it gives up privileges. Everywhere else the mark alone has to do, and does.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cgroup.kill since Linux 5.14).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError
from bootstrap.launcher import CGROUP
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Collection

    from bootstrap.box import Box

_OURS = "supervisor"  # the leaf for supervisord and us: a group that hands out controllers may hold no process itself
_CONTROLLERS = ("memory", "pids")


def read_delegated() -> str | None:
    """The directory of the group that is ours to divide. Raises DefinitionError for a setting that can't be used."""
    named = os.environ.get(CGROUP)
    if named:
        if not os.path.exists(f"{named}/cgroup.procs"):
            raise DefinitionError(
                f'cannot use the control group "{named}": it is no directory of a cgroup v2\n'
                f"  where: {CGROUP}\n  way out: correct or unset the variable"
            )
        return named
    mine = _read_own()
    return next((path for path in (mine, os.path.dirname(mine)) if _is_delegated(path)), None) if mine else None


def read_group(box: Box) -> str | None:
    """Where the programs of this box have their groups, or would have them. Raises DefinitionError."""
    return _read_record(box) or read_delegated()


def counts_memory(group: str) -> bool:
    """Whether it has a memory controller to hand out."""
    try:
        with open(f"{group}/cgroup.controllers", encoding="ascii") as file:
            return "memory" in file.read().split()
    except OSError:
        return False


def divide(group: str) -> None:
    """Make room for programs: we move into a leaf, and the group hands out what it has. Best effort."""
    leaf = f"{group}/{_OURS}"
    with contextlib.suppress(OSError):
        os.makedirs(leaf, exist_ok=True)
        for pid in _read_pids(group):
            _write(f"{leaf}/cgroup.procs", str(pid))
        _write(f"{leaf}/cgroup.procs", "0")
    for controller in _CONTROLLERS:
        with contextlib.suppress(OSError):
            _write(f"{group}/cgroup.subtree_control", f"+{controller}")


def record(box: Box, group: str | None) -> None:
    """Remember which group the programs of this box are in."""
    if group is not None:
        disk.write_for_this_boot(_record(box), os.fsencode(group))


def read_members(box: Box) -> dict[int, str]:
    """pid → program, of everything in the programs' groups."""
    group = _read_record(box)
    return {pid: program for program in _read_programs(group) for pid in _read_pids(f"{group}/{program}")}


def make(group: str, program: str) -> None:
    """Make the group that ``run`` enters, without the limit that an earlier life may have had. Raises OSError."""
    try:
        os.mkdir(f"{group}/{program}")
    except FileExistsError:
        with contextlib.suppress(OSError):  # no memory controller here
            _write(f"{group}/{program}/memory.max", "max")


def kill(group: str, program: str) -> None:
    """KILL everything in a program's group at once, whatever it forks meanwhile."""
    with contextlib.suppress(OSError):
        _write(f"{group}/{program}/cgroup.kill", "1")


def kill_left(box: Box, programs: Collection[str]) -> bool:
    """KILL what is left in these programs' groups, at once; whether there was anything."""
    group = _read_record(box)
    left = [program for program in _read_programs(group) if program in programs and _is_populated(f"{group}/{program}")]
    for program in left:
        kill(group, program)
    return bool(left)


def read_oom_kills(group: str) -> dict[str, int]:
    """Program → how often the kernel has killed in its group for want of memory, the box's or the group's own."""
    kills = {}
    for program in _read_programs(group):
        with contextlib.suppress(OSError):  # no memory controller here
            kills[program] = _read_number(f"{group}/{program}/memory.events", "oom_kill")
    return kills


def remove(box: Box) -> None:
    """Remove the programs' groups; those that still hold something stay."""
    group = _read_record(box)
    for leaf in (*_read_programs(group), _OURS):
        with contextlib.suppress(OSError):
            os.rmdir(f"{group}/{leaf}")


def _read_own() -> str | None:
    """Our own group's directory: its path from proc(5) cgroup, below the place where a cgroup2 is mounted."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            path = next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mount = next(line.split()[4] for line in file if " - cgroup2 " in line)
    except (OSError, StopIteration):
        return None
    return mount if path == "/" else mount + path


def _is_delegated(path: str) -> bool:
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def _read_programs(group: str) -> list[str]:
    if not group:
        return []
    try:
        return [
            entry.name for entry in os.scandir(group) if entry.is_dir(follow_symlinks=False) and entry.name != _OURS
        ]
    except (OSError, ValueError):
        return []  # it is gone, or the record is damaged


def _read_pids(path: str) -> list[int]:
    try:
        with open(f"{path}/cgroup.procs", encoding="ascii") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def _is_populated(path: str) -> bool:
    """Unlike a list of pids this misses nothing, however fast it forks."""
    try:
        return _read_number(f"{path}/cgroup.events", "populated") > 0
    except OSError:
        return False


def _read_number(path: str, key: str) -> int:
    """One of the flat keyed files of a group."""
    with open(path, encoding="ascii") as file:
        return next((int(line.split()[1]) for line in file if line.startswith(f"{key} ")), 0)


def _write(path: str, text: str) -> None:
    """Control files are written in one piece and are never made by us."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read_record(box: Box) -> str:
    return os.fsdecode(disk.read_if_there(_record(box)) or b"")


def _record(box: Box) -> str:
    return f"{box.run}/cgroup"
