"""The one clock of the house: it tells the time and waits.

``now`` only measures distances (it never jumps); ``wall`` is what people and files are told. This module is itself a
``Clock``: what waits takes one as an argument, so that a test can pass hours without spending them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """What code that waits needs of a clock."""

    def now(self) -> float:
        """Seconds since some fixed moment."""

    def sleep(self, seconds: float, /) -> None:
        """Wait; a test's clock only moves on."""


def now() -> float:
    """Seconds of a clock that never jumps."""
    return time.monotonic()


def sleep(seconds: float, /) -> None:
    """Wait this long."""
    time.sleep(seconds)


def wall() -> datetime:
    """The time of day, in UTC."""
    from datetime import UTC, datetime  # noqa: PLC0415 - most runs never name a moment

    return datetime.now(UTC)


def wall_seconds() -> float:
    """The time of day as seconds since 1970."""
    return time.time()


def wall_text() -> str:
    """The time of day as RFC 3339, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def wall_ns() -> int:
    """The time of day as file systems stamp it: nanoseconds since 1970."""
    return time.time_ns()


def text_of(seconds: float) -> str:
    """A moment, in seconds since 1970, as RFC 3339 to the second."""
    from datetime import UTC, datetime  # noqa: PLC0415 - see wall

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
