"""Service directories under a real runsvdir, and the same ones imported: what happens to them is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import service_directories
from support.private_world import give_up
from support.runsvdirs import end_from_the_top, end_marked
from support.sandbox import wait_until
from support.service_directories import ARMED, DIRECTORIES, STARTED_BY_HAND

RUNNING = sorted(DIRECTORIES.keys() - STARTED_BY_HAND)


class Evidence:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def lines(self, name):
        try:
            return (self.folder / name).read_text().splitlines()
        except FileNotFoundError:
            return []

    def all(self):
        return {
            path.name: path.read_text()
            for path in sorted(self.folder.iterdir())
            if path.is_file() and path.suffix != ".pid"
        }

    def have_started(self, times):
        """Whether each has started so often, and set its traps."""
        words = {name: "armed" if name in ARMED else None for name in RUNNING}
        return all(count(self.lines(name), word) >= times for name, word in words.items())


def count(lines, word):
    return sum(
        line == word if word else not line.startswith(("finish", "clean", "control", "end of", "a over", "first"))
        for line in lines
    )


@pytest.fixture
def originals(tmp_path):
    if shutil.which("runsvdir") is None or shutil.which("svlogd") is None:
        give_up("no runsvdir here (Debian: runit)")
    folder = tmp_path / "sv"
    service_directories.write(folder)
    return folder


def under_runit(folder, evidence, suffix=""):
    """The scenario with sv and runsvdir."""
    folders = [folder / f"{name}{suffix}" for name in RUNNING]
    environ = {"PATH": os.environ["PATH"], "EVIDENCE": str(evidence.folder)}
    with (folder.parent / "said").open("wb") as said:
        runsvdir = subprocess.Popen(
            ["runsvdir", "-P", folder], env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:
        wait_until(lambda: evidence.have_started(1), "all to run")
        for one in folders:
            os.kill(int((one / "supervise/pid").read_text()), signal.SIGKILL)
        wait_until(lambda: evidence.have_started(2), "all to run again")
        with ThreadPoolExecutor(len(RUNNING)) as pool:  # sv looks every 420 ms
            list(
                pool.map(
                    lambda one: subprocess.run(["sv", "-w", "20", "down", one], check=True, stdout=subprocess.DEVNULL),
                    folders,
                )
            )
    finally:
        end_from_the_top(runsvdir)
        end_marked(f"EVIDENCE={evidence.folder}")  # runsv leaves alone what its programs have forked
    return evidence.all()


def under_ours(sandbox, evidence):
    """The same with ours."""
    sandbox.config("common/EVIDENCE", str(evidence.folder))
    sandbox.run("up", code=None)
    wait_until(lambda: evidence.have_started(1), "all to run")
    pids = sandbox.pids()
    for name in RUNNING:
        os.kill(pids[f"{name}-run"], signal.SIGKILL)
    wait_until(lambda: evidence.have_started(2), "all to run again")
    sandbox.run("stop")
    return evidence.all()


def test_the_same_happens_under_both(sandbox, originals, tmp_path):
    done = sandbox.run("import", "runit", *(str(originals / name) for name in DIRECTORIES))
    assert done.stdout.splitlines()[-1].startswith(f"done: {len(DIRECTORIES)} written to ")
    theirs = under_runit(originals, Evidence(tmp_path / "theirs"))
    ours = under_ours(sandbox, Evidence(tmp_path / "ours"))
    for name in sorted({*theirs, *ours}):
        assert ours.get(name) == theirs.get(name), name
    assert "dhclient" not in ours
    logged = [(tmp_path / side / "svlogd.svlogd/current").read_text() for side in ("theirs", "ours")]
    assert logged == ["one\ntwo\n" * 2] * 2


def test_imported_and_exported_again_it_is_still_the_same(sandbox, originals, tmp_path):
    theirs = under_runit(originals, Evidence(tmp_path / "theirs"))
    sandbox.run("import", "runit", *(str(originals / name) for name in DIRECTORIES))
    evidence = Evidence(tmp_path / "ours")
    sandbox.config("common/EVIDENCE", str(evidence.folder))
    sandbox.run("export", "runit", str(tmp_path / "exported/sv"))
    ours = under_runit(tmp_path / "exported/sv", evidence, suffix="-run")
    for name in sorted({*theirs, *ours}):
        assert ours.get(name) == theirs.get(name), name


def test_a_directory_below_services_is_a_service_as_it_is(sandbox, originals, tmp_path):
    evidence = Evidence(tmp_path / "evidence")
    sandbox.config("common/EVIDENCE", str(evidence.folder))
    shutil.copytree(originals / "everything", sandbox.root / "services/everything")
    sandbox.run("up")
    assert list(sandbox.pids()) == ["everything-run-log", "everything-run"]
    assert sandbox.run("up").stdout.startswith("nothing to do: 2 programs as they should be")
    (sandbox.root / "services/everything/log/run").unlink()
    assert "stop    everything-run-log" in sandbox.run("up").stdout
    (sandbox.root / "services/everything/run").chmod(0o644)
    assert "stop    everything-run" in sandbox.run("up").stdout
    (sandbox.root / "services/everything/run").chmod(0o755)
    (sandbox.root / "services/everything/down").touch()
    assert "keep    everything-run  only a person starts it" in sandbox.run("up").stdout


def test_import_says_what_it_understood_and_what_it_could_not_keep(sandbox, originals):
    done = sandbox.run("import", "runit", str(originals / "nginx"), str(originals / "not-executable"))
    assert done.stdout == (
        "nginx  run, control/h, log/run\n"
        "nginx  not kept: log/finish (runsv does not run it either)\n"
        "not-executable  run\n"
        "not-executable  not kept: finish (it cannot be executed)\n"
        "not-executable  not kept: check (it cannot be executed)\n"
        f"done: 2 written to {sandbox.root}/services; `bootstrap plan` says what they would run\n"
    )
    assert (sandbox.root / "services/nginx/service.yaml").read_text() == (
        f"# The service directory {originals}/nginx, as `bootstrap import runit` understood it.\n"
        "processes:\n  run:\n    command: exec ./run\n    log: cd log && exec ./run\n    stop:\n      grace: 60s\n"
        "    restart:\n      starts: 1000\n    control:\n      h: ./control/h\n"
    )
    again = sandbox.run("import", "runit", str(originals / "nginx"), "--json", code=2)
    assert json.loads(again.stdout)["error"]["message"].startswith(
        'cannot import "nginx": there is a service of that name'
    )


def test_what_is_no_service_directory_is_refused_and_nothing_is_written(sandbox, originals, tmp_path):
    way_out = "\n  way out: name a directory that runsv could supervise, such as /etc/sv/nginx\n"
    (tmp_path / "empty").mkdir()
    cases = {
        tmp_path / "nothing": "it is no directory",
        tmp_path / "empty": "it has no `run` that can be executed",
    }
    for path, cause in cases.items():
        done = sandbox.run("import", "runit", str(originals / "nginx"), str(path), code=2)
        assert done.stderr == f'error: cannot import "{path}": {cause}{way_out}'
    shutil.copytree(originals / "nginx", tmp_path / "Upper_Case")
    done = sandbox.run("import", "runit", str(tmp_path / "Upper_Case"), code=2)
    assert done.stderr == (
        'error: cannot import "Upper_Case": a service is named with lower-case letters, digits and hyphens, 63 at '
        "most, no hyphen first\n  way out: copy the directory under such a name, and import the copy\n"
    )
    assert list(Path(sandbox.root / "services").iterdir()) == []


def directory_with(tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    (path / "run").write_text("#!/bin/sh\nexec sleep 1000\n")
    (path / "run").chmod(0o755)
    return path


def test_what_is_not_for_everybody_stays_so(sandbox, tmp_path):
    path = directory_with(tmp_path, "app")
    (path / "env").mkdir()
    for name, mode in (("SECRET", 0o600), ("PUBLIC", 0o644)):
        (path / "env" / name).write_text("x\n")
        (path / "env" / name).chmod(mode)
    sandbox.run("import", "runit", str(path))
    made = sandbox.root / "services/app"
    modes = {name: (made / name).stat().st_mode & 0o777 for name in ("run", "env/SECRET", "env/PUBLIC")}
    assert modes == {"run": 0o755, "env/SECRET": 0o600, "env/PUBLIC": 0o644}


def test_a_link_is_followed_to_what_its_maker_may_read(sandbox, tmp_path):
    path, secret, public = directory_with(tmp_path, "app"), tmp_path / "secret", tmp_path / "public"
    for file, mode in ((secret, 0o600), (public, 0o644)):
        file.write_text("told\n")
        file.chmod(mode)
        (path / file.name).symlink_to(file)
    sandbox.run("import", "runit", str(path))
    assert (sandbox.root / "services/app/secret").read_text() == "told\n"
    path.rename(tmp_path / "other")
    os.chown(tmp_path / "other/secret", 65534, 65534, follow_symlinks=False)
    done = sandbox.run("import", "runit", str(tmp_path / "other"), code=2)
    assert done.stderr.startswith(
        f'error: cannot import "{tmp_path}/other": secret is a link to what user 65534, who has made it, may not read\n'
    )
