"""The inputs of a generation, by their file system stamps: unchanged inputs need not be read again.

A stamp covers names, sizes, inodes, modes and times of everything below ``config/``, of the definitions in
``services/``, of the user database and of bootstrap itself, and the tags. As in git's index, a stamp is only worth
keeping when its newest change is older than the clock's grain: a file changed in that very moment could change once
more without a trace.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bootstrap
from bootstrap.world import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.box import Box
    from bootstrap.identity import Tag

_GRAIN_NS = 50_000_000
_HOST_FILES = ("/etc/passwd", "/etc/group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """``text`` is equal for equal inputs; ``is_settled`` says whether that may be relied on later."""

    text: str
    is_settled: bool


def read_stamp(box: Box, tags: Iterable[Tag]) -> Stamp:
    """The stamp of the inputs as they are now."""
    now_ns = clock.wall_ns()
    newest = 0
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((bootstrap.__version__, box, os.geteuid(), [(tag.key, tag.value) for tag in tags])).encode())
    for path, status in _walk(box):
        newest = max(newest, status.st_ctime_ns)
        line = (
            f"{path}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_mode}\n"
        )
        digest.update(line.encode(errors="surrogateescape"))
    return Stamp(text=digest.hexdigest(), is_settled=newest < now_ns - _GRAIN_NS)


def _walk(box: Box) -> Iterator[tuple[str, os.stat_result]]:
    for path in _HOST_FILES:
        yield path, os.stat(path)
    yield __file__, os.stat(__file__)
    if os.path.isdir(box.config):
        yield from _walk_all(box.config)
    with os.scandir(box.services) as entries:
        services = sorted(entries, key=lambda entry: entry.name)
    for entry in services:
        status = entry.stat(follow_symlinks=False)
        yield entry.path, status
        for name in ("service.yaml", "Procfile"):
            try:
                yield f"{entry.path}/{name}", os.lstat(f"{entry.path}/{name}")
            except (FileNotFoundError, NotADirectoryError):
                continue


def _walk_all(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    yield directory, os.lstat(directory)
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return  # whoever reads it says what is wrong
    for entry in found:
        if entry.name == ".git":
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_all(entry.path)
        else:
            yield entry.path, entry.stat(follow_symlinks=False)
