"""The inputs of a generation, by their file system stamps: unchanged inputs need not be read again.

A stamp covers names, inodes, sizes and change times of everything below ``config/``, of the definitions in
``services/``, of the user database and of bootstrap itself, the devices that they are on, and the tags. As in git's
index, a stamp is only worth keeping when its newest change is older than the clock's grain: a file changed in that very
moment could change once more without a trace.
"""

from __future__ import annotations

import contextlib
import os
import stat
from array import array
from typing import TYPE_CHECKING

import bootstrap
from bootstrap.frozen import dataclass
from bootstrap.reading import service_directory
from bootstrap.world import clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.box import Box
    from bootstrap.tag import Tag

_GRAIN_NS = 50_000_000
_SECOND_NS = 1_000_000_000
_COARSE_GRAIN_NS = 2 * _SECOND_NS  # of file systems that count in seconds: ext4 with small inodes, some over a network
_HOST_FILES = ("/etc/passwd", "/etc/group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """``content`` is equal for equal inputs; ``is_settled`` says whether that may be relied on later."""

    content: bytes
    is_settled: bool


def read_stamp(box: Box, tags: Iterable[Tag]) -> Stamp:
    """The stamp of the inputs as they are now."""
    now_ns = clock.wall_ns()
    reading = _Reading()
    paths = [*_HOST_FILES, __file__]
    reading.add(paths, [os.stat(path) for path in paths])
    if os.path.isdir(box.config):
        reading.add_all_below(box.config)
    reading.add_definitions(box.services)
    context = (bootstrap.__version__, box, os.geteuid(), [(tag.key, tag.value) for tag in tags])
    return Stamp(content=reading.render(repr(context)), is_settled=reading.is_settled(now_ns))


class _Reading:
    """Names and numbers of what was seen. This is most of what a no-op does: so whole folders at a time.

    The kernel sets a file's change time whenever its content, mode or name changes; nobody else can set it. Names come
    in the directory's own order, which only a change of the directory changes.
    """

    def __init__(self) -> None:
        self.is_steady = True  # nothing vanished while we looked
        self._names: list[str] = []
        self._changed_ns = array("q")
        self._inodes = array("Q")
        self._sizes = array("Q")
        self._devices: set[int] = set()

    def is_settled(self, now_ns: int) -> bool:
        """Whether a change from now on would show."""
        newest_ns = max(self._changed_ns)
        if not self.is_steady or newest_ns >= now_ns - _GRAIN_NS:
            return False
        since_ns = now_ns - _COARSE_GRAIN_NS
        return newest_ns < since_ns or all(at % _SECOND_NS or at < since_ns for at in self._changed_ns)

    def add(self, names: list[str], stats: list[os.stat_result]) -> None:
        self._names += names
        self._changed_ns.extend([status.st_ctime_ns for status in stats])
        self._inodes.extend([status.st_ino for status in stats])
        self._sizes.extend([status.st_size for status in stats])
        self._devices.update(status.st_dev for status in stats[-1:])  # a folder, last, and what is in it are on one

    def add_all_below(self, top: str) -> None:
        """Every file of a tree but git's own; whoever reads a file that can't be read says what is wrong with it."""
        directories = [top]
        for directory in directories:
            try:
                below = self._add_folder(directory)
            except OSError:
                self.is_steady = False  # an editor or a checkout is at work, or it can't be read
                continue
            directories += [f"{directory}/{name}" for name in below]

    def _add_folder(self, path: str) -> list[str]:
        """One folder and what it holds; the answer is the folders in it.

        It is read by its descriptor: looking files up by their whole paths takes half as long again.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(descriptor) as entries:
                found = list(entries)
                stats = [entry.stat(follow_symlinks=False) for entry in found]
            stats.append(os.fstat(descriptor))
            below = [entry.name for entry in found if entry.is_dir(follow_symlinks=False) and entry.name != ".git"]
        finally:
            os.close(descriptor)
        names = [entry.name for entry in found]
        names.append(path)
        self.add(names, stats)
        return below

    def add_definitions(self, services: str) -> None:
        try:
            with os.scandir(services) as entries:
                folders = [entry.path for entry in entries]
        except OSError:
            self.is_steady = False  # whoever reads them says what is wrong
            return
        names: list[str] = []
        stats: list[os.stat_result] = []
        for folder in folders:
            found = _look([folder, f"{folder}/service.yaml"])
            if len(found) == 1:  # it is something else, or nothing; whatever comes or goes changes the folder itself
                names_of_others = ("Procfile", *service_directory.FILES, "control", "log")
                found |= _look(f"{folder}/{name}" for name in names_of_others)
                found |= _look_behind_links(found)
            names += found
            stats += found.values()
            self._devices.update(status.st_dev for status in found.values())
        self.add(names, stats)

    def render(self, context: str) -> bytes:
        names = "\0".join([context, *self._names]).encode(errors="surrogateescape")
        numbers = (self._changed_ns, self._inodes, self._sizes, array("Q", sorted(self._devices)))
        return b"\0\0".join([names, *(array_.tobytes() for array_ in numbers)])


def _look_behind_links(found: dict[str, os.stat_result]) -> dict[str, os.stat_result]:
    """What links among these lead to, under names of their own; runit's directories are full of them."""
    behind = {}
    for path, status in found.items():
        if stat.S_ISLNK(status.st_mode):
            with contextlib.suppress(OSError):
                behind[f"{path}/"] = os.stat(path)
    return behind


def _look(paths: Iterable[str]) -> dict[str, os.stat_result]:
    """What stands at these paths; nothing is left out but what is not there."""
    found = {}
    for path in paths:
        try:
            found[path] = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return found
