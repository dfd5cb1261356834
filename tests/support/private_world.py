"""A PID namespace and a /proc of its own for one test.

It sees no process but its own, so that reading /proc is quick and the number of system calls is the same every time;
and whatever it has started is gone with it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import traceback

import pytest

_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def in_private_world(test):
    """Run the body of a test there; its fixtures stay outside."""

    @functools.wraps(test)
    def run(*arguments, **named):
        if os.geteuid() != 0:
            give_up("only root can make a PID namespace")
        failure = _run_apart(lambda: test(*arguments, **named))
        if failure:
            pytest.fail(failure, pytrace=False)

    return run


def give_up(why):
    """A machine of ours must be able to; anybody else's is told what is not tested."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}, which CI must")
    pytest.skip(why)


def _run_apart(body):
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _leave_after(_be_outside, body, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return text or (f"the private world ended with status {status}" if status else "")


def _be_outside(body, write):
    _end_with_parent()
    _check(_libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS), "unshare")
    init = os.fork()
    if init == 0:
        _leave_after(_be_init, body, write)
    _, status = os.waitpid(init, 0)
    os._exit(1 if status else 0)


def _be_init(body, write):
    """PID 1: everything that loses its parent becomes ours, and everything ends with us."""
    _end_with_parent()
    _check(_libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "mount /")
    _check(_libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")
    worker = os.fork()
    if worker == 0:
        _leave_after(lambda body, _: body(), body, write)
    while True:
        pid, status = os.wait()
        if pid == worker:
            os._exit(1 if status else 0)


def _leave_after(act, body, write):
    try:
        act(body, write)
    except BaseException:  # noqa: BLE001 - whatever it was: this process must not go on as a second test runner
        os.write(write, traceback.format_exc().encode(errors="replace"))
        sys.stdout.flush()
        os._exit(0)
    sys.stdout.flush()
    os._exit(0)


def _end_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _check(answer, what):
    if answer != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
