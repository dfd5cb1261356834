"""A stack of difficult programs, and what must be true of it after every ``up``, read from /proc and from the disk."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import time
from pathlib import Path

from bootstrap import boot
from bootstrap.cli.main import VERBS, cli
from bootstrap.reconcile import Keep
from bootstrap.request import Request
from support import difficult
from support.sandbox import wait_until

STACK_PATIENCE_S = 20.0
_GRAIN_S = 0.06  # a little more than the grain of the clock that files are stamped with
_TEMPORARY = re.compile(r"\.(?:new|old)-.*|\..+\.[0-9a-f]{12}")
_STORED = {"run", "env", "program.json", "secrets"}


class KeptStack:
    """Services of a sandbox, each of one difficult program, and the value of SHADE that each must have.

    ``services`` are named after the kinds of their programs, or are a mapping of names to kinds.
    """

    def __init__(self, sandbox, services=tuple(difficult.KINDS)):
        self.sandbox = sandbox
        kinds = services if isinstance(services, dict) else {name: name for name in services}
        self.kinds = {name: difficult.KINDS[kind] for name, kind in kinds.items()}
        self.evidence = difficult.define(sandbox, self.kinds)
        self.shades = dict.fromkeys(kinds, "first")
        self._mark = f":{sandbox.state}".encode()
        self._changed_at = time.monotonic()

    @property
    def names(self):
        return tuple(self.shades)

    def change(self, names, shade):
        """Give programs another value of SHADE: they have to be replaced."""
        for name in names:
            self.sandbox.config(f"services/{name}/common/SHADE", shade)
            self.shades[name] = shade
        self._changed_at = time.monotonic()

    def let_settle(self):
        """What has just been changed is not remembered, since it could change again unnoticed; from now on it is."""
        time.sleep(max(0.0, self._changed_at + _GRAIN_S - time.monotonic()))

    def up(self):
        """One undisturbed ``up`` in this very process: the start of an interpreter costs more than all the rest."""
        request = Request(tags=("mode=review",))
        _reap()
        return boot.up(self.sandbox.box, request, lambda _whom, _what: None, lambda _actions: None)

    def run(self, *arguments):
        """Run a verb in this very process; the answers are its exit code and what it has printed."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = cli.main(["--root", str(self.sandbox.root), *arguments], standalone_mode=False)
        return code, output.getvalue()

    # what can be seen from outside

    def census(self):
        return difficult.read_census(self.evidence)

    def main_of(self, name):
        """The process that was started last for a program: its pid, and its SHADE."""
        try:
            lines = (self.evidence / f"{name}-main").read_text().split("\n")
        except FileNotFoundError:
            return None, None
        pid, _, shade = lines[-2].partition(" ") if len(lines) > 1 else ("", "", "")
        return (int(pid), shade) if pid else (None, None)

    def daemons(self):
        """Every living supervisord of this box; there should be one."""
        return [pid for pid, words in self._ours() if b"bootstrap.world.daemon" in words]

    def _ours(self):
        """Every living process that has our mark or stands in our services, with its command line."""
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
                where = os.readlink(f"/proc/{name}/cwd")
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            marks = [pair for pair in environment.split(b"\0") if pair.startswith(b"BOOTSTRAP_MARK=")]
            if any(mark.endswith(self._mark) for mark in marks) or where.startswith(f"{self.sandbox.root}/services/"):
                yield int(name), words

    # what must be true

    def check(self):
        """All of it, after an ``up`` that has ended well."""
        self.wait_until_kept()
        self.check_no_doubles()
        self.check_disk()
        self.let_settle()
        before = self.pids()
        outcome = self.up()
        assert all(isinstance(action, Keep) for action in outcome.actions), outcome.actions
        wait_until(self.is_converged, "a status that says so", STACK_PATIENCE_S)
        files, known = self.files(), self._read_ready()
        self.up()
        written = sorted(path for path, _ in self.files().items() ^ files.items())
        assert not written, f"an `up` with nothing to do has written {written}\n{known}\n{self._read_ready()}"
        assert self.pids() == before, "an `up` with nothing to do has changed a pid"
        self.check_no_doubles()

    def wait_until_kept(self):
        """Exactly one tree a program, as it should be, and nothing else of ours."""
        last = []

        def is_so():
            last[:] = self.complaints()
            return not last

        try:
            wait_until(is_so, "exactly one tree of each", STACK_PATIENCE_S)
        except AssertionError:
            raise AssertionError("\n".join(last)) from None

    def complaints(self):
        """What is not as it should be, in sentences."""
        census = self.census()
        said = []
        for name, shade in self.shades.items():
            pids, wanted = census.get(name, set()), self.kinds[name].processes
            if len(pids) != wanted:
                said.append(f"{name}: processes {sorted(pids)}, should be {wanted}")
            main, worn = self.main_of(name)
            if main not in pids:
                said.append(f"{name}: {main}, which was started last, is not among {sorted(pids)}")
            if worn != shade:
                said.append(f"{name}: has SHADE={worn}, should have {shade}")
        said += [f"{name}: is about to stumble" for name in self.shades if (self.evidence / f".{name}").exists()]
        said += [f"{name}: runs and should not: {sorted(census[name])}" for name in census.keys() - self.shades.keys()]
        daemons = self.daemons()
        if len(daemons) != 1:
            said.append(f"supervisors: {daemons}")
        strangers = {pid for pid, _ in self._ours()} - set(daemons) - {pid for pids in census.values() for pid in pids}
        if strangers:
            said.append(f"processes of ours that belong to no program: {[_describe(pid) for pid in strangers]}")
        said += [
            f"{pid}: is not below the supervisor"
            for pids in census.values()
            for pid in pids
            if not self._is_below(pid, daemons)
        ]
        return said

    def _is_below(self, pid, daemons):
        while pid > 1:
            if pid in daemons:
                return True
            try:
                pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
            except OSError:
                return True  # gone by now; whether it should be is asked elsewhere
        return False

    def check_no_doubles(self):
        doubles = [path.read_text().strip() for path in self.evidence.glob("double-*")]
        assert not doubles, f"two copies of one program at once: {doubles}"

    def check_disk(self):
        """``current`` names a whole generation; nothing half-written lies about."""
        state = self.sandbox.state
        left = [str(path) for path in state.rglob("*") if _TEMPORARY.fullmatch(path.name)]
        assert not left, f"left behind: {left}"
        generation = json.loads((state / "current/generation.json").read_text())
        assert os.readlink(state / "current") == f"generations/{generation['id']}"
        assert {unit["service"] for unit in generation["units"]} == set(self.shades)
        stored = {f"{unit['name']}-{unit['fingerprint']}" for unit in generation["units"]}
        for entry in stored:
            assert {path.name for path in (state / "run/store" / entry).iterdir()} >= _STORED, entry

    def is_converged(self):
        _, text = self.run("status", "--json")
        status = json.loads(text)
        return status["converged"] and len(status["programs"]) == len(self.shades)

    def pids(self):
        return {name: self.main_of(name)[0] for name in self.shades}

    def files(self):
        """Every file of the state but logs and the lock, as it was last written; reading one changes nothing here."""
        state = self.sandbox.state
        paths = [path for path in state.rglob("*") if "log" not in path.relative_to(state).parts[:1]]
        return {str(path): _written(path) for path in paths if path.name != "lock" and not path.is_dir()}

    def _read_ready(self):
        """What an `up` writes when a program has died since the last: then that is what happened."""
        return (self.sandbox.state / "run/ready.json").read_text()

    def down(self):
        """An undisturbed ``down``: no process is left, no file but logs and data."""
        code, text = self.run("down")
        assert code == 0, text
        self.check_no_doubles()
        _reap()
        assert not list(self._ours())
        assert not self.census()
        assert {path.name for path in self.sandbox.state.iterdir()} <= {"log", "data"}


def has_verb(name):
    return name in VERBS


def _reap():
    """A supervisor that an ``up`` in this process has started is our child; so its end is ours to notice."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _describe(pid):
    try:
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return str(pid)


def _written(path):
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns
