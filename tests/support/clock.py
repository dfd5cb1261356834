"""A clock that tests move: sleeping costs nothing and is written down."""

from __future__ import annotations


class FakeClock:
    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.time += seconds
