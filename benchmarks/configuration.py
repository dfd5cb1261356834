"""A generated repository → how long it takes to check it, to ask where its values come from, and to resolve it.

Each figure is the median of some runs and stands beside what was promised. What is typed is measured as the whole
command, interpreter and all; resolving is the part of ``up`` from directories to environments, in one process, without
rendering.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.box import Box
from bootstrap.catalog import parse_catalog
from bootstrap.environ import layer_environments
from bootstrap.identity import Identity
from bootstrap.plan import resolve_plan
from bootstrap.variable import Account
from bootstrap.world.config.layers import read_layering
from bootstrap.world.sources import read_sources

if TYPE_CHECKING:
    from collections.abc import Callable

_COMMAND = Path(sys.executable).with_name("bootstrap")
_SERVICES = tuple(f"s{number:02}" for number in range(50))
_COMMITS = 5000
_MODES = ("development", "review", "staging", "production")
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One promise, and what was measured."""

    title: str
    samples_ms: list[float]
    limit_ms: float

    @property
    def median_ms(self) -> float:
        return statistics.median(self.samples_ms)

    @property
    def holds(self) -> bool:
        return self.median_ms < self.limit_ms


def main() -> int:
    """Measure, print, and leave nothing behind."""
    parser = argparse.ArgumentParser(description="Measure what a large configuration repository costs.")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of each (default: 5)")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every target holds")
    arguments, _ = parser.parse_known_args()
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    directory = Path(tempfile.mkdtemp(prefix="bootstrap-bench-", dir=parent))
    try:
        _write_repository(directory / "repository")
        figures = [
            *_measure_commands(directory / "repository", arguments.runs),
            _measure_resolve(directory / "up", arguments.runs),
        ]
    finally:
        shutil.rmtree(directory)
    print("configuration (median, least–most, at most)")
    for figure in figures:
        spread = f"{min(figure.samples_ms):.0f}–{max(figure.samples_ms):.0f}"
        verdict = "holds" if figure.holds else "DOES NOT HOLD"
        print(f"  {figure.title:<76}  {figure.median_ms:5.0f} ms  {spread:>9}  {figure.limit_ms:5.0f} ms  {verdict}")
    return int(arguments.check and not all(figure.holds for figure in figures))


def _write_repository(root: Path) -> None:
    """50 services in four modes, 40 keys in each layer; 5 000 commits, each of one value."""
    for name in _SERVICES:
        _write(
            root / f"services/{name}/service.yaml",
            "requires: [KEY_00]\nenv: {LOG_LEVEL: info}\nprocesses: {web: {command: x}}\n",
        )
        for mode in _MODES:
            for key in range(40):
                file = root / f"config/services/{name}/{mode}/KEY_{key:02}"
                _write(file, f"value {key} of {name}, https://host{key}.{mode}.example.com/path\n")
    _write(root / "config/common/LOG_LEVEL", "warning\n")
    _write(
        root / "config/layers.yaml",
        'layers: [common, "modes/{mode}", "services/{service}/common", "services/{service}/{mode}"]\n'
        "guard: {review: {against: [production]}}\n",
    )
    _write(root / "config/schema.yaml", "KEY_01: {required: true}\nLOG_LEVEL: {allowed: [info, warning]}\n")
    _run_git(root, "init", "-q", "-b", "main")
    _run_git(root, "add", "-A")
    _run_git(root, "commit", "-qm", "Begin")
    _run_git(root, "fast-import", "--quiet", given="".join(map(_render_commit, range(1, _COMMITS))))
    _run_git(root, "reset", "-q", "--hard")


def _render_commit(number: int) -> str:
    """One edit as git-fast-import(1) takes it."""
    name, mode, key = _SERVICES[number % 50], _MODES[number // 50 % 4], number // 200 % 40
    value = f"value {number} of {name}\n"
    begins = "from refs/heads/main^0\n" if number == 1 else ""
    return (
        f"commit refs/heads/main\ncommitter Ada <ada@example.com> {1_767_225_600 + number * 60} +0000\n"
        f"data <<END\nSet KEY_{key:02} of {name} in {mode}\nEND\n{begins}"
        f"M 100644 inline config/services/{name}/{mode}/KEY_{key:02}\ndata {len(value)}\n{value}\n"
    )


def _run_git(root: Path, *words: str, given: str = "") -> None:
    names = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", "-C", root, *names, *words], check=True, input=given, text=True)


def _measure_commands(root: Path, runs: int) -> list[Figure]:
    commands = (
        (
            "config explain KEY --service S --mode M",
            ["explain", "KEY_03", "--service", "s07", "--mode", "production"],
            1000,
        ),
        ("config impact HEAD~100", ["impact", "HEAD~100"], 2000),
        ("config lint", ["lint"], 3000),
    )
    return [
        Figure(
            title=f"{title}: 50 × 4 × 40 keys, {_COMMITS} commits",
            samples_ms=_time_command(root, words, runs),
            limit_ms=limit,
        )
        for title, words, limit in commands
    ]


def _time_command(root: Path, words: list[str], runs: int) -> list[float]:
    def type_it() -> None:
        subprocess.run([_COMMAND, "--root", root, "config", *words], check=True, stdout=subprocess.DEVNULL)

    return _time(type_it, runs)


def _measure_resolve(root: Path, runs: int) -> Figure:
    """Six layers of 2 000 files each, half of them over one below; 100 programs of one service."""
    layers = ("common", "modes/review", "regions/eu", "teams/a", "services/api/common", "services/api/review")
    _write(root / "services/api/service.yaml", "processes: {web: {command: x, instances: 100}}\n")
    for index, layer in enumerate(layers):
        for key in range(2000):
            _write(root / f"config/{layer}/KEY_{index // 2}_{key:04}", f"value {key} of {layer}\n")
    order = "".join(f"- {layer}\n" for layer in layers)
    _write(root / "config/layers.yaml", f"layers:\n{order}")
    box = Box(root=str(root), state=str(root / "state"))
    catalog = parse_catalog(read_sources(box))
    plan = resolve_plan(Identity(mode="review", scale={}, refs={}, tags=()), catalog)
    accounts = {one.name: Account(name="root", uid=0, gid=0, home="/root") for one in plan.programs}
    gc.set_threshold(100_000)  # as in the command

    def resolve() -> None:
        found = layer_environments(plan, read_layering(box, plan), accounts, {}, box)
        assert len(found) == 100

    samples = _time(resolve, runs)
    return Figure(title="up: 6 layers × 2000 variables for 100 programs", samples_ms=samples, limit_ms=300)


def _time(action: Callable[[], None], runs: int) -> list[float]:
    """Milliseconds of each run, after one that fills the caches."""
    action()
    samples = []
    for _ in range(runs):
        begun = time.perf_counter()
        action()
        samples.append((time.perf_counter() - begun) * 1000)
    return samples


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
