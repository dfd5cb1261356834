"""`bootstrap boot`, which the init system starts: it converges, restores what dies, and stops in order."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import socket
import time
from contextlib import suppress

import psutil
import pytest

from support.sandbox import kill_and_wait, wait_until

TOO_LONG_S = 10.0  # the benchmark holds us to two seconds; here other tests want the processor too


def boot(sandbox):
    """Start it and wait until it watches a box that has converged."""
    child = sandbox.start("boot")
    said = wait_until(
        lambda: next((text for text in child.stdout if text.startswith(b"watching")), None), "it to watch"
    )
    assert said.decode() == f"watching (generation {sandbox.status()['generation']})\n"
    assert sandbox.status()["converged"]
    return child


def finish(child, number=signal.SIGTERM):
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0, (out, err)
    return out.decode()


def test_a_supervisor_that_is_killed_is_replaced_soon_and_there_is_one_of_each(sandbox):
    for number in range(10):
        sandbox.sleeper(f"s{number}")
    child = boot(sandbox)
    before = sandbox.pids()
    old = sandbox.daemon
    begun = time.monotonic()
    kill_and_wait(old)
    wait_until(
        lambda: sandbox.daemon != old and len(sandbox.pids()) == 10 and sandbox.status()["converged"], "its return"
    )
    assert time.monotonic() - begun < TOO_LONG_S
    after = sandbox.pids()
    assert not {*before.values()} & {*after.values()}
    marked = sandbox.marked()
    assert sorted(process.program for pid, process in marked.items() if pid != sandbox.daemon) == sorted(after)
    said = finish(child)
    assert "the supervisor has ended: restoring what it ran" in said
    assert sandbox.marked() == {}


def test_sigterm_and_ctrl_c_stop_in_reverse_waves(sandbox):
    order = sandbox.root / "order"
    trap = f'trap "echo $BOOTSTRAP_SERVICE >> {order}; exit 0" TERM'
    program = {"command": f"{trap}; echo armed; while :; do sleep 0.01; done", "ready": "{log: armed}"}
    sandbox.sleeper("db", **program)
    sandbox.sleeper("api", extra="needs: [db]", **program)
    for number in (signal.SIGTERM, signal.SIGINT):
        order.unlink(missing_ok=True)
        child = boot(sandbox)
        said = finish(child, number)
        assert order.read_text() == "api\ndb\n"
        assert said.splitlines()[-4:] == ["stopping everything", "api-web  stopping", "db-web   stopping", "stopped"]
        assert sandbox.marked() == {}


def test_there_is_one_boot_for_a_box(sandbox):
    sandbox.sleeper("api")
    first = boot(sandbox)
    before = sandbox.pids()
    done = sandbox.run("boot", code=75)
    assert done.stdout == ""
    assert re.fullmatch(
        rf'error: cannot watch this box: "bootstrap boot" \(pid {first.pid}, since \S+\) does so already\n'
        "  way out: leave it to that one, or end it first\n",
        done.stderr,
    )
    assert sandbox.pids() == before
    sandbox.run("down")
    assert sandbox.run("boot", code=75).stdout == "", "it still watches a box that is down"
    finish(first)
    assert not (sandbox.state / "boot.lock").exists()
    finish(boot(sandbox))


def test_killed_it_leaves_the_programs_running_and_the_next_takes_over(sandbox):
    sandbox.sleeper("api")
    child = boot(sandbox)
    before = sandbox.pids()
    child.kill()
    child.communicate()
    child = boot(sandbox)
    assert sandbox.pids() == before
    assert "nothing" not in finish(child)
    assert sandbox.marked() == {}


def test_what_was_stopped_by_hand_stays_so_across_a_crash_and_a_boot_until_up(sandbox):
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    child = boot(sandbox)
    sandbox.run("stop", "web")
    old = sandbox.daemon
    kill_and_wait(old)
    wait_until(lambda: sandbox.daemon != old and sandbox.pids().keys() == {"api-web"}, "api alone")
    finish(child)
    child = sandbox.start("boot")
    wait_until(lambda: next((text for text in child.stdout if text.startswith(b"watching")), None), "it to watch")
    assert sandbox.pids().keys() == {"api-web"}
    sandbox.run("up")
    assert sandbox.pids().keys() == {"api-web", "web-web"}
    finish(child)
    child = boot(sandbox)
    assert sandbox.pids().keys() == {"api-web", "web-web"}
    finish(child)


def test_sighup_is_another_up(sandbox):
    sandbox.sleeper("api")
    child = boot(sandbox)
    before = sandbox.pids()["api-web"]
    sandbox.config("common/WORD", "new")
    child.send_signal(signal.SIGHUP)
    wait_until(lambda: sandbox.pids().get("api-web") not in {None, before}, "the replacement")
    wait_until(lambda: sandbox.status()["converged"], "convergence")
    assert sandbox.environ_of(sandbox.pids()["api-web"])[b"WORD"] == b"new"
    assert "WORD is set (config/common/WORD)" in finish(child)


def test_a_box_that_was_taken_down_by_hand_stays_down_until_up(sandbox):
    sandbox.sleeper("api")
    child = boot(sandbox)
    sandbox.run("down")
    time.sleep(0.1)
    assert sandbox.marked() == {}
    sandbox.run("up")
    assert sandbox.pids().keys() == {"api-web"}
    said = finish(child)
    assert "this box was taken down by hand" in said
    assert sandbox.marked() == {}


def test_a_watchdog_does_not_bring_back_what_was_taken_down_by_hand(sandbox, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        sandbox.environ |= {"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "1200000000"}
        sandbox.sleeper("api")
        child = boot(sandbox)
        sandbox.run("down")
        wait_until(lambda: next((text for text in child.stdout if text.startswith(b"this box was")), None), "the word")
        listener.settimeout(0)
        with suppress(BlockingIOError):
            while listener.recv(4096):  # what was said before
                pass
        listener.settimeout(30)
        assert listener.recv(4096) == b"WATCHDOG=1"
        finish(child)


def everything(sandbox):
    shutil.rmtree(sandbox.state)


def generations_and_supervisor(sandbox):
    shutil.rmtree(sandbox.state / "generations")
    kill_and_wait(sandbox.daemon)


@pytest.mark.parametrize("lose", [everything, generations_and_supervisor])
def test_what_has_lost_its_state_is_no_box_that_was_taken_down(sandbox, lose):
    sandbox.sleeper("api")
    sandbox.sleeper("web")
    child = boot(sandbox)
    before = sandbox.marked()
    lose(sandbox)
    wait_until(lambda: len(sandbox.pids()) == 2 and sandbox.status()["converged"], "its return")
    assert not before.keys() & sandbox.marked().keys()
    assert sorted(p.program for p in sandbox.marked().values() if p.program) == ["api-web", "web-web"]
    assert "taken down by hand" not in finish(child)
    assert sandbox.marked() == {}


def test_a_lock_that_can_not_be_had_any_more_does_not_hold_up_the_end(sandbox):
    stopped = sandbox.root / "stopped"
    sandbox.service(
        "api",
        "processes:\n  web: {command: exec sleep 1000, ready: {alive: 0s},"
        f" stop: {{script: 'echo $BOOTSTRAP_PROGRAM >> {stopped}'}}}}\n",
    )
    child = boot(sandbox)
    lock = sandbox.state / "run/lock"
    lock.unlink()
    lock.mkdir()
    said = finish(child)
    assert f'stopping without the lock: cannot open "{lock}": Is a directory\n' in said
    assert stopped.read_text() == "api-web\n"
    assert sandbox.marked() == {}


def test_a_program_that_fails_for_good_is_told_once(sandbox):
    folder = sandbox.service(
        "api",
        "processes:\n  web: {command: '[ -e ok ] && exec sleep 1000; exit 7', restart: {window: 60s, starts: 2},"
        " ready: {exec: 'test -e ok'}}\n",
    )
    (folder / "ok").touch()
    child = boot(sandbox)
    (folder / "ok").unlink()
    os.kill(sandbox.pids()["api-web"], signal.SIGKILL)
    wait_until(lambda: sandbox.status()["programs"][0]["state"] == "failed", "it to fail")
    line = child.stdout.readline
    said = wait_until(lambda: next((text for text in iter(line, b"") if b"for good" in text), None), "the line")
    assert " ".join(said.decode().split()) == (
        'api-web has failed for good: the last time it exited with code 7; see "bootstrap logs api-web"'
    )
    assert "for good" not in finish(child)


def test_bad_tags_end_it_at_once_with_the_error_of_up(sandbox):
    sandbox.sleeper("api")
    done = sandbox.run("boot", tags=("mode=nonsense",), code=2)
    assert "nonsense" in done.stderr
    assert sandbox.marked() == {}


def test_a_stop_in_the_middle_of_the_first_up_is_heeded(sandbox):
    sandbox.sleeper("api", ready='{exec: "false", timeout: 60s}')
    child = sandbox.start("boot")
    wait_until(lambda: (sandbox.state / "run/supervisord.sock").exists() and sandbox.pids(), "it to start")
    finish(child)
    assert sandbox.marked() == {}


def said_lines(child, text):
    """What it says until it says this."""
    lines = []
    for line in child.stdout:
        lines.append(line.decode())
        if text in lines[-1]:
            return lines
    raise AssertionError(lines)


def test_an_up_that_the_disk_has_refused_is_tried_again(sandbox):
    sandbox.sleeper("api")
    child = boot(sandbox)
    before = sandbox.pids()
    sandbox.config("common/WORD", "new")
    generations, aside = sandbox.state / "generations", sandbox.state / "aside"
    generations.rename(aside)
    generations.symlink_to("aside")
    child.send_signal(signal.SIGHUP)
    assert "cannot make the directory" in said_lines(child, "trying again in")[-3]
    generations.unlink()
    aside.rename(generations)
    said_lines(child, "watching (generation ")
    assert sandbox.pids() != before
    finish(child)


def test_while_up_fails_again_and_again_a_dead_supervisor_is_replaced_all_the_same(sandbox):
    sandbox.sleeper("api")
    child = boot(sandbox)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sandbox.service("web", f"processes: {{web: {{command: exec sleep 1000, port: {taken.getsockname()[1]}}}}}\n")
        child.send_signal(signal.SIGHUP)
        for _ in range(2):
            assert "is in use by" in "".join(said_lines(child, "trying again in"))
        kill_and_wait(sandbox.daemon)
        said_lines(child, "api-web  ready")
    said_lines(child, "web-web  ready")
    finish(child)


def test_an_up_that_was_refused_its_input_waits_for_somebody_to_mend_it(sandbox):
    sandbox.sleeper("api")
    child = boot(sandbox)
    sandbox.service("web", "nonsense: 1\n")
    child.send_signal(signal.SIGHUP)
    assert said_lines(child, "SIGHUP")[-1] == "what runs goes on as it is; SIGHUP tries again\n"
    sandbox.sleeper("web")
    child.send_signal(signal.SIGHUP)
    said_lines(child, "watching (generation ")
    assert sorted(sandbox.pids()) == ["api-web", "web-web"]
    finish(child)


def test_a_restore_that_the_disk_refuses_leaves_no_supervisor_behind(sandbox):
    sandbox.sleeper("api")
    child = boot(sandbox)
    sessions = sandbox.state / "run/sessions.json"
    sessions.unlink()
    sessions.mkdir()
    kill_and_wait(sandbox.daemon)
    for _ in range(3):
        said_lines(child, "trying again in")
        assert [one for one in psutil.Process(child.pid).children() if "bootstrap.world.daemon" in one.cmdline()] == []
    sessions.rmdir()
    said_lines(child, "api-web  ready")
    assert sandbox.status()["converged"]
    finish(child)


def test_a_stop_asked_for_in_two_ways_at_once_is_one_stop(sandbox):
    sandbox.sleeper("api")
    for _ in range(5):
        child = boot(sandbox)
        child.send_signal(signal.SIGSTOP)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGTERM)
        finish(child, signal.SIGCONT)
        assert sandbox.marked() == {}


def fill(pipe):
    """Leave no room in it; by a description of our own, since whoever shares the other one may have to wait."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(own, b".")
    os.close(own)


def test_a_reader_who_does_not_read_holds_up_nothing(sandbox):
    sandbox.sleeper("api")
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    child = sandbox.start("boot", stdout=write, stderr=write)
    said, poll = b"", select.poll()
    poll.register(read, select.POLLIN)
    while b"watching" not in said:  # at once: what finds no room in so small a pipe is dropped
        assert poll.poll(30_000), said
        said += os.read(read, 4096)
    fill(write)  # what follows finds no room
    old = sandbox.daemon
    kill_and_wait(old)
    wait_until(lambda: sandbox.daemon != old and sandbox.status()["converged"], "its return")
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == 0
    assert sandbox.marked() == {}
    os.close(read)
    os.close(write)
