"""Our command without the start of an interpreter, which takes ten times as long as most of what it does.

A process that has imported all of bootstrap, and has done nothing else, forks for each run; the child takes the words,
the environment, the directory and the descriptors that the installed command would have been given. It is this file,
run as a script. What depends on how an interpreter starts is tested with the installed command: ``Sandbox.start``, the
README, and whatever sets a variable that Python itself reads.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress

_OF_PYTHON = ("PYTHON", "LC_", "LANG", "BOOTSTRAP_ZYGOTE")
_NEWS = 16
_PYTHON = sys.executable  # some tests put another one in its place for what they start
_lock = threading.Lock()
_zygotes: dict[int, Zygote] = {}  # by the process that uses it: a fork of us, in a PID namespace, needs one of its own


def suits(words, environ):
    """Whether a run of these words is a run of our command that depends on no start of an interpreter."""
    from support.sandbox import COMMAND

    is_ours = words[0] == str(COMMAND) or (os.path.islink(words[0]) and os.readlink(words[0]) == str(COMMAND))
    return is_ours and not any(name.startswith(_OF_PYTHON) for name in environ)


def run(words, *, environ, cwd, timeout, errors="strict"):
    """Like ``subprocess.run`` with nothing on standard input and both outputs captured as text."""
    with closing(_zygote().begin(words, environ, cwd)) as child:
        return child.finish(timeout, errors)


def held(words, environ, cwd):
    """A run, as a context manager, that does nothing before its ``release``."""
    return closing(_zygote().begin(words, environ, cwd, is_held=True))


def _zygote():
    with _lock:
        if os.getpid() not in _zygotes:
            _zygotes[os.getpid()] = Zygote()
    return _zygotes[os.getpid()]


class Zygote:
    """The side of whoever wants something run."""

    def __init__(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            # with as little in its environment as a sandbox has: what C makes of a locale is the same then
            self._process = subprocess.Popen(
                [_PYTHON, __file__, str(theirs.fileno())],
                env={"PATH": os.environ["PATH"], "HOME": "/root"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._socket = ours
        atexit.register(self._close, os.getpid())

    def _close(self, owner):
        if os.getpid() == owner:
            self._socket.close()
            self._process.wait()

    def begin(self, words, environ, cwd, *, is_held=False):
        """Start a run, which ``finish`` ends and ``close`` forgets."""
        return Child(self._socket, words, environ, cwd, is_held=is_held)


class Child:
    """One run."""

    def __init__(self, zygote, words, environ, cwd, *, is_held):
        self._words = words
        request = {"words": words, "environ": dict(environ), "cwd": str(cwd), "is_held": is_held}
        memory = os.memfd_create("request")
        with open(memory, "wb", closefd=False) as file:
            file.write(json.dumps(request).encode("utf-8", "surrogateescape"))
        self._outputs = {}
        stdout, stderr = self._make_pipe("stdout"), self._make_pipe("stderr")
        self._news, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(zygote, [b"x"], [memory, stdout, stderr, theirs.fileno()])
        for descriptor in (memory, stdout, stderr):
            os.close(descriptor)
        message, (self._handle,), _, _ = socket.recv_fds(self._news, _NEWS, 1)
        self.pid = int(message)
        self._said = dict.fromkeys(self._outputs, b"")

    def _make_pipe(self, name):
        self._outputs[name], write = os.pipe()
        return write

    def release(self):
        self._news.send(b"go")

    def read_line(self):
        """The next line of its standard output, or what is left of it."""
        while b"\n" not in self._said["stdout"]:
            block = os.read(self._outputs["stdout"], 65536)
            if not block:
                break
            self._said["stdout"] += block
        line, end, self._said["stdout"] = self._said["stdout"].partition(b"\n")
        return line + end

    def kill(self):
        """Whether there was still something to kill."""
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def finish(self, timeout, errors="strict"):
        """Read all that it says, and how it ended."""
        import time

        deadline = time.monotonic() + timeout
        poller = select.poll()
        for descriptor in self._outputs.values():
            poller.register(descriptor, select.POLLIN)
        left = {descriptor: name for name, descriptor in self._outputs.items()}
        while left:
            ready = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                self.kill()
                raise subprocess.TimeoutExpired(self._words, timeout, self._said["stdout"], self._said["stderr"])
            for descriptor, _ in ready:
                block = os.read(descriptor, 65536)
                self._said[left[descriptor]] += block
                if not block:
                    poller.unregister(descriptor)
                    del left[descriptor]
        self._news.settimeout(max(0.01, deadline - time.monotonic()))
        code = os.waitstatus_to_exitcode(int(self._news.recv(_NEWS)))
        texts = [self._said[name].decode(errors=errors).replace("\r\n", "\n") for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self._words, code, *texts)

    def close(self):
        self._news.close()
        os.close(self._handle)
        for descriptor in self._outputs.values():
            os.close(descriptor)


# the other side


def _serve(server):
    """Fork for each request and tell its caller first the pid, then how it ended; end when nobody can ask any more."""
    _import_everything()
    callers = {}
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([server, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
        _reap(callers)
        if server in ready:
            message, descriptors, _, _ = socket.recv_fds(server, 1, 4)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                _be_command(*descriptors)
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            callers[pid] = socket.socket(fileno=descriptors[3])


def _reap(callers):
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            with callers.pop(pid) as caller, suppress(OSError):
                caller.send(str(status).encode())
                caller.recv(_NEWS, socket.MSG_DONTWAIT)  # what a dead child has not read would reset the connection


def _be_command(memory, stdout, stderr, news):
    """Become the installed command, all but its interpreter."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        caller = socket.socket(fileno=news)
        socket.send_fds(caller, [str(os.getpid()).encode()], [os.pidfd_open(os.getpid())])
        with open(memory, "rb") as file:
            file.seek(0)
            request = json.loads(file.read().decode("utf-8", "surrogateescape"))
        if request["is_held"]:
            caller.recv(_NEWS)
        caller.detach()
        _take_over(request, stdout, stderr)
        from bootstrap.__main__ import main

        main()
    except BaseException:  # noqa: BLE001 - whatever it was: this process must not go on as a second zygote
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    os._exit(99)  # nothing of ours ends with it: `main` does not return


def _take_over(request, stdout, stderr):
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.closerange(3, 1024)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        old = getattr(sys, name)
        made = open(old.fileno(), mode, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        made.reconfigure(line_buffering=old.line_buffering)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    coerced = {"LC_CTYPE": os.environ["LC_CTYPE"]} if "LC_CTYPE" in os.environ else {}
    os.environ.clear()
    os.environ.update(request["environ"] | coerced)
    os.chdir(request["cwd"])
    sys.argv[:] = request["words"]


def _import_everything():
    import gc
    import importlib
    import pkgutil

    import bootstrap
    import runit_compat

    for package in (bootstrap, runit_compat):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "plugin" not in module.name:  # that is for supervisord
                importlib.import_module(module.name)
    gc.freeze()  # so that no child copies all of it to look for garbage


if __name__ == "__main__":
    sys.path.pop(0)  # as the installed command has it
    _serve(socket.socket(fileno=int(sys.argv[1])))
