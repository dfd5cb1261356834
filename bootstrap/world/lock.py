"""One ``up`` at a time: a lock that dies with its holder and says who holds it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.errors import Locked, Unavailable
from bootstrap.world import clock, disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.box import Box

_POLL_S = 0.05


@contextmanager
def held(box: Box, doing: str, *, wait_s: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the box's lock, waiting at most ``wait_s`` seconds; ``say`` is told once for whom.

    The kernel drops the lock when the holder dies, however it dies. Raises Locked.
    """
    descriptor = _lock(box, clock.now() + wait_s, say)
    try:
        record = {"pid": os.getpid(), "doing": doing, "since": clock.wall_text()}
        with contextlib.suppress(OSError):  # a full disk: then others are only told that somebody is at it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(record).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def watching(box: Box) -> Iterator[None]:
    """Be the one ``boot`` of this box, which `down` does not end. Raises Locked, which names the other.

    The file is the owner's alone: who cannot open it cannot lock it in our place.
    """
    path = _watch_of(box)
    disk.make_directory(box.state, 0o755)  # others must be able to pass it, and our umask would keep them out
    descriptor = _claim(path)
    try:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(
                descriptor, json.dumps({"pid": os.getpid(), "doing": "boot", "since": clock.wall_text()}).encode(), 0
            )
        yield
    finally:
        with contextlib.suppress(Unavailable):  # a disk that is read-only by now: the lock itself goes with us
            disk.remove_if_there(path)
        os.close(descriptor)


@contextmanager
def alone(path: str) -> Iterator[None]:
    """Nobody else who asks for this file is at it meanwhile: for moments, so it waits. Raises Unavailable."""
    try:
        descriptor = _open(path)
    except OSError as error:
        raise disk.refused("open", path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_changing(box: Box) -> str | None:
    """Who changes this box at this moment, ``None`` if nobody does; nothing is made, and nobody is held up."""
    return _read_holder_of(box.lock)


def read_watching(box: Box) -> str | None:
    """The ``boot`` that watches this box, likewise."""
    return _read_holder_of(_watch_of(box))


def _read_holder_of(path: str) -> str | None:
    """The lock is shared for as long as it takes to see whether it can be had."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise disk.refused("open", path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _claim(path: str) -> int:
    while True:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = _open(path)
        except OSError as error:
            raise disk.refused("open", path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass  # the other one has ended in this very moment
        except BlockingIOError:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise Locked(
                f"cannot watch this box: {holder} does so already\n  way out: leave it to that one, or end it first"
            ) from None
        os.close(descriptor)


def _lock(box: Box, deadline: float, say: Callable[[str], None]) -> int:
    """Lock the file that has the name now: a ``down`` may have removed the one that we waited for."""
    while True:
        try:
            os.makedirs(box.run, mode=0o700, exist_ok=True)
            descriptor = _open(box.lock)
        except FileNotFoundError:
            continue  # a ``down`` has removed the directory in this very moment
        except OSError as error:
            raise disk.refused("open", box.lock, error) from error
        try:
            _wait_until_locked(descriptor, deadline, say)
            if os.path.samestat(os.fstat(descriptor), os.stat(box.lock)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: str) -> int:
    """For writing, to say who holds it; it can be held on a disk that has become read-only too, to stop what runs."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        if error.errno == errno.EROFS:
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | flags)
        raise


def _wait_until_locked(descriptor: int, deadline: float, say: Callable[[str], None]) -> None:
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(descriptor)
            if clock.now() >= deadline:
                hint = "; this one has waited for as long as it may" if told else " (without --no-wait it waits)"
                raise Locked(
                    f"cannot change this box: {holder} is at it\n"
                    f"  way out: let it finish and run the command again{hint}"
                ) from None
            if not told:
                say(f"waiting for {holder}")
                told = True
            clock.sleep(_POLL_S)
        else:
            return


def _read_holder(descriptor: int) -> str:
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        return f'"bootstrap {record["doing"]}" (pid {record["pid"]}, since {record["since"]})'
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another bootstrap (it has just started)"


def _watch_of(box: Box) -> str:
    return f"{box.state}/boot.lock"
