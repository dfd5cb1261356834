"""The programs of the reference stack, started by hand the way their definitions say, without bootstrap."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
PATIENCE_S = 30  # how long an event may take before the test fails; nothing ever waits this long for luck
IS_ROOT = os.geteuid() == 0
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=65534", "--clear-groups"]


class Program:
    """A running process whose output is read line by line."""

    read = threading.Condition()  # one for all, so that a test can wait for what either of two says

    def __init__(self, argv: list[str], directory: Path, env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            argv, cwd=directory, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self.read:
                self.lines.append(line.rstrip("\n"))
                self.read.notify_all()

    def wait_for(self, pattern: str, count: int = 1) -> None:
        wait_for_any([self], pattern, count)

    def said(self, pattern: str) -> list[str]:
        return [line for line in self.lines if re.search(pattern, line)]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        self.process.stdout.close()
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


def wait_for_any(programs: list[Program], pattern: str, count: int) -> None:
    """Until the programs together have said it that often."""
    with Program.read:
        if not Program.read.wait_for(lambda: sum(len(each.said(pattern)) for each in programs) >= count, PATIENCE_S):
            lines = [line for each in programs for line in each.lines]
            raise AssertionError(f"{pattern!r} was not said {count} times:\n" + "\n".join(lines))


def definition(service: str) -> dict:
    return yaml.safe_load((ROOT / "services" / service / "service.yaml").read_text())


def command(service: str, process: str) -> str:
    return definition(service)["processes"][process]["command"]


def review_environment(service: str, **more: str) -> dict[str, str]:
    """The layers of a review box, lowest first, read in the simplest way that works for this repository's own files."""
    env = {"PATH": PATH, "HOME": "/tmp", "BOOTSTRAP_MODE": "review", **definition(service).get("env", {})}
    layers = ["common", "modes/review", f"services/{service}/common", f"services/{service}/review"]
    files = [file for layer in layers for file in sorted((ROOT / "config" / layer).glob("*"))]
    return env | {file.name: file.read_text().splitlines()[0] for file in files} | more


def migrate(url: str) -> str:
    """What the setup of api says."""
    env = review_environment("api", DATABASE_URL=url)
    folder = ROOT / "services/api"
    return subprocess.run(
        ["./migrate"], cwd=folder, env=env, check=True, text=True, capture_output=True, timeout=PATIENCE_S
    ).stdout
