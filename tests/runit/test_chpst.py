"""What our chpst does beside the binary: what differs on purpose, how it is started, and what its start costs."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runit_compat import error_words
from runit_compat.chpst_options import UsageError, parse_command_line, parse_ids
from support.private_world import give_up
from support.sandbox import COMMAND, wait_until

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "runit_compat/chpst.py"
OURS = [sys.executable, "-S", "-E", str(FILE)]
USAGE = (
    b"usage: chpst [-vVP012] [-u user[:group]] [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-n nice] [-l|-L lock]"
    b" [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog\n\n"
)
# What differs on purpose → the words for it in docs/runit.md; each has a test here.
DIFFERENCES = {
    "-C": "`-C DIR` changes the working directory",
    "ids": "A number that is empty or greater than 4294967294",
    "dangling": "A link that leads nowhere",
    "endless": "A first line of more than 1 MiB",
    "twice": "Of a variable that is given twice",
    "first word": "`-b ''`",
    "signals": "SIGPIPE and SIGXFSZ",
    "standard input": "Standard input that is a directory",
}


@pytest.fixture
def binary():
    if not os.path.exists("/usr/bin/chpst"):
        give_up("chpst is missing: install the Debian package runit to compare with it")
    return ["/usr/bin/chpst"]


@pytest.fixture
def as_root():
    if os.geteuid() != 0:
        give_up("only root can become somebody else")


def run(start, *words, **how):
    done = subprocess.run([*start, *words], capture_output=True, check=False, timeout=30, **how)
    return done.returncode, done.stdout, done.stderr


def test_every_difference_is_documented():
    text = " ".join((REPOSITORY / "docs/runit.md").read_text().split())
    assert [words for words in DIFFERENCES.values() if words not in text] == []


def test_it_changes_the_directory_as_later_versions_of_runit_do(binary, tmp_path):
    assert run(OURS, "-C", tmp_path, "pwd") == (0, f"{tmp_path}\n".encode(), b"")
    assert run(binary, "-C", tmp_path, "pwd") == (100, b"", b"chpst: illegal option -- C\n" + USAGE)
    missing = b"chpst: fatal: unable to change directory: /nosuch: file does not exist\n"
    assert run(OURS, "-C", "/nosuch", "pwd") == (111, b"", missing)


@pytest.mark.parametrize(
    "ids", [":", "1:", ":1", "1::2", "4294967296:4294967296", "18446744073709551616:0", "4294967295:1"]
)
@pytest.mark.parametrize("option", ["-u", "-U"])
def test_nobody_becomes_root_by_an_empty_or_a_large_number(option, ids):
    assert run(OURS, option, f":{ids}", "true") == (111, b"", f"chpst: fatal: invalid uid/gids: {ids}\n".encode())


@pytest.mark.parametrize("ids", [":", "1:", "4294967296:4294967296"])
def test_with_the_binary_one_does(ids, binary, as_root):
    assert b"(root)" in run(binary, "-u", f":{ids}", "id")[1]


def test_a_link_to_nothing_removes_its_variable(binary, tmp_path):
    (tmp_path / "A").symlink_to("nowhere")
    assert run(OURS, "-e", tmp_path, "/usr/bin/env", env={"A": "before"}) == (0, b"", b"")
    (tmp_path / "SECRET").write_text("value\n")
    assert run(OURS, "-e", tmp_path, "/usr/bin/env", env={"A": "before"}) == (0, b"SECRET=value\n", b"")
    found = run(binary, "-e", tmp_path, "/usr/bin/env", env={"A": "before"})[1]
    order = os.listdir(tmp_path)
    assert found == b"SECRET=value\n" if order[0] == "A" else b"A=value" in found


def test_a_file_that_never_ends_is_refused(tmp_path):
    (tmp_path / "A").symlink_to("/dev/zero")
    said = f"chpst: fatal: unable to read {tmp_path}/A: file too big\n".encode()
    assert run(OURS, "-e", tmp_path, "true") == (111, b"", said)


class Twice:
    """An environment such as Python never has, for execve."""

    def keys(self):
        return [b"A", b"A", b"B"]

    def values(self):
        return [b"first", b"second", b"b"]

    def __len__(self):
        return 3

    def __getitem__(self, key):
        raise KeyError(key)


@pytest.mark.parametrize(
    ("start", "found"), [(OURS, b"A=first\nB=b\n"), (["/usr/bin/chpst"], b"A=first\nA=second\nB=b\n")]
)
def test_of_a_variable_that_is_given_twice_the_first_stays(start, found, binary):
    read, write = os.pipe()
    child = os.posix_spawn(start[0], [*start, "/usr/bin/env"], Twice(), file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == found
    assert os.waitpid(child, 0)[1] == 0


def test_an_empty_first_word_is_the_program_s_name():
    tell = ["-b", "", "/bin/sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline"]
    assert run(OURS, *tell)[1].startswith(b"/bin/sh -c ")
    assert run(OURS, "-b", "", "nosuch") == (111, b"", b"chpst: fatal: unable to run: : file does not exist\n")


# Without signals 32 and 33, which are the C library's own: its posix_spawn may leave them ignored.
SIGNALS = r"grep -E 'Sig(Ign|Blk|Cgt)' /proc/self/status | sed -E 's/[89a-f](.{7})$/0\1/; s/1(.{8})$/0\1/'"


@pytest.mark.parametrize("start", [OURS, [COMMAND, "chpst"], [sys.executable, "-m", "runit_compat.chpst"]])
def test_nothing_of_the_interpreter_is_left_in_the_program(start, tmp_path):
    tell = f"umask; {SIGNALS}; ls -l /proc/self/fd | wc -l; cat /proc/self/environ"
    environ = {"PATH": "/usr/bin:/bin"}
    how = {"env": environ, "umask": 0o027, "cwd": REPOSITORY}
    plain = run([], "/bin/sh", "-c", tell, restore_signals=True, **how)
    assert plain[1].startswith(b"0027\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"), plain
    assert run(start, "/bin/sh", "-c", tell, **how) == plain


@pytest.mark.parametrize(
    "locale", [{}, {"LC_CTYPE": "C"}, {"LC_CTYPE": "C.UTF-8"}, {"LANG": "nosuch"}, {"LC_ALL": "C"}]
)
def test_a_variable_that_the_interpreter_sets_for_itself_is_not_passed_on(locale):
    found = run(OURS, "/usr/bin/env", env=locale)[1]
    assert found.decode().split() == [f"{key}={value}" for key, value in locale.items()]


def test_what_was_ignored_is_ignored_no_more(binary):
    script = "trap '' PIPE; exec \"$@\""
    tell = ["/bin/sh", "-c", f"{SIGNALS} | grep Ign"]
    assert run(["/bin/sh", "-c", script, "sh", *OURS], *tell)[1] == b"SigIgn:\t0000000000000000\n"
    assert run(["/bin/sh", "-c", script, "sh", *binary], *tell)[1] == b"SigIgn:\t0000000000001000\n"


def test_standard_input_that_is_a_directory_stops_the_interpreter(binary, tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        code, _, said = run(OURS, "true", stdin=descriptor)
        assert code == 1
        assert b"<stdin> is a directory" in said
        assert run(binary, "true", stdin=descriptor) == (0, b"", b"")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kept", [(1, 2), (0, 2), (2,)])
def test_what_was_closed_stays_closed(kept):
    """The lock gets the lowest number that is free, as it does behind the binary."""
    closing = " ".join(f"{descriptor}>&-" for descriptor in {0, 1, 2} - {*kept})
    tell = "for n in 0 1 2 3; do [ -e /proc/$$/fd/$n ] && echo $n >&2; done; :"
    start = ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *OURS]
    assert run(start, "/bin/sh", "-c", tell)[2].decode().split() == [str(descriptor) for descriptor in kept]


def test_a_lock_is_waited_for_and_held_by_the_program(tmp_path):
    lock = tmp_path / "lock"
    taken = subprocess.Popen([*OURS, "-l", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    taken.stdin.write(b"I have it\n")
    taken.stdin.flush()
    assert taken.stdout.readline() == b"I have it\n"
    busy = f"chpst: fatal: unable to lock: {lock}: temporary failure\n".encode()
    assert run(OURS, "-L", lock, "true") == (111, b"", busy)
    waiting = subprocess.Popen([*OURS, "-l", lock, "echo", "now"], stdout=subprocess.PIPE)
    wait_until_it_wants(waiting.pid, lock)
    taken.communicate()
    assert waiting.communicate()[0] == b"now\n"
    assert lock.stat().st_mode & 0o777 == 0o600


def test_who_waits_for_a_lock_can_be_interrupted(tmp_path):
    lock = tmp_path / "lock"
    with subprocess.Popen([*OURS, "-l", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as taken:
        taken.stdin.write(b"\n")
        taken.stdin.flush()
        taken.stdout.readline()
        waiting = subprocess.Popen([*OURS, "-l", lock, "true"], stderr=subprocess.PIPE)
        wait_until_it_wants(waiting.pid, lock)
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=30)[1] == b""
        assert waiting.returncode == -signal.SIGINT


def wait_until_it_wants(pid, lock):
    wanted = re.compile(rf"->.* {pid} \S+:{lock.stat().st_ino} ")
    wait_until(lambda: wanted.search(Path("/proc/locks").read_text()), "a process that waits for the lock")


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("envdir", [], b"usage: envdir dir child\n\n"),
        ("setuidgid", ["nosuch"], b"usage: setuidgid account child\n\n"),
        ("chpst", ["-V"], b"$Id: f279d44141c981dd7535a12260efcf1ef7beed26 $\n" + USAGE),
        ("chpst", ["-n"], b"chpst: option requires an argument -- n\n" + USAGE),
    ],
)
def test_a_link_gives_it_its_name(name, words, said, tmp_path):
    (tmp_path / name).symlink_to(FILE)
    environ = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    assert run([], name, *words, env=environ) == (100, b"", said)


def test_the_verb_has_no_options_but_its_own():
    refused = (
        b'error: cannot run "chpst" with options before it: it takes only its own\n  see "bootstrap chpst --help"\n'
    )
    assert run([COMMAND], "-q", "chpst", "true") == (2, b"", refused)
    assert run([COMMAND], "chpst", "-h") == (100, b"", b"chpst: illegal option -- h\n" + USAGE)
    assert b"Example: bootstrap chpst " in run([COMMAND], "chpst", "--help")[1]
    assert run([COMMAND], "chpst", "--", "printf", "%s", "--help") == (0, b"--help", b"")


def test_a_limit_on_memory_leaves_enough_for_a_large_environment(binary):
    """Exec needs memory of ours, and behind the limit there is no more; the program itself then cannot start."""
    environ = {f"KEY_{number}": "v" * 50_000 for number in range(20)}
    for words in (["-m", "100000", "/bin/true"], ["-d", "0", "/bin/true"], ["-m", "100000", "/nosuch"]):
        assert run(OURS, *words, env=environ) == run(binary, *words, env=environ)


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "10", "-o", "18446744073709551614"],  # less than -1 in a long: not given
        ["-o", "18446744073709551615"],
        ["-o", "010"],
        ["-u", "root:" + ":".join(["bin"] * 60 + ["nosuch"])],  # not looked at
        ["-u", "root:" + ":".join(["bin"] * 59 + ["nosuch"])],
        ["-/", "/var/empty-nosuch", "-u", "root"],
    ],
)
def test_what_chance_finds_rarely_is_no_different(words, binary, as_root):
    tell = ["/bin/sh", "-c", "ulimit -n; id"]
    limited = ["/usr/bin/prlimit", "--nofile=20:30"]
    assert run([*limited, *OURS], *words, *tell) == run([*limited, *binary], *words, *tell)


@pytest.mark.parametrize(("option", "waits"), [("-N", False), ("-n", True), (None, False)])
def test_setlock_waits_only_when_it_is_told_not_to(option, waits, binary, tmp_path):
    """That is the binary's way, and not that of daemontools."""
    lock = tmp_path / "lock"
    (tmp_path / "setlock").symlink_to(FILE)
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary/setlock").symlink_to(binary[0])
    words = [*([option] if option else []), lock, "true"]
    with subprocess.Popen([*OURS, "-l", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.readline()
        starts = ([*OURS[:-1], str(tmp_path / "setlock")], [str(tmp_path / "binary/setlock")])
        for started in [subprocess.Popen([*start, *words], stderr=subprocess.PIPE) for start in starts]:
            if waits:
                wait_until_it_wants(started.pid, lock)
                started.kill()
            said = b"" if waits else f"chpst: fatal: unable to lock: {lock}: temporary failure\n".encode()
            assert started.communicate()[1] == said
            assert started.returncode == (-signal.SIGKILL if waits else 111)


def test_every_word_for_an_error_is_the_binary_s(binary):
    content = Path(binary[0]).read_bytes()
    assert [words for words in error_words._WORDS.values() if b"\0" + words + b"\0" not in content] == []
    assert error_words.describe_errno(None) == b"unknown error"


def imported(*words):
    done = subprocess.run([sys.executable, "-S", "-E", "-X", "importtime", *words], stderr=subprocess.PIPE, check=True)
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr.decode(), re.MULTILINE))


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["-e", "."], set()),
        (["-L", "lock"], {"fcntl"}),
        (["-o", "100"], {"resource"}),
        (["-U", "root"], {"pwd", "grp"}),
    ],
)
def test_it_imports_only_what_it_needs(words, more, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = imported(str(FILE), *words, "true") - imported("-c", "import __future__, os, errno, _signal")
    assert {name for name in found if not name.startswith("runit_compat")} == more


def test_the_words_become_a_change():
    change = parse_command_line([b"/bin/chpst", b"-vPu", b"a:b", b"-n-3", b"-m5", b"-o", b"7", b"prog", b"-u"])
    assert (change.is_verbose, change.new_session, change.user, change.nice) == (True, True, b"a:b", -3)
    assert change.limits == {"DATA": 5, "STACK": 5, "MEMLOCK": 5, "AS": 5, "NOFILE": 7}
    assert change.words == [b"prog", b"-u"]


def test_a_wrong_word_says_how_it_is_used():
    with pytest.raises(UsageError) as caught:
        parse_command_line([b"chpst", b"-l", b"a", b"-L", b"b", b"prog"])
    assert caught.value.text + b"\n" == USAGE


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (b"1:2", (1, [2])),
        (b"0:4294967294:7", (0, [4294967294, 7])),
        (b"1", None),
        (b"1:" + b":".join([b"5"] * 61), None),
        (b"1:+2", None),
        (b"1:\xb2", None),
    ],
)
def test_ids_are_numbers_that_fit(text, ids):
    assert parse_ids(text) == ids
