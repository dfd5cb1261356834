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
    executable = set()
    for name, may_be_run in _walk(path):
        files[name] = _read(path, name)
        if may_be_run:
            executable.add(name)
        if len(files) > MOST:
            raise _refusal(path, f"it holds more than {MOST} files")
    found = Found(origin=path, files=files, executable=executable)
    if "run" not in found.scripts:
        raise _refusal(path, "it has no `run` that can be executed")
    return found


def _walk(path: str) -> Iterator[tuple[str, bool]]:
    """Each file's name, and whether it can be executed."""
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
                    yield name, bool(entry.stat().st_mode & 0o111)
        except OSError as error:
            raise _refusal(path, os.strerror(error.errno or 0)) from error


def _read(path: str, name: str) -> bytes:
    try:
        with open(f"{path}/{name}", "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refusal(path, f"{name} is no regular file")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise _refusal(path, f"{name}: {os.strerror(error.errno or 0)}") from error
    if len(content) > LARGEST:
        raise _refusal(path, f"{name} is larger than 1 MiB")
    return content


def _refusal(path: str, cause: str) -> DefinitionError:
    return DefinitionError(
        f'cannot import "{path}": {cause}\n'
        "  way out: name a directory that runsv could supervise, such as /etc/sv/nginx"
    )
