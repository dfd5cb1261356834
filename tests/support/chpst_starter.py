"""Starts the real chpst and ours alike, again and again, and tells what comes of it.

    python -S -E chpst_starter.py REPOSITORY ARENA HOW

Cases (``chpst_cases.Case`` as a dict) come on standard input, observations go to standard output, both marshalled. It is
a process of its own, and imports next to nothing, because forking costs what the parent has in memory.
"""

import _signal
import fcntl
import grp  # noqa: F401 - a child may not be able to read it any more
import marshal
import os
import pwd  # noqa: F401 - likewise
import resource
import sys

REPOSITORY, ARENA, HOW = (os.fsencode(word) for word in sys.argv[1:])
sys.path.insert(0, os.fsdecode(REPOSITORY))

from runit_compat import chpst  # noqa: E402 - it is found only now

REAL = b"/usr/bin/chpst"
FAILED = 99
REPORT, PROC = 7, 8  # descriptors of the program behind chpst: for what it tells, and to reach /proc from another root


def main():
    os.chdir(ARENA)
    holder = os.open("held.lock", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    cases = marshal.load(sys.stdin.buffer)
    marshal.dump([observe_both(case) for case in cases], sys.stdout.buffer)


def observe_both(case):
    """``[pid, status, said, told, lock]`` of theirs and of ours."""
    write_files(case)
    try:
        return [observe(case, start) for start in (start_real, STARTS[HOW])]
    finally:
        remove_files(case)


def observe(case, start):
    report, report_end = os.pipe()
    errors, errors_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            begin(case, report_end, errors_end)
            start(case["words"], case["environment"])
        except BaseException as error:  # noqa: BLE001 - it is told, if it still can be
            os.write(2, b"chpst, or the test itself, failed: " + repr(error).encode())
        finally:
            os._exit(FAILED)  # whatever happens, it must not go on as its parent
    os.close(report_end)
    os.close(errors_end)
    told, said = read_all(report), read_all(errors)
    return [child, os.waitpid(child, 0)[1], said, told, take_lock_away()]


def begin(case, report, errors):
    """Become what chpst is to find; descriptors first, because nothing can be opened behind the limits."""
    os.dup2(report, 90)
    os.dup2(os.open("/proc", os.O_RDONLY), 91)
    os.dup2(errors, 2)
    for descriptor in (0, 1):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    os.closerange(3, 90)
    os.dup2(90, REPORT)
    os.dup2(91, PROC)
    os.closerange(90, 92)
    if case["leads_group"]:
        os.setpgid(0, 0)
    os.nice(case["nice"])
    for name, hard in case["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (hard // 2, hard))
    if case["uid"]:
        os.setgroups([case["uid"]])
        os.setgid(case["uid"])
        os.setuid(case["uid"])
    for descriptor in case["closed"]:
        os.close(descriptor)


def start_real(words, environment):
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # as a shell would start it
        _signal.signal(number, _signal.SIG_DFL)
    os.execve(REAL, words, environment)


def start_forked(words, environment):
    chpst.run(words, dict(environment))


def start_file(words, environment):
    """As it is typed; the name is a link's."""
    python = os.fsencode(sys.executable)
    link = ARENA + b"/links/" + words[0].rpartition(b"/")[2]
    os.execve(python, [python, b"-S", b"-E", b"-X", b"utf8", link, *words[1:]], environment)


STARTS = {b"forked": start_forked, b"file": start_file}


def write_files(case):
    for directory, files in case["files"].items():
        os.mkdir(directory)
        for name, content in files.items():
            if content is None:
                os.mkdir(directory + b"/" + name)
                continue
            with open(directory + b"/" + name, "wb") as file:
                file.write(content)
        os.chmod(directory, case["modes"][directory])


def remove_files(case):
    for directory, files in case["files"].items():
        for name, content in files.items():
            (os.rmdir if content is None else os.unlink)(directory + b"/" + name)
        os.rmdir(directory)


def read_all(descriptor):
    with open(descriptor, "rb") as pipe:
        return pipe.read()


def take_lock_away():
    try:
        found = os.stat("new.lock")
    except FileNotFoundError:
        return None
    os.unlink("new.lock")
    return [found.st_mode, found.st_uid, found.st_size]


main()
