"""The ledger of each program on disk: ``log/ledger/<program>.jsonl``, which survives supervisord and reboots.

supervisord writes it from inside (``plugin.py``); a line is one ``write`` to a file opened for appending, so that a
line is there as a whole or not at all and two writers never mix theirs.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from bootstrap.ledger import LENGTH, Life, parse_ledger, render_event
from bootstrap.world import clock

if TYPE_CHECKING:
    from bootstrap.box import Box

_LONGEST = 64 * 1024
_KEPT_LINES = 3 * LENGTH


def read_lives(box: Box, program: str) -> tuple[Life, ...]:
    """The last lives of a program, oldest first; none if it never ran or its ledger can't be read."""
    return parse_ledger(_read_lines(_path(box, program)))


def read_last_fingerprint(box: Box, program: str) -> str | None:
    """What was started last under this name."""
    lives = read_lives(box, program)
    return lives[-1].fingerprint if lives else None


def append(box: Box, program: str, event: str, **facts: Any) -> None:
    """Add a line. A full disk costs this line and nothing else: supervision goes on."""
    path = _path(box, program)
    line = render_event(event, clock.wall_seconds(), **facts)
    with contextlib.suppress(OSError):
        descriptor = _open(path)
        try:
            os.write(descriptor, line)
            if os.fstat(descriptor).st_size > _LONGEST:
                _shorten(path)
        finally:
            os.close(descriptor)


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _shorten(path: str) -> None:
    kept = b"\n".join(_read_lines(path)[-_KEPT_LINES:]) + b"\n"
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, kept)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)


def _read_lines(path: str) -> list[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read().splitlines()
    except OSError:  # a directory, or a disk that fails
        return []


def _path(box: Box, program: str) -> str:
    return f"{box.log}/ledger/{program}.jsonl"
