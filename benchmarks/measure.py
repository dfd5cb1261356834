"""Commands, processes, memory: everything of the benchmark that touches the machine.

The benchmark makes itself the reaper of whatever its children leave behind. So all that it ever started is below it in
the process tree, a daemon that detached itself too: the tree says what a contestant costs, and what has to be ended.

Times are nanoseconds of the wall clock, because the time of a stamp is the file system's.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMEOUT_S = 300.0
_OWN_DESCRIPTORS = 8192  # a pidfd for each process that is waited for
_PR_SET_CHILD_SUBREAPER = 36
_CLOCK_REALTIME_COARSE = 5
_IN_OPEN = 0x20
_IN_NONBLOCK = os.O_NONBLOCK
_FOREIGN = ("BOOTSTRAP_", "AWS_")  # settings of the person who runs this are no part of it


class BenchmarkError(Exception):
    """Something could not be measured."""


def now_ns() -> int:
    """The clock of everything here."""
    return time.time_ns()


def file_now_ns() -> int:
    """The same clock as files are dated with: it ticks every few ms. A span that ends with a stamp begins with this."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def become_reaper() -> None:
    """Inherit the orphans of all our children, and have descriptors enough to wait for them."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise BenchmarkError("cannot become the reaper of our children: prctl failed (Linux 3.4 or newer is needed)")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _OWN_DESCRIPTORS)), hard))


def spawn(argv: list[str], output: Path, variables: Mapping[str, str] | None = None) -> int:
    """Start a command; what it says goes to the end of ``output``. The answer is its pid."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], argv, environment | dict(variables or {}), file_actions=actions)


def run(argv: list[str], output: Path, variables: Mapping[str, str] | None = None) -> int:
    """Run a command to its end; the answer is when that was."""
    pid = spawn(argv, output, variables)
    while True:
        ended, status = os.waitpid(
            -1, 0
        )  # orphans are reaped on the way, as init would: somebody may wait for their end
        if ended == pid:
            break
    returned_ns = now_ns()
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise BenchmarkError(f"cannot run {' '.join(argv)}: exit code {code}\n{_tail(output)}")
    return returned_ns


def descendants() -> dict[int, int]:
    """Every process below this one, with its parent; those that only wait to be reaped are reaped or left out."""
    _reap()
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_bytes()
            except OSError:
                continue
            state, parent = stat.rpartition(b") ")[2].split()[:2]
            if state not in {b"Z", b"X"}:
                children.setdefault(int(parent), []).append(int(name))
    found: dict[int, int] = {}
    new = [os.getpid()]
    while new:
        below = {child: parent for parent in new for child in children.get(parent, [])}
        found |= below
        new = list(below)
    return found


def end_descendants() -> None:
    """KILL whatever is left below us. A manager may start something anew until it is dead itself: hence the loop."""
    while left := descendants():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


class Ends:
    """Waits for the end of processes; make it before they are told to end, so that no pid can be mistaken."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids: dict[int, int] = {}  # by descriptor
        for pid in pids:
            try:
                self._pids[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                continue

    def wait(self) -> int:
        """Wait until all have ended; the answer is when the last one did."""
        poll = select.poll()
        for descriptor in self._pids:
            poll.register(descriptor, select.POLLIN)
        deadline = time.monotonic() + TIMEOUT_S
        while self._pids:
            for descriptor, _ in poll.poll(1000):
                poll.unregister(descriptor)
                os.close(descriptor)
                del self._pids[descriptor]
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"cannot stop process {sorted(self._pids.values())}: alive after {TIMEOUT_S:.0f} s"
                )
        return now_ns()


class Opens:
    """Notices whether anybody opens a file (inotify)."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(_IN_NONBLOCK)
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_OPEN) < 0:
            raise BenchmarkError(f"cannot watch {path}: {os.strerror(ctypes.get_errno())}")

    def happened(self) -> bool:
        """Whether it was opened since; asks once."""
        try:
            return bool(os.read(self._descriptor, 4096))
        except BlockingIOError:
            return False
        finally:
            os.close(self._descriptor)


def read_pss(pids: Iterable[int]) -> float:
    """Memory of processes in MiB; a page that several share is shared out among them (PSS)."""
    return sum(_read_pss_kib(pid) for pid in pids) / 1024


def _read_pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise BenchmarkError(f"cannot read the memory of process {pid}: there is no Pss in its smaps_rollup")


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _tail(output: Path) -> str:
    return "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
