"""A service directory that runsv supervises → what sv sees of it and sends to it; the protocol is daemontools'.

``supervise/ok`` is a FIFO that runsv reads while it lives. ``supervise/status`` has 20 bytes: since when, as TAI64N
(12), the pid (4, least significant first), paused, what is wanted (`u` or `d`), whether TERM was sent, and the state
(0 down, 1 run, 2 finish). ``supervise/control`` is a FIFO that takes the letters of runsv(8). See its "CONTROL".
"""

from __future__ import annotations

import errno
import os
import subprocess
import time

from runit_compat.error_words import describe_errno
from runit_compat.sv_words import Seen

_LENGTH = 20
_STATES = {0: "down", 1: "run", 2: "finish"}
_TAI = 2**62 + 10  # what runit adds to the seconds since 1970: it counts no leap seconds


class TroubleError(Exception):
    """Something that sv says of one service and counts; ``kind`` is the first word of the line."""

    def __init__(self, text: str, error: OSError | None = None, *, kind: str = "fail") -> None:
        super().__init__(text if error is None else f"{text}: {describe_errno(error.errno).decode()}")
        self.kind = kind


class GoneError(TroubleError):
    """No runsv is there: which is what `exit` is after."""

    def __init__(self) -> None:
        super().__init__("runsv not running")


class ServiceDirectory:
    """One service of a runsv, or its logger."""

    def __init__(self, path: str, began: float) -> None:
        """Raise TroubleError for what is no directory; ``began`` is when sv was started, in seconds since 1970."""
        self._path = path
        self._began = int(began)
        try:
            os.stat(f"{path}/." if path else path)
        except OSError as error:
            raise TroubleError("unable to change to service directory", error) from error

    def look(self) -> Seen:
        """Raise TroubleError where that can't be told, GoneError where no runsv is."""
        return self._look("")

    def look_at_log(self) -> Seen | None:
        """``None`` where it has no logger; raises what ``look`` does."""
        return self._look("log/") if os.path.isdir(f"{self._path}/log") else None

    def send(self, letters: str) -> None:
        """Raise what ``look`` does."""
        descriptor = self._open_fifo("supervise/control")
        try:
            if os.write(descriptor, letters.encode()) != len(letters):
                raise TroubleError("unable to write to supervise/control", kind="warning")
        except OSError as error:
            raise TroubleError("unable to write to supervise/control", error, kind="warning") from error
        finally:
            os.close(descriptor)

    def is_available(self) -> bool:
        """What its check script says, if there is one; one that cannot be run says yes, and why."""
        try:
            os.stat(f"{self._path}/check")
            return subprocess.run(["./check"], cwd=self._path, stdout=None, check=False).returncode == 0
        except FileNotFoundError:
            return True

    def _look(self, below: str) -> Seen:
        os.close(self._open_fifo(f"{below}supervise/ok"))
        raw = self._read_status(f"{below}supervise/status")
        since = int.from_bytes(raw[:8]) - _TAI
        return Seen(
            state=_STATES.get(raw[19], "run"),
            pid=int.from_bytes(raw[12:16], "little"),
            seconds=max(0, int(time.time()) - since),
            normally_up=not os.path.exists(f"{self._path}/{below}down"),
            paused=bool(raw[16]),
            want="d" if raw[17:18] == b"d" else "u",
            got_term=bool(raw[18]),
            is_new=since >= self._began,
        )

    def _open_fifo(self, name: str) -> int:
        try:
            return os.open(f"{self._path}/{name}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads it
                raise GoneError from error
            raise TroubleError(f"unable to open {name.removeprefix('log/')}", error, kind="warning") from error

    def _read_status(self, name: str) -> bytes:
        told = name.removeprefix("log/")
        try:
            with open(f"{self._path}/{name}", "rb", opener=_open_at_once) as file:
                raw = file.read(_LENGTH)
        except OSError as error:
            raise TroubleError(f"unable to open {told}", error, kind="warning") from error
        if len(raw) != _LENGTH:
            raise TroubleError(f"unable to read {told}: bad format", kind="warning")
        return raw


def _open_at_once(path: str, flags: int) -> int:
    """A pipe in the place of a file would be waited for until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def is_supervised(path: str) -> bool:
    """Whether a runsv lives there, as far as we may know."""
    try:
        os.close(os.open(f"{path}/supervise/ok", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in {errno.EACCES, errno.EPERM}
    return True
