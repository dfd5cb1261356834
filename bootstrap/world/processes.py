"""Processes of ours: recognised by what they inherit, ended by the ladder, confirmed gone by pidfd.

The mark ``BOOTSTRAP_MARK=<token>:<state directory>`` is in the environment of supervisord and so of everything that it
starts, double-forked and ``setsid`` descendants too. The token is new for every supervisord: what carries an old one
has lost its supervisor. That of what a run starts for itself names the run, and nobody has lost it while that lives. A
program that writes its title over its environment (nginx, redis, Ruby) is still in the session of the supervisord that
started it, and those are recorded.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bootstrap.errors import ApplyFailed, DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.launcher import MARK, PROGRAM
from bootstrap.world import cgroups, clock, disk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from bootstrap.box import Box

KILL_WAIT_S = 5.0
_ROUNDS = 200
_BATCH = 200
_LISTED = 10
_GONE = frozenset({b"Z", b"X"})
_PROGRAM = re.compile(r"[a-z0-9][a-z0-9-]{0,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """One process of this box."""

    pid: int
    start: int  # clock ticks after the boot: with the number, it names one process for ever
    parent: int
    group: int
    session: int
    token: str  # empty for one that has lost its mark
    program: str | None

    @property
    def words(self) -> str:
        """Its program's name, or its number; whatever it claims has been checked."""
        return self.program or f"pid {self.pid}"


def new_mark(box: Box) -> str:
    """A mark for a new supervisord: all that bears it has lost its supervisor when another one lives."""
    return f"{os.urandom(4).hex()}:{box.state}"


def own_mark(box: Box) -> str:
    """A mark for what this very process starts and waits for: nobody has lost it as long as we live."""
    return f"{os.urandom(4).hex()}.{os.getpid()}.{_stat(os.getpid()).start}:{box.state}"


def refuse_own_end(box: Box, programs: Collection[str]) -> None:
    """Raise DefinitionError where we run in one of these, which are about to stop: we would end half-way."""
    program = os.environ.get(PROGRAM)
    if program in programs and os.environ.get(MARK, "").partition(":")[2] == box.state:
        raise DefinitionError(
            f'cannot stop "{program}": this very command runs in it, and would end half-way\n'
            "  nothing has been changed; way out: type it outside of the programs of this box"
        )


def record_session(box: Box, pid: int) -> None:
    """Remember the session of a new supervisord, and forget those that nobody is in any more."""
    held = {_stat(int(name)).session for name in os.listdir("/proc") if name.isdigit()}
    known = {str(sid): start for sid, start in _read_sessions(box).items() if sid in held}
    disk.write_for_this_boot(_sessions(box), json.dumps(known | {str(pid): _stat(pid).start}).encode())


def read_marked(box: Box, but: Collection[int] = ()) -> list[Marked]:
    """Every living process of this box ``but`` for some, our own process left out."""
    found = []
    sessions = _read_sessions(box)
    members = cgroups.read_members(box)
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in but or int(name) == os.getpid():
            continue
        pid = int(name)
        stat = _stat(pid)  # first: should the number change hands now, the start will not fit what is killed later
        environment = _read(pid, "environ")
        token, _, state = _field(environment, MARK).partition(":")
        is_ours = state == box.state or stat.session in sessions or pid in members
        if not is_ours or stat.state in _GONE:
            continue
        claimed = members.get(pid) or _field(environment, PROGRAM)
        found.append(
            Marked(
                pid=pid,
                start=stat.start,
                parent=stat.parent,
                group=stat.group,
                session=stat.session,
                token=token if state == box.state else "",
                program=claimed if _PROGRAM.fullmatch(claimed) else None,
            )
        )
    return found


def read_family(parent: int, but: Collection[int]) -> list[Marked]:
    """The living children of a process ``but`` for some, adopted ones too, whether they bear our mark or not.

    One may be missed while another ends: the kernel counts them as it goes (proc(5), children).
    """
    family = []
    for pid in _read_child_pids(parent):
        if pid in but:
            continue
        stat = _stat(pid)
        claimed = _field(_read(pid, "environ"), PROGRAM)
        if stat.state in _GONE:
            continue
        family.append(
            Marked(
                pid=pid,
                start=stat.start,
                parent=parent,
                group=stat.group,
                session=stat.session,
                token="",
                program=claimed if _PROGRAM.fullmatch(claimed) else None,
            )
        )
    return family


def _read_child_pids(parent: int) -> Iterable[int]:
    """Fast where the kernel lists them (CONFIG_PROC_CHILDREN); else everybody is asked for his parent."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return read_children(parent)


def adopt_orphans() -> None:
    """Be the parent of descendants that lose theirs, as prctl(2) PR_SET_CHILD_SUBREAPER: so none can hide at PID 1.

    Best effort: where it can't be had, the mark and the session still tell most of them.
    """
    import ctypes  # noqa: PLC0415 - only for the two processes that stay

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def read_children(pid: int) -> set[int]:
    """The children of a process, adopted ones too."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _stat(int(name)).parent == pid}


def read_abandoned(box: Box, living: int | None, but: Collection[int] = ()) -> list[Marked]:
    """What an earlier supervisord or ``up`` has left; ``living`` is the supervisord that lives or is about to.

    ``but`` are processes of which that is known not to be so. Where nothing is to live on, what this very process has
    started is left behind too.
    """
    token = None if living is None else _field(_read(living, "environ"), MARK).partition(":")[0]

    def is_left(process: Marked) -> bool:
        if process.pid == living:  # in the moment in which it is being executed, nobody can read its token
            return False
        if process.token:
            return process.token != token and not _is_waited_for(process.token, but_by_us=living is None)
        return process.session != living and not _descends(process, living)

    return [process for process in read_marked(box, but) if is_left(process)]


def _is_waited_for(token: str, *, but_by_us: bool) -> bool:
    """Whether who made this mark for what he starts is still there: ``boot`` and its checks, say."""
    _, _, maker = token.partition(".")
    pid, _, start = maker.partition(".")
    if not pid.isdecimal() or not start.isdecimal() or (but_by_us and int(pid) == os.getpid()):
        return False
    stat = _stat(int(pid))
    return stat.start == int(start) and stat.state not in _GONE


def _descends(process: Marked, ancestor: int | None) -> bool:
    """A supervisord adopts what loses its parents, so all that it has ever started descends from it."""
    seen = {0, 1}
    pid = process.parent
    while pid not in seen and pid != ancestor:
        seen.add(pid)
        pid = _stat(pid).parent
    return pid == ancestor


def end_all(find: Callable[[], list[Marked]], *, grace_s: float) -> list[Marked]:
    """End what ``find`` finds until it finds nothing: what forks while it is being ended is found the next time.

    Only the first round gets the grace; nothing must be found twice in a row, since what has just forked may be missed
    once. The answer is what could not be ended, not even by KILL or because it forks faster.
    """
    left = find()
    if not left:
        return []
    empty = 0
    for round_ in range(_ROUNDS):
        stuck = end(left, grace_s=0.0 if round_ else grace_s)
        if stuck:
            return stuck
        left = find()
        empty = 0 if left else empty + 1
        if empty == 2:
            return []
    return left


def end(victims: Iterable[Marked], *, grace_s: float) -> list[Marked]:
    """TERM, grace, KILL; the answer is what even KILL does not end."""
    left = sorted(victims, key=lambda process: process.pid)
    stuck: list[Marked] = []
    while left:
        # a descriptor each, and a box may have more processes than we may have descriptors
        stuck += _end_batch(left[:_BATCH], grace_s)
        left = left[_BATCH:]
    return stuck


def end_pids(pids: Iterable[int]) -> None:
    """KILL processes that are known by their numbers; raises ApplyFailed for what even that does not end."""
    with held(pids) as descriptors:
        send(descriptors.values(), signal.SIGKILL)
        stuck = wait_until_gone(descriptors, KILL_WAIT_S)
    if stuck:
        raise ApplyFailed(describe_stuck([f"process {pid}" for pid in sorted(stuck)]))


def kill(victims: Iterable[Marked], number: signal.Signals = signal.SIGKILL) -> None:
    """Send these a signal, and wait for nothing."""
    starts = {victim.pid: victim.start for victim in victims}
    with held(starts, starts) as descriptors:
        send(descriptors.values(), number)


def still(candidates: Iterable[Marked]) -> list[Marked]:
    """Those that have not ended."""
    found = ((candidate, _stat(candidate.pid)) for candidate in candidates)
    return [candidate for candidate, stat in found if stat.start == candidate.start and stat.state not in _GONE]


def describe_stuck(words: Iterable[str]) -> str:
    """What to say of processes that not even KILL ends."""
    return (
        f"cannot end {', '.join(words)}: not even KILL ends it (uninterruptible sleep, or it forks too fast)\n"
        "  nothing is started beside it; way out: find what it waits for, or reboot the box"
    )


def listed(found: Iterable[Marked]) -> str:
    """Programs or pids in a few words."""
    words = sorted({process.words for process in found})
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more


def _end_batch(victims: list[Marked], grace_s: float) -> list[Marked]:
    with held((victim.pid for victim in victims), {victim.pid: victim.start for victim in victims}) as descriptors:
        if grace_s:
            send(descriptors.values(), signal.SIGTERM)
        left = wait_until_gone(descriptors, grace_s)
        send(left.values(), signal.SIGKILL)
        stuck = wait_until_gone(left, KILL_WAIT_S)
    return [victim for victim in victims if victim.pid in stuck]


def wait_until_gone(descriptors: dict[int, int], timeout_s: float) -> dict[int, int]:
    """Wait for pidfds to become readable; the answer is those that live on. Both map pid → descriptor."""
    left = dict(descriptors)
    poll = select.poll()
    by_descriptor = {descriptor: pid for pid, descriptor in left.items()}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    deadline = clock.now() + timeout_s
    while left:
        remaining = deadline - clock.now()
        if remaining <= 0:
            break
        for descriptor, _ in poll.poll(remaining * 1000 + 1):
            poll.unregister(descriptor)
            del left[by_descriptor[descriptor]]
    return left


def wait_until_ended(pid: int, timeout_s: float) -> bool:
    """Wait for the end of one process that need not be our child."""
    with held([pid]) as descriptors:
        return not wait_until_gone(descriptors, timeout_s)


@contextmanager
def held(pids: Iterable[int], starts: Mapping[int, int] | None = None) -> Iterator[dict[int, int]]:
    """pid → pidfd of those that live; with ``starts``, only of those that are still the same processes."""
    descriptors: dict[int, int] = {}
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                descriptors[pid] = os.pidfd_open(pid)
                if starts is not None and _stat(pid).start != starts[pid]:
                    os.close(descriptors.pop(pid))  # its number has been given to somebody else meanwhile
        yield descriptors
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def send(descriptors: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to what these pidfds name; what has ended needs none."""
    for descriptor in descriptors:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)


def send_to(pid: int, name: str, *, whole_group: bool) -> None:
    """Send a signal, named without SIG, to a main process or to the group that it leads."""
    number = signal.Signals[f"SIG{name}"]
    with contextlib.suppress(ProcessLookupError):
        if whole_group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def why_it_stays(pid: int, stop_signal: str) -> str:
    """Why a process may not have heeded its stop signal yet, in words, from /proc/PID/status (see proc(5))."""
    lines = _read(pid, "status").decode(errors="replace").splitlines()
    status = dict(line.partition(":\t")[::2] for line in lines)
    if status.get("State", "").startswith(("D", "T")):
        where = _read(pid, "wchan").decode(errors="replace").strip("0\n")
        return f"it is in state {status['State']}" + (f", in {where}" if where else "")
    bit = 1 << (signal.Signals[f"SIG{stop_signal}"] - 1)
    for field, words in (("SigIgn", "ignores"), ("SigBlk", "blocks"), ("SigCgt", "is still handling")):
        if int(status.get(field, "0"), 16) & bit:
            return f"it {words} {stop_signal}"
    return f"{stop_signal} has not reached its end"


class _Stat(NamedTuple):
    """The part of /proc/PID/stat that we need; see proc(5)."""

    state: bytes
    parent: int
    group: int
    session: int
    start: int  # clock ticks after the boot: tells a process from another that got its number


def is_paused(pid: int) -> bool:
    """Whether a signal has stopped it, until CONT."""
    return _stat(pid).state == b"T"


def _stat(pid: int) -> _Stat:
    fields = _read(pid, "stat").rpartition(b") ")[2].split()
    if len(fields) < 20:
        return _Stat(b"X", 0, 0, 0, 0)
    return _Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def _sessions(box: Box) -> str:
    return f"{box.run}/sessions.json"


def _read_sessions(box: Box) -> dict[int, int]:
    """Sessions of our supervisords → when they started; a number that somebody else has by now is left out."""
    recorded = disk.read_mapping(_sessions(box))
    sessions = {int(sid): start for sid, start in recorded.items() if sid.isdigit()}
    return {sid: start for sid, start in sessions.items() if _stat(sid).start in {0, start}}


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""  # gone, or another user's: then it is none of ours


def _field(environment: bytes, name: str) -> str:
    prefix = name.encode() + b"="
    start = 0 if environment.startswith(prefix) else environment.find(b"\0" + prefix) + 1
    if not start and not environment.startswith(prefix):
        return ""
    end_ = environment.find(b"\0", start)
    value = environment[start + len(prefix) : end_ if end_ >= 0 else None]
    return os.fsdecode(value)
