"""How long our ``chpst -e`` takes to become another program, against the interpreter alone and the real chpst.

The runs take turns, and what counts is the median of the ratios of neighbours: a busy machine is busy for all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

_FILE = Path(__file__).parents[1] / "runit_compat/chpst.py"
_REAL = "/usr/bin/chpst"
_PYTHON = (sys.executable, "-S", "-E")
_VARIABLES = 20
_LIMIT = 2.5


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what starting a program through chpst costs.")
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="runs of each (default: 50)")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless the target holds")
    arguments, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="bootstrap-bench-") as directory:
        for number in range(_VARIABLES):
            Path(directory, f"KEY_{number}").write_text(f"value {number}\n", encoding="utf-8")
        changed = ("-e", directory, "/bin/true")
        empty, ours, theirs = _time_in_turn(
            arguments.runs, (*_PYTHON, "-c", "pass"), (*_PYTHON, str(_FILE), *changed), (_REAL, *changed)
        )
    ratio = statistics.median(one / other for one, other in zip(ours, empty, strict=True))
    print(f"chpst -e, {_VARIABLES} variables (median ratio, at most)")
    print(
        f"  against python3 -S -E -c pass  {ratio:.2f} ×  {_LIMIT} ×  {'holds' if ratio <= _LIMIT else 'DOES NOT HOLD'}"
        f"  ({_tell(ours)}, {_tell(empty)}; the real one {_tell(theirs)})"
    )
    return int(arguments.check and ratio > _LIMIT)


def _time_in_turn(runs: int, *commands: tuple[str, ...]) -> list[list[float]]:
    """Milliseconds of each command; nothing for one that is not installed. A first round fills the caches."""
    samples: list[list[float]] = [[] for _ in commands]
    for _ in range(runs + 1):
        for command, found in zip(commands, samples, strict=True):
            if os.access(command[0], os.X_OK):
                found.append(_time(command))
    return [found[1:] for found in samples]


def _time(command: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    _, status = os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)
    took = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return took * 1000


def _tell(samples: list[float]) -> str:
    return f"{statistics.median(samples):.1f} ms" if samples else "is not installed"


if __name__ == "__main__":
    sys.exit(main())
