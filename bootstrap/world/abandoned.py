"""What an earlier supervisord or ``up`` has left behind: it is stopped by the same ladder before anything is started.

supervisord cannot adopt children. So after its death, by whatever cause, its trees are taken down as their own
definitions say, in reverse waves, and only when they are confirmed gone may new ones stand in their place.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from bootstrap.errors import ApplyFailed
from bootstrap.observed import ObservedProgram
from bootstrap.rendering import waves_of
from bootstrap.world import ledger_file, processes, store
from bootstrap.world.ladder import GRACE_S
from bootstrap.world.stopping import Stopper

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from bootstrap.box import Box
    from bootstrap.world.ladder import Ladder
    from bootstrap.world.processes import Marked


def sweep(
    box: Box, living: int | None, say: Callable[[str, str], None], held: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Stop it all and wait until it is gone; ``living`` is the pid of the supervisord that lives or is about to.

    ``held`` are the programs that it holds, with the pids of their main processes. What claims to belong to one of
    those is ended alone: anybody can claim that, and it is no reason to stop the program.

    The answer maps programs to why something of theirs could not be ended: they must not be started. Raises
    ApplyFailed when that can't be said of what is left.
    """

    def find() -> list[Marked]:
        return processes.read_abandoned(box, living, frozenset(holds.values()))

    holds = held or {}
    left = find()
    if not left:
        return {}
    say("", f"stopping what an earlier supervisor has left behind: {processes.listed(left)}")
    processes.end(_supervisors(left), grace_s=0.0)  # one that can't be reached would start anew what we stop
    unheld = [process for process in left if process.program not in holds]
    stopper = Stopper(box, _Abandoned(unheld), processes.own_mark(box), say)
    programs = _programs(box, unheld)
    stopper.stop_in_waves(programs, waves_of(store.read_current(box)))
    for program in programs:
        ledger_file.append(box, program.name, "exit", cause="abandoned")
    stuck = processes.end_all(lambda: [p for p in find() if p.program not in stopper.stuck], grace_s=GRACE_S)
    if stuck:
        raise ApplyFailed(processes.describe_stuck([processes.listed(stuck)]))
    return stopper.stuck


class _Abandoned:
    """The grip on programs without a supervisor: their main processes, which have no parent of the same program."""

    def __init__(self, left: Iterable[Marked]) -> None:
        self._mains = _mains(left)

    def send(self, programs: Sequence[ObservedProgram], ladders: Mapping[str, Ladder], spared: Collection[str]) -> None:
        for program in (program for program in programs if program.name not in spared):
            mains = self._mains[program.name]
            number = signal.Signals[f"SIG{ladders[program.name].signal}"]
            with processes.held([p.pid for p in mains], {p.pid: p.start for p in mains}) as descriptors:
                processes.send(descriptors.values(), number)
                for process in mains:
                    if ladders[program.name].whole_group and process.group in descriptors:
                        with contextlib.suppress(OSError):
                            os.killpg(process.group, number)

    def living(self, names: Collection[str]) -> list[ObservedProgram]:
        return [_observed(name, "", mains[0]) for name in names if (mains := processes.still(self._mains[name]))]


def _programs(box: Box, left: Iterable[Marked]) -> list[ObservedProgram]:
    """Each program that something is left of, as the rendering that was last started of it."""
    current = store.read_current(box)
    wanted = {unit.name: unit.fingerprint for unit in current.units} if current else {}
    return [
        _observed(name, ledger_file.read_last_fingerprint(box, name) or wanted.get(name, ""), mains[0])
        for name, mains in _mains(left).items()
    ]


def _mains(left: Iterable[Marked]) -> dict[str, list[Marked]]:
    left = list(left)
    programs = {process.pid: process.program for process in left}
    mains: dict[str, list[Marked]] = {}
    for process in left:
        if process.program is not None and programs.get(process.parent) != process.program:
            mains.setdefault(process.program, []).append(process)
    return mains


def _supervisors(left: Iterable[Marked]) -> list[Marked]:
    """What lives on without its socket: the parents of main processes, which belong to no program."""
    left = list(left)
    parents = {main.parent for mains in _mains(left).values() for main in mains}
    return [process for process in left if process.program is None and process.pid in parents]


def _observed(name: str, fingerprint: str, main: Marked) -> ObservedProgram:
    return ObservedProgram(
        name=name,
        fingerprint=fingerprint,
        state="running",
        pid=main.pid,
        age_s=0.0,
        started_at=None,
        restarts=0,
        deaths=0,
        last_exit=None,
    )
