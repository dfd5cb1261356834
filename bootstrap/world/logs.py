"""Program logs → lines: the last ones, or all as they come.

A log is read through its rotation: supervisord renames ``api-web.log`` to ``api-web.log.1`` (that to ``.2``, …) and
goes on in a new file, in the middle of a line if it must. So a place in a log is an inode and an offset, and reading on
from it finds the file again under whatever name it has by now. Nothing is kept open between two looks.

What a program writes is hostile: lines are cut at 16 KiB with a mark, bytes that are not UTF-8 come out as escapes, and
however large a log is, memory and reading are bounded by the number of lines that were asked for.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.frozen import dataclass
from bootstrap.world import clock as house_clock
from bootstrap.world import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bootstrap.world.clock import Clock

LONGEST_LINE = 16 * 1024  # bytes
POLL_S = 0.1
FLUSH_S = 1.0  # a line without its end is shown after this long: it may be a prompt, or somebody's last words
_BLOCK = 64 * 1024
_LOOK_BACK = 64 * 1024  # bytes that are read for one line that was asked for, on average
_LEAST_LOOK_BACK = 1024 * 1024
_ROTATIONS = 9  # more than supervisord is told to keep

_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\t"]
_REORDERING = [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_VISIBLE = {code: f"\\x{code:02x}" for code in _CONTROLS} | {code: f"\\u{code:04x}" for code in _REORDERING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a log; ``inode`` is ``None`` for a log that had not been there."""

    inode: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    descriptor: int
    inode: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """Where the last lines begin, how far from the end that is, and whether a line begins there at all."""

    start: Position
    length: int
    whole: bool


def visible(text: str) -> str:
    """The text with everything that could drive a terminal or reorder a line shown as an escape; tabs stay."""
    return text.translate(_VISIBLE)


def read_end(path: str) -> Position:
    """Where the log ends now; what is read from there on was written later."""
    with _opened(path) as file:
        return Position() if file is None else Position(inode=file.inode, offset=file.size)


def read_more(path: str, position: Position) -> tuple[bytes, Position]:
    """The next bytes after a position, one block at most, and the position after them; none when there are none yet.

    A log that was emptied is read from its beginning, and so is one whose old file is gone.
    """
    for age, name in enumerate(_names(path)):
        with _opened(name) as file:
            if file is None and age > 0:
                break
            if file is not None and file.inode == position.inode:
                block, after = _read_block(file, position.offset)
                return (block, after) if block or age == 0 else _read_newer(path, age, after)
    with _opened(path) as file:
        return (b"", position) if file is None else _read_block(file, 0)


def tail(path: str, lines: int, since: Position | None = None) -> list[str]:
    """The last lines of a log, oldest first; none when it is not there. Raises Unavailable when it cannot be read.

    With ``since`` only what was written after it, as long as its file is the one in which these lines begin.
    """
    found = _find_tail(path, lines)
    if since is not None and since.inode == found.start.inode and since.offset > found.start.offset:
        passed = since.offset - found.start.offset
        found = _Tail(start=since, length=found.length - passed, whole=True)
    splitter = Splitter(whole=found.whole)
    last: deque[str] = deque(maxlen=lines)
    position, left = found.start, found.length
    while left > 0:
        block, position = read_more(path, position)
        if not block:
            break
        last += splitter.feed(block[:left])
        left -= len(block)
    last += splitter.flush()
    return list(last)


def follow(
    find: Callable[[], Mapping[str, str]], *, lines: int, clock: Clock = house_clock
) -> Iterator[tuple[str, str]]:
    """Yield (program, line) for ever: the last lines of every log, then every line as it comes.

    ``find`` gives the logs by program and is asked again and again, because programs come later; the logs that it gives
    later are read from their beginning. One that talks without a pause cannot keep the others from being heard.
    """
    readers = {program: _Reader(path, _find_tail(path, lines)) for program, path in find().items()}
    while True:
        for program, path in find().items():
            if program not in readers:
                readers[program] = _Reader(path, _Tail(start=Position(), length=0, whole=True))
        moved = False
        for program, reader in readers.items():
            for line in reader.read(clock.now()):
                yield program, line
            moved = moved or reader.moved
        if not moved:
            clock.sleep(POLL_S)


class Splitter:
    """Bytes in pieces → lines; holds no more than one capped line."""

    def __init__(self, *, whole: bool = True, longest: int = LONGEST_LINE) -> None:
        """``whole`` says whether the first byte begins a line."""
        self._longest = longest
        self._head = bytearray()
        self._dropped = 0
        self._prefix = "" if whole else "… "

    def feed(self, block: bytes) -> list[str]:
        """The lines that end in this block."""
        *ended, rest = block.split(b"\n")
        lines = []
        for piece in ended:
            self._take(piece)
            lines.append(self._end_line())
        self._take(rest)
        return lines

    def flush(self) -> list[str]:
        """The line that has no end yet, if there is one."""
        return [self._end_line()] if self._head else []

    def _take(self, piece: bytes) -> None:
        kept = piece[: self._longest - len(self._head)]
        self._head += kept
        self._dropped += len(piece) - len(kept)

    def _end_line(self) -> str:
        text = self._prefix + bytes(self._head).removesuffix(b"\r").decode(errors="backslashreplace")
        if self._dropped:
            text += f"… ({self._dropped} bytes more)"
        self._head.clear()
        self._dropped = 0
        self._prefix = ""
        return text


class _Reader:
    """One log that is followed."""

    def __init__(self, path: str, found: _Tail) -> None:
        self.moved = False
        self._path = path
        self._position = found.start
        self._splitter = Splitter(whole=found.whole)
        self._moved_at = 0.0

    def read(self, now: float) -> list[str]:
        """The lines of the next block; ``moved`` says whether there was one."""
        block, self._position = read_more(self._path, self._position)
        self.moved = bool(block)
        if self.moved:
            self._moved_at = now
            return self._splitter.feed(block)
        return self._splitter.flush() if now - self._moved_at >= FLUSH_S else []


def _find_tail(path: str, lines: int) -> _Tail:
    """Look backwards, newest file first, for the end of the line before the last ``lines`` ones."""
    found = _Tail(start=Position(), length=0, whole=True)
    missing = lines
    budget = max(lines * _LOOK_BACK, _LEAST_LOOK_BACK)
    seen: set[int] = set()
    for name in _names(path):
        with _opened(name) as file:
            if file is None:
                if name == path:
                    continue  # between the renaming and the new file
                break
            if file.inode in seen:  # renamed while we looked
                continue
            seen.add(file.inode)
            least = max(0, file.size - (budget - found.length))
            start, missing = _find_line(file, missing, least, is_end=not found.length)
            found = _Tail(
                start=Position(inode=file.inode, offset=start),
                length=found.length + file.size - start,
                whole=missing <= 0 or least == 0,
            )
            if missing <= 0 or least > 0:
                break
    return found


def _find_line(file: _File, missing: int, least: int, *, is_end: bool) -> tuple[int, int]:
    """Where the ``missing``-th line from the end begins, but not before ``least``; and how many are missing still."""
    if missing <= 0:
        return file.size, 0
    offset = file.size
    if is_end and offset > least and os.pread(file.descriptor, 1, offset - 1) == b"\n":
        offset -= 1  # ends the last line, does not begin another one
    while offset > least:
        begin = max(least, offset - _BLOCK)
        block = os.pread(file.descriptor, offset - begin, begin)
        count = block.count(b"\n")
        if count >= missing:
            return begin + _nth_from_end(block, missing) + 1, 0
        missing -= count
        offset = begin
    return least, missing


def _nth_from_end(block: bytes, count: int) -> int:
    place = len(block)
    for _ in range(count):
        place = block.rindex(b"\n", 0, place)
    return place


def _read_newer(path: str, age: int, position: Position) -> tuple[bytes, Position]:
    """Go on after the end of a renamed file."""
    names = _names(path)
    with _opened(names[age - 1]) as newer, _opened(names[age]) as older:
        # Files are renamed oldest first: if ours is still where it was, then the newer one was its successor.
        if newer is None:
            return b"", position
        if older is not None and older.inode == position.inode:
            return _read_block(newer, 0)
    return read_more(path, position)


def _read_block(file: _File, offset: int) -> tuple[bytes, Position]:
    start = offset if offset <= file.size else 0
    block = os.pread(file.descriptor, _BLOCK, start)
    return block, Position(inode=file.inode, offset=start + len(block))


def _names(path: str) -> list[str]:
    return [path, *(f"{path}.{number}" for number in range(1, _ROTATIONS + 1))]


@contextmanager
def _opened(path: str) -> Iterator[_File | None]:
    """A log that is a regular file; ``None`` when there is none. A pipe in its place must not hold us up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        descriptor = None
    except OSError as error:
        raise disk.refused("read", path, error) from error
    if descriptor is None:
        yield None
        return
    try:
        status = os.fstat(descriptor)
        is_regular = stat.S_ISREG(status.st_mode)
        yield _File(descriptor=descriptor, inode=status.st_ino, size=status.st_size) if is_regular else None
    finally:
        os.close(descriptor)
