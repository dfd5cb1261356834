"""Signals for the one process that stays: asked to stop, asked for another ``up``, and waiting for either."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from sys import UnraisableHookArgs
    from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)
_AGAIN_S = 0.01


class StopAsked(BaseException):
    """SIGTERM or SIGINT has come; whatever is under way may be left as it is."""


class Signals:
    """What has come, and waiting for more."""

    def __init__(self, wake: int) -> None:
        self._wake = wake
        self._up_asked = False

    def take_up_asked(self) -> bool:
        """Whether SIGHUP has come since the last time."""
        asked, self._up_asked = self._up_asked, False
        return asked

    def wait(self, pid: int | None, timeout_s: float) -> None:
        """Wait for a signal, for the end of a process, or this long; whatever it was, look."""
        if self._up_asked:
            return
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        with contextlib.ExitStack() as stack:
            if pid is not None:
                try:
                    descriptor = os.pidfd_open(pid)
                except ProcessLookupError:
                    return
                stack.callback(os.close, descriptor)
                poll.register(descriptor, select.POLLIN)
            poll.poll(timeout_s * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def note_up_asked(self, _number: int, _frame: FrameType | None) -> None:
        self._up_asked = True


@contextmanager
def heeded() -> Iterator[Signals]:
    """SIGTERM and SIGINT raise StopAsked, SIGHUP is remembered; restores what was before.

    An exception that comes while Python runs a finalizer, or tidies up after an import, is ignored by it: StopAsked is
    raised again then, a moment later.
    """
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signals = Signals(read)
    before = {number: signal.signal(number, _stop) for number in (*STOPPING, signal.SIGALRM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signals.note_up_asked)
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    tell_ignored, sys.unraisablehook = sys.unraisablehook, partial(_stop_again, sys.unraisablehook)
    try:
        yield signals
    finally:
        sys.unraisablehook = tell_ignored
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)


def ignore_stopping() -> None:
    """The stop is under way: being asked again changes nothing."""
    for number in (*STOPPING, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise StopAsked


def _stop_again(tell: Callable[[UnraisableHookArgs], object], ignored: UnraisableHookArgs) -> None:
    if issubclass(ignored.exc_type, StopAsked):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
    else:
        tell(ignored)
