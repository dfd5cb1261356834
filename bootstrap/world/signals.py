"""Signals for the one process that stays: asked to stop, asked for another ``up``, and waiting for either.

A stop interrupts what is under way, wherever that is, by an exception. Python loses exceptions: those that come while
it runs a finalizer or tidies up after an import it tells a hook about, others it drops without a word. And it would run
a second handler in the very clause that has caught the first one's exception. So a stop is raised once, in one place
alone, and again only where nobody has taken it.
"""

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
_AGAIN_S = 0.01  # after Python has said that it ignores the exception
_LOST_S = 5.0  # after which it must have dropped it: nothing cleans up for so long


class StopAsked(BaseException):
    """SIGTERM or SIGINT has come; whatever is under way may be left as it is."""


class Signals:
    """What has come, and waiting for more."""

    def __init__(self, wake: int) -> None:
        self._wake = wake
        self._up_asked = False
        self._stop_asked = False
        self._raises = False  # whether a stop may interrupt what is under way

    @property
    def stop_asked(self) -> bool:
        """Whether SIGTERM or SIGINT has come."""
        return self._stop_asked

    @property
    def up_asked(self) -> bool:
        """Whether SIGHUP has come and nobody has heeded it yet."""
        return self._up_asked

    def take_up_asked(self) -> bool:
        """Whether SIGHUP has come since the last time."""
        asked, self._up_asked = self._up_asked, False
        return asked

    def until_stopped(self, act: Callable[[], object]) -> bool:
        """Do it, and leave it where a stop is asked for; the answer is whether one was."""
        try:
            try:
                self._raises = True
                if self._stop_asked:
                    raise StopAsked  # before we were here
                act()
            finally:
                self._raises = False
        except StopAsked:
            self._raises = False  # one more may have come in that very moment
        signal.setitimer(signal.ITIMER_REAL, 0)
        return self._stop_asked

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

    def note_stop_asked(self, number: int, _frame: FrameType | None) -> None:
        """Raise StopAsked where that is wanted: the first time, and when the last one was lost."""
        if self._stop_asked and number != signal.SIGALRM:
            return
        self._stop_asked = True
        if self._raises:
            signal.setitimer(signal.ITIMER_REAL, _LOST_S)
            raise StopAsked

    def note_ignored(self, tell: Callable[[UnraisableHookArgs], object], ignored: UnraisableHookArgs) -> None:
        """Python ignores an exception: of ours there must be another."""
        if issubclass(ignored.exc_type, StopAsked):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            tell(ignored)


@contextmanager
def heeded() -> Iterator[Signals]:
    """SIGTERM and SIGINT end ``until_stopped``, SIGHUP is remembered; restores what was before.

    Once a stop was asked for, being asked again changes nothing, and that stays so: this process is about to exit.
    """
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signals = Signals(read)
    before = {number: signal.signal(number, signals.note_stop_asked) for number in (*STOPPING, signal.SIGALRM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signals.note_up_asked)
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    tell_ignored, sys.unraisablehook = sys.unraisablehook, partial(signals.note_ignored, sys.unraisablehook)
    try:
        yield signals
    finally:
        sys.unraisablehook = tell_ignored
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if signals.stop_asked else handler)
        os.close(read)
        os.close(write)
