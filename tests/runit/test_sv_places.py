"""One sv for both worlds: runit's own directories, links named after a service, and those who may not look."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from runit_compat import sv_entry
from support.chance import LONG
from support.private_world import give_up
from support.sandbox import COMMAND, kill_and_wait, run_command, wait_until
from support.sv_worlds import NOBODY, Ours, Theirs, need_runit, normalised

IGNORES = {"run": "trap '' HUP\nexec sleep 1000\n"}
SCRIPTS = {
    "plain": IGNORES,
    "down": IGNORES | {"down": ""},
    "logged": IGNORES | {"log/run": "exec cat >/dev/null\n"},
    "logged-down": IGNORES | {"log/run": "exec cat >/dev/null\n", "down": ""},
    "never-ready": IGNORES | {"check": "echo looked >&2\nexit 1\n"},
}
INIT_WORDS = [
    ["status"],
    ["-w", "1", "stop"],
    ["status"],
    ["-w", "1", "start"],
    ["check", "-w9"],
    ["stat"],
    ["nonsense"],
    [],
]
MORE_INIT_WORDS = [
    ["-w", "1", word]
    for word in (
        *("restart", "reload", "try-restart", "force-reload", "force-restart", "up", "once", "pause", "cont", "kill"),
        *("down", "force-stop", "term", "check", "shutdown"),
    )
]


@pytest.fixture
def theirs(tmp_path):
    need_runit()
    made = Theirs(tmp_path / "sv", SCRIPTS)
    to_run = ("plain", "logged", "logged/log", "never-ready")
    wait_until(lambda: all(line.startswith("run: ") for line in made.status(*to_run).values()), "all to run")
    yield made
    made.end()


def answer(done):
    """How often a check is run depends on the machine."""
    said = re.sub(r"(looked\n)+", "looked\n", done.stderr)
    return done.returncode, normalised(done.stdout), said


def outside(theirs, *words, name="sv", user=(), svdir=None):
    """Ours, where there is no box at all, typed at what runsvdir runs."""
    environ = {"PATH": os.environ["PATH"], "BOOTSTRAP_ROOT": "/nonexistent"}
    link = theirs.folder.parent / "outside" / name
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(COMMAND)
    environ |= {"SVDIR": str(svdir or theirs.folder)}
    return run_command([*user, str(link), *words], environ=environ, cwd=theirs.folder, timeout=60)


TYPED = [
    ["status", "plain", "down", "logged", "logged-down", "missing", "logged/log"],
    ["status", "./plain", "plain/", "./missing", "/dev/null", ".", "..", ""],
    ["-v", "up", "plain", "down"],
    ["-v", "hup", "plain", "./plain"],
    ["-v", "pause", "plain"],
    ["status", "plain"],
    ["-v", "cont", "plain"],
    ["-w", "1", "check", "plain", "never-ready", "missing"],
    ["-v", "down", "down"],
    ["-w", "1", "stop", "logged"],
    ["status", "logged"],
    ["-v", "once", "logged"],
    ["-w", "1", "start", "never-ready"],
    ["-w", "1", "force-stop", "never-ready", "plain"],
    ["status", "plain", "never-ready"],
    [],
    ["status"],
    ["-V", "status", "plain"],
    ["-x", "status", "plain"],
]


def test_it_speaks_to_a_runsv_as_the_binary_does(theirs):
    """Both are typed at the same services, one after the other: nothing that is asked twice differs from once."""
    for words in TYPED:
        if "once" in words:  # runit tells what is new by whole seconds
            wait_until(lambda: re.search(r"down: \w+: [1-9]", theirs.sv("status", "logged").stdout), "a second to pass")
        real = theirs.sv(*words)
        wait_until(lambda: "got TERM" not in theirs.sv("status", *SCRIPTS).stdout, "it to settle")
        assert answer(outside(theirs, *words)) == answer(real), words


def test_what_it_asks_of_a_runsv_happens(theirs):
    before = theirs.pid_of("plain")
    assert normalised(outside(theirs, "-w", "5", "restart", "plain").stdout) == "ok: run: plain: (pid N) Ns\n"
    wait_until(lambda: theirs.pid_of("plain") not in {0, before}, "its restart")
    outside(theirs, "exit", "plain")
    wait_until(lambda: theirs.sv("status", "plain").stdout != "" and theirs.pid_of("plain") == 0, "its end")


def test_who_supervises_nothing_is_told_so_in_the_same_words(theirs, tmp_path):
    other = tmp_path / "other"
    (other / "never").mkdir(parents=True)
    (other / "dead/supervise").mkdir(parents=True)
    (other / "odd/supervise").mkdir(parents=True)
    os.mkfifo(other / "dead/supervise/ok")
    (other / "odd/supervise/ok").touch()
    (other / "odd/supervise/status").write_bytes(b"short")
    for word in ("status", "up", "exit", "check", "shutdown", "force-stop"):
        words = [word, "never", "dead", "odd"]
        assert answer(outside(theirs, *words, svdir=other)) == answer(theirs.sv(*words, environ={"SVDIR": str(other)}))
    for name in ("never", "dead", "odd"):
        for word in ("status", "start", "shutdown"):
            real = theirs.sv(word, name=name, environ={"SVDIR": str(other)})
            assert answer(outside(theirs, word, name=name, svdir=other)) == answer(real), (name, word)


def as_nobody(box, words, name, environ):
    """Ours in a child that has become nobody: the interpreter itself may stand where nobody may look."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.dup2(writable, 1)
            os.dup2(writable, 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)
            os.environ.clear()
            os.environ.update(environ)
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            code = sv_entry.run(box, words, name)
            sys.stdout.flush()
            os._exit(code)
        finally:
            os._exit(99)
    os.close(writable)
    with open(readable) as told:
        said = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), normalised(said), ""


def test_who_may_not_look_is_told_so_in_the_same_words(theirs, sandbox):
    if os.geteuid() != 0:
        give_up("only root can become nobody")
    ours = Ours(sandbox, SCRIPTS)
    for path in [sandbox.root, *sandbox.root.parents, theirs.folder]:
        if path.stat().st_uid == 0 and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    typed = [([word, "plain", "logged"], "sv") for word in ("status", "up", "exit", "check", "shutdown")]
    for words, name in [*typed, (["status"], "plain"), (["start"], "plain")]:
        real = answer(theirs.sv(*words, name=name, user=NOBODY))
        assert as_nobody(sandbox.box, words, name, {}) == real, words
        assert as_nobody(None, words, name, {"SVDIR": str(theirs.folder)}) == real, words
    assert ours.sv("status", "plain").returncode == 0


def test_where_no_supervisor_lives_any_more_it_is_as_without_a_runsv(theirs, sandbox, tmp_path):
    ours = Ours(sandbox, SCRIPTS)
    kill_and_wait(sandbox.daemon)
    (tmp_path / "dead/plain/supervise").mkdir(parents=True)
    os.mkfifo(tmp_path / "dead/plain/supervise/ok")
    words = [
        *[
            "status",
            "up",
            "down",
            "once",
            "pause",
            "cont",
            "hup",
            "alarm",
            "interrupt",
            "quit",
            "1",
            "2",
            "term",
            "kill",
            "exit",
            "start",
            "stop",
            "reload",
        ]
    ]
    words += [
        *[
            "restart",
            "shutdown",
            "force-stop",
            "force-reload",
            "force-restart",
            "force-shutdown",
            "try-restart",
            "check",
        ]
    ]
    for word in words if LONG else words[:3] + words[-7:]:
        for name, typed in (("sv", [word, "plain"]), ("plain", [word])):
            real = theirs.sv(*typed, name=name, environ={"SVDIR": str(tmp_path / "dead")})
            assert answer(ours.sv(*typed, name=name)) == answer(real), word


def test_a_path_is_ours_where_no_runsv_lives_there(sandbox, tmp_path):
    ours = Ours(sandbox, {"plain": SCRIPTS["plain"]})
    (tmp_path / "service").mkdir()
    (tmp_path / "service/mine").symlink_to(sandbox.root / "services/plain")
    words = ["./services/plain", "/etc/service/plain", f"{tmp_path}/service/mine", "plain-run", "plain"]
    done = ours.sv("status", *words)
    assert normalised(done.stdout).splitlines() == [f"run: {word}: (pid N) Ns" for word in words]
    found = ours.sv("status", "mine", environ={"SVDIR": str(tmp_path / "service")})
    assert normalised(found.stdout) == "run: mine: (pid N) Ns\n"


def test_a_link_named_after_a_service_is_its_init_script(theirs, sandbox):
    ours = Ours(sandbox, SCRIPTS)
    theirs.leave_alone()

    def type_all(world):
        typed = INIT_WORDS + (MORE_INIT_WORDS if LONG else [])
        answers = []
        for name, words in product((*SCRIPTS, "missing"), typed):
            if words in MORE_INIT_WORDS and name in SCRIPTS:
                wait_until(lambda name=name: theirs.is_awake(name), "runsv to be awake")
            if fits(name, words):
                code, line, said = answer(world.sv(*words, name=name))
                answers.append((name, words, code, line, said.replace("looked\n", "")))  # ours shows no check's output
        return answers

    with ThreadPoolExecutor(2) as pool:
        real, mine = pool.map(type_all, (theirs, ours))
    assert mine == real


def test_a_link_named_after_a_program_of_runits_is_that_program(tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env/WORD").write_text("hello\n")
    (tmp_path / "envdir").symlink_to(COMMAND)
    done = subprocess.run(
        [tmp_path / "envdir", tmp_path / "env", "/bin/sh", "-c", "echo $WORD"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "hello\n"
    (tmp_path / "bootstrap-2").symlink_to(COMMAND)
    done = subprocess.run([tmp_path / "bootstrap-2", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("bootstrap, version ")


def fits(name, words):
    """What never gets ready takes its whole time."""
    return LONG or name != "never-ready" or words in ([], ["status"])
