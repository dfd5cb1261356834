"""What is remembered about one program while supervisord lives; its ledger outlives it."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

from bootstrap.world import logs

if TYPE_CHECKING:
    from bootstrap.ledger import Life

DEFAULT_WINDOW_S = 60.0
DEFAULT_STARTS = 5


class Record:
    """Begins with what its ledger says."""

    def __init__(self, lives: tuple[Life, ...]) -> None:
        self.starts: deque[float] = deque(maxlen=64)  # monotonic
        self.last_exit = _describe_last_exit(lives)
        self.by_itself = False  # whether it was started last without anybody asking
        self.generation: str | None = None  # that it was started last as part of
        self.current: str | None = None  # the one in force at that time
        self.restarts = 0
        self.deaths = 0  # since it was last started by hand or by `up`
        self.started_at = 0.0  # wall clock, for people
        self.started = 0.0  # monotonic
        self.log_start = logs.Position()
        self.window_s = DEFAULT_WINDOW_S
        self.allowed = DEFAULT_STARTS
        self.due = 0.0  # monotonic time of the next restart, 0 for none
        self.finishing = 0  # pid of its `finish`, while that runs


def decode_status(status: int | None) -> tuple[int | None, int]:
    """A wait status → exit code and signal number, as in wait(2)."""
    if status is None:
        return None, 0
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0


def _describe_last_exit(lives: tuple[Life, ...]) -> dict[str, Any] | None:
    ended = [life for life in lives if life.ended_at is not None]
    if not ended:
        return None
    life = ended[-1]
    return {"code": life.code, "signal": life.signal, "cause": life.cause, "at": life.ended_at}
