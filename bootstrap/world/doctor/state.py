"""The state directory: whose it is, what can be written, how much room there is, and who is at it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from bootstrap.checkup import Space, judge_space
from bootstrap.diagnosis import Finding, fail, ok, warn
from bootstrap.world import lock, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.box import Box

_IN_MEMORY = {"tmpfs", "ramfs"}
_MOUNTS = "/proc/self/mountinfo"


def examine(box: Box) -> Iterator[Finding]:
    """Owner, mode and format as ``up`` demands them."""
    problems = [*_describe_places(box)]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        status = store.refuse_other_owner(box)
        if status.st_mode & 0o077:
            mode = f"{status.st_mode & 0o777:04o}"
            yield warn(
                f"{box.run} has mode {mode}: others could read environments", f"chmod 0700 {box.run}; up does so"
            )
    store.refuse_newer_format(box)
    yield from problems
    if not problems and os.path.isdir(box.state):
        yield ok(f"{box.state} can be written")
    elif not problems:
        yield ok(f"{box.state} is not there yet, and can be made")


def examine_space(box: Box) -> Iterator[Finding]:
    """Of the file systems that the state directory and its run directory are on."""
    seen = set()
    for path in (box.state, box.run):
        place = _nearest(path)
        device = os.stat(place).st_dev
        if device not in seen:
            seen.add(device)
            yield from judge_space(_read_space(place))


def examine_run(box: Box) -> Iterator[Finding]:
    """On a box, which is root's, environment values belong into memory; a laptop has no such place."""
    if os.geteuid() != 0:
        return
    if _is_memory(_nearest(box.run)):
        yield ok(f"{box.run} is in memory")
        return
    yield warn(
        f"{box.run} is not in memory: values of environments and secrets are written to a disk",
        "mount a tmpfs there, as image/var-lib-bootstrap-run.mount does",
    )


def examine_lock(box: Box) -> Iterator[Finding]:
    changing, watching = lock.read_changing(box), lock.read_watching(box)
    if changing is not None:
        yield warn(f"{changing} is changing this box", "let it finish: another up waits for it")
    else:
        yield ok("nobody is changing this box")
    if watching is not None:
        yield ok(f"{watching} watches it")


def _describe_places(box: Box) -> Iterator[Finding]:
    """Where something would be written and can't be; what is not there is made in what is there above it."""
    way_out = "run as its owner, mend its permissions, or name another one with --state DIR"
    told = set()
    for path in (box.state, box.run, box.log, box.generations):
        place = _nearest(path)
        if place in told:
            continue
        told.add(place)
        if os.path.islink(path) or not os.path.isdir(place):
            yield fail(f"cannot use {path}: it is no directory", "remove it, or name another one with --state DIR")
        elif not os.access(place, os.W_OK | os.X_OK):
            yield fail(f"cannot write to {place}", way_out)


def _nearest(path: str) -> str:
    """The path itself, or what is there of it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _read_space(path: str) -> Space:
    """What is kept for root counts as free only for root."""
    found = os.statvfs(path)
    is_root = os.geteuid() == 0
    return Space(
        path=path,
        bytes=found.f_blocks * found.f_frsize,
        free_bytes=(found.f_bfree if is_root else found.f_bavail) * found.f_frsize,
        files=found.f_files,
        free_files=found.f_ffree if is_root else found.f_favail,
        is_memory=_is_memory(path),
    )


def _is_memory(path: str) -> bool:
    """By the device that the path is on: mountinfo names device and kind of each mount, see proc(5)."""
    device = os.stat(path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    with open(_MOUNTS, encoding="utf-8", errors="replace") as file:
        mounts = [line.split() for line in file]
    return any(words[2] == name and words[words.index("-") + 1] in _IN_MEMORY for words in mounts)
