"""Calls of AWS by a process that stays: each is run in a short-lived child, which alone imports boto3.

With boto3 the process that stays would be five times as large. The request goes to the child as JSON on its standard
input, never in its arguments; the last line of its output is the answer, as JSON (see ``errand.py``). An error comes
back as the same type with the same text.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bootstrap.errors import ApplyFailed, BootstrapError, DefinitionError, Refused, TagError, Unavailable
from bootstrap.spelling import harmless, quoted
from bootstrap.world import children, clock
from bootstrap.world.aws import DeniedError, UnconfiguredError

if TYPE_CHECKING:
    from collections.abc import Mapping

# name → module and function, called with keyword arguments that are JSON, as its result is
ERRANDS = {
    "read-instance-tags": "bootstrap.world.aws:read_instance_tags",
    "read-group-name": "bootstrap.world.aws:read_group_name",
    "read-group-tags": "bootstrap.world.aws:read_group_tags",
    "describe-membership": "bootstrap.world.group:describe_membership",
    "heartbeat": "bootstrap.world.group:heartbeat",
    "complete": "bootstrap.world.group:complete",
    "set-unhealthy": "bootstrap.world.group:set_unhealthy",
    "suspend": "bootstrap.world.group:suspend",
    "join": "bootstrap.world.joining:join",
    "leave": "bootstrap.world.joining:leave",
    "read-targets": "bootstrap.world.joining:read_targets",
    "tag": "bootstrap.world.status_tags:tag",
    "read-object": "bootstrap.world.bucket:read_object",
    "write-object": "bootstrap.world.bucket:write_object",
    "record-boot": "bootstrap.world.notes:record_boot",
    "note-failing": "bootstrap.world.notes:note_failing",
    "alert": "bootstrap.world.alerts:alert",
}
_ERRORS = (ApplyFailed, DefinitionError, DeniedError, TagError, Unavailable, UnconfiguredError)
ERRORS: Mapping[str, type[BootstrapError]] = {kind.__name__: kind for kind in _ERRORS}
TIMEOUT_S = 60.0
_AT_ONCE = 4
_MOST_BYTES = 8 * 1024 * 1024  # of an answer: boot reports are read and written whole
_BLOCK = 65_536
_LONGEST_QUOTE = 200
_INHERITED = {"PATH", "HOME", "LANG", "TZ", "REQUESTS_CA_BUNDLE"}
_INHERITED_BEGINNINGS = ("AWS_", "LC_", "SSL_")


class Errands:
    """Runs errands side by side, a few at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {name: value for name, value in environ.items() if _is_inherited(name)}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="errand")
        self._lock = threading.Lock()  # held while a group is ended, so that its number is still its own
        self._under_way: set[int] = set()
        self._is_over = False

    def begin(self, name: str, *, timeout_s: float = TIMEOUT_S, **arguments: Any) -> Future[Any]:
        """Have the errand run; the future has its result, or raises the BootstrapError that it ended in."""
        if name not in ERRANDS:
            raise KeyError(name)
        request = json.dumps({"name": name, "timeout_s": timeout_s, "arguments": arguments}).encode()
        if not self._is_over:
            return self._pool.submit(self._run, name, request, timeout_s)
        refused: Future[Any] = Future()
        refused.set_exception(_stopping(name))
        return refused

    def run(self, name: str, *, timeout_s: float = TIMEOUT_S, **arguments: Any) -> Any:
        """Run the errand and wait for its result, ``timeout_s`` at most once it has begun."""
        return self.begin(name, timeout_s=timeout_s, **arguments).result()

    def end(self) -> None:
        """Begin no more, and end what is under way."""
        with self._lock:
            self._is_over = True
            for group in self._under_way:
                os.killpg(group, signal.SIGKILL)
        self._pool.shutdown(wait=False)

    def _run(self, name: str, request: bytes, timeout_s: float) -> Any:
        if self._is_over:
            raise _stopping(name)  # it was still waiting for its turn
        deadline = clock.now() + timeout_s
        words = [sys.executable, "-I", "-m", "bootstrap.world.errand"]
        try:
            with children.started(words, self._environ, stdin=subprocess.PIPE) as process:
                self._enter(process)
                try:
                    output = _converse(process, request, deadline)
                finally:
                    self._leave(process)
        except OSError as error:
            raise _failed(name, f"it can't be started: {error.strerror}") from error
        if self._is_over:
            raise _stopping(name)
        if output is None:
            raise _failed(name, f"it did not end within {timeout_s:g} s")
        return _parse_answer(name, output, process.returncode)

    def _enter(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._under_way.add(process.pid)
            if self._is_over:
                os.killpg(process.pid, signal.SIGKILL)

    def _leave(self, process: subprocess.Popen[bytes]) -> None:
        """Whatever the child has started ends with it. It is not reaped yet, so its number is still its own."""
        with self._lock:
            self._under_way.discard(process.pid)
            os.killpg(process.pid, signal.SIGKILL)


def _is_inherited(name: str) -> bool:
    """What says how AWS is reached and by whom; nothing else of ours is a child's business."""
    return name in _INHERITED or name.startswith(_INHERITED_BEGINNINGS) or name.lower().endswith("_proxy")


def _converse(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes | None:
    """Tell the child its request and read until it has ended; ``None`` when it did not end in time."""
    assert process.stdin is not None  # noqa: S101 - both are pipes; this tells the type checker
    assert process.stdout is not None  # noqa: S101 - likewise
    to_child, from_child, ended = process.stdin.fileno(), process.stdout.fileno(), os.pidfd_open(process.pid)
    os.set_blocking(to_child, False)
    os.set_blocking(from_child, False)
    poller = select.poll()
    poller.register(to_child, select.POLLOUT)
    poller.register(from_child, select.POLLIN)
    poller.register(ended, select.POLLIN)
    output = b""
    try:
        while (left_s := deadline - clock.now()) > 0:
            events = dict(poller.poll(left_s * 1000))
            if to_child in events:
                request = _write_some(to_child, request)
                if not request:
                    poller.unregister(to_child)
                    process.stdin.close()
            if from_child in events:
                block = _read_some(from_child)
                output = (output + block)[-_MOST_BYTES:]
                if not block:
                    poller.unregister(from_child)
            if ended in events:
                while block := _read_some(from_child):
                    output = (output + block)[-_MOST_BYTES:]
                return output
        return None
    finally:
        os.close(ended)


def _write_some(pipe: int, request: bytes) -> bytes:
    """What is left to be written; nothing when nobody reads it."""
    try:
        return request[os.write(pipe, request[:_BLOCK]) :]
    except BlockingIOError:
        return request
    except BrokenPipeError:
        return b""


def _read_some(pipe: int) -> bytes:
    try:
        return os.read(pipe, _BLOCK)
    except BlockingIOError:
        return b""


def _parse_answer(name: str, output: bytes, returncode: int) -> Any:
    lines = output.decode(errors="backslashreplace").strip().splitlines()
    last = lines[-1] if lines else ""
    if returncode != 0:
        raise _failed(name, f"it {_describe_code(returncode)} without an answer{_quote(last)}")
    try:
        answer = json.loads(last)
        if "result" in answer:
            return answer["result"]
        kind, message, problems = (answer["error"][key] for key in ("type", "message", "problems"))
        error = ERRORS[kind]
    except (ValueError, KeyError, TypeError):
        raise _failed(name, f"its answer makes no sense{_quote(last)}") from None
    raise error(*problems) if issubclass(error, Refused) else error(message)


def _describe_code(returncode: int) -> str:
    if returncode > 0:
        return f"exited with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-returncode}"


def _quote(line: str) -> str:
    short = line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}…"
    return f": {harmless(short)}" if short else ""


def _failed(name: str, cause: str) -> Unavailable:
    return Unavailable(
        f"cannot run errand {quoted(name)}: {cause}\n  way out: see that this machine reaches AWS, and try again"
    )


def _stopping(name: str) -> Unavailable:
    return Unavailable(f"cannot run errand {quoted(name)}: bootstrap is stopping\n  way out: start it again")
