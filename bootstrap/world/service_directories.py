"""runit's service directories on disk, as somebody else keeps them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError
from runit_compat.importing import Found

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1024 * 1024  # bytes of one file
MOST = 1000  # files
_LEFT_OUT = {"supervise", "log/supervise", "log/main"}


def read_service_directory(path: str) -> Found:
    """Everything but what runsv and loggers have written; links to files are followed, as runsv does.

    Raises DefinitionError for what is no service directory.
    """
    if not os.path.isdir(path):
        raise _refusal(path, "it is no directory")
    files: dict[str, bytes] = {}
    executable, private = set(), set()
    for name in _walk(path):
        files[name], mode = _read(path, name)
        if mode & 0o111:
            executable.add(name)
        if not mode & 0o004:
            private.add(name)
        if len(files) > MOST:
            raise _refusal(path, f"it holds more than {MOST} files")
    found = Found(origin=path, files=files, executable=executable, private=private)
    if "run" not in found.scripts:
        raise _refusal(path, "it has no `run` that can be executed")
    return found


def _walk(path: str) -> Iterator[str]:
    """Each file's name."""
    folders = [""]
    for folder in folders:
        try:
            with os.scandir(f"{path}/{folder}") as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                name = f"{folder}{entry.name}"
                if name in _LEFT_OUT or (entry.is_symlink() and entry.is_dir()):
                    continue
                if entry.is_dir():
                    folders.append(f"{name}/")
                elif entry.is_file():
                    yield name
        except OSError as error:
            raise _refusal(path, os.strerror(error.errno or 0)) from error


def _read(path: str, name: str) -> tuple[bytes, int]:
    """A file's content and mode; a link is followed to what whoever has made it may read himself."""
    try:
        maker = os.lstat(f"{path}/{name}").st_uid
        with open(f"{path}/{name}", "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _refusal(path, f"{name} is no regular file")
            if maker not in {0, status.st_uid} and not status.st_mode & 0o004:
                raise _refusal(path, f"{name} is a link to what user {maker}, who has made it, may not read")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise _refusal(path, f"{name}: {os.strerror(error.errno or 0)}") from error
    if len(content) > LARGEST:
        raise _refusal(path, f"{name} is larger than 1 MiB")
    return content, status.st_mode


def _open_at_once(path: str, flags: int) -> int:
    """A pipe would be waited for until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _refusal(path: str, cause: str) -> DefinitionError:
    return DefinitionError(
        f'cannot import "{path}": {cause}\n'
        "  way out: name a directory that runsv could supervise, such as /etc/sv/nginx"
    )
