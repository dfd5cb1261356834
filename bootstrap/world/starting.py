"""Starting a supervisord, beside our own work: its imports take as long as our reading."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from bootstrap import ini
from bootstrap.errors import Unavailable
from bootstrap.launcher import CGROUP, MARK
from bootstrap.world import cgroups, clock, disk, processes
from bootstrap.world.supervisord import connect, write_programs

if TYPE_CHECKING:
    from bootstrap.box import Box
    from bootstrap.rendering import Unit
    from bootstrap.world.supervisord import Supervisor

START_TIMEOUT_S = 20.0
_POLL_S = 0.002


class Daemon:
    """A supervisord that is being imported and waits for the word."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def go(self) -> None:
        """Let it become supervisord."""
        assert self._process.stdin is not None  # noqa: S101 - it was opened with a pipe; this tells the type checker
        try:
            self._process.stdin.write(b"go\n")
            self._process.stdin.close()
        except BrokenPipeError:
            return  # it is dead; waiting for its socket says so, with its last words
        except OSError as error:
            raise Unavailable(
                f"cannot start supervisord: {error.strerror or error}\n  way out: run the command again"
            ) from error

    def cancel(self) -> None:
        """End it unused."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def died(self) -> bool:
        return self._process.poll() is not None


def prepare(box: Box) -> Daemon:
    """Start the imports of a supervisord, beside our own work. Call ``go`` or ``cancel`` on it."""
    group = cgroups.read_delegated()
    path = f"{box.log}/supervisord.err"
    try:
        # Its environment is what every program starts from: nothing but the mark that makes our processes recognisable.
        with open(path, "ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "bootstrap.world.daemon"],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                env={MARK: processes.new_mark(box)} | ({CGROUP: group} if group else {}),
                cwd=box.run,
                start_new_session=True,
            )
    except OSError as error:
        raise disk.refused("start supervisord with", path, error) from error
    daemon = Daemon(process)
    try:
        processes.record_session(box, process.pid)
        cgroups.record(box, group)
    except BaseException:
        daemon.cancel()
        raise
    return daemon


def wait_until_started(box: Box, daemon: Daemon) -> Supervisor:
    """Wait for the daemon's socket; raises Unavailable with its last words if it dies or takes too long."""
    deadline = clock.now() + START_TIMEOUT_S
    while True:
        supervisor = connect(box)
        if supervisor is not None:
            return supervisor
        if daemon.died() or clock.now() > deadline:
            raise Unavailable(
                f"cannot start supervisord: {_last_words(box)}\n  where: {box.log}/supervisord.log and supervisord.err"
            )
        clock.sleep(_POLL_S)


def write_config(box: Box, units: tuple[Unit, ...], *, plugin: bool) -> None:
    """Write what supervisord reads at its start."""
    disk.write_for_this_boot(f"{box.run}/supervisord.conf", ini.render_daemon(plugin=plugin).encode())
    write_programs(box, units)


def _last_words(box: Box) -> str:
    for name in ("supervisord.err", "supervisord.log"):
        lines = (disk.read_if_there(f"{box.log}/{name}") or b"").decode(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return "it ended without a word"
