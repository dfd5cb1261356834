"""A disk that takes no more, full or read-only, costs lines of logs and nothing else.

supervisord does not start a program whose log can't be opened. And where a log can't be rolled over it stops reading
from the program, which blocks as soon as the pipe is full. Both programs may have nothing to do with that disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Any

from supervisor.dispatchers import POutputDispatcher
from supervisor.loggers import RotatingFileHandler


def log_what_can_be_logged(options: Any) -> None:
    """Let programs start without a log, and go on with the old one."""
    _start_without_log(options)
    _go_on_with_old_log()


def _start_without_log(options: Any) -> None:
    open_log = POutputDispatcher._init_normallog  # noqa: SLF001 - the package's docstring lists what we touch

    def open_or_do_without(dispatcher: Any) -> None:
        try:
            _refuse_pipe(dispatcher.process.config.stdout_logfile)
            open_log(dispatcher)
        except OSError as error:
            dispatcher.normallog = None
            program = dispatcher.process.group.config.name
            options.logger.critical("the log of %(program)s can't be opened: %(error)s", program=program, error=error)

    POutputDispatcher._init_normallog = open_or_do_without  # noqa: SLF001 - likewise


def _refuse_pipe(path: Any) -> None:
    """Opening one waits for somebody who reads it, and with it would everything that supervisord does."""
    if isinstance(path, str) and os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
        raise FileExistsError(errno.EEXIST, "a pipe stands in its place", path)


def _go_on_with_old_log() -> None:
    roll_over = RotatingFileHandler.doRollover

    def roll_over_or_go_on(handler: Any) -> None:
        try:
            roll_over(handler)
        except (OSError, ValueError):  # the latter where the last time has left it closed
            with contextlib.suppress(OSError):
                _open_again(handler)

    RotatingFileHandler.doRollover = roll_over_or_go_on


def _open_again(handler: Any) -> None:
    if handler.stream.closed:
        handler.stream = open(handler.baseFilename, "ab")  # noqa: SIM115 - supervisord closes it
