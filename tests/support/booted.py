"""A box with a real systemd: this machine's files below an overlay, booted by systemd-nspawn in half a second."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

from support.private_world import give_up
from support.sandbox import kill_and_wait, wait_until

REPOSITORY = Path(__file__).parents[2]
WANTS = "etc/systemd/system/multi-user.target.wants"
BOOT = """
for group in "$1"/groups/*; do echo $$ >"$group/cgroup.procs"; done
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
exec systemd-nspawn --quiet --directory="$1/root" --register=no --keep-unit --private-network --console=pipe \
    --link-journal=no --bind-ro="$2" --bind-ro="$3" --bind="$1/shared:/shared" --boot systemd.unit=multi-user.target
"""


def require_systemd():
    if os.geteuid() != 0:
        give_up("only root can boot a systemd")
    missing = [name for name in ("systemd-nspawn", "nsenter", "unshare") if shutil.which(name) is None]
    if missing or not Path("/lib/systemd/systemd").exists():
        give_up(f"no {', '.join(missing) or 'systemd'} here (Debian: systemd, systemd-container, util-linux)")


def is_removed(group):
    """Whether a control group is gone; one that the kernel has not quite emptied stays for now."""
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


class Booted:
    """What is installed as `image/` says, below /opt/bootstrap; its services write to ``shared``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.shared = directory / "shared"
        for name in ("upper", "work", "root", "shared", "groups"):
            (directory / name).mkdir()
        self.root = directory / "upper/opt/bootstrap"
        (self.root / "config").mkdir(parents=True)
        os.symlink(sys.prefix, self.root / ".venv")
        os.setxattr(self._make(WANTS), "trusted.overlay.opaque", b"y")  # of what this machine would start: nothing
        for unit in ("bootstrap.service", "var-lib-bootstrap-run.mount"):
            shutil.copy(REPOSITORY / "image" / unit, directory / "upper/etc/systemd/system" / unit)
        os.symlink("/etc/systemd/system/bootstrap.service", directory / "upper" / WANTS / "bootstrap.service")
        (directory / "upper/etc/machine-id").write_text("")
        (self.root / "bootstrap.env").write_text("BOOTSTRAP_MODE=review\n")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def _make(self, path):
        folder = self._directory / "upper" / path
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def service(self, name, text):
        folder = self.root / "services" / name
        folder.mkdir(parents=True)
        (folder / "service.yaml").write_text(text)

    def _make_control_groups(self):
        """One in each hierarchy that its systemd uses: two boxes in one would end each other's programs.

        They bear one name, for systemd-nspawn follows that of the unified hierarchy in the other.
        """
        name = f"bootstrap-booted-{uuid.uuid4().hex}"
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        for _, mounted_on, kind, options, *_ in mounts:
            if kind == "cgroup2" or "name=systemd" in options.split(","):
                (Path(mounted_on) / name).mkdir()
                os.symlink(Path(mounted_on) / name, self._directory / "groups" / kind)

    def _remove_control_groups(self):
        for link in (self._directory / "groups").iterdir():
            for group, _, _ in os.walk(link.resolve(), topdown=False):
                wait_until(partial(is_removed, Path(group)), f"{group} to be empty")

    def boot(self):
        """Boot it, and wait until it has converged."""
        self._make_control_groups()
        words = ["sh", "-ec", BOOT, "sh", self._directory, REPOSITORY, sys.prefix]
        with (self._directory / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        self._leader = wait_until(lambda: self._find_init(children), "its init")
        try:
            wait_until(self.is_converged, "it to converge")
        except AssertionError as error:
            error.add_note(self.run("systemctl", "--no-pager", "status", "bootstrap", code=None))
            raise

    def _find_init(self, children):
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, (self._directory / "console").read_text()
        for pid in children.read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):  # gone again
                if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return int(pid)
        return None

    def run(self, *words, code=0):
        """Run a command in there."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", *words],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def bootstrap(self, *words, code=0):
        return self.run("/opt/bootstrap/.venv/bin/bootstrap", "--root", "/opt/bootstrap", *words, code=code)

    def status(self):
        try:
            return json.loads(self.bootstrap("status", "--json", code=None))
        except ValueError:
            return {"converged": False, "programs": [], "supervisor": None}

    def is_converged(self):
        status = self.status()
        return status["converged"] and bool(status["programs"])

    def pids(self):
        return {program["name"]: program["pid"] for program in self.status()["programs"]}

    def main_pid(self):
        """The `bootstrap boot` that systemd started."""
        return int(self.run("systemctl", "show", "--value", "--property", "MainPID", "bootstrap"))

    def power_off(self):
        """What happens at a reboot."""
        assert self._nspawn is not None
        self.run("systemctl", "--no-block", "poweroff")
        assert self._nspawn.wait(60) == 0

    def destroy(self):
        if self._nspawn is not None and self._nspawn.poll() is None:
            kill_and_wait(self._leader or self._nspawn.pid)  # with its init everything in there dies
            self._nspawn.wait(30)
        self._remove_control_groups()
