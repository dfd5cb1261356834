"""Children that somebody waits for, told apart from adopted ones, of which leave only has to be taken.

The process that stays adopts orphans (see ``processes.adopt_orphans``) and reaps whatever has ended. Were it to reap a
child that a thread of its own waits for, that thread would never learn how it ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.world.processes import read_children

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_lock = threading.Lock()  # held while a child is started, so that none ends before it is known
_awaited: set[int] = set()


@contextmanager
def started(
    words: Sequence[str], environ: Mapping[str, str], *, stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, its output in a pipe; it is waited for. Raises OSError if it can't start.

    ``stdin`` is what subprocess takes: with ``subprocess.PIPE`` the child can be told something.
    """
    with _lock:
        process = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd="/",
            start_new_session=True,  # no terminal of ours, and a group of its own
        )
        _awaited.add(process.pid)
    try:
        with process:
            yield process
    finally:
        _awaited.discard(process.pid)


def reap() -> None:
    """Take leave of children that have ended and that nobody waits for."""
    with _lock, contextlib.suppress(ChildProcessError):
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return  # the common case, without a look at all processes
        for pid in read_children(os.getpid()) - _awaited:
            os.waitpid(pid, os.WNOHANG)
