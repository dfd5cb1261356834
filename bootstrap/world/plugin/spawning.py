"""Children without a copy of supervisord first, with default signal dispositions, and nothing on standard input."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from supervisor.process import Subprocess

if TYPE_CHECKING:
    from collections.abc import Callable


def spawn_without_fork(options: Any, refuse: Callable[[Any], None], note_pid: Callable[[Any, int], None]) -> None:
    """Make ``options.fork`` start the child itself; ``Subprocess.spawn`` then goes on as the parent that it is."""
    get_execv_args = Subprocess.get_execv_args
    next_child: list[tuple[Any, str, list[str]]] = []

    def get_and_remember(process: Any) -> tuple[str, list[str]]:
        filename, arguments = get_execv_args(process)
        next_child[:] = [(process, filename, arguments)]
        return filename, arguments

    def spawn() -> int:
        process, filename, arguments = next_child.pop()
        refuse(process)
        pid = os.posix_spawn(
            filename,
            arguments,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                # Open for both, it has a reader in the program itself: should we die, a last line on the way to a
                # graceful end does not kill it by SIGPIPE.
                (os.POSIX_SPAWN_OPEN, 1, f"/proc/self/fd/{process.pipes['child_stdout']}", os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setpgroup=0,
            setsigmask=[],
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )
        note_pid(process, pid)
        return pid

    Subprocess.get_execv_args = get_and_remember
    options.fork = spawn
