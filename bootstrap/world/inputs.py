"""The inputs of a generation, by their file system stamps: unchanged inputs need not be read again.

A stamp covers names, inodes, sizes, modes and change times of everything below ``config/``, of the definitions in
``services/``, of the user database and of bootstrap itself, and the tags. As in git's index, a stamp is only worth
keeping when its newest change is older than the clock's grain: a file changed in that very moment could change once
more without a trace.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bootstrap
from bootstrap.world import clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.box import Box
    from bootstrap.identity import Tag

_GRAIN_NS = 50_000_000
_NUMBERS = 4  # a file: inode, change time, size, mode
_HOST_FILES = ("/etc/passwd", "/etc/group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """``text`` is equal for equal inputs; ``is_settled`` says whether that may be relied on later."""

    text: str
    is_settled: bool


def read_stamp(box: Box, tags: Iterable[Tag]) -> Stamp:
    """The stamp of the inputs as they are now."""
    now_ns = clock.wall_ns()
    reading = _Reading()
    for path in (*_HOST_FILES, __file__):
        reading.add(path, os.stat(path))
    if os.path.isdir(box.config):
        reading.add_all_below(box.config)
    reading.add_definitions(box.services)
    context = (bootstrap.__version__, box, os.geteuid(), [(tag.key, tag.value) for tag in tags])
    return Stamp(
        text=reading.digest(repr(context)), is_settled=reading.is_steady and reading.newest_ns < now_ns - _GRAIN_NS
    )


class _Reading:
    """Names and numbers of what was seen. This is most of what a no-op does, so it is plain loops and few calls.

    The kernel sets a file's change time whenever its content, mode or name changes; nobody else can set it. Names come
    in the directory's own order, which only a change of the directory changes.
    """

    def __init__(self) -> None:
        self.is_steady = True  # nothing vanished while we looked
        self._names: list[str] = []
        self._numbers = array("q")

    @property
    def newest_ns(self) -> int:
        return max(self._numbers[1::_NUMBERS])

    def add(self, name: str, status: os.stat_result) -> None:
        self._names.append(name)
        self._numbers.extend((status.st_ino, status.st_ctime_ns, status.st_size, status.st_mode))

    def add_all_below(self, top: str) -> None:
        """Every file of a tree but git's own; whoever reads a file that can't be read says what is wrong with it."""
        directories = [top]
        for directory in directories:
            try:
                self.add(directory, os.lstat(directory))
                entries = os.scandir(directory)
            except OSError:
                self.is_steady = False
                continue
            with entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != ".git":
                            directories.append(entry.path)
                        continue
                    try:
                        self.add(entry.name, entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        self.is_steady = False  # an editor or a checkout is at work

    def add_definitions(self, services: str) -> None:
        with os.scandir(services) as entries:
            for entry in entries:
                self.add(entry.path, entry.stat(follow_symlinks=False))
                for name in ("service.yaml", "Procfile"):
                    path = f"{entry.path}/{name}"
                    try:
                        self.add(path, os.lstat(path))
                    except (FileNotFoundError, NotADirectoryError):
                        continue

    def digest(self, context: str) -> str:
        names = "\0".join([context, *self._names]).encode(errors="surrogateescape")
        return hashlib.blake2b(names + self._numbers.tobytes(), digest_size=16).hexdigest()
