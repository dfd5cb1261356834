"""A clock for supervisord that never jumps, whatever is done to the time of day."""

from __future__ import annotations

import time

from supervisor import process as process_module
from supervisor.process import Subprocess


class SteadyTime:
    """What ``supervisor.process`` takes for the module ``time``: the time of day when it began, without later jumps."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def time(self) -> float:
        return self._offset + time.monotonic()


def keep_steady_time() -> SteadyTime:
    """Otherwise a clock that is put forward ends every grace at once.

    supervisord's own guard against clocks that are put back has to go with it: it takes our short waits for one.
    """
    steady = SteadyTime()
    process_module.time = steady
    Subprocess._check_and_adjust_for_system_clock_rollback = lambda _process, _now: None  # noqa: SLF001 - see above
    return steady
