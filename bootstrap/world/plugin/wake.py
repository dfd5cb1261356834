"""Signals end the poll of the main loop at once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Wake:
    """A descriptor in supervisord's own poll set that every signal writes to.

    One turn of the main loop handles one signal, so as many turns must follow at once as signals came.
    """

    def __init__(self, options: Any, stir: Callable[[int], None]) -> None:
        self._stir = stir
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        options.get_socket_map()[self._read] = self

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            signals = os.read(self._read, 4096)
        except BlockingIOError:
            return
        self._stir(len(signals) + 1)

    def handle_error(self) -> None:
        """supervisord calls this for every dispatcher; there is nothing to close."""
