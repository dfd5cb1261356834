"""Processes of ours: recognised by the mark that they inherit, ended by the ladder, confirmed gone by pidfd.

The mark ``BOOTSTRAP_MARK=<token>:<state directory>`` is in the environment of supervisord and so of everything that it
starts, double-forked and ``setsid`` descendants too. The token is new for every supervisord and every ``up``: what
carries an old one has lost its supervisor.
"""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.errors import ApplyFailed
from bootstrap.launcher import MARK
from bootstrap.world import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bootstrap.box import Box

KILL_WAIT_S = 5.0
_ROUNDS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """One process that carries this box's mark."""

    pid: int
    parent: int
    group: int
    token: str
    program: str | None


def new_mark(box: Box) -> str:
    """A mark for a new supervisord or a new ``up``."""
    return f"{os.urandom(4).hex()}:{box.state}"


def token_of(pid: int) -> str | None:
    """The token of a living process of ours."""
    return _field(_read(pid, "environ"), MARK).partition(":")[0] or None


def read_marked(box: Box) -> list[Marked]:
    """Every living process of this box, our own process left out."""
    found = []
    suffix = f":{box.state}"
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        environment = _read(int(name), "environ")
        mark = _field(environment, MARK)
        if not mark.endswith(suffix) or mark.count(":") < 1:
            continue
        stat = _read(int(name), "stat").rpartition(b") ")[2].split()
        if len(stat) < 3 or stat[0] in {b"Z", b"X"}:
            continue
        found.append(
            Marked(
                pid=int(name),
                parent=int(stat[1]),
                group=int(stat[2]),
                token=mark[: -len(suffix)],
                program=_field(environment, "BOOTSTRAP_PROGRAM") or None,
            )
        )
    return found


def sweep(box: Box, living_token: str | None, *, grace_s: float, say: Callable[[str], None]) -> None:
    """End whatever an earlier supervisord or ``up`` has left behind, and wait until it is gone."""

    def find() -> list[Marked]:
        return [process for process in read_marked(box) if process.token != living_token]

    orphans = find()
    if orphans:
        names = sorted({process.program or f"pid {process.pid}" for process in orphans})
        say(f"stopping what an earlier supervisor has left behind: {', '.join(names)}")
        end_all(find, grace_s=grace_s)


def end_all(find: Callable[[], list[Marked]], *, grace_s: float) -> None:
    """End what ``find`` finds until it finds nothing: what forks while it is being ended is found the next time.

    Only the first round gets the grace. Raises ApplyFailed when that never ends.
    """
    for round_ in range(_ROUNDS):
        left = find()
        if not left:
            return
        end({process.pid for process in left}, grace_s=0.0 if round_ else grace_s)
    names = sorted({process.program or f"pid {process.pid}" for process in find()})
    raise ApplyFailed(
        f"cannot end {', '.join(names)}: it forks faster than it can be killed\n"
        "  nothing is started beside it; way out: limit its processes (limits: {processes: …}) or reboot the box"
    )


def end(pids: Iterable[int], *, grace_s: float) -> None:
    """TERM, grace, KILL; raises ApplyFailed naming what even KILL does not end."""
    descriptors = _open(pids)
    try:
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
