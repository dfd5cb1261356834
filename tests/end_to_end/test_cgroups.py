"""With a control group of our own, nothing that a program forks can hide; and a death for want of memory is told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import uuid
from pathlib import Path

import pytest

from support.sandbox import kill_and_wait, wait_until

MEMORY_V1 = Path("/sys/fs/cgroup/memory")
# It leaves its session, its parent and every mark: without a control group only the subreaper still knows of it.
FUGITIVE = "env -i setsid sh -c 'echo $$ > child; trap : TERM; while :; do sleep 0.1; done' & exec sleep 1000"
# It never stands still: each of its processes lives for five milliseconds and heeds no TERM.
RUNNER = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("child", "w").write("x")
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.005)
"""


def unified():
    """Where a cgroup v2 is mounted, if it is."""
    mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return next((Path(fields[4]) for fields in mounts if "cgroup2" in fields), None)


@pytest.fixture
def group(sandbox):
    path = (unified() or Path("/nowhere")) / f"bootstrap-test-{uuid.uuid4().hex}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup v2 can be made here: {error}")
    sandbox.environ["BOOTSTRAP_CGROUP"] = str(path)
    yield path
    sandbox.clean_up()
    for folder in sorted(path.rglob("*"), reverse=True):
        if folder.is_dir():
            wait_until(lambda folder=folder: not (folder / "cgroup.procs").read_text(), "the group to be empty")
            folder.rmdir()
    path.rmdir()


def group_of(pid):
    return next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))


def fugitive(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -s child'}\n    stop: {grace: 200ms}\n"
        f"    command: {json.dumps(FUGITIVE)}\n",
    )
    sandbox.run("up")
    return int((folder / "child").read_text())


def test_each_program_has_its_own_and_does_not_know_of_it(sandbox, group):
    for name in ("api", "web"):
        sandbox.sleeper(name)
    sandbox.run("up")
    pids = sandbox.pids()
    assert {name: group_of(pid) for name, pid in pids.items()} == {
        name: f"/{group.name}/{name}" for name in ("api-web", "web-web")
    }
    assert group_of(sandbox.daemon) == f"/{group.name}/supervisor"
    assert b"BOOTSTRAP_CGROUP" not in sandbox.environ_of(pids["api-web"])
    sandbox.run("down")
    assert [path.name for path in group.iterdir() if path.is_dir()] == []


def test_what_clears_its_environment_and_leaves_its_session_goes_with_its_program(sandbox, group):
    child = fugitive(sandbox)
    assert sandbox.marked()[child].program == "api-web"
    sandbox.run("stop", "api")
    assert not Path(f"/proc/{child}").exists()


def test_an_up_for_another_program_leaves_it_alone(sandbox, group):
    child = fugitive(sandbox)
    pid = sandbox.pids()["api-web"]
    sandbox.sleeper("web")
    assert "left behind" not in sandbox.run("up").stderr
    assert sandbox.pids()["api-web"] == pid
    assert child in sandbox.marked()


def test_so_does_what_forks_faster_than_it_can_be_found(sandbox, group):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -s child'}\n    stop: {grace: 200ms}\n"
        f"    command: 'env -i setsid {sys.executable} -S runner.py & exec sleep 1000'\n",
    )
    (folder / "runner.py").write_text(RUNNER)
    sandbox.run("up")
    sandbox.run("stop", "api")
    assert "populated 0" in (group / "api-web/cgroup.events").read_text()


def test_it_goes_before_a_crashed_program_comes_back(sandbox, group):
    child = fugitive(sandbox)
    pid = sandbox.pids()["api-web"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, pid}, "its return")
    assert not Path(f"/proc/{child}").exists()


def test_it_goes_after_the_death_of_supervisord(sandbox, group):
    child = fugitive(sandbox)
    kill_and_wait(sandbox.daemon)
    sandbox.run("up")
    assert child not in sandbox.marked()


def test_a_group_that_is_none_is_refused(sandbox):
    sandbox.sleeper("api")
    done = sandbox.run("up", environ={"BOOTSTRAP_CGROUP": "/nowhere"}, code=2)
    assert done.stderr == (
        'error: cannot use the control group "/nowhere": it is no directory of a cgroup v2\n'
        "  where: BOOTSTRAP_CGROUP\n"
        "  way out: correct or unset the variable\n"
    )


def test_without_one_a_double_forked_child_goes_before_a_crashed_program_comes_back(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web:\n    ready: {exec: 'test -s child'}\n"
        "    command: 'setsid sh -c \"trap : TERM; echo \\$\\$ > child; while :; do sleep 0.1; done\" & exec sleep 1000'\n",
    )
    sandbox.run("up")
    child = int((folder / "child").read_text())
    pid = sandbox.pids()["api-web"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, pid}, "its return")
    assert child not in sandbox.marked()


@pytest.mark.skipif(
    not (MEMORY_V1 / "memory.limit_in_bytes").exists(), reason="no memory controller to run out of here"
)
def test_a_death_for_want_of_memory_is_told_as_such(sandbox):
    small = MEMORY_V1 / f"bootstrap-test-{uuid.uuid4().hex}"
    small.mkdir()
    try:
        (small / "memory.limit_in_bytes").write_text(str(32 << 20))
        hog = f"exec {shutil.which('python3') or sys.executable} -c 'x = bytearray(256 << 20)'"
        command = f"while ! [ -e go ]; do sleep 0.01; done; rm go; echo 0 > {small}/cgroup.procs; {hog}"
        folder = sandbox.service(
            "api", f"processes:\n  web: {{command: {json.dumps(command)}, ready: {{alive: 0s}}}}\n"
        )
        sandbox.run("up")
        (folder / "go").touch()
        (program,) = wait_until(
            lambda: [p for p in sandbox.status()["programs"] if p["last_exit"]], "the kernel to kill it"
        )
        assert program["last_exit"]["cause"] == "oom"
        assert "killed for want of memory" in sandbox.run("ps", code=None).stdout
        sandbox.run("down")
    finally:
        wait_until(lambda: not (small / "cgroup.procs").read_text(), "the group to be empty")
        small.rmdir()
