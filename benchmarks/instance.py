"""What a box of EC2 costs: reading metadata to a plan, our part of a boot, the process that stays, the health endpoint.

Metadata is the tests' own service, on this machine: what is measured is us. Nothing is asked of AWS.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from typing import TYPE_CHECKING

from support.metadata_server import MetadataServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOOTSTRAP = Path(sys.executable).with_name("bootstrap")
_DEFINITION = """\
health: {{port: {port}}}
processes:
  web: {{command: exec sleep 100000, ready: {{alive: 0s}}}}
"""
_IDLE_S = 20.0
_CONNECTIONS = 500
_REQUESTS = 1000
_EMPTY_PYTHON = (sys.executable, "-I", "-S", "-c", "pass")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what a box of EC2 costs.")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="runs of each (default: 20)")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless the targets hold")
    arguments, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="bootstrap-bench-") as directory, MetadataServer() as metadata:
        metadata.tags = {f"bootstrap:{key}": value for key, value in (("mode", "production"), ("service", "api"))}
        metadata.tags |= {f"Team{number}": "web" for number in range(4)}
        box = _Box(Path(directory), metadata.endpoint)
        figures = [*box.measure_plan(arguments.runs), *box.measure_boot()]
    print("a box of EC2 (at most)")
    for name, value, limit, unit in figures:
        holds = "holds" if value <= limit else "DOES NOT HOLD"
        print(f"  {name:44} {value:8.2f} {unit:3}  {limit:g} {unit}  {holds}")
    return int(arguments.check and any(value > limit for _, value, limit, _ in figures))


class _Box:
    """A root with one service, and the commands on it."""

    def __init__(self, directory: Path, endpoint: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        folder = directory / "root/services/api"
        folder.mkdir(parents=True)
        (directory / "root/config").mkdir()
        (folder / "service.yaml").write_text(_DEFINITION.format(port=self._port), encoding="utf-8")
        self._state = directory / "state"
        self._words = (str(_BOOTSTRAP), "--root", str(directory / "root"), "--state", str(self._state))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("BOOTSTRAP_", "AWS_"))}
        self._environ = kept | {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint,
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "BOOTSTRAP_CONSOLE": "off",
        }

    def measure_plan(self, runs: int) -> list[tuple[str, float, float, str]]:
        """As a boot itself tells it: the phases in which metadata and definitions are read and the plan is made."""
        ratios = []
        for _ in range(runs + 1):
            empty = self._time(_EMPTY_PYTHON)
            shutil.rmtree(self._state, ignore_errors=True)  # what is remembered is not read again
            written = self._state / "boot-report.json"
            with self._booted():
                while not written.exists():
                    time.sleep(0.002)
            report = json.loads(written.read_text(encoding="utf-8"))
            took = {phase["phase"]: phase["took_s"] for phase in report["phases"]}
            ratios.append((took["identity"] + took["sources"]) / empty)
        return [("metadata read to plan, by an empty interpreter", statistics.median(ratios[1:]), 6.0, "×")]

    def measure_boot(self) -> list[tuple[str, float, float, str]]:
        begun = time.perf_counter()
        with self._booted() as pid:
            boot_s = time.perf_counter() - begun
            time.sleep(10.0)  # errands of the boot end, and the children that have run them
            before = _read_cpu_s(pid)
            time.sleep(_IDLE_S)
            cpu = (_read_cpu_s(pid) - before) / _IDLE_S * 100
            return [
                ("a boot, to 200 of the health endpoint", boot_s, 1.0, "s"),
                ("the process that stays, resident", _read_resident_mb(pid), 25.0, "MB"),
                ("the process that stays, of one core", cpu, 0.3, "%"),
                (f"p99 of /healthz beside {_CONNECTIONS} idle connections", self._measure_health(), 50.0, "ms"),
            ]

    @contextmanager
    def _booted(self) -> Iterator[int]:
        """Its pid, once it is healthy."""
        child = subprocess.Popen(
            (*self._words, "boot"), env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while self._ask() != b"200":
                time.sleep(0.002)
            yield child.pid
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()

    def _measure_health(self) -> float:
        with ExitStack() as stack:
            for _ in range(_CONNECTIONS):
                stack.enter_context(socket.create_connection(("127.0.0.1", self._port)))
            took = []
            for _ in range(_REQUESTS):
                begun = time.perf_counter()
                self._ask()
                took.append((time.perf_counter() - begun) * 1000)
        return statistics.quantiles(took, n=100)[98]

    def _ask(self) -> bytes:
        """The status of one request, nothing while nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                return connection.recv(4096)[9:12]
        except OSError:
            return b""

    def _time(self, words: tuple[str, ...]) -> float:
        begun = time.perf_counter()
        subprocess.run(words, env=self._environ, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begun


def _read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
