"""`bootstrap boot` as a service of a real runit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from support.private_world import give_up
from support.sandbox import COMMAND, kill_and_wait, wait_until

SERVICE = Path(__file__).parents[2] / "image/runit/bootstrap"


@pytest.fixture
def runit(sandbox, tmp_path):
    """Three services under `boot` under runsv under runsvdir."""
    if shutil.which("runsvdir") is None:
        give_up("no runsvdir here (Debian: runit)")
    order = sandbox.root / "order"
    trap = f'trap "echo $BOOTSTRAP_SERVICE >> {order}; exit 0" TERM'
    program = {"command": f"{trap}; echo armed; while :; do sleep 0.05; done", "ready": "{log: armed}"}
    sandbox.sleeper("db", **program)
    sandbox.sleeper("api", extra="needs: [db]", **program)
    sandbox.sleeper("web", extra="needs: [api]", **program)
    shutil.copytree(SERVICE, tmp_path / "sv/bootstrap")
    environ = sandbox.environ | {"BOOTSTRAP": str(COMMAND), "BOOTSTRAP_ROOT": str(sandbox.root)}
    (sandbox.root / "bootstrap.env").write_text("BOOTSTRAP_MODE=review\n")
    log = tmp_path / "said"
    with log.open("wb") as said:
        runsvdir = subprocess.Popen(
            ["runsvdir", "-P", tmp_path / "sv"], env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    box = Runit(sandbox, tmp_path / "sv/bootstrap", log)
    try:
        wait_until(box.is_whole, "it to converge")
        yield box
    finally:
        runsvdir.send_signal(signal.SIGHUP)  # TERM to every runsv, which stops its service and ends
        runsvdir.wait(30)


class Runit:
    def __init__(self, sandbox, folder, log):
        self.sandbox = sandbox
        self._log = log
        self.order = sandbox.root / "order"
        self._folder = folder

    def is_whole(self):
        status = self.sandbox.status() if (self.sandbox.state / "current").exists() else None
        return status is not None and status["converged"] and len(self.sandbox.pids()) == 3

    def sv(self, *words):
        return subprocess.run(
            ["sv", "-w", "30", *words, self._folder], capture_output=True, text=True, check=False, timeout=60
        )

    def said(self):
        return self._log.read_text()

    @property
    def boot_pid(self):
        return int((self._folder / "supervise/pid").read_text() or 0)


def test_a_killed_supervisor_is_replaced_and_there_is_one_of_each(runit):
    before, old = runit.sandbox.pids(), runit.sandbox.daemon
    kill_and_wait(old)
    wait_until(lambda: runit.is_whole() and runit.sandbox.daemon != old, "the three to be back")
    after = runit.sandbox.pids()
    assert not {*before.values()} & {*after.values()}
    marked = runit.sandbox.marked()
    assert {marked[pid].program for pid in after.values()} == set(after)


def test_a_killed_boot_is_started_again_and_the_programs_do_not_notice(runit):
    before, old = runit.sandbox.pids(), runit.boot_pid
    kill_and_wait(old)
    wait_until(lambda: runit.boot_pid not in {0, old}, "runsv to start it again")
    wait_until(runit.is_whole, "it to look")
    assert runit.sandbox.pids() == before


def test_down_stops_in_reverse_order_and_up_starts_again(runit):
    done = runit.sv("down")
    assert done.stdout.startswith("ok: down: "), (done.stdout, done.stderr)
    assert runit.order.read_text() == "web\napi\ndb\n"
    assert runit.sandbox.marked() == {}
    assert runit.sv("up").returncode == 0
    wait_until(runit.is_whole, "it to be up again")


def test_a_run_script_may_type_up_again_and_again(sandbox, tmp_path):
    """As stage 2 of a runit box may have it: runsv starts what has ended once more, a second later."""
    if shutil.which("runsvdir") is None:
        give_up("no runsvdir here (Debian: runit)")
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    (sandbox.root / "bootstrap.env").write_text("BOOTSTRAP_MODE=review\n")
    codes = tmp_path / "codes"
    run = tmp_path / "sv/stage-2/run"
    run.parent.mkdir(parents=True)
    run.write_text(f"#!/bin/sh\n{COMMAND} --root {sandbox.root} up\necho $? >>{codes}\n")
    run.chmod(0o755)
    said = (tmp_path / "said").open("wb")
    with said:
        runsvdir = subprocess.Popen(
            ["runsvdir", "-P", tmp_path / "sv"], env=sandbox.environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:

        def rounds():
            return codes.read_text().split() if codes.exists() else []

        wait_until(lambda: len(rounds()) >= 2, "two rounds")
        before = sandbox.pids()
        sandbox.config("services/web/common/WORD", "new")
        wait_until(lambda: sandbox.pids().get("web-web") not in {None, before["web-web"]}, "what has changed")
        assert sandbox.pids()["api-web"] == before["api-web"]
        subprocess.run(["sv", "-w", "30", "down", tmp_path / "sv/stage-2"], check=True, stdout=subprocess.DEVNULL)
        assert set(rounds()) == {"0"}
        assert sandbox.pids().keys() == before.keys()
        assert b"nothing to do: 2 programs as they should be" in (tmp_path / "said").read_bytes()
    finally:
        runsvdir.send_signal(signal.SIGHUP)
        runsvdir.wait(30)


def test_a_boot_that_is_killed_while_it_should_be_down_still_leaves_nothing(runit):
    boot = runit.boot_pid
    os.kill(runit.sandbox.pids()["web-web"], signal.SIGSTOP)  # so that its stop takes its time
    assert runit.sv("-w", "0", "down").stdout.startswith("timeout: run: ")
    wait_until(lambda: "stopping everything" in runit.said(), "the stop to begin")
    kill_and_wait(boot)
    os.kill(runit.sandbox.pids()["web-web"], signal.SIGCONT)
    wait_until(lambda: runit.order.exists() and runit.order.read_text() == "web\napi\ndb\n", "the stop")
    wait_until(lambda: runit.sandbox.marked() == {}, "nothing to be left")
