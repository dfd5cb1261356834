"""XML-RPC over supervisord's unix socket, as far as supervisord speaks it.

The standard library's client would do, but importing it (http.client, ssl, email, decimal) costs more than everything
else that a no-op ``up`` does. Format: http://xmlrpc.com/spec.md; transport: one HTTP/1.1 connection kept open.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from bootstrap.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_HEAD = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"
_LIMIT = 64 * 1024 * 1024  # bytes of one answer


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "i4": int,
    "boolean": lambda text: text == "1",
    "double": float,
    "string": str,
    "nil": lambda _: None,
}


class Fault(Exception):
    """The supervisor understood the call and refused it; codes are supervisor.xmlrpc.Faults."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (fault {code})")
        self.code = code
        self.text = text


class Connection:
    """One connection to the supervisor that listens on ``path``.

    Raises FileNotFoundError or ConnectionRefusedError when nothing listens there, Unavailable when who listens is
    not us or does not answer.
    """

    def __init__(self, path: str, timeout_s: float = 30.0) -> None:
        self._path = path
        self._socket = _connect(path, timeout_s)
        self.peer_pid = self._refuse_foreigner()  # the process that listens
        self._received = b""

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, *parameters: Any) -> Any:
        """Call a method; raises Fault, or Unavailable when there is no proper answer in time."""
        self.ask(method, *parameters)
        return self.answer()

    def ask(self, method: str, *parameters: Any) -> None:
        """Send a call whose answer is fetched later, while we do something else; only one may be under way."""
        body = _render_call(method, parameters).encode()
        with self._reaching():
            self._socket.sendall(_HEAD % len(body) + body)

    def answer(self) -> Any:
        """The answer to what was asked; raises as ``call`` does."""
        with self._reaching():
            return parse_answer(self._receive())

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"cannot talk to supervisord at {self._path}: {error or type(error).__name__}\n"
                "  way out: run the command again; if it stays so, look into log/supervisord.log"
            ) from error

    def call_all(self, calls: list[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Call several methods in one request; an answer is a value or the Fault it ended in."""
        if not calls:
            return []
        batch = [{"methodName": method, "params": list(parameters)} for method, parameters in calls]
        answers = self.call("system.multicall", batch)
        return [
            Fault(answer["faultCode"], answer["faultString"])
            if isinstance(answer, dict) and "faultCode" in answer
            else answer
            for answer in answers
        ]

    def _receive(self) -> bytes:
        while b"\r\n\r\n" not in self._received:
            self._read_more()
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        status, *fields = head.split(b"\r\n")
        if b" 200 " not in status:
            raise ValueError(f"it answered {status[:60].decode(errors='replace')}")
        length = next((int(f.split(b":")[1]) for f in fields if f.lower().startswith(b"content-length:")), None)
        if length is None or not 0 <= length <= _LIMIT:
            raise ValueError("its answer has no usable length")
        while len(self._received) < length:
            self._read_more()
        body, self._received = self._received[:length], self._received[length:]
        return body

    def _read_more(self) -> None:
        chunk = self._socket.recv(1 << 18)
        if not chunk:
            raise ConnectionResetError("it closed the connection")
        self._received += chunk

    def _refuse_foreigner(self) -> int:
        raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _ = struct.unpack("3i", raw)
        if uid not in {os.geteuid(), 0}:
            self.close()
            raise Unavailable(
                f"cannot trust the supervisor at {self._path}: process {pid} of user {uid} listens there\n"
                f"  way out: if that user started it, run this as user {uid}; otherwise end it and remove the socket"
            )
        return int(pid)


def _connect(path: str, timeout_s: float) -> socket.socket:
    """Connect by way of the directory's descriptor: a socket path ends after 107 bytes, a state directory may not."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def _render_call(method: str, parameters: tuple[Any, ...]) -> str:
    values = "".join(f"<param><value>{_render(value)}</value></param>" for value in parameters)
    return f"<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>"


def _render(value: Any) -> str:
    match value:
        case bool():
            return f"<boolean>{int(value)}</boolean>"
        case int():
            return f"<int>{value}</int>"
        case str():
            return f"<string>{value.translate(_ESCAPES)}</string>"
        case list():
            return "<array><data>" + "".join(f"<value>{_render(item)}</value>" for item in value) + "</data></array>"
        case dict():
            members = "".join(
                f"<member><name>{name.translate(_ESCAPES)}</name><value>{_render(item)}</value></member>"
                for name, item in value.items()
            )
            return f"<struct>{members}</struct>"
        case _:
            raise TypeError(f"XML-RPC has no {type(value).__name__}")


def parse_answer(text: bytes) -> Any:
    """A methodResponse → its value; raises Fault, or ValueError for anything else."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    # supervisord's answers declare no entities; one that does is not supervisord's
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(text, True)  # noqa: FBT003 - expat takes it by position only
        value = reader.values.pop()
    except (expat.ExpatError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"its answer is not XML-RPC: {error}") from error
    if reader.is_fault:
        raise Fault(value["faultCode"], value["faultString"])
    return value


class _Reader:
    """The elements of an answer, folded into values as they close."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.is_fault = False
        self._marks: list[int] = []
        self._names: list[str] = []
        self._text = ""
        self._typed = False

    def start(self, element: str, _attributes: dict[str, str]) -> None:
        self._text = ""
        if element in {"array", "struct"}:
            self._marks.append(len(self.values))
        elif element == "value":
            self._typed = False
        elif element == "fault":
            self.is_fault = True

    def text(self, text: str) -> None:
        self._text += text

    def refuse(self, *_arguments: Any) -> None:
        raise ValueError("its answer declares entities")

    def end(self, element: str) -> None:
        match element:
            case _ if element in _SCALARS:
                self._push(_SCALARS[element](self._text))
            case "value":
                if not self._typed:
                    self._push(self._text)
                self._typed = True
            case "name":
                self._names.append(self._text)
                self.values.append(None)  # keeps names and values of nested structs apart
            case "array":
                mark = self._marks.pop()
                self._replace(mark, self.values[mark:])
            case "struct":
                mark = self._marks.pop()
                members = self.values[mark + 1 :: 2]
                names = self._names[len(self._names) - len(members) :] if members else []
                del self._names[len(self._names) - len(members) :]
                self._replace(mark, dict(zip(names, members, strict=True)))
            case _:
                pass

    def _push(self, value: Any) -> None:
        self.values.append(value)
        self._typed = True

    def _replace(self, mark: int, value: Any) -> None:
        del self.values[mark:]
        self._push(value)
