"""The same words to the real sv over a real runsvdir and to ours over a box, with the same scripts: the same answers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.private_world import give_up
from support.runsvdirs import end_from_the_top
from support.sandbox import COMMAND, run_command, wait_until

LOOP = "while :; do sleep 0.05; done\n"
SCRIPTS = {
    "plain": {"run": "exec sleep 1000\n"},
    "logged": {"run": "exec sleep 1000\n", "log/run": "exec cat >/dev/null\n"},
    "down": {"run": "exec sleep 1000\n", "down": ""},
    "checked": {"run": "exec sleep 1000\n", "check": "exit 0\n"},
    "never-ready": {"run": "exec sleep 1000\n", "check": "exit 1\n"},
    "stubborn": {"run": f"trap '' TERM\ntouch armed\n{LOOP}"},
    "slow": {"run": f"trap 'sleep 0.5; exit 0' TERM\ntouch armed\n{LOOP}"},
    "noted": {"run": f'for n in HUP ALRM INT QUIT USR1 USR2; do trap "echo $n >>got" $n; done\ntouch armed\n{LOOP}'},
}
ARMED = [name for name, files in SCRIPTS.items() if "touch armed" in files["run"]]
RESTARTING = {"restart", "term", "try-restart", "force-restart", "force-reload", "kill"}
STATES = {"up": [name for name in SCRIPTS if name != "down"], "down": ["down"]}

# what is typed, in turn; each line is compared with the real one
SCENARIOS = {
    "status": [["status", "plain"], ["status", "logged"], ["status", "down"], ["s", "checked"], ["status", "nothing"]],
    "several": [["status", "plain", "down", "nothing"], ["start", "plain", "checked"], ["check", "plain", "nothing"]],
    "plain": [
        ["start", "plain"], ["up", "plain"], ["-v", "up", "plain"], ["check", "plain"], ["restart", "plain"],
        ["-w", "3", "term", "plain"], ["try-restart", "plain"], ["stop", "plain"], ["status", "plain"],
        ["stop", "plain"], ["-v", "down", "plain"], ["try-restart", "plain"], ["check", "plain"], ["hup", "plain"],
        ["reload", "plain"], ["pause", "plain"], ["start", "plain"], ["force-restart", "plain"],
        ["force-reload", "plain"], ["-v", "up", "plain"], ["force-stop", "plain"], ["restart", "plain"], ["kill", "plain"],
    ],
    "down": [["check", "down"], ["status", "down"], ["start", "down"], ["status", "down"], ["stop", "down"], ["status", "down"]],
    "checked": [["check", "checked"], ["restart", "checked"], ["stop", "checked"], ["start", "checked"]],
    "never-ready": [["-w", "1", "check", "never-ready"], ["-w", "1", "restart", "never-ready"], ["-w", "1", "start", "never-ready"]],
    "stubborn": [["-w", "1", "stop", "stubborn"], ["status", "stubborn"], ["-w", "1", "force-stop", "stubborn"]],
    "slow": [["-w", "0", "stop", "slow"], ["-w", "5", "stop", "slow"], ["start", "slow"], ["shutdown", "-w9"]],
    "paused": [["-v", "pause", "checked"], ["status", "checked"], ["-v", "cont", "checked"], ["status", "checked"]],
    "signals": [[word, "noted"] for word in ("hup", "alarm", "interrupt", "quit", "1", "2")] + [["reload", "noted"]],
    "usage": [[], ["status"], ["nonsense", "plain"], ["-x", "status", "plain"], ["-w"], ["force-nothing", "plain"]],
}  # fmt: skip


def normalised(text):
    text = re.sub(r"\(pid \d+\)", "(pid N)", text)
    return re.sub(r"\b\d+s\b", "Ns", text)


def answers(done):
    return done.returncode, normalised(done.stdout), normalised(done.stderr)


class Theirs:
    """A runsvdir of its own."""

    def __init__(self, folder):
        self.folder = folder
        for name, files in SCRIPTS.items():
            for file, text in files.items():
                path = folder / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"#!/bin/sh\n{text}" if text else "")
                path.chmod(0o755)
        self.process = subprocess.Popen(
            ["runsvdir", "-P", folder], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: all(self.pid(name) for name in STATES["up"]), "all to run")
        wait_until(lambda: all((folder / name / "armed").exists() for name in ARMED), "all traps to be set")
        wait_until((folder / "logged/log/supervise/pid").read_text, "the logger")

    def pid(self, name):
        try:
            return int((self.folder / name / "supervise/pid").read_text())
        except (OSError, ValueError):
            return 0

    def settle(self, name):
        """Let runsv come to the end of what it does: its waits and ours are not equally long."""
        wait_until(
            lambda: not {"want", "got"} & set(self._run("status", name).stdout.split()), f"{name} to be up or down"
        )

    def sv(self, *words):
        if words[-1:] == ("plain",):
            self.settle("plain")
        before = self.pid("plain")
        done = self._run(*words)
        if before and words[-1:] == ("plain",) and RESTARTING & set(words):
            # sv looks at whole seconds: it may be content before runsv has begun
            wait_until(lambda: self.pid("plain") not in {0, before}, "its restart")
        return done

    def _run(self, *words):
        environ = {"SVDIR": str(self.folder), "PATH": os.environ["PATH"]}
        return subprocess.run(["sv", *words], capture_output=True, text=True, check=False, env=environ, timeout=60)

    def end(self):
        end_from_the_top(self.process)


@pytest.fixture
def theirs(tmp_path):
    if shutil.which("runsvdir") is None:
        give_up("no runsvdir here (Debian: runit)")
    made = Theirs(tmp_path / "sv")
    yield made
    made.end()


@pytest.fixture
def ours(sandbox):
    for name, files in SCRIPTS.items():
        for file, text in files.items():
            path = sandbox.root / "services" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/bin/sh\n{text}" if text else "")
            path.chmod(0o755)
    sandbox.run("up", "--timeout", "2s", code=None)  # one never gets ready
    wait_until(lambda: all((sandbox.root / "services" / name / "armed").exists() for name in ARMED), "all traps")

    def sv(*words):
        words = [str(COMMAND), "--root", str(sandbox.root), "sv", *words]
        return run_command(words, environ=sandbox.environ, cwd=sandbox.root, timeout=60)

    return sv


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_answers_are_those_of_the_binary(theirs, ours, scenario):
    with ThreadPoolExecutor(2) as pool:
        real = pool.submit(lambda: [answers(theirs.sv(*words)) for words in SCENARIOS[scenario]])
        mine = pool.submit(lambda: [answers(ours(*words)) for words in SCENARIOS[scenario]])
        for words, wanted, got in zip(SCENARIOS[scenario], real.result(), mine.result(), strict=True):
            assert got == wanted, words
