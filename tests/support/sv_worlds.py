"""The same service directories under a real runsvdir and on a box of ours, each with its own sv."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

from bootstrap.world.service_directories import read_service_directory
from runit_compat.importing import import_service_directory
from runit_compat.supervise import TroubleError
from runit_compat.sv_box import Programs
from runit_compat.sv_words import describe
from support.private_world import give_up
from support.runsvdirs import end_from_the_top
from support.sandbox import COMMAND, run_command, wait_until

TAI_EPOCH = 2**62 + 10  # 1970-01-01 00:00:00 UTC, as runit reckons
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def need_runit():
    if shutil.which("runsvdir") is None or shutil.which("sv") is None:
        give_up("no runsvdir here (Debian: runit)")


def write_services(folder, scripts):
    """Service → file → text of a script; an empty one is an empty file."""
    for name, files in scripts.items():
        for file, text in files.items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/bin/sh\n{text}" if text else "")
            path.chmod(0o755)


def write_definition(folder, grace):
    """What `import` would write, but for the grace of a stop."""
    imported = import_service_directory(read_service_directory(str(folder)))
    text = imported.files["service.yaml"][0].decode()
    assert "grace: 60s" in text
    (folder / "service.yaml").write_text(text.replace("grace: 60s", f"grace: {grace}"))


def normalised(text):
    """Without pids and times."""
    return re.sub(r"\b\d+s\b", "Ns", re.sub(r"\(pid \d+\)", "(pid N)", text))


class World:
    """Where services are, and how to type sv there."""

    def __init__(self, folder):
        self.folder = folder

    def words(self, *words, name="sv"):
        raise NotImplementedError

    def sv(self, *words, name="sv", user=(), environ=None):
        return run_command(
            [*user, *self.words(*words, name=name)],
            environ=self.environ | (environ or {}),
            cwd=self.folder,
            timeout=60,
        )

    def status(self, *names):
        """Service → its line, as it stands now."""
        lines = self.sv("status", *names).stdout.splitlines()
        return dict(zip(names, lines, strict=True))


class Theirs(World):
    """A runsvdir of its own."""

    def __init__(self, folder, scripts):
        super().__init__(folder)
        write_services(folder, scripts)
        self.environ = {"SVDIR": str(folder), "PATH": os.environ["PATH"]}
        self.links = folder.parent / "their-links"
        self.links.mkdir()
        self._names = list(scripts)
        self._runsvdir = subprocess.Popen(
            ["runsvdir", "-P", folder], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: all((folder / name / "supervise/ok").exists() for name in self._names), "every runsv")

    def words(self, *words, name="sv"):
        if name == "sv":
            return ["sv", *words]
        return [str(_link(self.links, shutil.which("sv"), name)), *words]

    def pid_of(self, path):
        try:
            return int((self.folder / path / "supervise/pid").read_text())
        except (OSError, ValueError):
            return 0

    def is_awake(self, name):
        """Whether runsv would act at once: it sleeps out the second in which it has started what then ends.

        The first twelve bytes of its status are a TAI64N label (runit's sv.c): since when it is as it is.
        """
        label = (self.folder / name / "supervise/status").read_bytes()[:12]
        since = int.from_bytes(label[:8]) - TAI_EPOCH + int.from_bytes(label[8:]) / 1e9
        return time.time() - since > 1

    def leave_alone(self):
        """From now on a runsv that exits is not started again, which otherwise takes up to five seconds."""
        os.kill(self._runsvdir.pid, signal.SIGSTOP)

    def end(self):
        """All of it, whatever state it is in; only what runsv says is its own is signalled."""
        paths = [path for name in self._names for path in (name, f"{name}/log")]
        end_from_the_top(self._runsvdir)
        for pid in filter(None, map(self.pid_of, paths)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if os.readlink(f"/proc/{pid}/cwd").startswith(str(self.folder)):
                    os.kill(pid, signal.SIGKILL)


class Ours(World):
    """A box whose services are these directories as they are or, where a grace is given, imported and patient."""

    def __init__(self, sandbox, scripts, grace=None):
        super().__init__(sandbox.root)
        self.sandbox = sandbox
        self.environ = sandbox.environ | {"BOOTSTRAP_ROOT": str(sandbox.root)}
        self.links = sandbox.root.parent / "our-links"
        self.links.mkdir()
        write_services(sandbox.root / "services", scripts)
        for name in scripts if grace else ():
            write_definition(sandbox.root / "services" / name, grace)
        sandbox.run("up", "--timeout", "2s", code=None)  # some never get ready

    def words(self, *words, name="sv"):
        if name == "sv":
            return [str(COMMAND), "sv", *words]
        return [str(_link(self.links, COMMAND, name)), *words]

    def status(self, *names):
        """The same without a process for every look."""
        programs = Programs(self.sandbox.box, time.time())
        try:
            return {name: _describe(programs, name) for name in names}
        finally:
            programs.close()


def _describe(programs, name):
    try:
        ((_, program),) = programs.find(name)
        log = program.look_at_log()
        return describe(program.look(), name) + (f"; {describe(log, 'log')}" if log else "")
    except TroubleError as error:
        return f"{error.kind}: {name}: {error}"


def _link(folder, target, name):
    link = folder / name
    if not link.is_symlink():
        link.symlink_to(target)
    return link
