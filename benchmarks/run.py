"""Arguments → rounds in which every contestant has its turn → tables with ratios.

In each round the contestants run one after the other, and each round begins with another one: whatever else the machine
does hits all of them. A first round with one service warms the file cache and is forgotten.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from contestants import (
    Bootstrap,
    BootstrapBoot,
    BootstrapTerm,
    Contestant,
    Runsvdir,
    Supervisord,
    SupervisordTerm,
    choose_contestants,
    missing_commands,
    missing_tools,
)
from measure import BenchmarkError, become_reaper, end_descendants
from report import render_document, render_tables, render_verdicts
from samples import Measured, Samples
from session import Add, measure_recovery, measure_session, measure_slow_stop
from targets import judge_targets

if TYPE_CHECKING:
    from types import FrameType

_SIZES = (1, 10, 100, 500)
_RUNS = 5
_RUNS_OF_MANY = 3  # from 500 services up
_SERIAL_SIZES = (10, 100)  # a bare SIGTERM stops one service after another: with 500 that takes minutes
_ROOM = 512 * 1024 * 1024
_SHARED_MEMORY = Path("/dev/shm")

Session = Callable[[type[Contestant], Path, int, Add], None]


def main() -> int:
    """Measure, print, and leave nothing behind."""
    arguments = _parse_arguments()
    sizes, runs = _sizes(arguments), _runs(arguments)
    if missing := missing_commands():
        sys.exit(f"cannot measure: there is no {', '.join(map(str, missing))}; `make bench` installs what is needed")
    parent = _choose_directory()
    machine = _describe_machine(parent)
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), flush=True)
    signal.signal(signal.SIGTERM, _interrupt)
    become_reaper()
    samples = Samples()
    directory = Path(tempfile.mkdtemp(prefix="bootstrap-bench-", dir=parent))
    try:
        _Rounds(directory, samples).measure(sizes, runs)
    except KeyboardInterrupt:
        return 130
    finally:
        end_descendants()
        shutil.rmtree(directory)
    verdicts = judge_targets(samples, sizes)
    print(f"\n{render_tables(samples)}\n{render_verdicts(verdicts)}")
    for note in samples.notes:
        print(f"note: {note}")
    if arguments.json is not None:
        document = render_document(samples, verdicts, machine)
        arguments.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(arguments.check and not all(verdict.holds for verdict in verdicts))


class _Rounds:
    """Runs sessions in their own directories, and keeps what they measure."""

    def __init__(self, directory: Path, samples: Samples) -> None:
        self._directory = directory
        self._samples = samples
        self._number = 0

    def measure(self, sizes: list[int], runs: int | None) -> None:
        """All sizes, smallest first."""
        contestants = choose_contestants()
        if missing := missing_tools():
            self._samples.notes.append(
                f"not installed here: {', '.join(missing)} (runit); what needs them was left out"
            )
        for kind in contestants:
            self._session(measure_session, kind, 1, Samples())
        for size in sizes:
            rounds = runs or (_RUNS_OF_MANY if size >= 500 else _RUNS)
            for turn in range(rounds):
                for kind in _rotated(contestants, turn):
                    self._session(measure_session, kind, size, self._samples)
                for kind in _rotated(_slow_stoppers(contestants), turn):
                    self._session(measure_slow_stop, kind, size, self._samples)
            if size in _SERIAL_SIZES:
                self._session(measure_slow_stop, BootstrapTerm, size, self._samples)
                self._session(measure_recovery, BootstrapBoot, size, self._samples)
            if size in _SERIAL_SIZES and Supervisord in contestants:
                self._session(measure_slow_stop, SupervisordTerm, size, self._samples)

    def _session(self, session: Session, kind: type[Contestant], size: int, samples: Samples) -> None:
        self._number += 1
        directory = self._directory / str(self._number)
        print(f"{self._number}: {size} × {kind.name}", file=sys.stderr, flush=True)
        add: Callable[[Measured, float], None] = partial(samples.add, size, kind.name)
        try:
            session(kind, directory, size, add)
        except BenchmarkError as error:
            self._samples.notes.append(f"{size} × {kind.name}: {error}")
        shutil.rmtree(directory)


def _slow_stoppers(contestants: list[type[Contestant]]) -> list[type[Contestant]]:
    """Whose stop of slow services is measured in every round; to the other supervisord it is all the same."""
    return [kind for kind in (Bootstrap, Supervisord, Runsvdir) if kind in contestants]


def _rotated(contestants: list[type[Contestant]], turn: int) -> list[type[Contestant]]:
    first = turn % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure bootstrap against supervisord and runit by hand.")
    parser.add_argument("--quick", action="store_true", help="1 and 10 services, 3 runs")
    parser.add_argument("--sizes", metavar="N,N", help="numbers of services (default: 1,10,100,500)")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each (default: 5; 3 from 500 services up)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values to FILE")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every target holds")
    return parser.parse_args()


def _sizes(arguments: argparse.Namespace) -> list[int]:
    if arguments.sizes is None:
        return [1, 10] if arguments.quick else list(_SIZES)
    words = arguments.sizes.split(",")
    if not all(word.isdecimal() and 0 < int(word) < 1000 for word in words):
        sys.exit(f"cannot read --sizes {arguments.sizes}: write numbers from 1 to 999, like 10,100")
    return sorted({int(word) for word in words})


def _runs(arguments: argparse.Namespace) -> int | None:
    if arguments.runs is None:
        return 3 if arguments.quick else None
    if arguments.runs < 1:
        sys.exit(f"cannot do {arguments.runs} runs: at least 1 is needed")
    return int(arguments.runs)


def _choose_directory() -> Path:
    """Memory, if it has room and lets scripts run: a box has its run directory on tmpfs too."""
    try:
        status = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return Path(tempfile.gettempdir())
    fits = status.f_bavail * status.f_frsize >= _ROOM and not status.f_flag & os.ST_NOEXEC
    return _SHARED_MEMORY if fits and os.access(_SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def _describe_machine(directory: Path) -> dict[str, str]:
    where = f"{directory} (tmpfs)" if directory == _SHARED_MEMORY else f"{directory} (disk; /dev/shm cannot be used)"
    return {
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "supervisor": version("supervisor"),
        "runit": "installed" if not missing_tools() else f"missing: {', '.join(missing_tools())}",
        "files": where,
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "method": "medians; bootstrap is ready when its command has returned, the others when the last service runs",
        "clock": "files are dated by a clock that ticks every few ms: starts and changes below 10 ms are rough",
        "memory": "PSS: what the daemons share with this Python counts half for each of them",
    }


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    sys.exit(128 + number)  # through every `finally`


if __name__ == "__main__":
    sys.exit(main())
