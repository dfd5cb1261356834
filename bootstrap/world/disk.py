"""Files of ours: one routine that writes durably, one that reads what may be absent.

``write_durably`` leaves the old content or the new, whole, whatever is killed or unplugged in between: a new file of
its own beside the old one, written in full, flushed, renamed, and the directory flushed. A file is never wider open
than it will be in the end. After a failed flush nothing is retried: the new file is dropped and the error is told.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import Any

from bootstrap.errors import Unavailable


def write_durably(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` by this content; raises Unavailable naming the path when the disk refuses."""
    _replace(path, content, mode, flush=True)


def write_for_this_boot(path: str, content: bytes, mode: int = 0o600) -> None:
    """The same for what the next boot throws away: whole or not at all, but not flushed."""
    _replace(path, content, mode, flush=False)


def _replace(path: str, content: bytes, mode: int, *, flush: bool) -> None:
    directory, name = os.path.split(os.path.abspath(path))
    temporary = f"{directory}/.{name}.{os.urandom(6).hex()}"
    try:
        write_new(temporary, content, mode, flush=flush)
        os.rename(temporary, path)
        if flush:
            flush_directory(directory)
    except OSError as error:
        with contextlib.suppress(Unavailable):  # a read-only disk refuses this too
            remove_if_there(temporary)
        raise refused("write", path, error) from error


def write_new(path: str, content: bytes, mode: int, *, flush: bool) -> None:
    """Create a file that must not exist yet; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, mode)
        if flush:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_directory(path: str) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_if_there(path: str) -> bytes | None:
    """The content of a file of ours, ``None`` if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe reads as empty
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise refused("read", path, error) from error
    try:
        with open(descriptor, "rb") as file:
            return file.read()
    except OSError as error:  # a directory, or a disk that fails
        raise refused("read", path, error) from error


def read_mapping(path: str) -> dict[str, Any]:
    """What a JSON file of ours holds; empty when it is not there, or is damaged and so has to be made again."""
    try:
        found = json.loads(read_if_there(path) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def remove_if_there(path: str) -> None:
    """Remove a file; one that is not there is removed already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused("remove", path, error) from error


def make_directory(path: str, mode: int) -> None:
    """Make a directory with exactly this mode, and what is missing above it (0755); refuse a link in its place."""
    try:
        above = os.path.dirname(path)
        if above and not os.path.isdir(above):
            make_directory(above, 0o755)
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if os.path.islink(path) or not os.path.isdir(path):
                raise
        else:
            os.chmod(path, mode)  # whatever the umask is
    except OSError as error:
        raise refused("make the directory", path, error) from error


def refused(verb: str, path: str, error: OSError) -> Unavailable:
    """The one sentence for a disk that says no."""
    owner = _find_owner(path) if error.errno in {errno.EACCES, errno.EPERM} else os.geteuid()
    if owner != os.geteuid():
        way_out = f"way out: run as user {owner}, to whom it belongs"
    else:
        way_out = "way out: mend the disk or its permissions and run the command again"
    return Unavailable(f'cannot {verb} "{path}": {error.strerror or error}\n  what runs goes on; {way_out}')


def _find_owner(path: str) -> int:
    """Whose the path is, or the nearest directory above it that can be looked at."""
    while True:
        try:
            return os.lstat(path).st_uid
        except OSError:
            path = os.path.dirname(path) or "."
