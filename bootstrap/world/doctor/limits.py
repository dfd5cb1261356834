"""Limits of this machine, and those that definitions ask for."""

from __future__ import annotations

import math
import os
import resource
from typing import TYPE_CHECKING

from bootstrap.checkup import judge_descriptors
from bootstrap.diagnosis import Finding, fail, ok, warn
from bootstrap.world import cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.box import Box
    from bootstrap.plan import Plan, Program

_NR_OPEN = "/proc/sys/fs/nr_open"


def examine_descriptors(plan: Plan) -> Iterator[Finding]:
    """Descriptors: supervisord's own, and those that programs want."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard_or_none = math.inf if hard == resource.RLIM_INFINITY else hard
    yield judge_descriptors(hard_or_none, len(plan.programs))
    most = _read_most() if os.geteuid() == 0 else hard_or_none  # root may raise it, but not for ever
    for program in plan.programs:
        wanted = program.process.limits.nofile
        if wanted is not None and wanted > most:
            yield fail(
                f'cannot start "{program.name}": it is to have {wanted} open files, and this machine allows {most:.0f}',
                f"raise {_NR_OPEN}" if os.geteuid() == 0 else "raise the hard limit (ulimit -H -n), or ask for fewer",
                _where(program, "nofile"),
            )


def examine_memory(box: Box, plan: Plan) -> Iterator[Finding]:
    """Without a control group the kernel does not count what a program uses, only what it could."""
    limited = [program for program in plan.programs if program.process.limits.memory is not None]
    if not limited:
        return
    group = cgroups.read_group(box)
    if group is not None and cgroups.counts_memory(group):
        yield ok(f"memory limits count what is used, in {group}")
        return
    cause = "no control group is delegated to bootstrap" if group is None else f"{group} has no memory controller"
    for program in limited:
        yield warn(
            f'the memory limit of "{program.name}" counts its address space, not what it uses: {cause}',
            "run it from a unit with Delegate=yes, as image/bootstrap.service does, or leave the limit out",
            _where(program, "memory"),
        )


def _where(program: Program, limit: str) -> str:
    return f"{program.service.file}: processes/{program.process.name}/limits/{limit}"


def _read_most() -> float:
    try:
        with open(_NR_OPEN, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return math.inf
