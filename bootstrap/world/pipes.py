"""The pipes between programs and their loggers, which outlive both."""

from __future__ import annotations

import array
import fcntl
import os
import termios

from bootstrap.world import clock

_LOOKS = 2  # in a row: what has just been read may not have been written yet
_PAUSE_S = 0.01


def is_drained(path: str) -> bool:
    """Whether a logger has read all that was written; of a pipe that is gone, or that is none, nothing is left."""
    for _ in range(_LOOKS):
        if _waiting(path):
            return False
        clock.sleep(_PAUSE_S)
    return not _waiting(path)


def _waiting(path: str) -> int:
    """Bytes, by FIONREAD (see pipe(7))."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        count = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
        return count[0]
    except OSError:
        return 0
    finally:
        os.close(descriptor)
