"""A probe + the program it is for → what one look at it saw.

Every probe ends by its timeout, whatever the other side does; the one exception is the time that Python's ``re`` takes
for a ``log`` pattern that backtracks without end, which nothing can interrupt. HTTP is spoken over a plain socket: only
the status line matters, no proxy or redirect is followed, and http.client would cost more than the rest of the boot.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import struct
from typing import TYPE_CHECKING, assert_never

from bootstrap.definition import Alive, Exec, Http, Log, Probe, Tcp
from bootstrap.frozen import dataclass
from bootstrap.health import ProbeResult
from bootstrap.launcher import BY_HAND, MARK
from bootstrap.world import clock, logs

if TYPE_CHECKING:
    import subprocess

    from bootstrap.world.logs import Position

HOST = "127.0.0.1"
LONGEST_LOG_LINE = 64 * 1024
LONGEST_OUTPUT = 64 * 1024
_LONGEST_HEAD = 64 * 1024  # bytes of an HTTP answer that are read to find its status
_LONGEST_QUOTE = 200  # characters of somebody's output in a sentence of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The program that is probed, as it runs now."""

    program: str
    port: int | None
    run: str  # absolute path of its `run` file, which runs its arguments in the program's environment
    log: str  # absolute path of its log
    log_start: Position  # where its log ended when it was started: ``logs.read_end``
    age_s: float  # how long its process has lived
    mark: str = BY_HAND  # what makes the processes of an `exec` probe recognisable


class _NotReadyError(Exception):
    """What the probe saw instead of what it hoped for."""


def probe_once(probe: Probe, target: Target, timeout_s: float) -> ProbeResult:
    """Look once, for ``timeout_s`` at most. Raises Unavailable when the program's log cannot be read."""
    deadline = clock.now() + timeout_s
    try:
        match probe:
            case Http():
                detail = _probe_http(probe, target, deadline, timeout_s)
            case Tcp():
                detail = _probe_tcp(target, deadline, timeout_s)
            case Exec():
                detail = _probe_exec(probe, target, deadline, timeout_s)
            case Log():
                detail = _probe_log(probe, target)
            case Alive():
                detail = _probe_alive(probe, target)
            case _:
                assert_never(probe)
    except _NotReadyError as seen:
        return ProbeResult(ok=False, detail=str(seen))
    return ProbeResult(ok=True, detail=detail)


def _probe_http(probe: Http, target: Target, deadline: float, timeout_s: float) -> str:
    path = _quote_path(probe.path)
    asked = f"GET http://{HOST}:{target.port}{path}"
    with _connect(target, deadline, timeout_s) as connection:
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {HOST}:{target.port}\r\nUser-Agent: bootstrap\r\nConnection: close\r\n\r\n"
        )
        try:
            connection.sendall(request.encode("ascii"))
            status = _read_status(connection, deadline)
        except TimeoutError:
            raise _NotReadyError(f"{asked} was not answered within {timeout_s:g} s") from None
        except OSError:
            raise _NotReadyError(f"{asked} was cut off before an answer") from None
        except ValueError:
            raise _NotReadyError(f"{asked} was answered with something that is not HTTP") from None
    if not 200 <= status <= 399:
        raise _NotReadyError(f"{asked} answered {status}")
    return f"{asked} answered {status}"


def _quote_path(path: str) -> str:
    """A path may hold anything; on the wire it must not end the request line."""
    return "".join(
        chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in path.encode(errors="surrogateescape")
    )


def _read_status(connection: socket.socket, deadline: float) -> int:
    """The status of the answer, past any `103 Early Hints`; raises ValueError, TimeoutError or ConnectionError."""
    head = b""
    while len(head) < _LONGEST_HEAD:
        line, ended, _ = head.partition(b"\n")
        if not line.startswith(b"HTTP/1."[: len(line)]):
            break
        if ended:
            status = _parse_status(line)
            if status >= 200:
                return status
            _, skipped, rest = head.partition(b"\r\n\r\n")
            if skipped:
                head = rest
                continue
        _allow_until(connection, deadline)
        block = connection.recv(4096)
        if not block:
            raise ConnectionResetError
        head += block
    raise ValueError("not HTTP")


def _parse_status(line: bytes) -> int:
    words = line.split(None, 2)
    if len(words) < 2 or len(words[1]) != 3 or not words[1].isdigit() or words[1] < b"100":
        raise ValueError("no status")
    return int(words[1])


def _probe_tcp(target: Target, deadline: float, timeout_s: float) -> str:
    _connect(target, deadline, timeout_s).close()
    return f"{HOST}:{target.port} accepts connections"


def _connect(target: Target, deadline: float, timeout_s: float) -> socket.socket:
    if target.port is None:
        raise _NotReadyError(f"{target.program} has no port that could be probed")
    place = f"{HOST}:{target.port}"
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise _NotReadyError(f"cannot connect to {place}: {error.strerror}") from None
    try:
        _allow_until(connection, deadline)
        connection.connect((HOST, target.port))
        _refuse_itself(connection)
    except OSError as error:
        connection.close()
        raise _NotReadyError(_describe_refusal(error, place, timeout_s)) from None
    return connection


def _refuse_itself(connection: socket.socket) -> None:
    """A port from the range for outgoing connections may be drawn for our own end: then TCP connects it to itself.

    It is reset, not closed: a port in TIME_WAIT could not be bound by the program that we wait for.
    """
    if connection.getsockname() == connection.getpeername():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionRefusedError


def _describe_refusal(error: OSError, place: str, timeout_s: float) -> str:
    match error:
        case ConnectionRefusedError():
            return f"nothing listens on {place}"
        case TimeoutError():
            return f"{place} did not accept a connection within {timeout_s:g} s"
        case _:
            return f"cannot connect to {place}: {error.strerror}"


def _allow_until(connection: socket.socket, deadline: float) -> None:
    """Every wait gets what is left of the whole time, so that a byte a second does not last for ever."""
    left_s = deadline - clock.now()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)


def _probe_exec(probe: Exec, target: Target, deadline: float, timeout_s: float) -> str:
    command = f'"{_quote(probe.command)}"'
    try:
        returncode, output = _run_until(probe.command, target, deadline)
    except OSError as error:
        raise _NotReadyError(f"cannot run {command}: {error.strerror}") from None
    if output is None:
        raise _NotReadyError(f"{command} did not end within {timeout_s:g} s")
    if returncode != 0:
        raise _NotReadyError(f"{command} {_describe_code(returncode)}{_last_line(output)}")
    return f"{command} exited with code 0"


def _run_until(command: str, target: Target, deadline: float) -> tuple[int, bytes | None]:
    """Exit code and output; ``None`` for what did not end in time. Raises OSError when it can't be started."""
    from bootstrap.world import children  # noqa: PLC0415 - costs 10 ms, and most boxes have no such probe

    # Through sh, as supervisord starts it: the run directory may be mounted noexec. `run` makes the environment.
    with children.started(["/bin/sh", target.run, "/bin/sh", "-c", command], {MARK: target.mark}) as process:
        try:
            output = _read_until_exit(process, deadline)
        finally:
            _kill_group(process)
    return process.returncode, output


def _read_until_exit(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """The end of what the process wrote until it ended; ``None`` when it did not end in time.

    It is the process that is waited for, not the end of its output: whatever it left behind may keep that open. It is
    not reaped here, so that its number is still its own when its group is killed.
    """
    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    output = process.stdout.fileno()
    ended = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(output, select.POLLIN)
        poller.register(ended, select.POLLIN)
        os.set_blocking(output, False)
        kept = b""
        while (left_s := deadline - clock.now()) > 0:
            events = dict(poller.poll(left_s * 1000))
            if output in events:
                block = _read_available(output)
                kept = (kept + block)[-LONGEST_OUTPUT:]
                if not block:
                    poller.unregister(output)
            if ended in events:
                return (kept + _read_available(output))[-LONGEST_OUTPUT:]
        return None
    finally:
        os.close(ended)


def _read_available(pipe: int) -> bytes:
    """What the pipe holds: a pipe is no larger than this."""
    try:
        return os.read(pipe, LONGEST_OUTPUT)
    except BlockingIOError:
        return b""


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """A probe leaves nothing behind, however it ended: it is repeated."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)


def _describe_code(returncode: int) -> str:
    if returncode > 0:
        return f"exited with code {returncode}"
    import signal  # noqa: PLC0415 - rarely needed

    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-returncode}"


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="backslashreplace").split("\n")
    spoken = [line for line in lines if line.strip()]
    return f": {_quote(spoken[-1])}" if spoken else ""


def _probe_log(probe: Log, target: Target) -> str:
    pattern = re.compile(probe.pattern)
    splitter = logs.Splitter(longest=LONGEST_LOG_LINE)
    position = target.log_start
    while True:
        block, position = logs.read_more(target.log, position)
        for line in splitter.feed(block) if block else splitter.flush():
            if pattern.search(line):
                return f'its log says "{_quote(line)}"'
        if not block:
            raise _NotReadyError(f'no line of {target.log} matches "{_quote(probe.pattern)}"')


def _probe_alive(probe: Alive, target: Target) -> str:
    if target.age_s < probe.after_s:
        raise _NotReadyError(f"alive for {target.age_s:.1f} s of {probe.after_s:g} s")
    return f"alive for {target.age_s:.1f} s"


def _quote(text: str) -> str:
    """Somebody else's text, short and harmless enough for a sentence of ours."""
    text = text.strip()
    return logs.visible(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")
