"""Checks while programs run, and what the box says of itself, under `bootstrap boot`."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request

import pytest

from support.ports import free_port
from support.sandbox import wait_until


@pytest.fixture
def port():
    return free_port()


def ask(port, path="/healthz"):
    """(status, body), or None while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None


def serve(sandbox, port, **check):
    """One service whose check is the file `well`."""
    check = {"exec": "test -e well", "every": "50ms", "failures": 2, "timeout": "5s"} | check
    folder = sandbox.service(
        "api",
        f"health: {{port: {port}}}\nprocesses:\n  web:\n    ready: {{log: armed}}\n"
        "    command: 'trap \"sleep 0.5; exit 0\" TERM; echo armed; while :; do sleep 0.02; done'\n"
        f"    check: {json.dumps(check)}\n",
    )
    (folder / "well").touch()
    child = sandbox.start("boot", tags=("mode=production", "service=api"))
    wait_until(lambda: ask(port) == (200, "ok\n"), "it to be well")
    return folder, child


def test_a_hard_check_decides_and_a_good_look_mends(sandbox, port):
    folder, child = serve(sandbox, port, hard=True)
    (folder / "well").unlink()
    wait_until(lambda: ask(port) == (503, "failing\n"), "it to fail")
    why = '"test -e well" exited with code 1'
    assert ask(port, "/readyz") == (503, f"failing\napi-web: {why}\n")
    (program,) = sandbox.status()["programs"]
    assert program["health"] == "failing"
    shown = sandbox.run("ps", code=3).stdout
    assert "running (failing)" in shown
    assert shown.splitlines()[-1] == f"api-web: its check fails: {why}"
    (folder / "well").touch()
    wait_until(lambda: ask(port) == (200, "ok\n"), "it to be well again")
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=30)[0].decode()
    assert f"api-web  fails its check: {why}\n" in said
    assert f"health: failing; api-web: {why}\n" in said


def test_a_soft_check_only_degrades(sandbox, port):
    folder, _ = serve(sandbox, port)
    (folder / "well").unlink()
    wait_until(lambda: ask(port) == (200, "degraded\n"), "it to degrade")
    assert sandbox.run("status").returncode == 0


def test_what_its_check_wants_restarted_is(sandbox, port):
    folder, _ = serve(sandbox, port, then="restart")
    before = sandbox.pids()["api-web"]
    (folder / "well").unlink()
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, before}, "its restart")
    (folder / "well").touch()
    wait_until(lambda: ask(port) == (200, "ok\n"), "it to be well again")


def test_it_drains_before_anything_stops(sandbox, port):
    _, child = serve(sandbox, port)
    child.send_signal(signal.SIGTERM)
    wait_until(lambda: ask(port) == (503, "draining\n"), "it to drain")
    child.communicate(timeout=30)
    assert child.returncode == 0
    assert ask(port) is None


def test_documents_for_people_and_for_prometheus(sandbox, port):
    serve(sandbox, port)
    status, body = ask(port, "/status.json")
    document = json.loads(body)
    assert (status, document["health"], document["converged"]) == (200, "ok", True)
    assert [program["name"] for program in document["programs"]] == ["api-web"]
    _, metrics = ask(port, "/metrics")
    assert "bootstrap_healthy 1\n" in metrics
    assert 'bootstrap_program_ready{program="api-web"} 1\n' in metrics
    assert metrics.count("bootstrap_program_state{") == 6
    assert ask(port, "/") == (404, "not found\n")


def test_a_taken_port_is_told_once_and_listened_at_as_soon_as_it_is_free(sandbox, port):
    sandbox.service("api", json.dumps({"health": {"port": port}, "processes": {"web": {"command": "exec sleep 1000"}}}))
    with socket.create_server(("127.0.0.1", port)):
        child = sandbox.start("boot", tags=("mode=production", "service=api"))
        said = read_until(child, "error: cannot open the health endpoint")
        for _ in range(3):  # each is followed by another try
            child.send_signal(signal.SIGHUP)
            said += read_until(child, "watching")
        assert said.count("cannot open the health endpoint") == 1
    assert "cannot open" not in read_until(child, "health endpoint: ")
    wait_until(lambda: ask(port) == (200, "ok\n"), "it to be well")


def read_until(child, beginning):
    """What it has said, up to the line that begins so."""
    said = ""
    for line in child.stdout:
        said += line.decode()
        if line.decode().startswith(beginning):
            return said
    raise AssertionError(f"it has ended after: {said}")


def test_a_box_that_was_taken_down_by_hand_is_not_well_until_up(sandbox, port):
    sandbox.sleeper("api", extra=f"health: {{port: {port}}}")  # down sooner than anybody looks at it
    sandbox.start("boot", tags=("mode=production", "service=api"))
    wait_until(lambda: ask(port) == (200, "ok\n"), "it to be well")
    tags = ("mode=production", "service=api")
    sandbox.run("down", tags=tags)
    wait_until(lambda: ask(port) == (503, "starting\n"), "it to say that nothing runs")
    assert ask(port, "/readyz") == (503, "starting\nits supervisor has ended or does not answer\n")
    sandbox.run("up", tags=tags)
    wait_until(lambda: ask(port) == (200, "ok\n"), "it to be well again")
