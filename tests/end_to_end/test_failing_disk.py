"""A disk that becomes read-only under a live box: what runs goes on, a crash is mended, and the end is in order."""

from __future__ import annotations

import http.client
import os
import signal

from support.failing_disk import FailingDisk
from support.ports import free_port
from support.private_world import in_private_world
from support.sandbox import Sandbox, kill_and_wait, wait_until


@in_private_world
def on_a_failing_disk(tmp_path, test):
    disk = FailingDisk(tmp_path)
    test(Sandbox(disk.path), disk, tmp_path)


def boot(sandbox):
    child = sandbox.start("boot")
    wait_until(lambda: next((t for t in child.stdout if t.startswith(b"watching")), None), "it to watch")
    return child


def finish(child):
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, b"")
    return out.decode()


def chatty_and_stopped_by_a_script(sandbox, disk, tmp_path):
    stopped = tmp_path / "stopped"
    sandbox.service(
        "api",
        "processes:\n"
        "  web: {command: 'while :; do echo a line; sleep 0.02; done', ready: {alive: 0s},\n"
        f"    stop: {{script: 'echo $BOOTSTRAP_PROGRAM >> {stopped}'}}}}\n",
    )
    sandbox.sleeper("quiet")
    child = boot(sandbox)
    before, daemon = sandbox.pids(), sandbox.daemon
    disk.fail()
    for verb in ("up", "status"):
        assert sandbox.run(verb)
    kill_and_wait(before["quiet-web"])
    after = wait_until(lambda: (p := sandbox.pids()).keys() == before.keys() and p, "the killed one to be back")
    assert after["api-web"] == before["api-web"]
    assert after["quiet-web"] != before["quiet-web"]
    assert sandbox.daemon == daemon, "the supervisor has died of what it could not log"
    sandbox.run("restart", "api")
    assert stopped.read_text() == "api-web\n"
    said = finish(child)
    assert said.splitlines()[-1] == "stopped"
    assert stopped.read_text() == "api-web\napi-web\n"
    assert sandbox.marked() == {}


def test_what_runs_goes_on_and_is_stopped_in_order(tmp_path):
    on_a_failing_disk(tmp_path, chatty_and_stopped_by_a_script)


def test_a_log_that_can_not_be_rolled_over_holds_up_nobody(tmp_path):
    on_a_failing_disk(tmp_path, with_a_log_that_is_nearly_full)


def with_a_log_that_is_nearly_full(sandbox, disk, tmp_path):
    count = tmp_path / "count"
    log = sandbox.state / "log/api-web.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"an old line\n" * (10 * 1024**2 // 12 - 100))
    line = f"printf '%050000d\\n' 7; echo >> {count}; sleep 0.001"
    sandbox.service("api", f'processes: {{web: {{command: "while :; do {line}; done", ready: {{alive: 0s}}}}}}\n')
    sandbox.config("common/A", "b")

    def wrote(lines):
        before = count.stat().st_size
        wait_until(lambda: count.stat().st_size > before + lines, "the program to write on")

    sandbox.state.chmod(0o755)
    disk.fill()
    sandbox.run("up", code=75)
    disk.make_room()
    sandbox.run("up")
    wait_until((log.parent / "api-web.log.1").exists, "its log to be rolled over")
    disk.fill()
    wrote(250)  # which is more than a log may hold, and more than a pipe
    full = log.stat().st_ino
    disk.make_room()
    older = [log.parent / f"api-web.log.{number}" for number in (1, 2, 3)]
    wait_until(lambda: full in [path.stat().st_ino for path in older if path.exists()], "it to be rolled over at last")
    wait_until(lambda: b"7\n" in log.read_bytes(), "a whole line in the new one")
    disk.fail()
    wrote(250)


def changed(sandbox, disk, _):
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    sandbox.run("up")
    before = sandbox.pids()
    disk.fail()
    refused = "Read-only file system\n  what runs goes on; way out: mend the disk or its permissions and run the command again\n"
    for verb in (["stop", "api"], ["--tag", "scale=web=2", "up"]):
        done = sandbox.run(*verb, code=None)
        assert (done.returncode, done.stderr.startswith("error: cannot ")) == (75, True), (verb, done)
        assert done.stderr.endswith(refused)
    assert sandbox.pids() == before
    done = sandbox.run("down", code=75)
    assert done.stderr.endswith(refused)
    assert sandbox.marked() == {}


def test_what_would_change_it_is_refused_and_down_stops_all_the_same(tmp_path):
    on_a_failing_disk(tmp_path, changed)


def without_supervisor(sandbox, disk, _):
    port = free_port()
    sandbox.service(
        "api", f"processes: {{web: {{command: exec sleep 1000, ready: {{alive: 0s}}}}}}\nhealth: {{port: {port}}}\n"
    )
    child = sandbox.start("boot", tags=("mode=production", "service=api"))
    wait_until(lambda: next((t for t in child.stdout if t.startswith(b"health endpoint")), None), "the endpoint")
    wait_until(lambda: health(port) == "200 ok", "it to be well")
    disk.fail()
    os.kill(sandbox.daemon, signal.SIGKILL)
    wait_until(lambda: health(port) == "503 starting", "it to say that nobody can bring the supervisor back")
    said = finish(child)
    assert "health: starting; its supervisor has ended or does not answer" in said
    assert sandbox.marked() == {}


def health(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return f"{answer.status} {answer.read().decode().strip()}"
    except OSError:
        return None
    finally:
        connection.close()


def test_a_supervisor_that_can_not_be_brought_back_takes_the_box_out_of_service(tmp_path):
    on_a_failing_disk(tmp_path, without_supervisor)
