"""Processes of ours: recognised by what they inherit, ended by the ladder, confirmed gone by pidfd.

The mark ``BOOTSTRAP_MARK=<token>:<state directory>`` is in the environment of supervisord and so of everything that it
starts, double-forked and ``setsid`` descendants too. The token is new for every supervisord and every ``up``: what
carries an old one has lost its supervisor. A program that writes its title over its environment (nginx, redis, Ruby)
is still in the session of the supervisord that started it, and those are recorded.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bootstrap.errors import ApplyFailed
from bootstrap.launcher import MARK
from bootstrap.world import clock, disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    """A mark for a new supervisord or a new ``up``."""
    return f"{os.urandom(4).hex()}:{box.state}"


def record_session(box: Box, pid: int) -> None:
    """Remember the session of a new supervisord, and forget those that nobody is in any more."""
    held = {_stat(int(name)).session for name in os.listdir("/proc") if name.isdigit()}
    known = {str(sid): start for sid, start in _read_sessions(box).items() if sid in held}
    disk.write_for_this_boot(_sessions(box), json.dumps(known | {str(pid): _stat(pid).start}).encode())


def read_marked(box: Box) -> list[Marked]:
    """Every living process of this box, our own process left out."""
    found = []
    sessions = _read_sessions(box)
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        pid = int(name)
        environment = _read(pid, "environ")
        token, _, state = _field(environment, MARK).partition(":")
        stat = _stat(pid)
        if (state != box.state and stat.session not in sessions) or stat.state in _GONE:
            continue
        claimed = _field(environment, "BOOTSTRAP_PROGRAM")
        found.append(
            Marked(
                pid=pid,
                parent=stat.parent,
                group=stat.group,
                session=stat.session,
                token=token if state == box.state else "",
                program=claimed if _PROGRAM.fullmatch(claimed) else None,
            )
        )
    return found


def read_children(pid: int) -> set[int]:
    """The children of a process, adopted ones too."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _stat(int(name)).parent == pid}


def sweep(box: Box, living: int | None, *, grace_s: float, say: Callable[[str], None]) -> None:
    """End whatever an earlier supervisord or ``up`` has left behind, and wait until it is gone.

    ``living`` is the pid of the supervisord that lives or is about to.
    """
    token = None if living is None else _field(_read(living, "environ"), MARK).partition(":")[0]

    def find() -> list[Marked]:
        return [p for p in read_marked(box) if p.token != token and (p.token or p.session != living)]

    orphans = find()
    if orphans:
        say(f"stopping what an earlier supervisor has left behind: {_listed(orphans)}")
        end_all(find, grace_s=grace_s)


def end_all(find: Callable[[], list[Marked]], *, grace_s: float) -> None:
    """End what ``find`` finds until it finds nothing: what forks while it is being ended is found the next time.

    Only the first round gets the grace; nothing must be found twice in a row, since what has just forked may be missed
    once. Raises ApplyFailed when that never ends.
    """
    left = find()
    if not left:
        return
    empty = 0
    for round_ in range(_ROUNDS):
        end({process.pid for process in left}, grace_s=0.0 if round_ else grace_s)
        left = find()
        empty = 0 if left else empty + 1
        if empty == 2:
            return
    raise ApplyFailed(
        f"cannot end {_listed(left)}: it forks faster than it can be killed\n"
        "  nothing is started beside it; way out: limit its processes (limits: {processes: …}) or reboot the box"
    )


def _listed(found: list[Marked]) -> str:
    words = sorted({process.words for process in found})
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more


def end(pids: Iterable[int], *, grace_s: float) -> None:
    """TERM, grace, KILL; raises ApplyFailed naming what even KILL does not end."""
    left = sorted(pids)
    while left:
        # a descriptor each, and a box may have more processes than we may have descriptors
        _end_batch(left[:_BATCH], grace_s)
        left = left[_BATCH:]


def _end_batch(pids: Iterable[int], grace_s: float) -> None:
    descriptors = _open(pids)
    try:
        if grace_s:
            _send(descriptors, signal.SIGTERM)
        left = wait_until_gone(descriptors, grace_s)
        _send(left, signal.SIGKILL)
        stuck = wait_until_gone(left, KILL_WAIT_S)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    if stuck:
        raise ApplyFailed(
            f"cannot end process {', '.join(map(str, sorted(stuck)))}: not even KILL ends it (uninterruptible sleep?)\n"
            "  nothing is started beside it; way out: find what it waits for, or reboot the box"
        )


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
    descriptors = _open([pid])
    try:
        return not wait_until_gone(descriptors, timeout_s)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _open(pids: Iterable[int]) -> dict[int, int]:
    descriptors = {}
    for pid in pids:
        try:
            descriptors[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
    return descriptors


def _send(descriptors: dict[int, int], number: signal.Signals) -> None:
    for descriptor in descriptors.values():
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            continue


class _Stat(NamedTuple):
    """The part of /proc/PID/stat that we need; see proc(5)."""

    state: bytes
    parent: int
    group: int
    session: int
    start: int  # clock ticks after the boot: tells a process from another that got its number


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
