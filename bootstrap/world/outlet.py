"""Where the process that stays tells what it does, however badly it is listened to.

Its standard output may be a pipe that nobody empties, or a terminal that somebody has stopped. Waiting there would hold
up everything else: what has died would not come back, and the end would never come. So what finds no room in time is
dropped, and counted.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer

PATIENCE_S = 1.0  # with a reader who is slow; once he was too slow he is not waited for until he has caught up


class Outlet(io.RawIOBase):
    """Writes to a descriptor, and never waits for long."""

    def __init__(self, descriptor: int, patience_s: float = PATIENCE_S) -> None:
        self._descriptor = descriptor
        self._way = _open_beside(descriptor)
        self._patience_s = patience_s
        self._dropped = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: ReadableBuffer, /) -> int:
        """Write it, or drop what there is no room for; raises OSError where nobody can ever read it."""
        rest = memoryview(content)
        size, wait_s = len(rest), 0.0 if self._dropped else self._patience_s
        with contextlib.suppress(BlockingIOError):  # somebody else was quicker to use the room
            while rest and self._has_room(wait_s):
                if self._dropped:
                    os.write(self._way, f"… (nobody took {self._dropped} more)\n".encode())
                    self._dropped = 0
                    continue
                # where there is any room, there is room for this much: pipe(7), PIPE_BUF
                rest = rest[os.write(self._way, rest[: select.PIPE_BUF]) :]
        self._dropped += bool(rest)
        return size

    def _has_room(self, wait_s: float) -> bool:
        poll = select.poll()
        poll.register(self._way, select.POLLOUT)
        return bool(poll.poll(wait_s * 1000))


def _open_beside(descriptor: int) -> int:
    """Another way into the same pipe or terminal, which never blocks; who shares the first one finds it as it was."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        with contextlib.suppress(OSError):  # another user's; then there is still the look for room
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return descriptor


def never_waiting(stream: TextIO) -> TextIO:
    """The same stream, through an outlet; itself where there is no descriptor below it."""
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(Outlet(descriptor), stream.encoding, stream.errors, write_through=True)  # type: ignore[type-var]
