"""Disturb a command at a chosen system call: which it makes, killing it there, or making the call fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

from support import zygote
from support.private_world import give_up

FILE_CALLS = """
    creat openat write pwrite64 writev fsync fdatasync ftruncate rename renameat renameat2 link linkat symlink symlinkat
    unlink unlinkat mkdir mkdirat rmdir chmod fchmod fchmodat chown fchown lchown fchownat
""".split()  # noqa: SIM905 - a list of words, read as one
BY_DESCRIPTOR = {"write", "writev", "pwrite64", "fsync", "fdatasync", "ftruncate", "fchmod", "fchown"}
PATIENCE_S = 60.0
SUPERVISOR_CALLS = ["connect", "sendto"]
_LINE = re.compile(r"(?P<name>\w+)\((?P<rest>.*)")
_HEX = re.compile(r"[0-9a-f]{8,}")
_METHOD = re.compile(r"<methodName>([\w.]+)</methodName>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
_FOLDER = re.compile(r"(?:AT_FDCWD|\d+)<([^>]*)>, ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The ``number``-th call of this name; ``about`` is what it touches, with digests and random names starred."""

    name: str
    number: int
    about: str
    path: str = ""  # as it stood there
    floats: bool = False  # it comes after calls of the same name that are repeated until somebody else is ready

    @property
    def is_polled(self):
        """How often we look for the supervisor depends on how quick it is."""
        return self.name in SUPERVISOR_CALLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    code: int
    stdout: str
    stderr: str
    hit: Call | None  # the call that was really disturbed


def require_strace():
    if shutil.which("strace") is None:
        give_up("strace is not installed: nothing can be disturbed at a chosen system call")


def list_calls(sandbox, *arguments):
    """Run a command to its end; every call with which it writes, or asks the supervisor to."""
    done, lines = _run(sandbox, arguments, ["-e", f"trace={','.join([*FILE_CALLS, *SUPERVISOR_CALLS])}"])
    assert done.returncode == 0, done.stdout + done.stderr
    return [call for call in _parse(lines, sandbox) if call is not None]


def disturb(sandbox, call, effect, *arguments):
    """Run a command that is killed at a call (``signal=KILL``), or for which it fails (``error=EIO``, ``retval=0``)."""
    options = ["-e", f"trace={call.name}", "-e", f"inject={call.name}:{effect}:when={call.number}"]
    done, lines = _run(sandbox, arguments, options)
    hits = [found for found, line in zip(_parse(lines, sandbox), lines, strict=True) if _is_hit(line)]
    return Disturbed(code=done.returncode, stdout=done.stdout, stderr=done.stderr, hit=hits[0] if hits else None)


def finish_killed(sandbox, child, name, number):
    """Let a held run go, killed at its ``number``-th call of that name, if it makes so many; how it ended."""
    options = ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"]
    with _traced(child.pid, sandbox.root.parent / "strace.log", options):
        child.release()
        return child.finish(PATIENCE_S, "replace").returncode


def named(calls):
    """Calls by what they touch; the second of the same kind is another. Those that are polled count once."""
    seen = Counter()
    places = {}
    for call in calls:
        kind = (call.name, call.about)
        places.setdefault((*kind, 0 if call.is_polled else seen[kind]), call)
        seen[kind] += 1
    return places


def _is_hit(line):
    return "(INJECTED)" in line or line.rstrip().endswith("= ?")


def _run(sandbox, arguments, options):
    """The command, which strace takes hold of before it begins.

    Nothing of ours is written or asked while an interpreter starts and imports; under strace that takes far longer than
    all the rest, so it is left to the zygote.
    """
    log = sandbox.root.parent / "strace.log"
    with (
        zygote.held(sandbox.words(*arguments), sandbox.environ, sandbox.root) as child,
        _traced(child.pid, log, options),
    ):
        child.release()
        done = child.finish(PATIENCE_S, "replace")
    return done, [line for line in log.read_text(errors="replace").splitlines() if _LINE.match(line)]


@contextmanager
def _traced(pid, log, options):
    words = ["strace", "-y", "-s", "200", "-o", str(log), *options, "-p", str(pid)]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as tracer:
        try:
            said = tracer.stderr.readline()
            assert b" attached" in said, said
            yield
            tracer.wait(PATIENCE_S)  # its log is whole then
        finally:
            tracer.kill()


def _parse(lines, sandbox):
    """A call for each line, ``None`` for those that write nothing of ours."""
    numbers = Counter()
    calls = []
    last_asked = ""
    for line in lines:
        match = _LINE.match(line)
        name, rest = match["name"], match["rest"]
        numbers[name] += 1
        path = _path_of(name, rest)
        about = None if path is None else _HEX.sub("*", path.replace(str(sandbox.state), "…"))
        # looking for the supervisor opens its directory each time, and waiting for programs asks it each time
        floats = numbers["connect"] > 1 if name == "openat" else name == "sendto" and "observe" in last_asked
        last_asked = rest if name == "sendto" else last_asked
        call = Call(name=name, number=numbers[name], about=about, path=path, floats=floats) if about else None
        calls.append(call)
    return calls


def _path_of(name, rest):
    """What a call touches; ``None`` if that is no file of ours and not the supervisor."""
    text = (_QUOTED.findall(rest) or [""])[-1 if name == "symlink" else 0]  # a link, not what stands in it
    if name in SUPERVISOR_CALLS:
        return _supervisor_of(name, text, rest)
    if name in BY_DESCRIPTOR:
        return _open_file_of(rest)
    if name == "unlinkat":
        return "something below a folder"  # in the folder's own order
    if name == "openat" and (not re.search(r"O_WRONLY|O_RDWR|O_CREAT", rest) or text.startswith("/dev/")):
        return None
    folder = _FOLDER.match(rest)
    return os.path.join(folder.group(1), text) if folder else text


def _supervisor_of(name, text, rest):
    if name == "connect":
        return "the supervisor" if text.endswith("supervisord.sock") else None
    method = _METHOD.search(rest)
    return f"the supervisor: {method.group(1)}" if method else "the supervisor"


def _open_file_of(rest):
    descriptor = _DESCRIPTOR.match(rest)
    if descriptor is None or re.match(r"[12]<", rest):
        return None
    path = descriptor.group(1)
    return "the supervisor's standard input" if path.startswith("pipe:") else path
