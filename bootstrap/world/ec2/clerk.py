"""One child that runs errands, one after another, so that several calls of AWS pay for the import of boto3 once.

A request goes to its standard input as a line of JSON, never in its arguments. An answer is a line of its standard
output that begins with RS, as in a JSON text sequence (RFC 7464); anything else in its output is noise.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bootstrap.spelling import harmless
from bootstrap.world import children, clock

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "\x1e"
_MOST_BYTES = 8 * 1024 * 1024  # of an answer: boot reports are read and written whole
_BLOCK = 65_536
_LONGEST_QUOTE = 200


class NoAnswerError(Exception):
    """Its text is the cause. The child is gone."""


class Clerk:
    """Used by one thread; any other may ``kill`` it. Raises OSError if its child can't be started."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        words = [sys.executable, "-I", "-m", "bootstrap.world.ec2.errand"]
        self._lock = threading.Lock()  # held while its group is ended, so that the number is still its own
        self._is_reaped = False
        with ExitStack() as stack:
            self._process = stack.enter_context(children.started(words, environ, stdin=subprocess.PIPE))
            self._ended = os.pidfd_open(self._process.pid)
            stack.callback(os.close, self._ended)
            self._stack = stack.pop_all()

    def is_there(self) -> bool:
        """Whether its child still runs."""
        if self._is_reaped:
            return False
        poller = select.poll()
        poller.register(self._ended, select.POLLIN)
        return not poller.poll(0)

    def ask(self, request: str, timeout_s: float) -> str:
        """The answer, without its mark."""
        output = self._converse(f"{request}\n".encode(), clock.now() + timeout_s)
        if output is None:
            self.dismiss()
            raise NoAnswerError(f"it did not end within {timeout_s:g} s")
        lines = output.decode(errors="backslashreplace").split("\n")
        answer = next((line for line in lines[:-1] if line.startswith(MARK)), None)
        if answer is None:
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            raise NoAnswerError(f"it {_describe_code(self.dismiss())} without an answer{quote(last)}")
        return answer.removeprefix(MARK)

    def kill(self) -> None:
        """End the child and whatever it has started."""
        with self._lock:
            self._kill()

    def dismiss(self) -> int:
        """The same, and wait for it; the answer is how it ended, as subprocess has it."""
        with self._lock:
            self._kill()
            self._is_reaped = True
            self._stack.close()
        return self._process.returncode

    def _kill(self) -> None:
        if not self._is_reaped:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _converse(self, request: bytes, deadline: float) -> bytes | None:
        """Tell the child its request and read until it has answered or ended; ``None`` when it did neither in time."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes; this tells the type checker
        assert self._process.stdout is not None  # noqa: S101 - likewise
        to_child, from_child = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(to_child, False)
        os.set_blocking(from_child, False)
        poller = select.poll()
        poller.register(to_child, select.POLLOUT)
        poller.register(from_child, select.POLLIN)
        poller.register(self._ended, select.POLLIN)
        output = bytearray()
        while (left_s := deadline - clock.now()) > 0:
            events = dict(poller.poll(left_s * 1000))
            if to_child in events:
                request = _write_some(to_child, request)
                if not request:
                    poller.unregister(to_child)
            if from_child in events:
                block = _read_some(from_child)
                _add(output, block)
                if not block:
                    poller.unregister(from_child)
                if b"\n" in block and _holds_answer(output):
                    return bytes(output)
            if self._ended in events:
                while block := _read_some(from_child):
                    _add(output, block)
                return bytes(output)
        return None


def quote(line: str) -> str:
    """`: ` and the line, short and harmless; nothing for an empty one."""
    short = line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}…"
    return f": {harmless(short)}" if short else ""


def _add(output: bytearray, block: bytes) -> None:
    """What comes last counts: an answer longer than the limit loses its mark."""
    output += block
    del output[:-_MOST_BYTES]


def _holds_answer(output: bytearray) -> bool:
    begin = 0 if output.startswith(MARK.encode()) else output.find(f"\n{MARK}".encode())
    return begin >= 0 and output.find(b"\n", begin + 1) >= 0


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


def _describe_code(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-returncode}"
