"""A disk that takes no more, full or read-only, costs lines of logs and nothing else.

supervisord does not start a program whose log can't be opened. And where a log can't be rolled over it stops reading
from the program, which blocks as soon as the pipe is full. Both programs may have nothing to do with that disk.
"""

from __future__ import annotations

import contextlib
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
            open_log(dispatcher)
        except OSError as error:
            dispatcher.normallog = None
            program = dispatcher.process.group.config.name
            options.logger.critical("the log of %(program)s can't be opened: %(error)s", program=program, error=error)

    POutputDispatcher._init_normallog = open_or_do_without  # noqa: SLF001 - likewise


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
