"""Whole directories, written at once or not at all, for others to use."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from bootstrap.errors import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_directories(
    target: str, directories: Mapping[str, Mapping[str, tuple[bytes, int]]], *, mode: int = 0o700
) -> None:
    """Write ``target`` with these directories (name → path → content and mode); ``mode`` is that of all directories.

    Raises Refused where something stands there already, Unavailable where the disk refuses.
    """
    try:
        if os.path.lexists(target) and (os.path.islink(target) or os.listdir(target)):
            raise Refused(
                f'cannot write "{target}": something stands there already\n  way out: name a new or an empty directory'
            )
        parent = os.path.dirname(target)
        with contextlib.suppress(FileExistsError):  # should it be no directory, the next line says so
            os.makedirs(parent)
        unfinished = tempfile.mkdtemp(prefix=".bootstrap-", dir=parent)  # 0700
        try:
            for name, files in directories.items():
                for path, (content, file_mode) in files.items():
                    _make_parents(unfinished, f"{name}/{path}", mode)
                    _write(f"{unfinished}/{name}/{path}", content, file_mode)
            os.chmod(unfinished, mode)
            os.rename(unfinished, target)
        except BaseException:
            with contextlib.suppress(OSError):
                shutil.rmtree(unfinished)
            raise
    except OSError as error:
        raise Unavailable(f'cannot write "{target}": {os.strerror(error.errno or 0)}') from error


def _make_parents(top: str, path: str, mode: int) -> None:
    for end, letter in enumerate(path):
        if letter == "/" and not os.path.isdir(f"{top}/{path[:end]}"):
            os.mkdir(f"{top}/{path[:end]}")
            os.chmod(f"{top}/{path[:end]}", mode)


def _write(path: str, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, mode)
