"""What runs, as the supervisor tells it: the values that plans are compared with."""

from __future__ import annotations

from typing import Literal, TypeAlias

from bootstrap.frozen import dataclass

State: TypeAlias = Literal["stopped", "starting", "running", "stopping", "backoff", "failed"]


_ENDINGS = {
    "abandoned": "ended because its supervisor had died",
    "killed": "killed because it did not stop in time",
    "lost": "ended unseen: its supervisor had died",
    "never ready": "never ready",
    "not spawned": "could not be spawned",
    "oom": "killed for want of memory",
    "stopped": "stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastExit:
    """How a program ended the last time."""

    code: int | None
    signal: str | None
    cause: str  # exited, signal, oom, stopped, killed, not spawned, abandoned, lost
    at: float  # seconds since 1970

    @property
    def words(self) -> str:
        """How it ended, for people."""
        if self.cause in _ENDINGS:
            return _ENDINGS[self.cause]
        if self.signal is not None:
            return f"killed by {self.signal}"
        return "ended" if self.code is None else f"exited with code {self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedProgram:
    """One program that the supervisor knows."""

    name: str
    fingerprint: str  # of what it runs, not of what it should run
    state: State
    pid: int | None
    age_s: float  # how long this process has lived
    started_at: float | None  # seconds since 1970
    restarts: int  # by the supervisor, since it was last started on purpose
    deaths: int  # likewise
    last_exit: LastExit | None
    log_start: tuple[int | None, int] = (None, 0)  # inode and size of its log when this process was started
    finishing: bool = False  # the process is its `finish`
    want: str | None = None  # "u" or "d": whether somebody wants it started again when it ends
    paused: bool = False  # by `sv pause`
    got_term: bool = False  # it has got its stop signal

    @property
    def store_name(self) -> str:
        """The directory of the store that it runs from."""
        return f"{self.name}-{self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All of them; ``daemon`` is the supervisor's pid, ``None`` when there is no supervisor."""

    daemon: int | None
    programs: tuple[ObservedProgram, ...] = ()
