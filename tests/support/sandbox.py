"""A box in a temporary directory, driven through the installed command as a user would."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from bootstrap.box import Box
from bootstrap.world import processes
from support import zygote

COMMAND = Path(sys.executable).with_name("bootstrap")
PATIENCE_S = 30.0
LONGEST_PAUSE_S = 0.03
LONGEST_REST_S = 0.1  # after a look that took long itself


def wait_until(condition, what, patience_s=PATIENCE_S):
    """Poll until the condition holds; the answer is what it returned.

    Looking takes no more than a quarter of the time, and less and less: the processor is wanted by what is waited for.
    """
    deadline = time.monotonic() + patience_s
    pause_s = 0.002
    while True:
        began = time.monotonic()
        found = condition()
        if found:
            return found
        ended = time.monotonic()
        assert ended < deadline, f"waited {patience_s} s in vain for {what}"
        time.sleep(max(min(3 * (ended - began), LONGEST_REST_S), pause_s))
        pause_s = min(LONGEST_PAUSE_S, pause_s * 1.3)


def kill_and_wait(pid, number=signal.SIGKILL):
    """Send a signal and wait for the death; whether and when somebody reaps it does not matter."""
    descriptor = os.pidfd_open(pid)
    try:
        os.kill(pid, number)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(PATIENCE_S * 1000), f"process {pid} did not die"
    finally:
        os.close(descriptor)


def run_command(words, *, environ, cwd, timeout):
    """Run it to its end, without an interpreter of its own where that makes no difference."""
    if zygote.suits(words, environ):
        return zygote.run(words, environ=environ, cwd=cwd, timeout=timeout, errors="surrogateescape")
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env=environ,
        cwd=cwd,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )


class Done(subprocess.CompletedProcess):
    """A finished command."""

    @property
    def json(self):
        return json.loads(self.stdout)


class Sandbox:
    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        (self.root / "services").mkdir(parents=True)
        (self.root / "config").mkdir()
        self.state = self.root / ".bootstrap"
        self.box = Box(root=str(self.root), state=str(self.state))
        self.environ = {"PATH": os.environ["PATH"], "HOME": "/root", "AWS_EC2_METADATA_DISABLED": "true"}
        self.started: list[subprocess.Popen[bytes]] = []

    def service(self, name, text):
        """Define a service."""
        folder = self.root / "services" / name
        folder.mkdir(exist_ok=True)
        (folder / "service.yaml").write_text(text)
        return folder

    def sleeper(self, name, extra="", process="web", ready="{alive: 0s}", command="exec sleep 1000"):
        """A service of one process that does nothing."""
        return self.service(
            name,
            f"{extra}\nprocesses:\n  {process}:\n    command: '{command}'\n    ready: {ready}\n",
        )

    def config(self, path, value):
        """Set a variable: `services/api/common/NAME`."""
        file = self.root / "config" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(value if isinstance(value, bytes) else value.encode() + b"\n")
        return file

    def run(self, *arguments, code=0, tags=("mode=review",), timeout=60, environ=None):
        """Run the command to its end and insist on its exit code (``None``: any)."""
        done = run_command(
            self.words(*arguments, tags=tags),
            environ=self.environ | (environ or {}),
            cwd=self.root,
            timeout=timeout,
        )
        assert code is None or done.returncode == code, (
            f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        )
        return Done(done.args, done.returncode, done.stdout, done.stderr)

    def start(self, *arguments, tags=("mode=review",), **kwargs):
        """Start the command and go on."""
        child = subprocess.Popen(
            self.words(*arguments, tags=tags),
            env=self.environ,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs,
        )
        self.started.append(child)
        return child

    def words(self, *arguments, tags=("mode=review",)):
        options = [word for tag in tags for word in ("--tag", tag)]
        return [str(COMMAND), "--root", str(self.root), *options, *arguments]

    def status(self):
        """The status document, whatever it says."""
        done = run_command(self.words("status", "--json"), environ=self.environ, cwd=self.root, timeout=PATIENCE_S)
        return json.loads(done.stdout)

    @property
    def daemon(self):
        """The pid of supervisord."""
        file = self.state / "run/supervisord.pid"
        return int(wait_until(file.read_text, "supervisord to have written its pid"))

    def pids(self):
        """Program name → pid, of what runs."""
        return {program["name"]: program["pid"] for program in self.status()["programs"] if program["pid"]}

    def marked(self):
        """Every living process of this box, by pid."""
        return {process.pid: process for process in processes.read_marked(self.box)}

    def environ_of(self, pid):
        """What a program really has in its environment, once its launcher has made way for it."""

        def read():
            raw = Path(f"/proc/{pid}/environ").read_bytes()
            found = dict(pair.split(b"=", 1) for pair in raw.split(b"\0") if b"=" in pair)
            is_launcher = b"BOOTSTRAP_MARK" in found and b"BOOTSTRAP_MODE" not in found
            return None if is_launcher or not raw else (found,)  # in the middle of an exec there is none

        (environ,) = wait_until(read, f"process {pid} to be executed")
        return environ

    def clean_up(self):
        for child in self.started:
            if child.poll() is None:
                child.kill()
            child.communicate()
        while left := self.marked():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)
