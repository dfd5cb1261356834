"""A number → that many trivial services: one config, one command line each, the same for every contestant.

A service says that it runs by writing a stamp, its pid and the value of one variable, and becomes ``sleep``. So every
contestant is measured by what its services saw, not by what it believes. Its environment are three directories of 20
files each, as ``chpst -e`` reads them: 56 names, because four are overridden.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from measure import TIMEOUT_S, BenchmarkError, now_ns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STOP_S = 0.3  # what a slow service takes to stop
VARIABLES_PER_LAYER = 20
VARIABLE = "REVISION"  # the one that is changed
_POLL_S = 0.005  # the times are those of the stamps: how often we look does not matter to them


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What one start of a service left behind."""

    pid: int
    revision: str
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of one session; ``config`` is laid out as bootstrap reads it, any ``chpst -e`` can read it too."""

    directory: Path
    names: tuple[str, ...]
    slow: bool  # whether each takes STOP_S to stop

    @property
    def config(self) -> Path:
        """The directory of all layers."""
        return self.directory / "root" / "config"

    def layers(self, name: str) -> tuple[Path, ...]:
        """The environment directories of a service, lowest first."""
        return self.config / "common", self.config / "modes" / "review", self.config / "services" / name / "common"

    def line(self, name: str) -> str:
        """The line of sh that is the service."""
        stamp = f'echo "$$ ${VARIABLE}" > {shlex.quote(str(self._stamp(name)))}'
        if not self.slow:
            return f"{stamp}; exec sleep 100000"
        return f"trap 'kill $child; exec sleep {STOP_S}' TERM; sleep 100000 & child=$!; {stamp}; wait"

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service, for those who do not read directories."""
        return {file.name: file.read_text().rstrip("\n") for layer in self.layers(name) for file in layer.iterdir()}

    def revise(self, name: str, revision: str) -> None:
        """Change one variable of one service."""
        (self.layers(name)[-1] / VARIABLE).write_text(f"{revision}\n", encoding="ascii")

    def read_stamps(self) -> dict[str, Stamp]:
        """Every stamp that is there and whole."""
        found = {name: self._read_stamp(name) for name in self.names}
        return {name: stamp for name, stamp in found.items() if stamp is not None}

    def wait_for_stamps(self) -> dict[str, Stamp]:
        """Wait until every service has stamped."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            if sum(1 for _ in self._stamps.iterdir()) == len(self.names):
                stamps = self.read_stamps()
                if len(stamps) == len(self.names):
                    return stamps
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"cannot start {len(self.names)} services: only {len(self.read_stamps())} did start"
                )
            time.sleep(_POLL_S)

    def wait_for_revision(self, name: str, revision: str) -> Stamp:
        """Wait until a service has seen this value."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            stamp = self._read_stamp(name)
            if stamp is not None and stamp.revision == revision:
                return stamp
            if time.monotonic() > deadline:
                raise BenchmarkError(f'cannot change service "{name}": it never saw {VARIABLE}={revision}')
            time.sleep(_POLL_S)

    def wait_for_successors(self, before: Mapping[str, Stamp]) -> int:
        """Wait until each of these services has started anew; the answer is when we saw the last one.

        Looks without a pause: the times of files tick every few ms, which is longer than what is measured.
        """
        deadline = time.monotonic() + TIMEOUT_S
        waiting = dict(before)
        while waiting:
            new = {name: self._read_stamp(name) for name in waiting}
            waiting = {n: old for n, old in waiting.items() if (s := new[n]) is None or s.pid == old.pid}
            if time.monotonic() > deadline:
                raise BenchmarkError(f"cannot restart {sorted(waiting)}: still dead after {TIMEOUT_S:.0f} s")
        return now_ns()

    @property
    def _stamps(self) -> Path:
        return self.directory / "stamps"

    def _stamp(self, name: str) -> Path:
        return self._stamps / name

    def _read_stamp(self, name: str) -> Stamp | None:
        path = self._stamp(name)
        try:
            text, at_ns = path.read_text(encoding="ascii"), path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if not text.endswith("\n"):
            return None  # caught between opening and writing
        pid, revision = text.split()
        return Stamp(pid=int(pid), revision=revision, at_ns=at_ns)


def write_services(directory: Path, count: int, *, slow: bool) -> Services:
    """Write what all contestants share."""
    services = Services(directory=directory, names=tuple(f"s{n:03}" for n in range(count)), slow=slow)
    (directory / "stamps").mkdir(parents=True)
    common, mode, _ = services.layers(services.names[0])
    _write_layer(common, [f"COMMON_{n:02}" for n in range(VARIABLES_PER_LAYER)])
    _write_layer(mode, ["COMMON_00", "COMMON_01", *(f"MODE_{n:02}" for n in range(VARIABLES_PER_LAYER - 2))])
    for name in services.names:
        own = services.layers(name)[-1]
        _write_layer(own, ["COMMON_02", "MODE_00", *(f"OWN_{n:02}" for n in range(VARIABLES_PER_LAYER - 3))])
        services.revise(name, "0")
    return services


def _write_layer(directory: Path, keys: list[str]) -> None:
    directory.mkdir(parents=True)
    for key in keys:
        (directory / key).write_text(f"{directory.name}-value-of-{key.lower()}\n", encoding="ascii")
