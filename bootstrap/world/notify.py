"""What systemd is told, where it has started us: ready, status, alive, stopping.

Protocol: sd_notify(3), a datagram of VARIABLE=value lines to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from bootstrap.spelling import harmless

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notify:
    """Silent where nobody listens; nothing that goes wrong with it is told."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take the variables away: they are meant for this process, not for its children."""
        taken = {name: environ.pop(name, "") for name in _VARIABLES}
        self._address = taken["NOTIFY_SOCKET"]
        is_ours = taken["WATCHDOG_PID"] in {"", str(os.getpid())}
        digits = taken["WATCHDOG_USEC"]
        # Half of what it allows, as sd_watchdog_enabled(3) advises.
        self.watchdog_s = int(digits) / 2e6 if is_ours and digits.isdigit() and int(digits) > 0 else None

    def status(self, text: str) -> None:
        self._send(f"STATUS={harmless(text)}")

    def ready(self, text: str) -> None:
        self._send(f"READY=1\nSTATUS={harmless(text)}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Starting or stopping takes this much longer, from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def stopping(self, text: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={harmless(text)}")

    def _send(self, message: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = self._address.replace("@", "\0", 1) if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(errors="replace"), socket.MSG_DONTWAIT, address)
