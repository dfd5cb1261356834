"""Running programs are clean and confined, however they were started."""

from __future__ import annotations

import os
import pwd
import signal
from pathlib import Path

import pytest

from support.sandbox import kill_and_wait, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = pwd.getpwnam("nobody")
NO_CAPABILITY = "0" * 16
STATUS = ("Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
OF_THE_C_LIBRARY = 1 << 31 | 1 << 32  # signals 32 and 33: its posix_spawn ignores them, its threads take them back
SIGNALS = ("SigBlk", "SigIgn", "SigCgt")


@pytest.fixture
def confined(sandbox):
    """A service that nobody runs; every directory above it can be entered."""
    for path in [sandbox.root, *sandbox.root.parents]:
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    sandbox.service(
        "api",
        "processes:\n  web: {command: exec sleep 1000, ready: {alive: 200ms}, user: nobody}\n",
    )
    sandbox.run("up")
    return sandbox


def attributes(pid):
    """What the kernel knows of a process and the program could tell."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    limits = {line[:26].strip(): line[26:].split()[:2] for line in (proc / "limits").read_text().splitlines()[1:]}
    return {
        **{name: status[name].split() for name in (*STATUS, *SIGNALS)},
        "umask": status["Umask"],
        "descriptors": sorted(int(entry.name) for entry in (proc / "fd").iterdir()),
        "stdin": os.readlink(proc / "fd/0"),
        "directory": os.readlink(proc / "cwd"),
        "limits": limits,
        "nice": (proc / "stat").read_text().rpartition(") ")[2].split()[16],
        "leads its group": os.getpgid(pid) == pid,
        "environment": sorted(name.split("=")[0] for name in (proc / "environ").read_text().split("\0") if name),
    }


def test_the_user_has_no_privilege_left(confined):
    found = attributes(confined.pids()["api-web"])
    uid, gid = str(NOBODY.pw_uid), str(NOBODY.pw_gid)
    assert found["Uid"] == [uid] * 4
    assert found["Gid"] == [gid] * 4
    assert found["Groups"] in ([], [gid])
    assert found["NoNewPrivs"] == ["1"]
    assert {found[name][0] for name in STATUS if name.startswith("Cap")} == {NO_CAPABILITY}
    assert {name: int(found[name][0], 16) & ~OF_THE_C_LIBRARY for name in SIGNALS} == dict.fromkeys(SIGNALS, 0)
    assert found["limits"]["Max core file size"] == ["0", "0"]
    assert found["limits"]["Max open files"][0] == "1024"
    assert found["descriptors"] == [0, 1, 2]
    assert found["stdin"] == "/dev/null"
    assert found["umask"] == "0022"
    assert found["leads its group"]
    assert found["directory"] == str(confined.root / "services/api")


def test_it_is_the_same_however_it_was_started(confined):
    first = attributes(confined.pids()["api-web"])
    found = {}

    def note(how):
        wait_until(lambda: confined.status()["converged"], "it to be ready")
        found[how] = attributes(confined.pids()["api-web"])

    pid = confined.pids()["api-web"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: confined.pids().get("api-web") not in {None, pid}, "its return")
    note("after a crash")
    confined.run("restart")
    note("after a restart")
    kill_and_wait(confined.daemon)
    confined.run("up")
    note("after the death of supervisord")
    confined.run("down")
    confined.run("up", environ={"EXTRA": "1", "LD_PRELOAD": ""})
    note("from another environment")
    assert found == dict.fromkeys(found, first)


def test_set_ups_probes_stop_scripts_and_one_offs_are_the_same_user(confined):
    names = ("setup", "probe", "script", "run")
    folder = confined.service(
        "api",
        "setup: [./look setup]\nprocesses:\n  web:\n    command: exec sleep 1000\n    user: nobody\n"
        "    ready: {exec: ./look probe}\n    stop: {script: ./look script}\n",
    )
    (folder / "look").write_text(
        '#!/bin/sh\n{ id -u; grep -E "^(NoNewPrivs|CapBnd)" /proc/self/status; } >> "$BOOTSTRAP_DATA/$1.seen"\n'
    )
    (folder / "look").chmod(0o755)
    confined.run("up")
    confined.run("run", "api", "--", "./look", "run")
    confined.run("stop")
    data = confined.state / "data/api"
    wanted = [str(NOBODY.pw_uid), f"CapBnd:\t{NO_CAPABILITY}", "NoNewPrivs:\t1"]
    assert {name: (data / f"{name}.seen").read_text().splitlines()[:3] for name in names} == dict.fromkeys(
        names, wanted
    )


def test_a_core_is_written_only_where_it_is_asked_for(confined):
    confined.service(
        "api",
        "processes:\n  web: {command: exec sleep 1000, ready: {alive: 200ms}, limits: {core: 1MiB}}\n",
    )
    confined.run("up")
    assert attributes(confined.pids()["api-web"])["limits"]["Max core file size"][0] == str(1 << 20)


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_what_is_ours_alone_is_so_under_any_umask(sandbox, umask):
    sandbox.sleeper("api")
    child = sandbox.start("up", preexec_fn=lambda: os.umask(umask))
    assert child.wait(60) == 0
    assert (sandbox.state / "run").stat().st_mode & 0o777 == 0o700
    assert (sandbox.state / "run/supervisord.sock").stat().st_mode & 0o777 == 0o600
    for path in (sandbox.state / "run/store").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (sandbox.state / "generations").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_log_that_is_a_link_is_not_followed(sandbox):
    sandbox.sleeper("api", command="echo written; exec sleep 1000", ready='{log: "written", timeout: 2s}')
    target = sandbox.root / "target"
    target.write_text("before\n")
    (sandbox.state / "log").mkdir(parents=True)
    (sandbox.state / "log/api-web.log").symlink_to(target)
    sandbox.run("up", code=None)
    assert target.read_text() == "before\n"


def test_whoever_listens_on_our_socket_must_be_one_of_us(sandbox):
    sandbox.sleeper("api")
    sandbox.run("up")
    sandbox.run("down")
    run = sandbox.state / "run"
    run.mkdir(mode=0o700)
    socket = run / "supervisord.sock"
    child = os.fork()
    if not child:
        import socket as sockets

        listener = sockets.socket(sockets.AF_UNIX)
        os.chdir(run)
        listener.bind("supervisord.sock")
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        listener.listen()
        while True:
            listener.accept()
    try:
        wait_until(socket.exists, "the foreign socket")
        done = wait_until(lambda: _refused(sandbox), "somebody to listen")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert done == (
        f"error: cannot trust the supervisor at {socket}: process {child} of user {NOBODY.pw_uid} listens there\n"
        f"  way out: if that user started it, run this as user {NOBODY.pw_uid}; otherwise end it and remove the socket\n"
    )


def _refused(sandbox):
    done = sandbox.run("status", code=None)
    return done.stderr if done.returncode == 75 else ""
