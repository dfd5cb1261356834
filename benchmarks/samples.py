"""What is measured, and the values: by number of services, contestant and measurement."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from enum import Enum


class Measured(Enum):
    """A measurement: what a table says, and its unit (empty for a count)."""

    COLD = "cold start: last service runs", "ms"
    READY = "… command returned: ready", "ms"
    NOOP = "apply, nothing changed", "ms"
    STATUS = "status", "ms"
    CHANGE = "one variable changed: to ready", "ms"
    CRASH = "killed: to its new start", "ms"
    RECOVERY = "supervisor killed: to one tree of each", "ms"
    STOP = "stop: last service gone", "ms"
    DOWN = "stop: everything gone", "ms"
    SLOW_STOP = "the same, each takes 300 ms", "ms"
    SLOW_DOWN = "… everything gone", "ms"
    DAEMON_MEMORY = "memory of the daemon (PSS)", "MiB"
    MANAGER_MEMORY = "memory of all but services", "MiB"
    TOTAL_MEMORY = "memory with the services", "MiB"
    MANAGERS = "processes but services", ""
    NOOP_RESTARTS = "restarted by an apply of nothing", ""
    OTHER_RESTARTS = "restarted by another's change", ""
    CONFIG_READS = "supervisord read its files for nothing", ""
    BOTO3_IMPORTS = "boto3 imported for nothing", ""
    LEFT_BEHIND = "processes left after the stop", ""

    def __init__(self, title: str, unit: str) -> None:
        self.title = title
        self.unit = unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Several values of one measurement."""

    median: float
    least: float
    most: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Everything that was measured, and what was noticed besides."""

    values: dict[tuple[int, str, Measured], list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, size: int, contestant: str, measured: Measured, value: float) -> None:
        """Keep one value."""
        self.values.setdefault((size, contestant, measured), []).append(value)

    def summary(self, size: int, contestant: str, measured: Measured) -> Summary | None:
        """The values of one measurement, ``None`` where there are none."""
        values = self.values.get((size, contestant, measured))
        if not values:
            return None
        return Summary(median=statistics.median(values), least=min(values), most=max(values), count=len(values))

    def sizes(self) -> list[int]:
        """The numbers of services, ascending."""
        return sorted({size for size, _, _ in self.values})

    def contestants(self, size: int) -> list[str]:
        """Who was measured with so many services, bootstrap first."""
        names = {name for of, name, _ in self.values if of == size}
        return sorted(names, key=lambda name: (name != "bootstrap", name))
