"""What `export runit` writes, under a real runsvdir, beside the same programs under `up`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from support.checkout import make_checkout, run_all
from support.private_world import give_up
from support.runsvdirs import end_from_the_top
from support.sandbox import wait_until

AWKWARD = 'it\'s 100% $HOME `id` "quoted" \\ \t漢'
PRINT = 'printf "%s\\n" "$AWKWARD"; exec sleep 1000'
OWN = {b"BOOTSTRAP_MARK"}  # whose it is: ours, or nobody's


@pytest.fixture
def runsvdir(tmp_path):
    """Start runsvdir on a directory; everything below it ends with the test."""
    if shutil.which("runsvdir") is None:
        give_up("no runsvdir here (Debian: runit)")
    started = []

    def start(directory):
        said = (tmp_path / "said").open("wb")
        with said:
            started.append(
                subprocess.Popen(["runsvdir", "-P", directory], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            )

    yield start
    for process in started:
        end_from_the_top(process)


def sv(*words):
    return subprocess.run(["sv", *words], capture_output=True, text=True, check=False, timeout=60)


def supervised_pid(folder):
    try:
        return int((folder / "supervise/pid").read_text())
    except (OSError, ValueError):
        return 0


def differences(target, ours):
    """Program → what is not as it was under `up`."""
    found = {}
    for name, wanted in ours.items():
        try:
            theirs = described(supervised_pid(target / name))
        except OSError as error:  # in this moment it is nothing
            theirs = {"error": str(error)}
        if theirs != wanted:
            found[name] = [
                (what, theirs.get(what), wanted[what]) for what in wanted if theirs.get(what) != wanted[what]
            ]
    return found


def described(pid):
    """What a program could tell of how it was started."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    environ = {pair for pair in (proc / "environ").read_bytes().split(b"\0") if pair.partition(b"=")[0] not in OWN}
    return {
        "environment": environ,
        "limits": (proc / "limits").read_text(),
        "directory": os.readlink(proc / "cwd"),
        "umask": status["Umask"],
        **{name: status[name] for name in ("Uid", "Gid", "Groups", "NoNewPrivs", "CapEff", "CapBnd")},
    }


def difficult(sandbox):
    """A database with another signal and a stop script; an api with a user, limits, a set-up, and a need."""
    user = ", user: nobody" if os.geteuid() == 0 else ""
    for path in [sandbox.root, *sandbox.root.parents]:  # for nobody
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    trap = 'trap "echo int >> order; exit 0" INT; echo armed; while :; do sleep 0.05; done'
    sandbox.service(
        "db",
        "processes:\n  main:\n    ready: {log: armed}\n    stop: {signal: INT, script: 'echo script $WORD >> order'}\n"
        f"    command: '{trap}'\n",
    )
    sandbox.service(
        "api",
        "needs: [db]\nsetup: ['echo set up >> $BOOTSTRAP_DATA/setups']\nprocesses:\n"
        f"  web: {{command: 'exec sleep 1000', ready: {{alive: 0s}}, limits: {{nofile: 333, processes: 4444}}{user}}}\n"
        f"  worker: {{command: {json.dumps(PRINT)}, ready: {{exec: 'test -n \"$AWKWARD\"'}}{user}}}\n",
    )
    sandbox.config("common/WORD", "hello")
    sandbox.config("services/api/common/AWKWARD", AWKWARD)


def test_the_same_programs_run_in_the_same_way(sandbox, tmp_path, runsvdir):
    difficult(sandbox)
    sandbox.run("up")
    pids = sandbox.pids()
    api = [Path(f"/proc/{pids[name]}") for name in ("api-web", "api-worker")]
    wait_until(lambda: all((one / "comm").read_text() == "sleep\n" for one in api), "what is a shell first")
    wait_until(
        lambda: all((one / "environ").read_bytes() for one in api), "its environment, which comes after its name"
    )
    ours = {name: described(pid) for name, pid in pids.items()}
    sandbox.run("down")
    (sandbox.root / "services/db/order").unlink()
    target = tmp_path / "service"
    done = sandbox.run("export", "runit", str(target))
    assert done.stdout.splitlines()[-1] == (
        f'done: "runsvdir {target}" runs them; it holds the values of variables, for its owner alone'
    )
    runsvdir(target)
    wait_until(lambda: all(supervised_pid(target / name) for name in ours), "all to run")
    wait_until(lambda: sv("-w", "1", "check", *(target / name for name in ours)).returncode == 0, "all to be ready")
    with contextlib.suppress(AssertionError):  # a program is some shells first, which have less in their environment
        wait_until(lambda: differences(target, ours) == {}, "each `run` to become its program", patience_s=10)
    assert differences(target, ours) == {}
    assert (sandbox.state / "data/api/setups").read_text() == "set up\nset up\n", "once by `up`, once here"
    assert sv("-w", "10", "down", target / "db-main").stdout.startswith("ok: down: ")
    assert (sandbox.root / "services/db/order").read_text() == "script hello\nint\n"
    assert (target / "api-worker/log/main/current").read_text() == f"{AWKWARD}\n"


def test_it_is_for_its_owner_alone_and_written_at_once_or_not_at_all(sandbox, tmp_path):
    sandbox.sleeper("api")
    target = tmp_path / "new/service"
    sandbox.run("export", "runit", str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert stat.S_IMODE((target / "api-web/program/env").stat().st_mode) == 0o600
    before = (target / "api-web/run").read_text()
    done = sandbox.run("export", "runit", str(target), code=2)
    assert done.stderr == (
        f'error: cannot write "{target}": something stands there already\n  way out: name a new or an empty directory\n'
    )
    assert (target / "api-web/run").read_text() == before
    (tmp_path / "file").touch()
    done = sandbox.run("export", "runit", str(tmp_path / "file/service"), code=75)
    assert done.stderr == f'error: cannot write "{tmp_path}/file/service": Not a directory\n'
    assert [path.name for path in target.parent.iterdir()] == ["service"], "nothing unfinished is left"


def test_json_names_the_programs(sandbox, tmp_path):
    sandbox.sleeper("api")
    done = sandbox.run("export", "runit", str(tmp_path / "service"), "--json")
    assert done.json == {"directory": str(tmp_path / "service"), "programs": ["api-web"]}


def test_the_reference_stack_runs_under_runsvdir(tmp_path):
    if shutil.which("runsvdir") is None:
        give_up("no runsvdir here (Debian: runit)")
    checkout = make_checkout(tmp_path)
    programs = ["db-postgres", "api-web", "api-worker", "web-web", "router-web"]
    every = " ".join(f"./sv/{name}" for name in programs)
    add = "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/todos', b'title=Water&added_by=Ada').read()"
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').read().decode())"
    *_, checked, page, down = run_all(
        checkout,
        [
            "bootstrap export runit sv",
            "runsvdir -P sv & echo $! >runsvdir.pid",
            f"for name in {every}; do until [ -s $name/supervise/pid ]; do sleep 0.1; done; done",
            # a `run` that could not do its work yet is down for a second, of which `sv check` says "ok: down"
            f"until [ \"$(sv -w 60 check {every} | tee checked | grep -c '^ok: run: ')\" = 5 ]; do :; done; cat checked",
            f'python3 -c "{add}"; python3 -c "{fetch}"',
            f"sv -w 30 down {every}; kill -HUP $(cat runsvdir.pid)",
        ],
    )
    assert checked.count("ok: run: ") == len(programs)
    assert "Water" in page
    assert "PostgreSQL 1" in page
    assert down.count("ok: down: ") == len(programs)
